# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Snapshots of all disks of a guest together: real disks, and a domain of libvirt's test driver."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import InsufficientResources, InvalidSpec, NotFound, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.flat import Flat
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import DiskRecord
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.registry import disk_image
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.faults import InvalidState
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest import DomainState, Guest
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.snapshots import GuestSnapshots
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.plugins.module_utils.storage.record import OwnDisk

MIB = 1024 * 1024


class Machine:
    """A domain that runs, with three disks that each hold one byte over and over."""

    def __init__(self, guest: Guest, folder: Path) -> None:
        self.guest = guest
        self.folder = folder
        self.disks: list[OwnDisk] = []
        for name in ("root", "data", "more"):
            self.add(name)

    @property
    def soon(self) -> Deadline:
        return Deadline.after(Clock(), 60)

    @property
    def snapshots(self) -> GuestSnapshots:
        return GuestSnapshots(self.guest, self.disks)

    def add(self, name: str) -> None:
        place = disk_image("flat", str(self.folder), name)
        self.disks.append(OwnDisk(place.location, place.name, place.create_from_func(lambda _path: None, MIB, self.soon)))

    def write(self, text: bytes) -> None:
        for disk in self.disks:
            with open(disk.record.path, "r+b") as stream:
                stream.write(text)

    def read(self) -> list[bytes]:
        return [Path(disk.record.path).read_bytes()[:3] for disk in self.disks]

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


NODE = "<node><domain type='test'><name>test</name><memory>65536</memory><os><type>hvm</type></os></domain></node>"


@pytest.fixture
def machine(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    node = tmp_path_factory.mktemp("node") / "node.xml"
    node.write_text(NODE)
    host = Host(f"test://{node}", Clock(), Stats(Clock()))
    guest = host.guest("test")
    assert guest is not None
    with contextlib.closing(host):
        yield Machine(guest, tmp_path)


def test_all_disks_are_kept_at_one_moment_and_come_back_together(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    states = []
    plain = Flat.snapshot_create

    def noting(place: Flat, record: DiskRecord, name: str, deadline: Deadline) -> None:
        states.append(machine.guest.state())
        plain(place, record, name, deadline)

    monkeypatch.setattr(Flat, "snapshot_create", noting)
    machine.write(b"one")
    assert machine.snapshots.create("clean", machine.soon) is True
    assert (states, machine.guest.state()) == ([DomainState.PAUSED] * 3, DomainState.RUNNING)
    machine.write(b"two")
    assert machine.snapshots.create("clean", machine.soon) is False
    assert machine.snapshots.create("later", machine.soon) is True
    assert machine.snapshots.list(machine.soon) == ["clean", "later"]
    with pytest.raises(InvalidState, match="while it is off"):
        machine.snapshots.revert("clean", machine.soon)
    machine.guest.destroy()
    machine.snapshots.revert("clean", machine.soon)
    assert machine.read() == [b"one"] * 3
    machine.snapshots.revert("later", machine.soon)
    assert machine.read() == [b"two"] * 3
    assert (machine.snapshots.delete("clean", machine.soon), machine.snapshots.delete("clean", machine.soon)) == (True, False)
    assert machine.snapshots.list(machine.soon) == ["later"]


def test_a_paused_guest_stays_paused_and_one_that_is_off_stays_off(machine: Machine) -> None:
    machine.guest.suspend()
    machine.snapshots.create("paused", machine.soon)
    assert machine.guest.state() is DomainState.PAUSED
    machine.guest.destroy()
    machine.snapshots.create("off", machine.soon)
    assert machine.guest.state() is DomainState.SHUTOFF


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_snapshot_that_fails_leaves_nothing_and_the_guest_goes_on(machine: Machine, monkeypatch: pytest.MonkeyPatch, failing: int) -> None:
    plain, before = Flat.snapshot_create, machine.files()

    def full(place: Flat, record: DiskRecord, name: str, deadline: Deadline) -> None:
        if place.name == machine.disks[failing].name:
            raise OSError(28, "No space left on device")
        plain(place, record, name, deadline)

    monkeypatch.setattr(Flat, "snapshot_create", full)
    with pytest.raises(InsufficientResources, match="no space left"):
        machine.snapshots.create("s", machine.soon)
    assert (machine.files(), machine.guest.state()) == (before, DomainState.RUNNING)


@pytest.mark.parametrize("reached", [1, 2])
def test_what_a_killed_run_left_is_no_snapshot_and_is_taken_anew(machine: Machine, reached: int) -> None:
    machine.write(b"old")
    for disk in machine.disks[-reached:]:
        disk.place().snapshot_create(disk.record, "s", machine.soon)
    machine.write(b"new")
    assert machine.snapshots.list(machine.soon) == []
    with pytest.raises(NotFound, match="there is no snapshot s"):
        machine.snapshots.revert("s", machine.soon)
    assert machine.snapshots.create("s", machine.soon) is True
    machine.write(b"???")
    machine.guest.destroy()
    machine.snapshots.revert("s", machine.soon)
    assert machine.read() == [b"new"] * 3


def test_a_deletion_that_was_killed_is_finished(machine: Machine) -> None:
    before = machine.files()
    machine.snapshots.create("s", machine.soon)
    machine.disks[0].place().snapshot_delete("s", machine.soon)
    assert machine.snapshots.list(machine.soon) == []
    assert machine.snapshots.delete("s", machine.soon) is True
    assert machine.files() == before


def test_a_disk_that_was_added_later_is_told(machine: Machine) -> None:
    machine.snapshots.create("s", machine.soon)
    machine.add("newer")
    assert machine.snapshots.list(machine.soon) == ["s"]
    assert machine.snapshots.create("s", machine.soon) is False
    machine.guest.destroy()
    with pytest.raises(NotFound, match=r"is older than .*newer\.raw"):
        machine.snapshots.revert("s", machine.soon)


def test_what_cannot_be_is_refused(machine: Machine) -> None:
    for name in ("", "../a", "a/b", "x" * 41):
        for action in (machine.snapshots.create, machine.snapshots.delete, machine.snapshots.revert):
            with pytest.raises(InvalidSpec, match="snapshot name"):
                action(name, machine.soon)
    with pytest.raises(InvalidSpec, match="no disks of its own"):
        GuestSnapshots(machine.guest, [])
    with pytest.raises(VirtError, match="there are: none"):
        machine.snapshots.check("s", machine.soon)
