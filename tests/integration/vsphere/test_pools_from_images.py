# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pools of an image on a vCenter: the image comes there once, one machine gets a copy of it, and the pools' machines are cloned from that."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock
from ansible_collections.poolwright.virt.plugins.module_utils.errors import ChecksumMismatch, ImageRefused, InsufficientResources, NotFound, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.pool.request import read_with
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere import MUTATING
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines import bases
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines.base_mark import FOLDER, KEY, BaseMark, read_base_mark
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.devices import adapter_of, disks_of, path_of, size_of
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images import layout
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Inventory
from ansible_collections.poolwright.virt.tests.contract.labs.vcenter import VCenter
from ansible_collections.poolwright.virt.tests.integration.pool.sites import DRIVER, finished, killed
from ansible_collections.poolwright.virt.tests.integration.vsphere import test_pools
from ansible_collections.poolwright.virt.tests.integration.vsphere.images.staging import MIB, OVF, ova, qemu_img
from ansible_collections.poolwright.virt.tests.seeds import some
from ansible_collections.poolwright.virt.tests.unit.images.fixtures import WebServer, web

__all__ = ["web"]

OVF_CAPACITY = 4 * MIB


class Site(test_pools.Site):
    """A folder of one's own on a vCenter, and images that nobody else has."""

    def __init__(self, vcenter: VCenter, folder: Path) -> None:
        super().__init__(vcenter, folder)
        self.raw = folder / "disk.raw"
        self.raw.write_bytes(random.Random(self.folder).randbytes(MIB // 2) + bytes(OVF_CAPACITY - MIB // 2))
        self.qcow2 = self._converted("qcow2")
        self.vmdk = self._converted("vmdk", "-o", "subformat=streamOptimized")

    def _converted(self, form: str, *options: str) -> Path:
        made = self.raw.with_suffix(f".{form}")
        qemu_img("convert", "-O", form, *options, self.raw, made)
        return made

    def pool(self, size: int, **more: Any) -> dict[str, Any]:
        image = {"source": str(self.qcow2)}
        return {"name": "ci", "size": size, "image": image, "cluster": "DC0_C0", "folder": self.folder, "memory_mb": 32, "networks": [], **more}

    def start(self, controller: str, *pools: dict[str, Any], kill_at_call: int = 0, **run: Any) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry), "XDG_STATE_HOME": str(self.state / controller)}
        child = subprocess.Popen([sys.executable, str(DRIVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        assert child.stdin is not None
        child.stdin.write(json.dumps({"params": self.params(*pools, **run), "kill_at_call": kill_at_call}))
        child.stdin.close()
        return child

    def bases(self) -> dict[str, BaseMark | None]:
        """What is in the folder of base machines, by name."""
        with self.vcenter.vim() as vim:
            folder = Inventory(vim).folder(FOLDER)
            found = [] if folder is None else vim.get_objects("VirtualMachine", ["name", "config.extraConfig"], root=folder.obj)
        return {one.properties["name"]: read_base_mark(one.properties["config.extraConfig"]) for one in found}

    def devices(self, name: str) -> list[Any]:
        with self.vcenter.vim() as vim:
            return list(Inventory(vim).machine(name, ["config.hardware.device"]).properties["config.hardware.device"])

    def leftovers(self) -> list[str]:
        """What is not whole, and what a run must not leave on the datastore."""
        unfinished = [name for name, mark in self.bases().items() if mark is None or not mark.complete]
        datastore = self.vcenter.datastore("LocalDS_0")
        inside = [str(path) for name in ("claims", "tmp") for path in datastore.glob(f"poolwright-cache/**/{name}/*")]
        beside = [path.name for path in datastore.glob("*poolwright-tmp*")]
        return [*unfinished, *inside, *beside, *self._homeless()]

    def _homeless(self) -> list[str]:
        """The directories of base machines that no machine has."""
        homes = {path_of(disks_of(self.devices(name))[0]).partition("] ")[2].partition("/")[0] for name in self.bases()}
        return [path.name for path in self.vcenter.datastore("LocalDS_0").glob("*K-LocalDS_0-*") if path.name not in homes]

    def remove_bases(self) -> None:
        self.destroy(*self.bases())

    def destroy(self, *names: str) -> None:
        if names:
            self.vcenter.govc("vm.destroy", *names)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCenter]:
    lab = VCenter(Path(tmp_path_factory.mktemp("from-images")))
    lab.start("-vm", "0", "-cluster", "2")
    try:
        yield lab
    finally:
        lab.stop()


@pytest.fixture
def site(server: VCenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    server.calm()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "here"))
    made = Site(server, tmp_path)
    yield made
    server.calm()
    made.destroy(*made.machines(), *made.bases())


def sha256(path: Path) -> str:
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def package(site: Site, folder: Path) -> Path:
    """An OVA of the same disk, made for a paravirtual controller."""
    descriptor = OVF.format(href="disk.vmdk", size=site.vmdk.stat().st_size, capacity=OVF_CAPACITY).encode()
    made = folder / "machine.ova"
    made.write_bytes(ova({"machine.ovf": descriptor, "disk.vmdk": site.vmdk.read_bytes()}))
    return made


@pytest.mark.parametrize("way", ["path", "http"])
@pytest.mark.parametrize("form", ["qcow2", "vmdk"])
def test_a_pool_comes_from_an_image(site: Site, web: WebServer, form: str, way: str) -> None:
    file = site.raw.with_suffix(f".{form}")
    source = str(file) if way == "path" else web.add(f"/{file.name}", file.read_bytes(), etag='"1"')
    pool = site.pool(3, image={"source": source})
    foretold, _calls, changes = site.counted(pool, check=True)
    assert changes == {}
    assert site.bases() == {}
    done, _calls, changes = site.counted(pool)
    assert changes["CloneVM_Task"] == 3
    assert done["failures"] == []
    assert (foretold["actions"], foretold["diff"]) == (done["actions"], done["diff"])
    again, _calls, changes = site.counted(pool)
    assert (again["changed"], changes) == (False, {})
    (name,) = site.bases()
    digits = sha256(file)[len("sha256:") :][:16]
    assert name.startswith(f"{digits}-4096K-LocalDS_0-")
    disks = [disks_of(site.devices(f"{site.folder}/ci-{slot}"))[0] for slot in (1, 2, 3)]
    assert {size_of(disk) for disk in disks} == {4 * MIB}
    assert len({path_of(disk) for disk in [*disks, disks_of(site.devices(name))[0]]}) == 4
    assert site.leftovers() == []


def test_a_pool_that_grows_takes_the_base_that_is_there(site: Site) -> None:
    site.run(site.pool(1))
    before = site.bases()
    _result, _calls, changes = site.counted(site.pool(3))
    assert set(changes) == {"CloneVM_Task", "ReconfigVM_Task"}
    assert site.bases() == before


def test_two_pools_of_one_image_have_one_base(site: Site, web: WebServer) -> None:
    url = web.add("/disk.qcow2", site.qcow2.read_bytes())
    image = {"source": url, "checksum": sha256(site.qcow2)}
    site.vcenter.forget_calls()
    site.run(site.pool(2, image=image), site.pool(2, image=image, name="other", clone="full"))
    calls = site.vcenter.calls()
    assert (calls["ImportVApp"], calls["CreateVM_Task"]) == (1, 1)
    assert len(site.bases()) == 1


def test_an_ova_says_which_controller_its_machines_get(site: Site, tmp_path: Path) -> None:
    site.run(site.pool(1, image={"source": str(package(site, tmp_path))}))
    devices = site.devices(f"{site.folder}/ci-1")
    assert adapter_of(devices, disks_of(devices)[0]) == "paravirtual"


def test_a_disk_larger_than_the_image_and_another_controller(site: Site) -> None:
    site.run(site.pool(1, disk={"size_gb": 0.0625}, image={"source": str(site.qcow2), "adapter_type": "busLogic"}))
    devices = site.devices(f"{site.folder}/ci-1")
    assert (adapter_of(devices, disks_of(devices)[0]), size_of(disks_of(devices)[0])) == ("buslogic", 64 * MIB)
    # Another size is another base.
    site.run(site.pool(1, disk={"size_gb": 0.125}))
    assert sorted(mark.size for mark in site.bases().values() if mark is not None) == [64 * MIB, 128 * MIB]


def test_a_disk_that_a_datastore_has_already(site: Site) -> None:
    site.run(site.pool(1))
    (base,) = site.bases()
    source = path_of(disks_of(site.devices(base))[0])
    result = site.run(site.pool(2, image={"source": source}))
    assert result["failures"] == []
    assert len(site.bases()) == 2


def test_base_machines_are_in_no_pool(site: Site) -> None:
    site.run(site.pool(2))
    assert list(read_with(site.params())["pools"]) == ["ci"]
    with site.vcenter.vim() as vim:
        options = Inventory(vim).machine(f"{site.folder}/ci-1", ["config.extraConfig"]).properties["config.extraConfig"]
    assert [option.value for option in options if option.key == KEY and option.value] == []
    site.run(state="absent", all_pools=True)
    assert site.machines() == []
    (mark,) = site.bases().values()
    assert mark is not None and mark.complete


def test_a_base_removed_by_hand_is_made_again(site: Site) -> None:
    site.run(site.pool(1, clone="full"))
    site.remove_bases()
    assert site.run(site.pool(2, clone="full"))["failures"] == []
    assert len(site.bases()) == 1


def test_the_same_source_with_other_bytes_is_another_image(site: Site) -> None:
    site.run(site.pool(1))
    site.raw.write_bytes(random.Random("other").randbytes(MIB) + bytes(3 * MIB))
    qemu_img("convert", "-O", "qcow2", site.raw, site.qcow2)
    site.run(site.pool(2))
    assert len(site.bases()) == 2


def test_a_secret_in_a_url_is_nowhere(site: Site, web: WebServer) -> None:
    url = web.add("/disk.qcow2", site.qcow2.read_bytes(), etag='"1"') + "?token=geheim"
    result = site.run(site.pool(1, image={"source": url}))
    assert "geheim" not in json.dumps(result)
    assert "geheim" not in repr(site.bases())


def test_two_controllers_bring_an_image_once(site: Site) -> None:
    site.vcenter.forget_calls()
    runs = [site.start(name, site.pool(4, name=name, prefix=name)) for name in ("one", "two")]
    assert [finished(run)["failures"] for run in runs] == [[], []]
    calls = site.vcenter.calls()
    assert (calls["ImportVApp"], calls["CreateVM_Task"]) == (1, 1)
    assert len(site.bases()) == 1
    assert site.leftovers() == []


@pytest.mark.parametrize("at", some(range(8, 81), 4, "kills of a pool from an image", always=(8, 80)))
def test_a_killed_run_leaves_nothing_that_the_next_does_not_mend(site: Site, at: int) -> None:
    assert killed(site.start("own", site.pool(2), kill_at_call=at))
    result = site.run(site.pool(2))
    assert result["failures"] == []
    assert site.machines() == ["ci-1", "ci-2"]
    assert len(site.bases()) == 1
    assert site.leftovers() == []
    assert not site.run(site.pool(2))["changed"]


@pytest.mark.parametrize("action", ["drop-before", "drop-after"])
@pytest.mark.parametrize("method", ["CreateVM_Task", "CopyVirtualDisk_Task", "ReconfigVM_Task", "CreateFolder"])
def test_an_answer_lost_once_does_no_harm(site: Site, method: str, action: str) -> None:
    site.vcenter.chaos(method, action, times=1)
    try:
        site.run(site.pool(1, clone="full"))
    except VirtError:
        site.vcenter.calm()
    site.run(site.pool(1, clone="full"))
    assert site.machines() == ["ci-1"]
    assert len(site.bases()) == 1
    assert site.leftovers() == []


def test_what_others_left_half_made_goes_after_an_hour(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: Any, *_arguments: Any) -> None:
        raise ImageRefused("it broke")

    now = Clock().now()
    for maker in ("0" * 12, "1" * 12):
        # On another machine, one two hours ago and one just now.
        ago = 7200 if maker[0] == "0" else 60
        with monkeypatch.context() as patch:
            patch.setattr(bases.Bases, "_complete", fails)
            patch.setattr(bases.Bases, "_remove", lambda *_arguments: None)
            name = f"{layout.stamp(now - ago)}.{maker}.1.1.1.00000000"
            patch.setattr(layout, "new_maker", lambda _now, name=name: name)
            with pytest.raises(ImageRefused):
                site.run(site.pool(1))
    assert len(site.bases()) == 2
    site.run(site.pool(1))
    assert sorted(mark.complete for mark in site.bases().values() if mark is not None) == [False, True]


@pytest.mark.parametrize(
    ("image", "more", "error", "said"),
    [
        ({"checksum": "sha256:" + "0" * 64}, {}, ChecksumMismatch, "the checksum should be"),
        ({"source": "/no/such.qcow2"}, {}, NotFound, "there is no such file on the controller"),
        ({"source": "[LocalDS_0] no/such.vmdk"}, {}, NotFound, "there is no such file on the datastore"),
        ({"source": "[LocalDS_0] no/such.ova"}, {}, NotFound, "there is no such file on the datastore"),
        ({"format": "vmdk"}, {}, ImageRefused, "the image is refused"),
        ({}, {"disk": {"size_gb": 0.00390625 / 2}}, ImageRefused, "disks are never shrunk"),
        ({}, {"datastore": "no-such"}, NotFound, "there is no such datastore"),
        ({}, {"cluster": None}, VirtError, "there are several"),
        ({}, {"memory_mb": 1024 * 1024}, InsufficientResources, "MiB of memory"),
    ],
)
@pytest.mark.parametrize("check", [True, False])
def test_what_cannot_be_is_refused_and_nothing_is_made(
    site: Site, image: dict[str, str], more: dict[str, Any], error: type[VirtError], said: str, check: bool
) -> None:
    site.vcenter.forget_calls()
    with pytest.raises(error) as caught:
        site.run(site.pool(2, image={"source": str(site.qcow2), **image}, **more), check=check)
    assert said in f"{caught.value} {caught.value.hint}"
    assert {method for method in site.vcenter.calls().methods if method in MUTATING} == set()
    assert site.bases() == {}


def test_a_wrong_checksum_of_what_the_web_has_leaves_nothing(site: Site, web: WebServer) -> None:
    url = web.add("/disk.qcow2", site.qcow2.read_bytes())
    with pytest.raises(ChecksumMismatch):
        site.run(site.pool(1, image={"source": url, "checksum": "sha256:" + "0" * 64}))
    assert site.bases() == {}
    assert site.machines() == []
    assert site.leftovers() == []


def test_an_image_in_the_cache_that_is_too_large_is_refused_beforehand(site: Site, web: WebServer) -> None:
    image = {"source": web.add("/disk.qcow2", site.qcow2.read_bytes()), "checksum": sha256(site.qcow2)}
    site.run(site.pool(1, image=image))
    with pytest.raises(ImageRefused, match="more than the"):
        site.run(site.pool(1, image=image, disk={"size_gb": 0.001953125}), check=True)
