# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An image's way into the cache, disturbed: answers lost, connections cut, faults, killed processes, several at once."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils import errors
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import files
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import library
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images import layout, nfc
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.ageing import Step
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.cache import DatastoreImageCache
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.image import VMwareImage
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.settings import Settings
from ansible_collections.poolwright.virt.tests.contract.labs.vcenter import VCenter
from ansible_collections.poolwright.virt.tests.integration.vsphere.images.staging import DISK_SHA256, Shelf
from ansible_collections.poolwright.virt.tests.integration.vsphere.staging import together
from ansible_collections.poolwright.virt.tests.seeds import pairs, seeds, some
from ansible_collections.poolwright.virt.tests.unit.images.fixtures import WebServer

PROGRAM = Path(__file__).parent / "run_ensure.py"

# What is called on the way of a form, by the form.
CALLED = {
    "streamOptimized": [
        "MakeDirectory",
        "MoveDatastoreFile_Task",
        "DeleteDatastoreFile_Task",
        "ImportVApp",
        "HttpNfcLeaseProgress",
        "HttpNfcLeaseComplete",
        "POST /nfc",
        "UnregisterVM",
        "MoveVirtualDisk_Task",
        "CopyVirtualDisk_Task",
        "ExtendVirtualDisk_Task",
        "PUT /folder",
    ],
    "flat": ["CreateVirtualDisk_Task", "DeleteDatastoreFile_Task", "PUT /folder"],
    "monolithicSparse": ["CopyVirtualDisk_Task", "PUT /folder"],
}
CASES = pairs([(form, method) for form, methods in CALLED.items() for method in methods], ["drop-before", "drop-after"], 1, "lost answers to an import")


def image_of(images: dict[str, Path], form: str) -> VMwareImage:
    return VMwareImage(str(images[form]), disk_type="thin" if form == "flat" else "")


@pytest.mark.parametrize(("way", "action"), CASES, ids=str)
def test_one_lost_answer_is_made_good(shelf: Shelf, images: dict[str, Path], vcenter: VCenter, way: tuple[str, str], action: str) -> None:
    form, method = way
    vcenter.chaos(method, action, times=1)
    disk = shelf.ensure(image_of(images, form), size_gb=1)
    vcenter.calm()
    assert vcenter.calls()[method] >= 1
    assert shelf.content(disk) == DISK_SHA256
    assert f"RW {1024**3 // 512} " in shelf.transfer.read(disk.path, shelf.deadline()).decode()
    assert shelf.leftovers() == []


@pytest.mark.parametrize("method", CALLED["streamOptimized"])
def test_a_fault_leaves_nothing_and_the_next_run_brings_it(
    shelf: Shelf, images: dict[str, Path], vcenter: VCenter, new_cache: Callable[[], DatastoreImageCache], method: str
) -> None:
    image = image_of(images, "streamOptimized")
    if "/" in method:
        vcenter.chaos(method, "unavailable", times=0)
    else:
        vcenter.fault(method, "NoPermission", times=1)
    # The reporting of progress and the tidying up are not worth an error.
    with contextlib.suppress(errors.VirtError):
        shelf.ensure(image, size_gb=1)
    vcenter.calm()
    disk = new_cache().ensure(image, shelf.datastore, shelf.deadline(), size_gb=1)
    assert shelf.content(disk) == DISK_SHA256
    assert shelf.leftovers() == []


def test_a_host_that_takes_nothing_leaves_no_machine(shelf: Shelf, images: dict[str, Path], vcenter: VCenter) -> None:
    vcenter.chaos("POST /nfc", "unavailable", times=0)
    with pytest.raises(errors.TransferFailed):
        shelf.ensure(image_of(images, "streamOptimized"))
    vcenter.calm()
    assert shelf.leftovers() == []
    assert shelf.files() == []


def test_a_lease_in_error_says_why(shelf: Shelf, images: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    plain, vapp = nfc.import_spec, library().vim.vApp

    def with_a_property_that_is_refused(*arguments: Any) -> Any:
        spec = plain(*arguments)
        info = vapp.PropertyInfo(key=1, id="x", userConfigurable=False, value="a", defaultValue="b")
        spec.configSpec.vAppConfig = vapp.VAppConfigSpec(property=[vapp.PropertySpec(operation="add", info=info)])
        return spec

    monkeypatch.setattr(nfc, "import_spec", with_a_property_that_is_refused)
    with pytest.raises(errors.VirtError, match="NotUserConfigurableProperty"):
        shelf.ensure(image_of(images, "streamOptimized"))
    assert shelf.leftovers() == []


@pytest.mark.parametrize("form", ["streamOptimized", "flat"])
def test_a_session_that_ends_on_the_way(shelf: Shelf, images: dict[str, Path], vcenter: VCenter, form: str, web: WebServer) -> None:
    body = images[form].read_bytes()
    url = web.add(f"/{images[form].name}", body, stall_at=len(body) // 2)
    page = web.pages[f"/{images[form].name}"]

    def end_it() -> None:
        page.stalled.wait(600)
        vcenter.expire_sessions()
        page.go_on.set()

    image = VMwareImage(url, disk_type="thin" if form == "flat" else "")
    disk = together(2, lambda index: end_it() if index else shelf.ensure(image))[0]
    assert shelf.content(disk) == DISK_SHA256
    assert shelf.leftovers() == []


@pytest.mark.parametrize("seed", seeds(gate=1, soak=4))
@pytest.mark.parametrize("action", ["drop-before", "drop-after"])
def test_calls_dropped_at_random(
    shelf: Shelf, images: dict[str, Path], vcenter: VCenter, new_cache: Callable[[], DatastoreImageCache], action: str, seed: int
) -> None:
    image = image_of(images, "streamOptimized")
    vcenter.chaos("*", action, rate=0.1, seed=seed)
    for _run in range(2):
        with contextlib.suppress(errors.VirtError):
            new_cache().ensure(image, shelf.datastore, shelf.deadline(), size_gb=1)
    vcenter.calm()
    disk = new_cache().ensure(image, shelf.datastore, shelf.deadline(), size_gb=1)
    assert shelf.content(disk) == DISK_SHA256
    assert f"RW {1024**3 // 512} " in shelf.transfer.read(disk.path, shelf.deadline()).decode()
    assert shelf.leftovers() == []


# -- processes


def request_of(vcenter: VCenter, settings: Settings, source: object, **more: object) -> dict[str, object]:
    where = {"host": vcenter.host, "port": vcenter.port, "ca_path": vcenter.ca_path}
    return {"where": where, "user": vcenter.user, "password": vcenter.password, "settings": asdict(settings), "source": str(source), **more}


@pytest.mark.parametrize("kill_at", some(range(8, 99), 6, "kills of an import", always=(8, 98)))
def test_a_killed_run_leaves_what_the_next_one_makes_good(
    shelf: Shelf, images: dict[str, Path], vcenter: VCenter, settings: Settings, start_python: Callable[..., subprocess.Popen[str]], kill_at: int
) -> None:
    process = start_python(PROGRAM, **request_of(vcenter, settings, images["streamOptimized"], size_gb=1, kill_at=kill_at))
    _said, complaint = process.communicate(timeout=600)
    assert process.returncode in (0, -signal.SIGKILL), complaint
    disk = shelf.ensure(image_of(images, "streamOptimized"), size_gb=1)
    assert shelf.content(disk) == DISK_SHA256
    assert f"RW {1024**3 // 512} " in shelf.transfer.read(disk.path, shelf.deadline()).decode()
    assert shelf.leftovers() == []
    assert [path for path in Path(settings.scratch).iterdir() if path.suffix == ".part"] == []


def test_two_processes_bring_it_once(
    shelf: Shelf, images: dict[str, Path], vcenter: VCenter, settings: Settings, start_python: Callable[..., subprocess.Popen[str]]
) -> None:
    both = [start_python(PROGRAM, **request_of(vcenter, settings, images["streamOptimized"], size_gb=1)) for _one in range(2)]
    said = [process.communicate(timeout=600) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert said[0][0] == said[1][0]
    calls = vcenter.calls()
    assert (calls["ImportVApp"], calls["POST /nfc"]) == (1, 1)
    assert shelf.leftovers() == []


def test_two_threads_bring_it_once_over_the_net(shelf: Shelf, images: dict[str, Path], vcenter: VCenter, web: WebServer) -> None:
    url = web.add("/d.qcow2", images["qcow2"].read_bytes())
    disks = together(4, lambda _index: shelf.ensure(VMwareImage(url)))
    assert len({str(disk) for disk in disks}) == 1
    assert web.downloads("/d.qcow2") == 1
    assert vcenter.calls()["POST /nfc"] == 1
    assert shelf.leftovers() == []


def test_the_claim_of_a_controller_that_died_elsewhere_is_taken_over(shelf: Shelf, images: dict[str, Path], settings: Settings) -> None:
    image = image_of(images, "streamOptimized")
    root = shelf.cache.root(shelf.datastore)
    elsewhere = f"{layout.stamp(shelf.clock.now())}.0123456789ab.1.4711.1.00000000"
    for left in (root.join("claims", f"source-{image.key[:40]}", elsewhere, "3"), root.join("tmp", elsewhere, "entry")):
        files.make_directory(shelf.cache.site, left, shelf.deadline())
    disk = shelf.ensure(image)
    assert shelf.content(disk) == DISK_SHA256
    assert shelf.leftovers() == []


def test_a_claim_that_shows_life_is_waited_for(shelf: Shelf, images: dict[str, Path]) -> None:
    image = image_of(images, "streamOptimized")
    site, root = shelf.cache.site, shelf.cache.root(shelf.datastore)
    elsewhere = f"{layout.stamp(shelf.clock.now())}.0123456789ab.1.4711.1.00000000"
    claim = root.join("claims", f"source-{image.key[:40]}", elsewhere)
    files.make_directory(site, claim.join("0"), shelf.deadline())

    def live() -> None:
        for beat in range(1, 12):
            files.make_directory(site, claim.join(str(beat)), shelf.deadline())
            shelf.clock.sleep(20)

    def wait() -> None:
        with pytest.raises(errors.Busy, match="another run is still bringing"):
            shelf.cache.ensure(image, shelf.datastore, shelf.deadline(2.0))

    assert together(2, lambda index: live() if index else wait()) == [None, None]
    assert [name for name in shelf.files() if name.startswith("images/")] == []


# -- ageing


def age(shelf: Shelf, max_unused: float = 0.0) -> list[str]:
    return [step.action for step in shelf.cache.age(shelf.datastore, max_unused, shelf.deadline())]


def test_ageing_marks_and_later_removes(shelf: Shelf, images: dict[str, Path]) -> None:
    shelf.ensure(image_of(images, "streamOptimized"), size_gb=1)
    assert [step.action for step in shelf.cache.plan_age(shelf.datastore, 0, shelf.deadline())] == ["mark"]
    assert age(shelf, 3600) == ["mark"]
    assert age(shelf, 3600) == []
    assert age(shelf) == ["remove"]
    assert shelf.files() == []


def test_a_use_takes_the_mark_away(shelf: Shelf, images: dict[str, Path]) -> None:
    image = image_of(images, "streamOptimized")
    shelf.ensure(image)
    assert age(shelf) == ["mark"]
    disk = shelf.ensure(image)
    assert not [name for name in shelf.files() if "/ts-" in name]
    assert age(shelf) == ["mark"]
    assert shelf.content(disk) == DISK_SHA256


def test_a_pinned_image_stays(shelf: Shelf, images: dict[str, Path]) -> None:
    image = image_of(images, "streamOptimized")
    shelf.ensure(image)
    listed = shelf.cache.entries(shelf.datastore, shelf.deadline())[0]
    assert age(shelf) == ["mark"]
    shelf.cache.pin(listed, shelf.deadline())
    assert age(shelf) == ["clear"]
    assert age(shelf) == []
    shelf.cache.unpin(listed, shelf.deadline())
    assert age(shelf) == ["mark"]


def test_the_base_of_a_child_disk_stays(shelf: Shelf, images: dict[str, Path], vcenter: VCenter) -> None:
    image = image_of(images, "streamOptimized")
    base = shelf.ensure(image, size_gb=1)
    machine = "child"
    vcenter.govc("vm.create", "-on=false", "-net", "VM Network", "-ds", "LocalDS_0", machine)
    try:
        vcenter.govc("vm.disk.attach", "-vm", machine, "-link=true", "-ds", base.path.datastore, "-disk", base.path.relative)
        assert age(shelf) == []
        listed = shelf.cache.entries(shelf.datastore, shelf.deadline())[0]
        with pytest.raises(errors.Busy, match="1 machines use the image: child"):
            shelf.cache.remove(listed, shelf.deadline())
        assert shelf.ensure(image, size_gb=1) == base
    finally:
        vcenter.govc("vm.destroy", machine)
    assert age(shelf) == ["mark"]
    assert age(shelf) == ["remove"]


def test_a_use_between_the_look_and_the_removal_wins(
    shelf: Shelf, images: dict[str, Path], new_cache: Callable[[], DatastoreImageCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = image_of(images, "streamOptimized")
    disk = shelf.ensure(image)
    assert age(shelf) == ["mark"]
    other, looked = new_cache(), shelf.cache.plan_age

    def use_it_after(*arguments: Any) -> list[Step]:
        steps = looked(*arguments)
        assert [step.action for step in steps] == ["remove"]
        other.ensure(image, shelf.datastore, shelf.deadline())
        return steps

    monkeypatch.setattr(shelf.cache, "plan_age", use_it_after)
    assert age(shelf) == []
    assert shelf.content(disk) == DISK_SHA256
    assert shelf.leftovers() == []


def test_what_a_killed_ageing_moved_aside_comes_back(shelf: Shelf, images: dict[str, Path]) -> None:
    image = image_of(images, "streamOptimized")
    disk = shelf.ensure(image)
    site, root = shelf.cache.site, shelf.cache.root(shelf.datastore)
    key = disk.path.parent.basename
    maker = layout.new_maker(shelf.clock.now()).split(".")
    # A process of this machine that is not there any more.
    dead = ".".join([*maker[:3], "4194304", "1", maker[5]])
    files.make_directory(site, root.join("tmp", dead), shelf.deadline())
    files.move_file(site, disk.path.parent, root.join("tmp", dead, f"aged-{key}"), shelf.deadline())
    shelf.cache.sweep(shelf.datastore, shelf.deadline())
    assert shelf.content(disk) == DISK_SHA256
    assert shelf.leftovers() == []
