# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The second axis: from an image's bits to a disk that a machine can use. Each function makes ``target``, in a folder that is there."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Callable

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import MaybeApplied, NotFound, OperationFailed
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import disks, files
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import library
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import ObjectGone
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import Site
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images import nfc
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.image import KIB, VMwareImage, disk_manager_adapter
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.layout import MACHINE_PREFIX, machine_name
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.obtain import Inspected
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Entry
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.transfer import Transfer

# The words of vSphere's disk manager for the flat types that an image may have.
_PROVISIONING = {"thin": "thin", "eagerZeroedThick": "eagerZeroedThick"}


@dataclass(frozen=True)
class Workshop:
    """Where and with what an image is prepared: ``folder`` is the maker's own temporary one."""

    site: Site
    transfer: Transfer
    datastore: Entry
    folder: DatastorePath
    stats: Stats
    cancel: threading.Event

    @property
    def maker(self) -> str:
        return self.folder.basename


Prepare = Callable[[Workshop, VMwareImage, Inspected, DatastorePath, Deadline], None]


def iso(shop: Workshop, _image: VMwareImage, found: Inspected, target: DatastorePath, deadline: Deadline) -> None:
    """As it is."""
    _upload(shop, target, found, deadline)


def flat(shop: Workshop, image: VMwareImage, found: Inspected, target: DatastorePath, deadline: Deadline) -> None:
    """vCenter makes a disk of the size, and the upload takes the place of its extent."""
    kind, adapter = _PROVISIONING.get(image.disk_type, "preallocated"), disk_manager_adapter(image.adapter_type or found.adapter_type)
    disks.create_disk(shop.site, target, found.virtual_size // KIB, deadline, disk_type=kind, adapter=adapter)
    extent = target.with_suffix("-flat.vmdk")
    files.delete_file(shop.site, extent, deadline)
    _upload(shop, extent, found, deadline)


def sparse(shop: Workshop, _image: VMwareImage, found: Inspected, target: DatastorePath, deadline: Deadline) -> None:
    """Uploaded beside, and converted by vCenter as it copies: a host runs no machine from a sparse file."""
    beside = shop.folder.join("tmp-sparse.vmdk")
    _upload(shop, beside, found, deadline)
    with shop.stats.phase("convert"):
        disks.copy_disk(shop.site, beside, target, deadline)
        files.delete_file(shop.site, beside, deadline)


def stream_optimized(shop: Workshop, image: VMwareImage, found: Inspected, target: DatastorePath, deadline: Deadline) -> None:
    """Imported as the disk of a machine, which goes again; the disk stays."""
    name = machine_name(shop.maker)
    place = import_place(shop.site, shop.datastore)
    os_type = image.os_type
    adapter = disk_manager_adapter(image.adapter_type or found.adapter_type)
    spec = nfc.import_spec(name, shop.datastore.name, found.virtual_size, adapter, os_type)
    with shop.stats.phase("upload"):
        machine = nfc.import_disk(shop.site, place, spec, found.data, deadline, stats=shop.stats, cancel=shop.cancel)
    with shop.stats.phase("convert"):
        disk = _disk_of(shop.site, machine, name)
        _unregister(shop.site, machine, name, deadline)
        disks.move_disk(shop.site, disk, target, deadline)
        if disk.parent.basename.startswith(MACHINE_PREFIX):
            files.delete_file(shop.site, disk.parent, deadline)


KINDS: dict[str, Prepare] = {"iso": iso, "flat": flat, "sparse": sparse, "streamOptimized": stream_optimized}
"""By the type of what was inspected."""


def import_place(site: Site, datastore: Entry) -> nfc.Place:
    """Where a machine can be imported onto a datastore: a host that writes to it, and the pool above.

    :raises NotFound: no host does, and why not.
    """
    mounts = site.vim.get_properties(datastore.obj, ["host"], about=datastore.path, phase="place").get("host") or []
    rejected = []
    for mount in mounts:
        host = site.inventory.entry_of(mount.key)
        why = _why_not(host, mount.mountInfo)
        cluster = None if host is None or why else site.inventory.entry_of(host.properties["parent"])
        folder = site.inventory.folder("")
        if host is not None and cluster is not None and folder is not None:
            return nfc.Place(cluster.properties["resourcePool"], folder.obj, host.obj)
        rejected.append(f"{host.name if host is not None else 'one of another datacenter'}: {why or 'it has no resource pool'}")
    said = f"no host can write to the datastore, so nothing can be imported onto it ({'; '.join(rejected) or 'none has it mounted'})"
    raise NotFound(said, obj=datastore.path, phase="place", hint="take a host out of maintenance, or name another datastore")


def _why_not(host: Entry | None, mount: Any) -> str:
    if host is None:
        return "it is not in this datacenter"
    if host.properties.get("runtime.connectionState") != "connected":
        return f"it is {host.properties.get('runtime.connectionState')}"
    if host.properties.get("runtime.inMaintenanceMode"):
        return "it is in maintenance"
    if mount.accessMode != "readWrite" or mount.mounted is False or mount.accessible is False:
        return "it has the datastore not mounted for writing"
    return ""


def _upload(shop: Workshop, path: DatastorePath, found: Inspected, deadline: Deadline) -> None:
    with shop.stats.phase("upload"), found.data.stream() as stream:
        shop.transfer.upload(path, stream, deadline, size=found.data.size)


def _disk_of(site: Site, machine: Any, name: str) -> DatastorePath:
    disk = library().vim.vm.device.VirtualDisk
    devices = site.vim.get_properties(machine, ["config.hardware.device"], about=name, phase="import").get("config.hardware.device") or []
    found = [device for device in devices if isinstance(device, disk)]
    if len(found) != 1:
        raise OperationFailed(f"the imported machine has {len(found)} disks instead of one", obj=name, phase="import")
    return DatastorePath.parse(str(found[0].backing.fileName))


def _unregister(site: Site, machine: Any, name: str, deadline: Deadline) -> None:
    """Have vCenter forget the machine and leave its files."""
    try:
        site.vim.call(machine, "UnregisterVM", about=name, phase="import", deadline=deadline)
    except MaybeApplied:
        try:
            site.vim.get_properties(machine, ["name"], about=name, phase="import")
        except ObjectGone:
            return
        site.vim.call(machine, "UnregisterVM", about=name, phase="import", deadline=deadline)
