# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each state of ``datastore_path`` on the lab's vCenter: what check mode says is what a run does, and a second run does nothing."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils import errors
from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import disks
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import FileExists, FileMissing, PermissionDenied
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import Site, delete_file, make_directory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states.folders import NotEmpty
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states.request import parse
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states.run import bring_about
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states.spot import DatastoreUnavailable, InUse
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states.temporary import temporary
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.transfer import Transfer, Transferred
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM
from ansible_collections.poolwright.virt.tests.contract.labs.vcenter import VCenter
from ansible_collections.poolwright.virt.tests.integration.vsphere.datastores.staging import changes, names, never_called, on_disk, put
from ansible_collections.poolwright.virt.tests.integration.vsphere.staging import together
from ansible_collections.poolwright.virt.tests.seeds import seeds

Result = dict[str, Any]
CONTENT = b"0123456789" * 200_000
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
DEFAULTS: Result = {
    "src": None,
    "src_datacenter": None,
    "checksum": None,
    "compare": "content",
    "force": False,
    "recurse": False,
    "mode": "0644",
    "timeout": 60.0,
}


class Module:
    """The module as Ansible runs it, without Ansible's start."""

    def __init__(self, vim: VIM, stats: Stats, vcenter: VCenter) -> None:
        self.vim, self.stats, self.vcenter = vim, stats, vcenter

    def __call__(self, path: DatastorePath | str, state: str, *, check_mode: bool = False, datacenter: str = "DC0", **options: Any) -> Result:
        plain = {name: str(value) if isinstance(value, (DatastorePath, Path)) else value for name, value in options.items()}
        request = parse({**DEFAULTS, "path": str(path), "state": state, **plain})
        return bring_about(self.vim, request, datacenter, check_mode=check_mode, cancel=threading.Event(), stats=self.stats)

    def thrice(self, path: DatastorePath | str, state: str, **options: Any) -> Result:
        """In check mode, for real, and once more; the first two say the same, the first and the last change nothing."""
        with never_called(self.vcenter):
            planned = self(path, state, check_mode=True, **options)
        done = self(path, state, **options)
        assert (planned["changed"], planned["diff"], planned["actions"]) == (done["changed"], done["diff"], done["actions"])
        with never_called(self.vcenter):
            again = self(path, state, **options)
        assert not again["changed"]
        assert again["diff"]["before"] == again["diff"]["after"]
        assert again["actions"] == []
        return done


@pytest.fixture
def module(vim: VIM, stats: Stats, vcenter: VCenter) -> Module:
    return Module(vim, stats, vcenter)


@pytest.fixture
def local(tmp_path: Path) -> Path:
    made = tmp_path / "debian.iso"
    made.write_bytes(CONTENT)
    return made


# -- file


def test_a_file_is_uploaded_with_the_folders_above_it(module: Module, site: Site, folder: DatastorePath, local: Path, deadline: Deadline) -> None:
    path = folder.join("iso/new/debian.iso")
    done = module.thrice(path, "file", src=local, checksum=DIGEST)
    assert done["changed"]
    assert (done["size"], done["checksum"]) == (len(CONTENT), DIGEST)
    assert done["diff"] == {"before": {"path": str(path), "state": "absent"}, "after": {"path": str(path), "state": "file", "size": len(CONTENT)}}
    assert on_disk(site, path).read_bytes() == CONTENT
    assert names(site, folder, deadline) == ["iso", "iso/new", "iso/new/debian.iso"]


@pytest.mark.parametrize("there", [b"other", b"x" * len(CONTENT)])
def test_a_file_that_differs_is_replaced(module: Module, site: Site, folder: DatastorePath, local: Path, there: bytes) -> None:
    path = put(site, folder.join("debian.iso"), there)
    assert module.thrice(path, "file", src=local)["changed"]
    assert on_disk(site, path).read_bytes() == CONTENT


def test_the_size_is_enough_where_that_is_asked_for(module: Module, site: Site, folder: DatastorePath, local: Path, vcenter: VCenter) -> None:
    path = put(site, folder.join("debian.iso"), b"x" * len(CONTENT))
    vcenter.forget_calls()
    assert not module(path, "file", src=local, compare="size")["changed"]
    assert vcenter.calls()["GET /folder"] == 0


def test_a_local_file_that_is_not_the_expected_one_is_not_sent(module: Module, folder: DatastorePath, local: Path, vcenter: VCenter) -> None:
    with never_called(vcenter), pytest.raises(errors.ChecksumMismatch):
        module(folder.join("x"), "file", src=local, checksum="0" * 64)


def test_a_local_file_that_changes_while_it_is_sent_is_not_put_in_place(
    module: Module, site: Site, folder: DatastorePath, local: Path, deadline: Deadline, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Transfer.upload

    def upload(transfer: Transfer, *arguments: Any, **options: Any) -> Transferred:
        sent = whole(transfer, *arguments, **options)
        local.write_bytes(b"x" * len(CONTENT))
        return sent

    monkeypatch.setattr(Transfer, "upload", upload)
    for checksum in (None, DIGEST):
        local.write_bytes(CONTENT)
        with pytest.raises(errors.ChecksumMismatch, match="changed while it was sent"):
            module(folder.join("x"), "file", src=local, checksum=checksum)
    assert names(site, folder, deadline) == []


def test_a_local_file_that_is_not_there_is_told(module: Module, folder: DatastorePath, tmp_path: Path) -> None:
    for src in (tmp_path / "missing", tmp_path):
        with pytest.raises(errors.InvalidSpec, match="src: "):
            module(folder.join("x"), "file", src=src)


def test_a_folder_or_a_file_in_the_way_is_told(module: Module, site: Site, folder: DatastorePath, local: Path, vcenter: VCenter) -> None:
    put(site, folder.join("file"), b"x")
    with never_called(vcenter):
        for check_mode in (True, False):
            with pytest.raises(FileExists, match="a folder has this name"):
                module(folder, "file", src=local, check_mode=check_mode)
            with pytest.raises(FileExists, match="is a file"):
                module(folder.join("file/x"), "file", src=local, check_mode=check_mode)
            with pytest.raises(FileExists, match="a file has this name"):
                module(folder.join("file"), "directory", check_mode=check_mode)


def test_a_virtual_disk_is_replaced_by_a_file_only_by_force(
    module: Module, site: Site, folder: DatastorePath, local: Path, deadline: Deadline, vcenter: VCenter
) -> None:
    disk = folder.join("x.vmdk")
    disks.create_disk(site, disk, 1024, deadline)
    with never_called(vcenter):
        with pytest.raises(FileExists, match="a virtual disk has this name"):
            module(disk, "file", src=local)
        with pytest.raises(errors.OperationFailed, match="a part of the virtual disk"):
            module(folder.join("x-flat.vmdk"), "file", src=local)
    module(disk, "file", src=local, force=True)
    assert names(site, folder, deadline) == ["x.vmdk"]
    assert module.thrice(disk, "absent")["changed"]


# -- directory and absent


def test_a_folder_is_made_and_removed(module: Module, site: Site, folder: DatastorePath, deadline: Deadline) -> None:
    path = folder.join("a/b")
    assert module.thrice(path, "directory")["diff"]["after"] == {"path": str(path), "state": "directory"}
    assert not module(DatastorePath("LocalDS_0"), "directory")["changed"]
    assert module.thrice(path, "absent")["diff"]["after"] == {"path": str(path), "state": "absent"}
    assert names(site, folder, deadline) == ["a"]


def test_a_folder_with_something_in_it_is_removed_only_as_a_whole(module: Module, site: Site, folder: DatastorePath, vcenter: VCenter) -> None:
    put(site, folder.join("a/b/x"), b"x")
    with never_called(vcenter), pytest.raises(NotEmpty, match="not empty: b"):
        module(folder.join("a"), "absent")
    assert module.thrice(folder.join("a"), "absent", recurse=True)["changed"]


def test_the_files_of_a_machine_are_not_taken_from_it(module: Module, local: Path, vcenter: VCenter, site: Site) -> None:
    machine = DatastorePath("LocalDS_0", ("DC0_C0_RP0_VM0",))
    with never_called(vcenter):
        with pytest.raises(InUse, match="DC0_C0_RP0_VM0 uses"):
            module(machine, "absent", recurse=True)
        for path in (machine.join("disk1.vmdk"), machine.join("DC0_C0_RP0_VM0.vmx")):
            with pytest.raises(InUse, match="DC0_C0_RP0_VM0 uses"):
                module(path, "absent")
            with pytest.raises(InUse, match="DC0_C0_RP0_VM0 uses"):
                module(DatastorePath("LocalDS_0", ("elsewhere",)), "moved", src=path)
        with pytest.raises(InUse, match="DC0_C0_RP0_VM0 uses"):
            module(machine.join("DC0_C0_RP0_VM0.vmx"), "file", src=local)
        with pytest.raises(InUse):
            module(DatastorePath("LocalDS_0", ("elsewhere",)), "moved", src=machine)


def test_a_disk_is_removed_with_its_extent_and_never_its_extent_alone(
    module: Module, site: Site, folder: DatastorePath, deadline: Deadline, vcenter: VCenter
) -> None:
    disks.create_disk(site, folder.join("x.vmdk"), 1024, deadline)
    extent = folder.join("x-flat.vmdk")
    with never_called(vcenter):
        with pytest.raises(errors.OperationFailed, match=r"x\.vmdk"):
            module(extent, "absent")
        for state in ("moved", "copied"):
            with pytest.raises(errors.OperationFailed, match=r"x\.vmdk"):
                module(folder.join("y.vmdk"), state, src=extent)
    assert module.thrice(folder.join("x.vmdk"), "absent")["diff"]["before"]["state"] == "disk"
    assert names(site, folder, deadline) == []


def test_what_is_left_of_a_disk_can_be_removed(module: Module, site: Site, folder: DatastorePath, deadline: Deadline) -> None:
    disks.create_disk(site, folder.join("x.vmdk"), 1024, deadline)
    on_disk(site, folder.join("x-flat.vmdk")).unlink()
    assert module.thrice(folder.join("x.vmdk"), "absent")["changed"]
    put(site, folder.join("y-flat.vmdk"), b"x")
    assert module.thrice(folder.join("y-flat.vmdk"), "absent", force=True)["changed"]
    assert names(site, folder, deadline) == []


# -- copied and moved


def test_a_file_is_copied_and_moved(module: Module, site: Site, folder: DatastorePath, deadline: Deadline) -> None:
    source = put(site, folder.join("x.iso"), CONTENT)
    assert module.thrice(folder.join("new/y.iso"), "copied", src=source)["changed"]
    assert module.thrice(folder.join("z.iso"), "moved", src=folder.join("new/y.iso"))["changed"]
    assert names(site, folder, deadline) == ["new", "x.iso", "z.iso"]
    assert on_disk(site, folder.join("z.iso")).read_bytes() == CONTENT


def test_what_is_there_already_is_replaced_only_by_force(module: Module, site: Site, folder: DatastorePath, deadline: Deadline, vcenter: VCenter) -> None:
    source, target = put(site, folder.join("x"), b"new"), put(site, folder.join("y"), b"old")
    with never_called(vcenter):
        for state in ("copied", "moved"):
            with pytest.raises(FileExists, match="force: true"):
                module(target, state, src=source)
    assert module.thrice(target, "copied", src=source, force=True)["changed"]
    assert on_disk(site, target).read_bytes() == b"new"
    put(site, source, b"newer")
    assert module.thrice(target, "moved", src=source, force=True)["changed"]
    assert on_disk(site, target).read_bytes() == b"newer"
    assert names(site, folder, deadline) == ["y"]


def test_nothing_to_copy_or_to_move_is_told(module: Module, folder: DatastorePath, vcenter: VCenter, site: Site) -> None:
    put(site, folder.join("there"), b"x")
    with never_called(vcenter):
        for state in ("copied", "moved"):
            with pytest.raises(FileMissing, match="there is nothing to"):
                module(folder.join("y"), state, src=folder.join("x"))
        with pytest.raises(FileMissing):
            module(folder.join("there"), "copied", src=folder.join("x"))
        assert not module(folder.join("there"), "moved", src=folder.join("x"))["changed"]
        assert not module(folder.join("there"), "copied", src=folder.join("there"))["changed"]
        assert not module(folder.join("there"), "moved", src=folder.join("there"))["changed"]


def test_a_disk_is_copied_and_moved_as_a_disk_across_datacenters(module: Module, site: Site, other: Site, folder: DatastorePath, deadline: Deadline) -> None:
    there = DatastorePath(other.inventory.datastores()[0].name, folder.parts)
    disks.create_disk(site, folder.join("x.vmdk"), 4096, deadline)
    assert module.thrice(there.join("deep/y.vmdk"), "copied", src=folder.join("x.vmdk"), datacenter="DC1", src_datacenter="DC0")["changed"]
    assert names(other, there, deadline) == ["deep", "deep/y-flat.vmdk", "deep/y.vmdk"]
    assert module.thrice(folder.join("z.vmdk"), "moved", src=there.join("deep/y.vmdk"), src_datacenter="DC1")["diff"]["after"] == {
        "path": {"path": str(folder.join("z.vmdk")), "state": "disk", "size": on_disk(site, folder.join("z.vmdk")).stat().st_size},
        "src": {"path": str(there.join("deep/y.vmdk")), "state": "absent"},
    }
    assert names(site, folder, deadline) == ["x-flat.vmdk", "x.vmdk", "z-flat.vmdk", "z.vmdk"]
    assert delete_file(other, there, deadline)


def test_another_disk_is_replaced_only_by_force(module: Module, site: Site, folder: DatastorePath, deadline: Deadline) -> None:
    disks.create_disk(site, folder.join("x.vmdk"), 4096, deadline)
    disks.create_disk(site, folder.join("y.vmdk"), 1024, deadline)
    with pytest.raises(FileExists):
        module(folder.join("y.vmdk"), "copied", src=folder.join("x.vmdk"))
    put(site, folder.join("f.vmdk"), b"KDMV no descriptor")
    with pytest.raises(FileExists, match="no virtual disk"):
        module(folder.join("f.vmdk"), "copied", src=folder.join("x.vmdk"), force=True)
    assert module.thrice(folder.join("y.vmdk"), "copied", src=folder.join("x.vmdk"), force=True)["changed"]
    assert names(site, folder, deadline) == ["f.vmdk", "x-flat.vmdk", "x.vmdk", "y-flat.vmdk", "y.vmdk"]


def test_a_folder_is_copied_with_its_disks_and_moved(module: Module, site: Site, other: Site, folder: DatastorePath, deadline: Deadline) -> None:
    make_directory(site, folder.join("a/empty"), deadline)
    put(site, folder.join("a/b/notes"), b"x")
    disks.create_disk(site, folder.join("a/x.vmdk"), 1024, deadline)
    inside = ["b", "b/notes", "empty", "x-flat.vmdk", "x.vmdk"]
    with pytest.raises(NotEmpty):
        module(folder.join("c"), "copied", src=folder.join("a"))
    assert module.thrice(folder.join("c"), "copied", src=folder.join("a"), recurse=True)["changed"]
    assert names(site, folder.join("c"), deadline) == inside
    assert module.thrice(folder.join("d"), "moved", src=folder.join("c"))["changed"]
    there = DatastorePath(other.inventory.datastores()[0].name, folder.parts)
    assert module.thrice(there, "moved", src=folder.join("d"), datacenter="DC1", src_datacenter="DC0")["changed"]
    assert names(other, there, deadline) == inside
    assert "d" not in names(site, folder, deadline)
    assert delete_file(other, there, deadline)


def test_a_folder_does_not_go_into_itself_nor_onto_another(module: Module, site: Site, folder: DatastorePath, deadline: Deadline, vcenter: VCenter) -> None:
    put(site, folder.join("a/x"), b"x")
    put(site, folder.join("b/y"), b"y")
    with never_called(vcenter):
        with pytest.raises(errors.InvalidSpec, match="within the other"):
            module(folder.join("a/c"), "moved", src=folder.join("a"))
        for state in ("moved", "copied"):
            with pytest.raises(FileExists, match="a folder is there already"):
                module(folder.join("b"), state, src=folder.join("a"), recurse=True, force=True)
            with pytest.raises(FileExists, match="with the last name"):
                module(folder.join("b"), state, src=folder.join("a/x"), force=True)


# -- downloaded and stat


def test_a_file_is_downloaded(module: Module, site: Site, folder: DatastorePath, tmp_path: Path) -> None:
    path = put(site, folder.join("x.iso"), CONTENT)
    done = module.thrice(path, "downloaded", src=tmp_path, checksum=DIGEST, mode="0600")
    assert (done["src"], done["checksum"], done["size"]) == (str(tmp_path / "x.iso"), DIGEST, len(CONTENT))
    assert (tmp_path / "x.iso").read_bytes() == CONTENT
    assert (tmp_path / "x.iso").stat().st_mode & 0o777 == 0o600
    put(site, path, b"y" * len(CONTENT))
    assert not module(path, "downloaded", src=tmp_path, compare="size", mode="0600")["changed"]
    assert module.thrice(path, "downloaded", src=tmp_path, mode="0600")["changed"]
    assert module.thrice(path, "downloaded", src=tmp_path)["actions"] == [f"set the mode of {tmp_path / 'x.iso'}"]


def test_a_download_that_cannot_be_is_told(module: Module, site: Site, folder: DatastorePath, tmp_path: Path) -> None:
    path = put(site, folder.join("x"), b"x")
    with pytest.raises(FileMissing):
        module(folder.join("y"), "downloaded", src=tmp_path)
    with pytest.raises(FileMissing, match="folder"):
        module(folder, "downloaded", src=tmp_path)
    with pytest.raises(errors.InvalidSpec, match="does not exist"):
        module(path, "downloaded", src=tmp_path / "missing/x")
    with pytest.raises(errors.ChecksumMismatch):
        module(path, "downloaded", src=tmp_path, checksum="0" * 64)
    assert os.listdir(tmp_path) == []


def test_a_look_tells_what_is_there(module: Module, site: Site, folder: DatastorePath, deadline: Deadline, vcenter: VCenter) -> None:
    put(site, folder.join("a/x.iso"), b"1234")
    disks.create_disk(site, folder.join("a/y.vmdk"), 4096, deadline)
    with never_called(vcenter):
        iso = module(folder.join("a/x.iso"), "stat")
        disk = module(folder.join("a/y.vmdk"), "stat")
        all_of_it = module(folder, "stat", recurse=True)
        missing = module(folder.join("b"), "stat")
        assert module("[LocalDS_0]", "stat")["stat"]["kind"] == "folder"
    assert (iso["exists"], iso["stat"]["kind"], iso["stat"]["size"], iso["changed"]) == (True, "iso", 4, False)
    assert iso["stat"]["modified"]
    assert (disk["stat"]["kind"], disk["stat"]["capacity"], disk["stat"]["disk_type"]) == ("disk", 4096 * 1024, "vmfs")
    assert disk["stat"]["uuid"]
    assert [child["path"].rpartition("/")[2] for child in all_of_it["stat"]["children"]] == ["a", "x.iso", "y-flat.vmdk", "y.vmdk"]
    assert not missing["exists"]
    assert "stat" not in missing


# -- bad input, faults, runs that end halfway


def test_a_datastore_that_is_not_there_or_not_the_only_one_is_told(module: Module, vcenter: VCenter) -> None:
    with never_called(vcenter):
        with pytest.raises(errors.NotFound, match=r"is it .*LocalDS_0"):
            module("[LocalDS_O] x", "directory")
        with pytest.raises(errors.VirtError, match="DC0, DC1"):
            module("[LocalDS_0] x", "directory", datacenter="")


@pytest.mark.parametrize(("mode", "state"), [("inMaintenance", "directory"), ("enteringMaintenance", "absent")])
def test_a_datastore_in_maintenance_is_not_written_to(
    module: Module, site: Site, vcenter: VCenter, monkeypatch: pytest.MonkeyPatch, mode: str, state: str
) -> None:
    # The lab's vCenter has no maintenance of datastores.
    entry = site.datastore(DatastorePath("LocalDS_0"))
    properties = {**entry.properties, "summary.maintenanceMode": mode}
    monkeypatch.setattr(Site, "datastore", lambda _site, _path: replace(entry, properties=properties))
    with never_called(vcenter), pytest.raises(DatastoreUnavailable, match=mode):
        module("[LocalDS_0] x", state)
    assert module("[LocalDS_0] x", "stat")["exists"] is False
    properties["summary.accessible"] = False
    with pytest.raises(DatastoreUnavailable, match="no host has access"):
        module("[LocalDS_0] x", "stat")


@pytest.mark.parametrize(("fault", "error"), [("FileLocked", errors.Busy), ("NoDiskSpace", errors.InsufficientResources), ("NoPermission", PermissionDenied)])
def test_a_fault_at_each_step_leaves_what_was_there(
    module: Module, site: Site, folder: DatastorePath, local: Path, deadline: Deadline, vcenter: VCenter, fault: str, error: type[errors.VirtError]
) -> None:
    put(site, folder.join("x"), b"before")
    disks.create_disk(site, folder.join("d.vmdk"), 1024, deadline)
    before = names(site, folder, deadline)
    acts: list[tuple[str, Callable[[], Result]]] = [
        ("MoveDatastoreFile_Task", lambda: module(folder.join("x"), "file", src=local)),
        ("MoveDatastoreFile_Task", lambda: module(folder.join("y"), "copied", src=folder.join("x"))),
        ("CopyDatastoreFile_Task", lambda: module(folder.join("y"), "copied", src=folder.join("x"))),
        ("MoveDatastoreFile_Task", lambda: module(folder.join("y"), "moved", src=folder.join("x"))),
        ("CopyVirtualDisk_Task", lambda: module(folder.join("e.vmdk"), "copied", src=folder.join("d.vmdk"))),
        ("MoveVirtualDisk_Task", lambda: module(folder.join("e.vmdk"), "copied", src=folder.join("d.vmdk"))),
        ("MoveVirtualDisk_Task", lambda: module(folder.join("e.vmdk"), "moved", src=folder.join("d.vmdk"))),
        ("DeleteVirtualDisk_Task", lambda: module(folder.join("d.vmdk"), "absent")),
        ("DeleteDatastoreFile_Task", lambda: module(folder.join("x"), "absent")),
        ("MakeDirectory", lambda: module(folder.join("new"), "directory")),
    ]
    for method, act in acts:
        vcenter.calm()
        vcenter.fault(method, fault)
        with pytest.raises(error):
            act()
        assert names(site, folder, deadline) == before, method
    assert on_disk(site, folder.join("x")).read_bytes() == b"before"


@pytest.mark.parametrize("seed", seeds(gate=2, soak=6))
def test_a_rough_way_changes_nothing_of_what_comes_of_it(
    module: Module, site: Site, folder: DatastorePath, local: Path, deadline: Deadline, vcenter: VCenter, seed: int
) -> None:
    for number, action in enumerate(("drop-before", "drop-after", "unavailable", "truncated")):
        vcenter.chaos("*", action, rate=0.03, seed=seed * 10 + number)
    steps: list[tuple[str, str, dict[str, Any]]] = [
        ("x.iso", "file", {"src": local}),
        ("y.iso", "copied", {"src": folder.join("x.iso")}),
        ("deep/z.iso", "moved", {"src": folder.join("y.iso")}),
        ("x.iso", "absent", {}),
    ]
    for name, state, options in steps:
        for _run in range(3):
            try:
                module(folder.join(name), state, **options)
                break
            except (errors.ConnectionFailed, errors.TransferFailed, errors.MaybeApplied):
                continue
        else:
            pytest.fail(f"{state} does not come through")
    vcenter.calm()
    assert names(site, folder, deadline) == ["deep", "deep/z.iso"]
    assert on_disk(site, folder.join("deep/z.iso")).read_bytes() == CONTENT


def test_an_upload_to_a_full_datastore_leaves_what_was_there(
    module: Module, site: Site, folder: DatastorePath, local: Path, deadline: Deadline, vcenter: VCenter
) -> None:
    put(site, folder.join("x"), b"before")
    vcenter.chaos("PUT /folder", "full")
    with pytest.raises(errors.InsufficientResources):
        module(folder.join("x"), "file", src=local)
    assert names(site, folder, deadline) == ["x"]
    assert on_disk(site, folder.join("x")).read_bytes() == b"before"


def test_two_that_upload_the_same_at_once_both_succeed(
    vcenter: VCenter, stats: Stats, site: Site, folder: DatastorePath, local: Path, deadline: Deadline
) -> None:
    def upload(_number: int) -> Result:
        with vcenter.vim() as vim:
            return Module(vim, stats, vcenter)(folder.join("x"), "file", src=local)

    outcomes = together(4, upload)
    assert all(isinstance(outcome, dict) for outcome in outcomes), outcomes
    assert names(site, folder, deadline) == ["x"]
    assert on_disk(site, folder.join("x")).read_bytes() == CONTENT


def test_what_a_killed_run_left_is_removed_by_the_next_one(
    module: Module, site: Site, folder: DatastorePath, tmp_path: Path, deadline: Deadline, vcenter: VCenter
) -> None:
    large = tmp_path / "large"
    with open(large, "wb") as stream:
        stream.truncate(400 * 1024 * 1024)
    script = f"""
import sys
from pathlib import Path
from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import Site
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Inventory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states.temporary import temporary
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.transfer import Transfer
from ansible_collections.poolwright.virt.tests.contract.labs.vcenter import VCenter
lab = VCenter(Path({str(vcenter.folder)!r})); lab.attach()
vim = lab.vim()
site = Site(vim, Inventory(vim, "DC0"))
Transfer(site).upload(temporary(DatastorePath.parse({str(folder.join("x.iso"))!r})), {str(large)!r}, Deadline.after(vim.clock, 60.0),
    on_progress=lambda done, total: print(done, flush=True))
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]}
    ) as run:
        assert run.stdout is not None
        for _number in range(20):
            assert run.stdout.readline()
        run.kill()
    left = names(site, folder, deadline)
    assert len(left) == 1
    assert "poolwright-" in left[0]
    local = tmp_path / "small"
    local.write_bytes(b"content")
    done = module.thrice(folder.join("x.iso"), "file", src=local)
    assert any("left unfinished" in action for action in done["actions"])
    assert names(site, folder, deadline) == ["x.iso"]


def test_what_a_living_run_works_on_is_left_alone(module: Module, site: Site, folder: DatastorePath, local: Path, deadline: Deadline) -> None:
    living = put(site, temporary(folder.join("x.iso")), b"x")
    module.thrice(folder.join("x.iso"), "file", src=local)
    assert sorted(names(site, folder, deadline)) == sorted(["x.iso", living.basename])


def test_a_run_that_is_to_stop_begins_no_step(vim: VIM, stats: Stats, folder: DatastorePath, vcenter: VCenter) -> None:
    cancel = threading.Event()
    cancel.set()
    request = parse({**DEFAULTS, "path": str(folder.join("x")), "state": "directory"})
    before = changes(vcenter)
    with pytest.raises(errors.Cancelled):
        bring_about(vim, request, "DC0", check_mode=False, cancel=cancel, stats=stats)
    assert changes(vcenter) == before
