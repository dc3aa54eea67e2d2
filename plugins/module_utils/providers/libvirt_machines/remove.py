# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Removing a machine with all that is its own and nothing else; what is interrupted is finished by the next call."""

from __future__ import annotations

import contextlib
import os
import re
import xml.etree.ElementTree as ET  # what is parsed comes from libvirtd, which runs as root
from collections.abc import Collection

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import Image
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.registry import disk_image
from ansible_collections.poolwright.virt.plugins.module_utils.images.scratch import sweep
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest import Guest
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.layout import Layout, is_machine_directory, tail_of
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.create import FURTHER, ROOT, SEED_NAME
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.leftover import RECORD_NAME, read_record
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.record import NAMESPACE, PREFIX, MachineRecord, with_mark
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import MarkState

# A disk whose storage does not answer must not keep a removal for ever; a disk that is wiped takes its time.
_DISK_SECONDS = 3600.0
_OWN_DISK = re.compile(rf"((?:{ROOT}|{FURTHER}[0-9]+))\.(qcow2|raw|ploop)")
_BACKENDS = {"qcow2": "qcow2", "raw": "flat", "ploop": "ploop"}


def remove_machine(host: Host, guest: Guest, element: ET.Element, record: MachineRecord) -> list[str]:
    """Mark, stop, remove files, undefine: the domain with its mark goes last, so no file is ever without one.

    :param element: the metadata that ``record`` was read from.
    :return: what had to stay, in words.
    """
    if record.mark.state is not MarkState.DESTROYING:
        guest.set_metadata(with_mark(element, record.mark.as_state(MarkState.DESTROYING)), NAMESPACE, PREFIX)
    if not guest.is_persistent():
        # Undefined by somebody while it ran: it would vanish as it stops, and leave its files without a mark.
        host.define_text(guest.xml(), guest.name)
    guest.destroy()
    left = remove_files(record)
    guest.undefine()
    return left


def remove_files(record: MachineRecord) -> list[str]:
    """Remove a machine's disks, seed, temporary files and directories; returns what is not ours and had to stay, in words."""
    for disk in record.disks:
        disk.place().remove(Deadline.after(Clock(), _DISK_SECONDS))
    return clear_directory(record.directory)


def clear_directory(directory: str) -> list[str]:
    """Remove a machine's files but its disks, what dead runs left beside them, and the directory with its parent once they are empty."""
    for name in (SEED_NAME, RECORD_NAME):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(directory, name))
    sweep(directory)
    try:
        foreign = sorted(os.listdir(directory))
    except FileNotFoundError:
        foreign = []
    if foreign:
        return [f"{directory} was kept: it holds {', '.join(foreign[:5])}, which are not the machine's own"]
    for empty in (directory, os.path.dirname(directory)):
        with contextlib.suppress(OSError):
            os.rmdir(empty)
    return []


def remove_orphans(host: Host, layout: Layout, pool: str) -> list[str]:
    """Remove the disks and files of the pool's machines whose domains somebody undefined; returns what had to stay, in words.

    Costs one call, and one more for each domain where there are such files: then none may use them under another name.
    """
    pool_directory = layout.pool_directory(pool)
    try:
        names = os.listdir(pool_directory)
    except FileNotFoundError:
        return []
    guests = [domain.guest for domain in host.domains()]
    defined = {tail_of(guest.uuid) for guest in guests}
    left = []
    orphaned = [name for name in names if is_machine_directory(name) and name.rpartition(".")[2] not in defined]
    for directory in (os.path.join(pool_directory, name) for name in orphaned):
        record = read_record(directory)
        disks = () if record is None else record.disks
        user = next((guest.name for guest in guests if _uses(guest, directory, {disk.record.path for disk in disks})), "")
        if user:
            left.append(f"{directory} was kept: the domain {user} uses it")
            continue
        for place in [*(disk.place() for disk in disks), *_own_disks(directory)]:
            place.remove(Deadline.after(Clock(), _DISK_SECONDS))
        left += clear_directory(directory)
    return left


def _own_disks(directory: str) -> list[Image]:
    """The disks in a machine's directory, by their names: its record may be gone."""
    found = [_OWN_DISK.fullmatch(name) for name in sorted(os.listdir(directory))]
    return [disk_image(_BACKENDS[match.group(2)], directory, match.group(1)) for match in found if match is not None]


def _uses(guest: Guest, directory: str, disks: Collection[str]) -> bool:
    """Whether a domain names anything in the directory, or one of the disks, which may lie elsewhere."""
    try:
        domain = ET.fromstring(guest.xml())  # noqa: S314 (libvirt wrote it)
    except NotFound:
        return False
    named = {value for element in domain.iter() for value in element.attrib.values()}
    return any(value == directory or value.startswith(f"{directory}/") or value in disks for value in named)
