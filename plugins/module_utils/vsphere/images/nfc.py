# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Importing a machine with one disk: the lease under which vCenter takes the bits, and its orderly end whatever happens."""

from __future__ import annotations

import contextlib
import http.client
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import (
    Cancelled,
    InsufficientResources,
    MaybeApplied,
    OperationFailed,
    TransferFailed,
    VirtError,
)
from ansible_collections.poolwright.virt.plugins.module_utils.images.window import Window
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import library
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import Fault, ObjectGone
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import Site
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.transport import Transport

PHASE = "import"
BLOCK = 1024 * 1024
PROGRESS_SECONDS = 15.0
"""How often vCenter is told that the transfer goes on; it gives a lease up after minutes of silence."""

_ATTEMPTS = 3
_ABORT_SECONDS = 30.0
_TYPE = "application/x-vnd.vmware-streamVmdk"


@dataclass(frozen=True)
class Place:
    """Where a machine is imported: managed objects of a resource pool, a folder of machines, and a host."""

    pool: Any
    folder: Any
    host: Any


def import_spec(name: str, datastore: str, capacity: int, adapter: str, os_type: str) -> Any:
    """A machine with nothing but a disk of ``capacity`` bytes, whose bits follow.

    :param adapter: as the disk manager knows it: lsiLogic, busLogic or ide.
    """
    vim = library().vim
    devices = vim.vm.device
    controller: Any
    if adapter == "ide":
        controller = devices.VirtualIDEController(key=200, busNumber=0)
    else:
        kind = devices.VirtualBusLogicController if adapter == "busLogic" else devices.VirtualLsiLogicController
        controller = kind(key=1000, busNumber=0, sharedBus="noSharing")
    backing = devices.VirtualDisk.FlatVer2BackingInfo(fileName=f"[{datastore}]", diskMode="persistent", thinProvisioned=True)
    disk = devices.VirtualDisk(key=-1, controllerKey=controller.key, unitNumber=0, capacityInKB=capacity // 1024, capacityInBytes=capacity, backing=backing)
    changes = [
        devices.VirtualDeviceSpec(operation="add", device=controller),
        devices.VirtualDeviceSpec(operation="add", fileOperation="create", device=disk),
    ]
    config = vim.vm.ConfigSpec(
        name=name,
        guestId=os_type,
        numCPUs=1,
        memoryMB=128,
        files=vim.vm.FileInfo(vmPathName=f"[{datastore}]"),
        deviceChange=changes,
    )
    return vim.vm.VmImportSpec(configSpec=config)


def import_disk(
    site: Site, place: Place, spec: Any, data: Window, deadline: Deadline, *, stats: Stats | None = None, cancel: threading.Event | None = None
) -> Any:
    """Import a machine and send its disk; returns the machine. Whatever fails, no machine and no lease are left of it.

    :raises TransferFailed: the bits did not come through.   :raises VirtError: vCenter's reason, also from the lease's own error.
    """
    name = str(spec.configSpec.name)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with _lease(site, place, spec, deadline) as lease:
                info = _wait_until_ready(site, lease, name, deadline)
                url = next((str(one.url) for one in info.deviceUrl if one.disk), "")
                thumbprint = next((str(one.sslThumbprint or "") for one in info.deviceUrl if one.disk), "")
                if not url:
                    raise OperationFailed("the lease has no place for the disk", obj=name, phase=PHASE)
                _send(site, lease, url, thumbprint, data, name, deadline, stats, cancel)
                machine = info.entity
            # Only now is the lease complete, and the machine there to stay.
            return machine  # noqa: RET504 (leaving the block above completes the lease)
        except (MaybeApplied, TransferFailed) as exc:
            # What there may be of the machine has no use without its lease.
            destroy_machine(site, place.folder, name, deadline)
            if attempt == _ATTEMPTS or deadline.passed or not exc.transient:
                raise
        except BaseException:  # whatever it is, goes on after the machine is gone
            with contextlib.suppress(VirtError):
                destroy_machine(site, place.folder, name, Deadline.after(site.clock, _ABORT_SECONDS))
            raise
    raise AssertionError("the last attempt returns or raises")


def find_machine(site: Site, folder: Any, name: str, deadline: Deadline) -> Any:
    """The machine of this name directly in a folder; None where there is none."""
    return site.vim.call(site.vim.content.searchIndex, "FindChild", about=name, phase=PHASE, deadline=deadline, entity=folder, name=name)


def destroy_machine(site: Site, folder: Any, name: str, deadline: Deadline) -> bool:
    """Remove an imported machine with its files. False where there is none.

    :raises VirtError: it cannot be removed (yet): vCenter removes one whose lease has run out by itself.
    """
    for _attempt in range(_ATTEMPTS):
        machine = find_machine(site, folder, name, deadline)
        if machine is None:
            return False
        try:
            site.vim.run(machine, "Destroy_Task", deadline=deadline, about=name, phase=PHASE)
            return True
        except (MaybeApplied, ObjectGone):
            continue
    return find_machine(site, folder, name, deadline) is None


@contextlib.contextmanager
def _lease(site: Site, place: Place, spec: Any, deadline: Deadline) -> Iterator[Any]:
    """A lease that is completed when the block ends, and given up when it ends in an error."""
    name = str(spec.configSpec.name)
    lease = site.vim.call(place.pool, "ImportVApp", about=name, phase=PHASE, deadline=deadline, spec=spec, folder=place.folder, host=place.host)
    try:
        yield lease
        _finish(site, lease, name, deadline)
    except BaseException:  # whatever it is, goes on after the lease was given up
        with contextlib.suppress(VirtError):
            late = Deadline.after(site.clock, _ABORT_SECONDS)
            site.vim.call(lease, "HttpNfcLeaseAbort", idempotent=True, about=name, phase=PHASE, deadline=late)
        raise


def _finish(site: Site, lease: Any, name: str, deadline: Deadline) -> None:
    try:
        site.vim.call(lease, "HttpNfcLeaseComplete", about=name, phase=PHASE, deadline=deadline)
    except MaybeApplied:
        # A lease that is complete is gone soon, and one that is not can be completed still.
        with contextlib.suppress(ObjectGone):
            if str(site.vim.get_properties(lease, ["state"], about=name, phase=PHASE).get("state")) != "done":
                site.vim.call(lease, "HttpNfcLeaseComplete", idempotent=True, about=name, phase=PHASE, deadline=deadline)


def _wait_until_ready(site: Site, lease: Any, name: str, deadline: Deadline) -> Any:
    found = site.vim.wait_for_properties(
        lease, ["state", "info", "error"], lambda values: values.get("state") in ("ready", "error", "done"), deadline, about=name, phase=PHASE
    )
    if found.get("state") != "ready":
        fault = found.get("error")
        if fault is not None:
            raise Fault.of(fault).as_error(obj=name, phase=PHASE)
        raise OperationFailed(f"the lease is {found.get('state')}, and vCenter does not say why", obj=name, phase=PHASE)
    return found["info"]


def _send(
    site: Site,
    lease: Any,
    url: str,
    thumbprint: str,
    data: Window,
    name: str,
    deadline: Deadline,
    stats: Stats | None,
    cancel: threading.Event | None,
) -> None:
    """The disk's bits, in one request to where the lease says; that may be the host itself."""
    endpoint = site.vim.endpoint
    parts = urlsplit(url)
    host = endpoint.host if parts.hostname in (None, "*") else str(parts.hostname)
    port = parts.port or (endpoint.port if host == endpoint.host else 443)
    where = replace(endpoint, host=host, port=port)
    if thumbprint and (host, port) != (endpoint.host, endpoint.port):
        # vCenter vouches for the certificate of its host, which no CA that we know need have signed.
        where = replace(where, thumbprint=thumbprint, ca_path="", validate_certs=True)
    if stats is not None:
        stats.call("POST /nfc")
    connection = Transport(where, site.clock).connect(max(1.0, min(where.timeout, deadline.remaining)))
    try:
        connection.putrequest("POST", parts.path + (f"?{parts.query}" if parts.query else ""), skip_accept_encoding=True)
        for key, value in (("Content-Type", _TYPE), ("Content-Length", str(data.size)), ("User-Agent", "poolwright.virt")):
            connection.putheader(key, value)
        connection.endheaders()
        _pump(site, lease, connection, data, name, deadline, cancel)
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException) as exc:
        raise TransferFailed(f"the connection broke: {str(exc) or type(exc).__name__}", obj=name, phase=PHASE) from None
    finally:
        connection.close()
    if response.status not in (200, 201):
        if response.status == 507:
            raise InsufficientResources("the datastore is full", obj=name, phase=PHASE)
        raise TransferFailed(f"the host answers HTTP {response.status} {response.reason}", obj=name, phase=PHASE)
    _tell(site, lease, 100, name, deadline)


def _pump(site: Site, lease: Any, connection: http.client.HTTPSConnection, data: Window, name: str, deadline: Deadline, cancel: threading.Event | None) -> None:
    told = site.clock.monotonic()
    _tell(site, lease, 0, name, deadline)
    sent = 0
    while sent < data.size:
        if cancel is not None and cancel.is_set():
            raise Cancelled("the run was told to stop", obj=name, phase=PHASE)
        deadline.check("the transfer", obj=name, phase=PHASE, hint="the image is large or the way slow: allow more time")
        block = os.pread(data.fd, min(BLOCK, data.size - sent), data.offset + sent)
        if not block:
            raise TransferFailed(f"the source ended after {sent} of {data.size} bytes", obj=name, phase=PHASE)
        connection.send(block)
        sent += len(block)
        if site.clock.monotonic() - told >= PROGRESS_SECONDS:
            told = site.clock.monotonic()
            _tell(site, lease, min(99, sent * 100 // data.size), name, deadline)


def _tell(site: Site, lease: Any, percent: int, name: str, deadline: Deadline) -> None:
    site.vim.call(lease, "HttpNfcLeaseProgress", idempotent=True, about=name, phase=PHASE, deadline=deadline, percent=percent)
