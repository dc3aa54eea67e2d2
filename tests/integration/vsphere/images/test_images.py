# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images on a datastore: every way to obtain one, with every way to prepare it and to use it, on the lab's vCenter."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils import errors
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import disks, files
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import FileExists
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import Site
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images import use
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.cache import DatastoreImageCache
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.image import VMwareImage
from ansible_collections.poolwright.virt.tests.contract.labs.vcenter import VCenter
from ansible_collections.poolwright.virt.tests.integration.vsphere.datastores.staging import CHANGING
from ansible_collections.poolwright.virt.tests.integration.vsphere.images.staging import DISK_BYTES, DISK_SHA256, MIB, OVF, Shelf, ova, qemu_img
from ansible_collections.poolwright.virt.tests.unit.images.fixtures import WebServer

# What is in the file, what a user says of it, and how its bits reach the datastore.
FORMS = [
    ("raw", {}, "streamOptimized"),
    ("raw", {"disk_type": "preallocated"}, "preallocated"),
    ("raw", {"disk_type": "thin"}, "thin"),
    ("flat", {"disk_type": "eagerZeroedThick"}, "eagerZeroedThick"),
    ("monolithicSparse", {}, "sparse"),
    ("monolithicSparse", {"disk_type": "sparse"}, "sparse"),
    ("streamOptimized", {}, "streamOptimized"),
    ("streamOptimized", {"disk_type": "streamOptimized", "adapter_type": "ide"}, "streamOptimized"),
    ("qcow2", {}, "streamOptimized"),
    ("vhdx", {}, "streamOptimized"),
    ("ova", {}, "streamOptimized"),
    ("ovf", {}, "streamOptimized"),
]
NOTHING_SENT = ("PUT /folder", "POST /nfc", "ImportVApp", "CreateVirtualDisk_Task", "CopyVirtualDisk_Task")


def sha256(path: Path) -> str:
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(("form", "said", "disk_type"), FORMS, ids=str)
def test_every_form_becomes_the_same_disk(shelf: Shelf, images: dict[str, Path], form: str, said: dict[str, Any], disk_type: str) -> None:
    disk = shelf.ensure(VMwareImage(str(images[form]), **said))
    assert (disk.capacity_bytes, disk.disk_type, disk.kind) == (len(DISK_BYTES), disk_type, "disk")
    assert shelf.content(disk) == DISK_SHA256
    assert shelf.leftovers() == []


@pytest.mark.parametrize("form", ["streamOptimized", "qcow2", "ova"])
def test_from_a_web_server_with_a_checksum(shelf: Shelf, images: dict[str, Path], web: WebServer, form: str) -> None:
    url = web.add(f"/{images[form].name}", images[form].read_bytes())
    image = VMwareImage(url, sha256(images[form]))
    disk = shelf.ensure(image)
    assert shelf.content(disk) == DISK_SHA256
    assert disk.digest == sha256(images[form])
    assert shelf.ensure(image) == disk
    assert web.downloads(f"/{images[form].name}") == 1


def test_an_ovf_package_from_a_web_server(shelf: Shelf, images: dict[str, Path], web: WebServer) -> None:
    url = web.add("/vm/machine.ovf", images["ovf"].read_bytes(), etag='"1"')
    web.add("/vm/streamOptimized.vmdk", images["streamOptimized"].read_bytes())
    disk = shelf.ensure(VMwareImage(url))
    assert shelf.content(disk) == DISK_SHA256
    assert disk.adapter_type == "paraVirtual"


def test_an_iso_image_is_kept_as_it_is(shelf: Shelf, images: dict[str, Path]) -> None:
    disk = shelf.ensure(VMwareImage(str(images["iso"])))
    assert (disk.kind, disk.path.suffix, disk.capacity_bytes) == ("iso", ".iso", images["iso"].stat().st_size)
    assert "sha256:" + shelf.content(disk) == sha256(images["iso"])


@pytest.mark.parametrize("datastore", ["LocalDS_0", "LocalDS_1"])
def test_a_disk_that_vsphere_has_is_copied_by_vcenter(shelf: Shelf, images: dict[str, Path], site: Site, vcenter: VCenter, datastore: str) -> None:
    template = shelf.ensure(VMwareImage(str(images["raw"]), disk_type="thin"))
    vcenter.forget_calls()
    image = VMwareImage(str(template.path))
    disk = shelf.cache.ensure(image, site.inventory.datastore(datastore), shelf.deadline())
    assert disk.path.datastore == datastore
    assert disk.path != template.path
    assert shelf.content(disk) == DISK_SHA256
    # The record of what is known of it, and nothing of the disk, went through the controller.
    assert vcenter.calls()["PUT /folder"] == 1
    assert shelf.cache.ensure(image, site.inventory.datastore(datastore), shelf.deadline()) == disk
    assert vcenter.calls()["CopyVirtualDisk_Task"] == 1


@pytest.mark.parametrize("form", ["monolithicSparse", "streamOptimized", "qcow2", "ova", "iso"])
def test_what_lies_on_a_datastore_in_another_form_is_converted(shelf: Shelf, images: dict[str, Path], form: str) -> None:
    place = shelf.cache.root(shelf.datastore).join("uploads")
    files.make_directory(shelf.cache.site, place, shelf.deadline())
    shelf.transfer.upload(place.join(images[form].name), images[form], shelf.deadline())
    image = VMwareImage(str(place.join(images[form].name)))
    disk = shelf.ensure(image)
    assert shelf.content(disk) == (sha256(images[form])[7:] if form == "iso" else DISK_SHA256)
    assert shelf.ensure(image) == disk
    assert shelf.leftovers() == []


def test_an_image_that_is_here_costs_a_record_of_its_use(
    shelf: Shelf, images: dict[str, Path], vcenter: VCenter, new_cache: Callable[[], DatastoreImageCache]
) -> None:
    image = VMwareImage(str(images["streamOptimized"]))
    disk = shelf.ensure(image)
    again = new_cache()
    vcenter.forget_calls()
    assert again.ensure(image, shelf.datastore, shelf.deadline()) == disk
    calls = vcenter.calls()
    changing = {name: calls[name] for name in (*CHANGING, "ImportVApp", "POST /nfc") if calls[name]}
    assert changing.pop("MakeDirectory", 0) == 1
    assert set(changing) <= {"DeleteDatastoreFile_Task"}
    vcenter.forget_calls()
    assert again.lookup(image, shelf.datastore, shelf.deadline()) is not None
    assert not [name for name in CHANGING if vcenter.calls()[name]]


def test_a_url_without_a_checksum_is_brought_again_when_it_changed(
    shelf: Shelf, images: dict[str, Path], web: WebServer, new_cache: Callable[[], DatastoreImageCache], tmp_path: Path
) -> None:
    url = web.add("/d.vmdk", images["streamOptimized"].read_bytes(), etag='"1"')
    first = shelf.ensure(VMwareImage(url))
    assert new_cache().ensure(VMwareImage(url), shelf.datastore, shelf.deadline()) == first
    assert web.downloads("/d.vmdk") == 1
    other = tmp_path / "other.raw"
    other.write_bytes(bytes(MIB))
    qemu_img("convert", "-O", "vmdk", "-o", "subformat=streamOptimized", other, tmp_path / "other.vmdk")
    web.add("/d.vmdk", (tmp_path / "other.vmdk").read_bytes(), etag='"2"')
    second = new_cache().ensure(VMwareImage(url), shelf.datastore, shelf.deadline())
    assert second.capacity_bytes == MIB
    assert second.path != first.path


def test_two_sources_of_the_same_bytes_are_one_image(shelf: Shelf, images: dict[str, Path], vcenter: VCenter, tmp_path: Path) -> None:
    copy = tmp_path / "copy.vmdk"
    copy.write_bytes(images["streamOptimized"].read_bytes())
    assert shelf.ensure(VMwareImage(str(images["streamOptimized"]))) == shelf.ensure(VMwareImage(str(copy)))
    assert vcenter.calls()["POST /nfc"] == 1


# -- use


def test_a_sized_base_is_the_same_disk_grown(shelf: Shelf, images: dict[str, Path], site: Site, vcenter: VCenter) -> None:
    image = VMwareImage(str(images["qcow2"]))
    base = shelf.ensure(image, size_gb=1)
    assert base.capacity_bytes == 1024 * MIB
    assert base.path.basename.endswith(".1.vmdk")
    descriptor = shelf.transfer.read(base.path, shelf.deadline()).decode()
    assert f"RW {1024 * MIB // 512} " in descriptor
    vcenter.forget_calls()
    assert shelf.ensure(image, size_gb=1) == base
    assert vcenter.calls()["CopyVirtualDisk_Task"] == 0
    assert shelf.ensure(image, size_gb=len(DISK_BYTES) / 1024**3).path.basename.count(".") == 1
    assert shelf.leftovers() == []


def test_nobody_sees_a_base_that_is_not_grown_yet(shelf: Shelf, images: dict[str, Path], vcenter: VCenter) -> None:
    vcenter.fault("ExtendVirtualDisk_Task", "NoDiskSpace")
    with pytest.raises(errors.InsufficientResources):
        shelf.ensure(VMwareImage(str(images["qcow2"])), size_gb=1)
    assert not [name for name in shelf.files() if name.endswith(".1.vmdk")]
    assert shelf.leftovers() == []


def test_a_full_copy_is_grown_to_its_size(shelf: Shelf, images: dict[str, Path], site: Site) -> None:
    disk = shelf.ensure(VMwareImage(str(images["streamOptimized"])))
    folder = shelf.cache.root(shelf.datastore).join("machine")
    files.make_directory(site, folder, shelf.deadline())
    made = use.full_copy(site, disk, folder.join("web-1.vmdk"), shelf.deadline(), capacity_bytes=1024 * MIB)
    assert (made.capacity_bytes, made.path) == (1024 * MIB, folder.join("web-1.vmdk"))
    assert shelf.content(made) == DISK_SHA256
    with pytest.raises(FileExists):
        use.full_copy(site, disk, folder.join("web-1.vmdk"), shelf.deadline())
    assert shelf.content(made) == DISK_SHA256
    with pytest.raises(errors.ImageRefused, match="cannot be made from an image of"):
        use.full_copy(site, disk, folder.join("web-2.vmdk"), shelf.deadline(), capacity_bytes=MIB)
    disks.delete_disk(site, made.path, shelf.deadline())


def test_direct_use_copies_nothing(shelf: Shelf, images: dict[str, Path], site: Site, vcenter: VCenter) -> None:
    iso = shelf.ensure(VMwareImage(str(images["iso"])))
    disk = shelf.ensure(VMwareImage(str(images["raw"]), disk_type="thin"))
    vcenter.forget_calls()
    assert use.direct(site, shelf.transfer, VMwareImage(str(iso.path)), shelf.deadline()).path == iso.path
    with pytest.raises(errors.ImageRefused, match="no machine can use it where it lies"):
        use.direct(site, shelf.transfer, VMwareImage(str(disk.path)), shelf.deadline())
    assert not [name for name in CHANGING if vcenter.calls()[name]]
    with pytest.raises(errors.NotFound):
        use.direct(site, shelf.transfer, VMwareImage("[LocalDS_0] nowhere/x.iso"), shelf.deadline())


# -- what is refused, before anything is sent


def broken(images: dict[str, Path], folder: Path) -> dict[str, tuple[Path, dict[str, Any], str]]:
    stream, sparse = images["streamOptimized"].read_bytes(), images["monolithicSparse"].read_bytes()
    ovf = images["ovf"].read_bytes()

    def write(name: str, content: bytes) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    elsewhere = ovf.replace(b"streamOptimized.vmdk", b"gone.vmdk")
    outside = ovf.replace(b"streamOptimized.vmdk", b"../../etc/shadow")
    return {
        "another disk type": (images["monolithicSparse"], {"disk_type": "streamOptimized"}, "its header says sparse"),
        "a header where none should be": (images["streamOptimized"], {"disk_type": "thin"}, "sparse or streamOptimized VMDK"),
        "qcow2 said to be raw": (images["qcow2"], {"format": "raw", "disk_type": "thin"}, "its bytes are of qcow2"),
        "a descriptor alone": (images["monolithicFlat"], {}, "its data is in other files"),
        "an extent elsewhere": (
            write("outside.vmdk", sparse.replace(b'"monolithicSparse.vmdk"', b'"/etc/shadow_________"')),
            {},
            "refers to another file",
        ),
        "a parent": (write("delta.vmdk", sparse.replace(b"parentCID=ffffffff", b"parentCID=12345678")), {}, "delta of another disk"),
        "cut off": (write("cut.vmdk", stream[: len(stream) // 2]), {}, "cut off"),
        "absurdly large": (write("huge.vmdk", stream[:12] + (2**52).to_bytes(8, "little") + stream[20:]), {}, "more than the"),
        "no ISO": (write("no.iso", bytes(MIB)), {}, "said to be an ISO image"),
        "an OVA without its disk": (write("lacks.ova", ova({"a.ovf": elsewhere})), {}, "lacks gone.vmdk"),
        "an OVA cut off": (write("cut.ova", images["ova"].read_bytes()[:-200_000]), {}, "OVA|cut off"),
        "an OVA that was changed": (
            write("changed.ova", images["ova"].read_bytes().replace(stream[-5000:-4000], bytes(1000))),
            {},
            "where the manifest says",
        ),
        "an OVF without its disk": (write("alone.ovf", elsewhere), {}, "lacks gone.vmdk"),
        "an OVF that leads away": (write("away.ovf", outside), {}, "no plain file beside"),
        "an OVF with a document type": (write("type.ovf", b"<!DOCTYPE x [<!ENTITY a 'b'>]>" + ovf), {}, "document type"),
        "another size than the descriptor's": (write("size.ova", ova({"a.ovf": ovf, "streamOptimized.vmdk": stream + bytes(512)})), {}, "bytes where the"),
    }


BROKEN = [
    "another disk type",
    "a header where none should be",
    "qcow2 said to be raw",
    "a descriptor alone",
    "an extent elsewhere",
    "a parent",
    "cut off",
    "absurdly large",
    "no ISO",
    "an OVA without its disk",
    "an OVA cut off",
    "an OVA that was changed",
    "an OVF without its disk",
    "an OVF that leads away",
    "an OVF with a document type",
    "another size than the descriptor's",
]


@pytest.mark.parametrize("case", BROKEN)
def test_it_is_refused_before_anything_is_sent(shelf: Shelf, images: dict[str, Path], vcenter: VCenter, tmp_path: Path, case: str) -> None:
    path, said, why = broken(images, tmp_path)[case]
    with pytest.raises(errors.ImageRefused, match=why):
        shelf.ensure(VMwareImage(str(path), **said))
    assert not [name for name in NOTHING_SENT if vcenter.calls()[name]]
    assert shelf.files() == []
    assert shelf.leftovers() == []


def test_a_wrong_checksum(shelf: Shelf, images: dict[str, Path], vcenter: VCenter) -> None:
    with pytest.raises(errors.ChecksumMismatch):
        shelf.ensure(VMwareImage(str(images["qcow2"]), "sha256:" + "0" * 64))
    assert not [name for name in NOTHING_SENT if vcenter.calls()[name]]
    assert shelf.files() == []


@pytest.mark.parametrize("form", ["streamOptimized", "qcow2", "monolithicSparse", "ova"])
def test_an_image_larger_than_its_disk_by_its_virtual_size(shelf: Shelf, vcenter: VCenter, tmp_path: Path, form: str) -> None:
    raw = tmp_path / "large.raw"
    with raw.open("wb") as stream:
        stream.truncate(3 * 1024 * MIB)
    path = tmp_path / ("large.qcow2" if form == "qcow2" else "large.vmdk")
    subformat = [] if form == "qcow2" else ["-o", "subformat=" + ("monolithicSparse" if form == "monolithicSparse" else "streamOptimized")]
    qemu_img("convert", "-O", "qcow2" if form == "qcow2" else "vmdk", *subformat, raw, path)
    if form == "ova":
        said = OVF.format(href="large.vmdk", size=path.stat().st_size, capacity=3 * 1024 * MIB)
        content = ova({"large.ovf": said.encode(), "large.vmdk": path.read_bytes()})
        path = tmp_path / "large.ova"
        path.write_bytes(content)
    assert path.stat().st_size < 8 * MIB
    with pytest.raises(errors.ImageRefused, match="give size_gb at least 3"):
        shelf.ensure(VMwareImage(str(path)), size_gb=2)
    assert not [name for name in NOTHING_SENT if vcenter.calls()[name]]
    assert shelf.leftovers() == []


def test_a_datastore_too_small(shelf: Shelf, vcenter: VCenter, tmp_path: Path) -> None:
    size = 2 * int(shelf.datastore.properties["summary.freeSpace"]) // MIB
    qemu_img("create", "-f", "vmdk", "-o", "subformat=monolithicSparse", tmp_path / "large.vmdk", f"{size}M")
    with pytest.raises(errors.InsufficientResources, match=r"has .* free"):
        shelf.ensure(VMwareImage(str(tmp_path / "large.vmdk")))
    assert not [name for name in NOTHING_SENT if vcenter.calls()[name]]


def test_a_datastore_that_no_host_writes_to(shelf: Shelf, images: dict[str, Path], site: Site) -> None:
    hosts = [found.obj for found in site.vim.get_objects("HostSystem", ["name"])]
    for host in hosts:
        site.vim.run(host, "EnterMaintenanceMode_Task", deadline=shelf.deadline(), timeout=0)
    try:
        site.inventory.forget()
        with pytest.raises(errors.NotFound, match=r"no host can write to the datastore.*maintenance"):
            shelf.ensure(VMwareImage(str(images["streamOptimized"])))
    finally:
        for host in hosts:
            site.vim.run(host, "ExitMaintenanceMode_Task", deadline=shelf.deadline(), timeout=0)
    assert shelf.leftovers() == []


def test_a_path_that_is_not_there(shelf: Shelf) -> None:
    with pytest.raises(errors.NotFound):
        shelf.ensure(VMwareImage(str(DatastorePath.of("LocalDS_0", "no", "such.vmdk"))))
    with pytest.raises(errors.NotFound):
        shelf.ensure(VMwareImage("/no/such.qcow2"))
    assert shelf.leftovers() == []
