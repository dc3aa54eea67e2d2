# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``vm_spawn`` on the simulation: every state from every state, what is refused, what is taken back."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Callable

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock
from ansible_collections.poolwright.virt.plugins.module_utils.dummy.config import DummyOptions
from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec, NotOurs, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.pool.request import read_with
from ansible_collections.poolwright.virt.plugins.module_utils.providers.dummy import MUTATING, DummyProvider
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import is_single, single
from ansible_collections.poolwright.virt.plugins.module_utils.spawn.request import spawn_with
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats

Run = Callable[..., "dict[str, Any]"]
DEFAULTS: dict[str, Any] = {
    "provider": "dummy",
    "dummy": {"clock": "instant"},
    "name": "web-1",
    "state": "poweredon",
    "recreate": False,
    "keep_failed": False,
    "timeout": 3600.0,
    "wait_for_address": False,
    "address_timeout": 300.0,
}
STATES = ("poweredon", "poweredoff", "present", "absent")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def work(*, check_mode: bool = False, **options: Any) -> dict[str, Any]:
        return spawn_with({**DEFAULTS, "path": str(tmp_path / "pools.db"), **options}, check_mode, threading.Event())

    return work


def mutations(result: dict[str, Any]) -> set[str]:
    return set(result["stats"]["calls"]) & MUTATING


@pytest.mark.parametrize("after", STATES)
@pytest.mark.parametrize("before", STATES)
def test_every_state_is_reached_from_every_state(run: Run, before: str, after: str) -> None:
    first = run(state=before)
    foretold = run(state=after, check_mode=True)
    assert mutations(foretold) == set()
    then = run(state=after)
    for key in ("changed", "actions", "diff"):
        assert foretold[key] == then[key]
    power = {"poweredon": "running", "poweredoff": "off", "absent": "", "present": first["power"] or "off"}[after]
    assert then["power"] == power
    again = run(state=after)
    assert not again["changed"]
    assert mutations(again) == set()


def test_a_new_description_takes_another_machine(run: Run) -> None:
    made = run(cpus=1)
    with pytest.raises(VirtError, match="recreate: true") as refused:
        run(cpus=2)
    assert refused.value.code == "needs_rebuild"
    anew = run(cpus=2, recreate=True)
    assert [action["action"] for action in anew["actions"]] == ["recreate"]
    assert anew["uuid"] != made["uuid"]
    assert not run(cpus=2)["changed"]


def test_an_address_is_waited_for(run: Run) -> None:
    assert run(wait_for_address=True, networks=[{"network": "default"}])["ip"].startswith("10.")


def test_what_fails_after_the_machine_is_there_is_taken_back(run: Run) -> None:
    half = {"clock": "instant", "faults": [{"operation": "create", "fault": "half_made", "call": 1}]}
    failed = run(dummy=half)
    assert failed["undone"] == ["removed the machine web-1"]
    assert failed["failure"]["code"] == "operation_failed"
    assert not failed["changed"]
    assert run(state="absent")["changed"] is False


def test_a_failed_machine_is_kept_where_that_is_asked_and_taken_up_later(run: Run) -> None:
    half = {"clock": "instant", "faults": [{"operation": "create", "fault": "half_made", "call": 1}]}
    failed = run(dummy=half, keep_failed=True)
    assert failed["undone"] == []
    assert failed["left"] == ["the machine web-1 was kept"]
    mended = run()
    assert [action["action"] for action in mended["actions"]] == ["recreate"]
    assert mended["power"] == "running"


def test_a_machine_of_a_pool_is_not_touched(run: Run, tmp_path: Path) -> None:
    from ansible_collections.poolwright.virt.plugins.module_utils.pool.request import converge_with

    pools = {
        **DEFAULTS,
        "path": str(tmp_path / "pools.db"),
        "state": "present",
        "pools": [{"name": "web", "size": 1}],
        "all_pools": False,
        "max_delete": None,
        "max_parallel": 1,
        "lock_timeout": 10.0,
    }
    converge_with(pools, False, threading.Event())
    for state in STATES:
        with pytest.raises(NotOurs, match="belongs to pool 'web'"):
            run(state=state, recreate=True)


def test_a_single_machine_is_no_pool(run: Run, tmp_path: Path) -> None:
    run(name="alone")
    listed = read_with({**DEFAULTS, "path": str(tmp_path / "pools.db"), "pools": []})
    assert listed["pools"] == {}
    provider = DummyProvider([], Clock(), Stats(Clock()), path=str(tmp_path / "pools.db"), options=DummyOptions.from_dict({}))
    assert [pool.name for pool in provider.marked_pools()] == [single("alone")]
    assert is_single(single("alone")) and not is_single("alone")
    provider.close()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"template": "x"}, "template: is for provider: vsphere"),
        ({"disks": [{"size_gb": 1, "datastore": "ssd"}]}, r"disks\[0\].datastore: is for provider: vsphere"),
        ({"disks": [{"size_gb": 1, "ephemeral": True}]}, r"disks\[0\].ephemeral: is for provider: vsphere"),
        ({"disks": [{}]}, r"disks\[0\].size_gb: is missing"),
        ({"disk": {"backend": "rbd"}}, "disk.location: is missing"),
        ({"restart": True}, "restart: is for provider: vsphere"),
        ({"networks": [{"network": "default", "mac": "00:50:56:00:00:01"}]}, "mac: is for provider: vsphere"),
        ({"networks": [{"network": "default", "model": "vmxnet3"}]}, "no card of this hypervisor"),
        ({"image": {"source": "/x.qcow2", "disk_type": "thin"}}, "image.disk_type"),
        ({"image": {"source": "/x.vmdk", "format": "vmdk"}}, "format"),
        ({"name": "no_label"}, "host name label"),
        ({"cpus": 0}, "cpus: 0 is not between"),
        ({"config_drive": {"meta_data": {"role": "front"}}}, "meta_data.role"),
        ({"state": "poweredoff", "wait_for_address": True}, "goes with state: poweredon"),
        ({"timeout": 0.0}, "timeout: 0 is not above 0"),
    ],
)
def test_wishes_that_cannot_be_met_are_refused(run: Run, options: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidSpec, match=text):
        run(**options)
