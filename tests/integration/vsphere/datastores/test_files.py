# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files, folders and virtual disks on the lab's vCenter: what is done once, is done once, whatever becomes of the answers."""

from __future__ import annotations

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, InsufficientResources, NotFound, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import disks, files
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import FileExists, FileMissing, PermissionDenied
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import Site
from ansible_collections.poolwright.virt.tests.contract.labs.vcenter import VCenter
from ansible_collections.poolwright.virt.tests.integration.vsphere.datastores.staging import found, names, put
from ansible_collections.poolwright.virt.tests.integration.vsphere.staging import together

ODD_NAMES = ["a b", "50%41.iso", "#1?.iso", "x[1]*.iso", "Grüße-日本.iso", "a+b&c=d;e.iso", "%", "..x", "~"]


def test_a_folder_is_made_with_those_above_it_and_a_second_time_nothing_happens(site: Site, folder: DatastorePath, deadline: Deadline) -> None:
    for _time in range(2):
        files.make_directory(site, folder.join("a/b/c"), deadline)
    assert names(site, folder, deadline) == ["a", "a/b", "a/b/c"]


def test_a_folder_is_made_by_many_at_once(site: Site, folder: DatastorePath, deadline: Deadline) -> None:
    outcomes = together(6, lambda _number: files.make_directory(site, folder.join("a/b"), deadline))
    assert outcomes == [None] * 6
    assert names(site, folder, deadline) == ["a", "a/b"]


def test_a_folder_is_not_made_where_a_file_is(site: Site, folder: DatastorePath, deadline: Deadline, vcenter: VCenter) -> None:
    put(site, folder.join("a"), b"x")
    vcenter.fault("MakeDirectory", "FileAlreadyExists")
    with pytest.raises(FileExists):
        files.make_directory(site, folder.join("a"), deadline)


def test_that_a_folder_is_there_already_is_fine_where_the_server_minds(site: Site, folder: DatastorePath, deadline: Deadline, vcenter: VCenter) -> None:
    files.make_directory(site, folder.join("a"), deadline)
    vcenter.fault("MakeDirectory", "FileAlreadyExists")
    files.make_directory(site, folder.join("a"), deadline)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_name_stands_for_itself_alone(site: Site, folder: DatastorePath, deadline: Deadline, name: str) -> None:
    path = put(site, folder.join(name), b"12345")
    put(site, folder.join("x1y.iso"), b"another")
    there = files.stat(site, path, deadline)
    assert there is not None
    assert (there.path, there.size, there.is_folder) == (path, 5, False)
    files.move_file(site, path, folder.join(f"{name}-2"), deadline)
    assert files.stat(site, path, deadline) is None
    assert files.delete_file(site, folder.join(f"{name}-2"), deadline)
    assert names(site, folder, deadline) == ["x1y.iso"]


def test_a_pattern_does_not_find_what_is_named_otherwise(site: Site, folder: DatastorePath, deadline: Deadline) -> None:
    put(site, folder.join("ab.iso"), b"x")
    assert files.stat(site, folder.join("a?.iso"), deadline) is None
    assert files.stat(site, folder.join("*"), deadline) is None
    assert files.stat(site, folder.join("missing/ab.iso"), deadline) is None


def test_a_listing_tells_kinds_sizes_and_times(site: Site, folder: DatastorePath, deadline: Deadline) -> None:
    put(site, folder.join("debian.iso"), b"1234")
    put(site, folder.join("notes"), b"12")
    disks.create_disk(site, folder.join("x.vmdk"), 1024, deadline)
    files.make_directory(site, folder.join("sub"), deadline)
    listed = files.listing(site, folder, deadline)
    assert {entry.path.basename: entry.kind for entry in listed} == {
        "debian.iso": "iso",
        "notes": "file",
        "sub": "folder",
        "x.vmdk": "disk",
        "x-flat.vmdk": "extent",
    }
    assert found(listed, "debian.iso").size == 4
    assert found(listed, "debian.iso").modified is not None
    assert [entry.path.basename for entry in files.listing(site, folder, deadline, pattern="*.iso")] == ["debian.iso"]
    assert files.sub_folders(site, folder, deadline) == [folder.join("sub")]
    assert files.sub_folders(site, folder.join("missing"), deadline) == []


def test_the_root_of_a_datastore_is_a_folder_that_is_never_deleted(site: Site, deadline: Deadline) -> None:
    root = DatastorePath("LocalDS_0")
    there = files.stat(site, root, deadline)
    assert there is not None
    assert there.is_folder
    assert any(entry.path.datastore == "LocalDS_0" for entry in files.tree(site, root, deadline))
    with pytest.raises(ValueError, match="root"):
        files.delete_file(site, root, deadline)


def test_a_datastore_that_is_not_there_is_told_with_those_of_like_names(site: Site, deadline: Deadline) -> None:
    with pytest.raises(NotFound, match="LocalDS_0"):
        files.stat(site, DatastorePath.parse("[LocalDS_O] x"), deadline)


def test_deleting_tells_whether_there_was_something(site: Site, folder: DatastorePath, deadline: Deadline) -> None:
    path = put(site, folder.join("x"), b"x")
    assert files.delete_file(site, path, deadline)
    assert not files.delete_file(site, path, deadline)
    disk = folder.join("x.vmdk")
    disks.create_disk(site, disk, 1024, deadline)
    assert disks.delete_disk(site, disk, deadline)
    assert not disks.delete_disk(site, disk, deadline)
    assert names(site, folder, deadline) == []


def test_a_disk_goes_with_its_extent_across_datacenters(site: Site, other: Site, folder: DatastorePath, deadline: Deadline) -> None:
    there = DatastorePath(other.inventory.datastores()[-1].name, folder.parts)
    files.make_directory(other, there, deadline)
    disks.create_disk(site, folder.join("x.vmdk"), 2048, deadline)
    disks.copy_disk(site, folder.join("x.vmdk"), there.join("y.vmdk"), deadline, to=other)
    assert names(other, there, deadline) == ["y-flat.vmdk", "y.vmdk"]
    disks.move_disk(other, there.join("y.vmdk"), folder.join("z.vmdk"), deadline, to=site)
    assert names(other, there, deadline) == []
    assert names(site, folder, deadline) == ["x-flat.vmdk", "x.vmdk", "z-flat.vmdk", "z.vmdk"]
    assert disks.disk_uuid(site, folder.join("z.vmdk"), deadline)
    assert files.delete_file(other, there, deadline)


def test_a_file_that_is_there_is_replaced_only_by_force(site: Site, folder: DatastorePath, deadline: Deadline) -> None:
    one, two = put(site, folder.join("one"), b"1"), put(site, folder.join("two"), b"22")
    for act in (files.copy_file, files.move_file):
        with pytest.raises(FileExists):
            act(site, one, two, deadline)
        act(site, one, two, deadline, force=True)
        there = files.stat(site, two, deadline)
        assert there is not None
        assert there.size == 1
    assert names(site, folder, deadline) == ["two"]


@pytest.mark.parametrize("loss", ["drop-before", "drop-after", "truncated"])
@pytest.mark.parametrize("times", [1, 2])
def test_what_was_done_is_not_done_again_when_its_answer_is_lost(
    site: Site, folder: DatastorePath, deadline: Deadline, vcenter: VCenter, loss: str, times: int
) -> None:
    source = put(site, folder.join("source"), b"12345")
    disk = folder.join("disk.vmdk")

    def losing(method: str) -> None:
        vcenter.calm()
        vcenter.chaos(method, loss, times=times)

    losing("MakeDirectory")
    files.make_directory(site, folder.join("made/deep"), deadline)
    losing("CopyDatastoreFile_Task")
    files.copy_file(site, source, folder.join("copy"), deadline)
    losing("MoveDatastoreFile_Task")
    files.move_file(site, folder.join("copy"), folder.join("moved"), deadline)
    losing("CopyDatastoreFile_Task")
    files.copy_file(site, source, folder.join("moved"), deadline, force=True)
    losing("CreateVirtualDisk_Task")
    disks.create_disk(site, disk, 1024, deadline)
    losing("CopyVirtualDisk_Task")
    disks.copy_disk(site, disk, folder.join("disk-2.vmdk"), deadline)
    losing("MoveVirtualDisk_Task")
    disks.move_disk(site, folder.join("disk-2.vmdk"), folder.join("disk-3.vmdk"), deadline)
    losing("ExtendVirtualDisk_Task")
    disks.extend_disk(site, disk, 2048, deadline)
    losing("DeleteVirtualDisk_Task")
    assert disks.delete_disk(site, disk, deadline)
    losing("DeleteDatastoreFile_Task")
    assert files.delete_file(site, source, deadline)
    vcenter.calm()
    assert names(site, folder, deadline) == ["disk-3-flat.vmdk", "disk-3.vmdk", "made", "made/deep", "moved"]


@pytest.mark.parametrize(
    ("fault", "error"),
    [("FileLocked", Busy), ("NoDiskSpace", InsufficientResources), ("NoPermission", PermissionDenied), ("FileNotFound", FileMissing)],
)
def test_a_refusal_is_a_typed_error_that_names_the_path(
    site: Site, folder: DatastorePath, deadline: Deadline, vcenter: VCenter, fault: str, error: type[VirtError]
) -> None:
    source = put(site, folder.join("x"), b"x")
    vcenter.fault("CopyDatastoreFile_Task", fault)
    with pytest.raises(error, match="copy"):
        files.copy_file(site, source, folder.join("copy"), deadline)
    assert names(site, folder, deadline) == ["x"]


def test_a_session_that_ends_in_between_is_renewed(site: Site, folder: DatastorePath, deadline: Deadline, vcenter: VCenter) -> None:
    source = put(site, folder.join("x"), b"x")
    vcenter.expire_sessions()
    files.copy_file(site, source, folder.join("y"), deadline)
    vcenter.expire_sessions()
    assert names(site, folder, deadline) == ["x", "y"]
