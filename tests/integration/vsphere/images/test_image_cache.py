# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module ``image_cache``: what it says, what it changes, and that its check mode says just that and changes nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils import errors
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.request import keep_images
from ansible_collections.poolwright.virt.tests.contract.labs.vcenter import VCenter
from ansible_collections.poolwright.virt.tests.integration.modules.conftest import Ansible
from ansible_collections.poolwright.virt.tests.integration.vsphere.datastores.staging import CHANGING
from ansible_collections.poolwright.virt.tests.integration.vsphere.images.staging import DISK_BYTES, OVF, ova, qemu_img
from ansible_collections.poolwright.virt.tests.unit.images.fixtures import WebServer

GIB = 1024**3
MUTATING = (*CHANGING, "ImportVApp", "POST /nfc", "HttpNfcLeaseProgress", "HttpNfcLeaseComplete", "UnregisterVM", "Destroy_Task")
OPTIONS: dict[str, Any] = {
    "state": "present",
    "source": None,
    "checksum": None,
    "format": None,
    "disk_type": None,
    "adapter_type": None,
    "size_gb": None,
    "force": False,
    "max_unused": "7d",
    "timeout": 60.0,
    "token": None,
    "thumbprint": None,
    "proxy_host": None,
    "proxy_port": 8080,
    "validate_certs": True,
    "datacenter": None,
}

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(vcenter: VCenter) -> Iterator[Run]:
    """``run(check_mode=True, source=..., ...)``: the module's work on a datastore whose cache is empty at first."""
    vcenter.govc("datastore.rm", "-ds", "LocalDS_1", "-f", "poolwright-cache")
    where = {"hostname": vcenter.host, "port": vcenter.port, "username": vcenter.user, "password": vcenter.password, "ca_path": vcenter.ca_path}

    def keep(*, check_mode: bool = False, **options: Any) -> dict[str, Any]:
        vcenter.forget_calls()
        return keep_images({**OPTIONS, **where, "datastore": "LocalDS_1", **options}, check_mode, threading.Event())

    yield keep
    vcenter.govc("datastore.rm", "-ds", "LocalDS_1", "-f", "poolwright-cache")


def mutating(vcenter: VCenter) -> dict[str, int]:
    calls = vcenter.calls()
    return {name: calls[name] for name in MUTATING if calls[name]}


def foretold(run: Run, vcenter: VCenter, **options: Any) -> dict[str, Any]:
    """A run whose check mode, just before it, changed nothing and said the same."""
    said = run(check_mode=True, **options)
    assert mutating(vcenter) == {}
    done = run(**options)
    assert {key: said[key] for key in ("changed", "diff")} == {key: done[key] for key in ("changed", "diff")}
    assert {key: said[key] for key in said if key in ("path", "digest", "virtual_size", "removed", "marked", "cleared")}.items() <= done.items()
    return done


def test_present_pinned_absent(run: Run, vcenter: VCenter, images: dict[str, Path]) -> None:
    source = {"source": str(images["qcow2"])}
    made = foretold(run, vcenter, **source)
    assert made["changed"] is True
    assert made["diff"] == {"before": {"state": "absent"}, "after": {"state": "present", "source": source["source"]}}
    assert (made["format"], made["virtual_size"], made["size"]) == ("qcow2", len(DISK_BYTES), images["qcow2"].stat().st_size)
    assert (made["datastore_path"], made["pinned"], made["datastore"]) == (made["path"], False, "LocalDS_1")
    assert made["last_used"].endswith("Z")
    assert made["stats"]["logins"] == 1

    again = foretold(run, vcenter, **source)
    assert again["changed"] is False
    assert again["diff"]["before"] == again["diff"]["after"]
    assert set(mutating(vcenter)) <= {"MakeDirectory", "DeleteDatastoreFile_Task"}

    pinned = foretold(run, vcenter, state="pinned", **source)
    assert (pinned["changed"], pinned["pinned"]) == (True, True)
    assert foretold(run, vcenter, state="pinned", **source)["changed"] is False
    for check_mode in (True, False):
        with pytest.raises(errors.InvalidSpec, match="is pinned; unpin it"):
            run(check_mode=check_mode, state="absent", **source)
    assert foretold(run, vcenter, **source)["changed"] is True
    run(state="pinned", **source)

    gone = foretold(run, vcenter, state="absent", force=True, **source)
    assert gone["changed"] is True
    assert gone["diff"]["after"] == {"state": "absent"}
    assert foretold(run, vcenter, state="absent", **source)["changed"] is False


def test_a_sized_base(run: Run, vcenter: VCenter, images: dict[str, Path]) -> None:
    source = {"source": str(images["streamOptimized"])}
    run(**source)
    sized = foretold(run, vcenter, size_gb=1.0, **source)
    assert (sized["changed"], sized["virtual_size"]) == (True, GIB)
    assert sized["diff"]["after"]["size_gb"] == 1.0
    assert foretold(run, vcenter, size_gb=1.0, **source)["changed"] is False
    with pytest.raises(errors.ImageRefused, match="size_gb"):
        run(size_gb=0.001953125, **source)
    with pytest.raises(errors.ImageRefused, match="size_gb"):
        run(check_mode=True, size_gb=0.001953125, **source)


def test_aged(run: Run, vcenter: VCenter, images: dict[str, Path]) -> None:
    kept, other = run(source=str(images["streamOptimized"]), state="pinned"), run(source=str(images["qcow2"]))
    folder = other["path"].rpartition("/")[0]
    assert foretold(run, vcenter, state="aged")["marked"] == [folder]
    assert foretold(run, vcenter, state="aged")["changed"] is False
    done = foretold(run, vcenter, state="aged", max_unused="0")
    assert (done["changed"], done["removed"]) == (True, [folder])
    assert run(check_mode=True, source=str(images["streamOptimized"]), state="pinned")["path"] == kept["path"]


def test_a_url_that_cannot_tell_is_read_in_check_mode_too(run: Run, vcenter: VCenter, images: dict[str, Path], web: WebServer) -> None:
    url = web.add("/d.qcow2", images["qcow2"].read_bytes())
    assert foretold(run, vcenter, source=url)["changed"] is True
    assert foretold(run, vcenter, source=url)["changed"] is False
    assert run(state="absent", source=url)["changed"] is True


def test_credentials_of_a_source_are_not_shown(run: Run, images: dict[str, Path], web: WebServer) -> None:
    url = web.add("/d.qcow2", images["qcow2"].read_bytes()).replace("http://", "http://someone:geheim@") + "?token=geheim"
    assert "geheim" not in str(run(source=url))


def test_every_fault_of_the_request_at_once(run: Run, vcenter: VCenter) -> None:
    with pytest.raises(errors.InvalidSpec) as caught:
        run(source="images/a.iso", checksum="md5:00", disk_type="thin", size_gb=-1.0, max_unused="soon", timeout=0.0)
    assert len(caught.value.problems) >= 5
    assert vcenter.calls().total == 0
    with pytest.raises(errors.NotFound, match="no such datastore"):
        run(source="/a.qcow2", datastore="ssd-9")


def test_an_image_larger_than_its_disk(run: Run, vcenter: VCenter, tmp_path: Path) -> None:
    qemu_img("create", "-f", "qcow2", tmp_path / "large.qcow2", "3G")
    with pytest.raises(errors.ImageRefused, match="give size_gb at least 3"):
        run(source=str(tmp_path / "large.qcow2"), size_gb=2.0)
    assert not vcenter.calls()["PUT /folder"]


def test_an_ova_without_its_disk(run: Run, vcenter: VCenter, tmp_path: Path) -> None:
    (tmp_path / "a.ova").write_bytes(ova({"a.ovf": OVF.format(href="gone.vmdk", size=1, capacity=1).encode()}))
    with pytest.raises(errors.ImageRefused, match=r"lacks gone\.vmdk"):
        run(source=str(tmp_path / "a.ova"))
    assert not vcenter.calls()["PUT /folder"]


def test_through_ansible_playbook(run: Run, vcenter: VCenter, images: dict[str, Path], tmp_path: Path) -> None:
    module = "poolwright.virt.image_cache"
    defaults = {
        "group/poolwright.virt.vsphere": {
            "hostname": vcenter.host,
            "port": vcenter.port,
            "username": vcenter.user,
            "password": vcenter.password,
            "ca_path": vcenter.ca_path,
            "datacenter": "DC0",
        }
    }
    source = {"datastore": "LocalDS_1", "source": str(images["ova"])}
    played = Ansible(tmp_path).play(
        {module: {**source, "size_gb": 1, "state": "pinned"}},
        {module: {**source, "size_gb": 1, "state": "pinned"}},
        {module: {"datastore": "LocalDS_1", "state": "aged", "max_unused": "7d"}},
        {module: {**source, "state": "absent"}},
        {module: {**source, "state": "absent", "force": True}},
        {module: {"datastore": "LocalDS_1"}},
        {module: {"datastore": "LocalDS_1", "source": "/no/such.iso", "disk_type": "thin"}},
        defaults=defaults,
    )
    first, second, aged, refused, absent, lacking, wrong = played.results
    assert "is pinned; unpin it" in refused["msg"]
    assert (first["changed"], second["changed"], aged["changed"], absent["changed"]) == (True, False, False, True), played.output
    assert first["path"] == second["path"]
    assert first["adapter_type"] == "paraVirtual"
    assert "source" in lacking["msg"]
    assert wrong["code"] == "invalid_spec"
    assert vcenter.password not in str(played.results)
