# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Whether machines could be made: everything that can be found out without changing anything."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import (
    ChecksumMismatch,
    ImageRefused,
    InsufficientResources,
    InvalidSpec,
    NotFound,
    OperationFailed,
    telling_where,
)
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.disks import DiskFromImage
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.registry import BACKENDS
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import ImageCache
from ansible_collections.poolwright.virt.plugins.module_utils.images.inspect import inspect_file
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import naming_storage_errors
from ansible_collections.poolwright.virt.plugins.module_utils.images.web import open_url
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.layout import Layout
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.create import disk_bytes, root_disk
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import DiskSpec, NetworkSpec, PoolTemplate

_CHUNK = 1024 * 1024
_NET_CLASS = "/sys/class/net"
_NAME = "check"  # stands for the machines that are to be made


class NotUsable(OperationFailed):
    """Something on the host is there but cannot be used as it is."""

    code = "not_usable"
    config = True


def check_host(host: Host, layout: Layout, template: PoolTemplate, virt_type: str) -> None:
    """Disk backend, networks, CPUs and directories."""
    spec, pool = template.machine, template.name
    if spec.disk.backend not in BACKENDS:
        raise InvalidSpec([f"pool {pool!r}: disk.backend: {spec.disk.backend!r} is not one of {', '.join(sorted(BACKENDS))}"])
    root_disk(spec.disk, layout.location, _NAME)
    check_networks(host, spec.networks, pool)
    if virt_type != "test":
        check_cpus(host, virt_type, spec.cpus, pool)
    for directory in (layout.location, spec.disk.location):
        # A location of another kind (a volume group, say) is its backend's to judge.
        if os.path.isabs(directory):
            check_location(directory, pool)


@telling_where("networks")
def check_networks(host: Host, networks: Iterable[NetworkSpec], pool: str) -> None:
    """Each network is there and active, each bridge is there. No call where there is no network."""
    wanted = sorted({card.network for card in networks if card.network})
    known = host.networks() if wanted else {}
    for name in wanted:
        if name not in known:
            there = ", ".join(sorted(known)) or "none"
            raise NotFound(f"the host has no network {name!r}", obj=pool, phase="check", hint=f"its networks are: {there}")
        if not known[name].active:
            raise NotUsable(f"the network {name!r} is not active", obj=pool, phase="check", hint=f"start it on the host: virsh net-start {name}")
    for bridge in sorted({card.bridge for card in networks if card.bridge}):
        if not os.path.exists(os.path.join(_NET_CLASS, bridge)):
            there = ", ".join(name for name in sorted(os.listdir(_NET_CLASS)) if os.path.isdir(os.path.join(_NET_CLASS, name, "bridge"))) or "none"
            raise NotFound(f"the host has no bridge {bridge!r}", obj=pool, phase="check", hint=f"its bridges are: {there}")


@telling_where("memory_mb")
def check_memory(available_kib: int, memory_mb: int, making: int, promised_mb: int, pool: str) -> None:
    """:param available_kib: what the host has.   :param promised_mb: what was promised to other pools and is not taken yet."""
    available_mb = max(0, available_kib // 1024 - promised_mb)
    fitting = available_mb // memory_mb
    if fitting < making:
        raise InsufficientResources(
            f"{making} further machines of {memory_mb} MiB need {making * memory_mb} MiB, the host has {available_mb} MiB free: {fitting} would fit",
            obj=pool,
            phase="check",
            hint="make the pool or its machines smaller, or free memory on the host",
        )


@telling_where("cpus")
def check_cpus(host: Host, virt_type: str, cpus: int, pool: str) -> None:
    """A guest may have more CPUs than the host, but not more than its machine type."""
    found = host.domain_capabilities(virt_type)
    if found is not None and cpus > found.max_vcpus:
        raise InsufficientResources(f"{cpus} CPUs are more than the {found.max_vcpus} that a machine can have", obj=pool, phase="check", hint="ask for fewer")


@telling_where("location")
def check_location(directory: str, pool: str) -> None:
    """The directory, or the first parent that is there, can be written to."""
    there = _existing(directory)
    if not os.path.isdir(there):
        raise NotUsable(f"{there} is no directory", obj=pool, phase="check", hint="choose another location")
    if not os.access(there, os.W_OK | os.X_OK):
        raise NotUsable(f"{there} cannot be written to", obj=pool, phase="check", hint="run as root, or choose another location")


def check_image(cache: ImageCache, layout: Layout, template: PoolTemplate, making: int, deadline: Deadline) -> None:
    """The image is there, is what it is said to be, and fits the disk, for which there is room.

    One that has to be downloaded is only asked for; its contents are judged when it is fetched.
    """
    spec, pool, source = template.machine, template.name, template.machine.image
    if source is None:
        raise InvalidSpec([f"pool {pool!r}: image: machines are to be made, so it is needed"])
    problems = source.problems(f"pool {pool!r}: image")
    if problems:
        raise InvalidSpec(problems)
    cached = cache.lookup(source)
    if cached is not None:
        check_fits(spec.disk, cached.virtual_size, source, pool)
        disk = DiskFromImage(root_disk(spec.disk, layout.location, _NAME), cached, disk_bytes(spec.disk))
        check_disk_space(disk, making, pool, deadline)
    elif source.is_remote:
        _probe(source, deadline)
    else:
        with naming_storage_errors(source.path, "check"):
            check_fits(spec.disk, _examine(source, deadline), source, pool)


@telling_where("disk.size_gb")
def check_fits(disk: DiskSpec, virtual_size: int, source: ImageSource, pool: str) -> None:
    wanted = disk_bytes(disk)
    if wanted is not None and wanted < virtual_size:
        raise ImageRefused(
            f"a disk of {disk.size_gb:g} GiB is smaller than the image {source}, which has {virtual_size} bytes",
            obj=pool,
            phase="check",
            hint=f"set disk.size_gb to {-(-virtual_size // 1024**3)} or more, or leave it out",
        )


@telling_where("disk")
def check_disk_space(disk: DiskFromImage, making: int, pool: str, deadline: Deadline) -> None:
    """Room for what the disks take at once; what guests write later comes on top."""
    needed = disk.required_bytes() * making
    free = disk.disk.free_bytes(deadline)
    if needed > free:
        raise InsufficientResources(
            f"the disks of {making} further machines need {needed} bytes, {disk.disk.location} has {free} free",
            obj=pool,
            phase="check",
            hint="free some space, or choose another location",
        )


@telling_where("image")
def _probe(source: ImageSource, deadline: Deadline) -> None:
    """Ask the server for an image without taking it."""
    answer = open_url(source.source, deadline.remaining)
    if answer is not None:
        answer.stream.close()


@telling_where("image")
def _examine(source: ImageSource, deadline: Deadline) -> int:
    """Judge a local image where it lies; its virtual size in bytes."""
    path = source.path
    if not os.path.exists(path):
        raise NotFound("there is no such file on the host that the disks are on", obj=str(source), phase="check", hint="correct the image's source")
    if not os.path.isfile(path):
        raise ImageRefused("it is not a regular file", obj=str(source), phase="check", hint="give a file that holds the image")
    if source.digest is not None:
        hasher = hashlib.new(source.algorithm)
        with open(path, "rb") as stream:
            for chunk in iter(lambda: stream.read(_CHUNK), b""):
                hasher.update(chunk)
                deadline.check("reading the image", obj=str(source), phase="check")
        found = f"{source.algorithm}:{hasher.hexdigest()}"
        if found != source.digest:
            hint = "correct the checksum if the image was changed on purpose"
            raise ChecksumMismatch(f"the checksum should be {source.digest}, but is {found}", obj=str(source), phase="check", hint=hint)
    return inspect_file(path, source.format, deadline, name=str(source)).virtual_size


def _existing(path: str) -> str:
    while not os.path.lexists(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    return path
