# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where ``vm_spawn`` puts machines, and moves them to when that changes; seen by VMware's own client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InsufficientResources, InvalidSpec, VirtError
from ansible_collections.poolwright.virt.tests.contract.labs.vcenter import VCenter
from ansible_collections.poolwright.virt.tests.integration.vsphere.spawning import Spawning

CLUSTER = "/DC0/host/DC0_C0"
WISH: dict[str, Any] = {"template": "DC0_C0_RP0_VM0", "name": "place-1", "folder": "places", "state": "poweredon"}


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCenter]:
    """One with a host outside the cluster."""
    lab = VCenter(Path(tmp_path_factory.mktemp("apart")))
    lab.start("-vm", "1", "-ds", "2", "-standalone-host", "1")
    try:
        yield lab
    finally:
        lab.stop()


@pytest.fixture
def spawning(apart: VCenter) -> Iterator[Spawning]:
    apart.calm()
    yield Spawning(apart)
    apart.calm()


@pytest.fixture
def machine(spawning: Spawning) -> Iterator[dict[str, Any]]:
    yield spawning.run(**WISH, host="DC0_C0_H0")
    spawning.run(name="place-1", folder="places", state="absent")


@pytest.fixture
def without_drs(spawning: Spawning) -> Iterator[None]:
    spawning.vcenter.govc("cluster.change", "-drs-enabled=false", CLUSTER)
    yield
    spawning.vcenter.govc("cluster.change", "-drs-enabled=true", CLUSTER)


def seen(spawning: Spawning) -> dict[str, str]:
    """The host and the resource pool that the machine is in."""
    said = json.loads(spawning.vcenter.govc("vm.info", "-json", "/DC0/vm/places/place-1"))["virtualMachines"][0]
    paths = {"host": said["runtime"]["host"], "pool": said["resourcePool"]}
    return {key: spawning.vcenter.govc("ls", "-L", f"{ref['type']}:{ref['value']}").strip() for key, ref in paths.items()}


@pytest.mark.parametrize(
    ("change", "host", "pool"),
    [
        ({"host": "DC0_C0_H1"}, f"{CLUSTER}/DC0_C0_H1", f"{CLUSTER}/Resources"),
        ({"resource_pool": "batch"}, f"{CLUSTER}/DC0_C0_H0", f"{CLUSTER}/Resources/batch"),
        ({"resource_pool": "batch", "host": "DC0_C0_H2"}, f"{CLUSTER}/DC0_C0_H2", f"{CLUSTER}/Resources/batch"),
        ({"cluster": "DC0_H0"}, "/DC0/host/DC0_H0/DC0_H0", "/DC0/host/DC0_H0/Resources"),
        ({"host": "DC0_H0"}, "/DC0/host/DC0_H0/DC0_H0", "/DC0/host/DC0_H0/Resources"),
    ],
)
def test_a_machine_is_moved_where_it_is_wanted(spawning: Spawning, machine: dict[str, Any], change: dict[str, Any], host: str, pool: str) -> None:
    spawning.vcenter.govc("pool.create", f"{CLUSTER}/Resources/batch")
    try:
        foretold = spawning.run(**WISH, **change, check_mode=True)
        assert spawning.mutations() == {}
        done = spawning.run(**WISH, **change)
        assert spawning.mutations() == {"RelocateVM_Task": 1}
        assert [action["action"] for action in done["actions"]] == ["relocate"]
        assert (foretold["actions"], foretold["diff"]) == (done["actions"], done["diff"])
        assert seen(spawning) == {"host": host, "pool": pool}
        assert (done["moid"], done["power"], done["host"]) == (machine["moid"], "running", host.rpartition("/")[2])
        assert not spawning.run(**WISH, **change)["changed"]
        assert spawning.mutations() == {}
    finally:
        spawning.run(**WISH, host="DC0_C0_H0")
        spawning.run(**WISH, resource_pool="")
        spawning.vcenter.govc("pool.destroy", f"{CLUSTER}/Resources/batch")


def test_a_place_that_is_not_named_is_left_alone(spawning: Spawning, machine: dict[str, Any]) -> None:
    spawning.vcenter.govc("vm.migrate", "-host", f"{CLUSTER}/DC0_C0_H2", "/DC0/vm/places/place-1")
    assert not spawning.run(**WISH)["changed"]
    assert not spawning.run(**WISH, cluster="DC0_C0", datastore="LocalDS_0")["changed"]


@pytest.mark.parametrize("how", ["drop-before", "drop-after", "truncated"])
def test_a_move_whose_answer_is_lost_is_looked_for(spawning: Spawning, machine: dict[str, Any], how: str) -> None:
    spawning.vcenter.chaos("RelocateVM_Task", how, times=1)
    done = spawning.run(**WISH, host="DC0_C0_H1")
    assert done["host"] == "DC0_C0_H1"
    assert spawning.calls["RelocateVM_Task"] == (2 if how == "drop-before" else 1)


def test_a_move_that_fails_says_so_and_leaves_the_machine(spawning: Spawning, machine: dict[str, Any]) -> None:
    spawning.vcenter.fault("RelocateVM_Task", "NoPermission")
    done = spawning.run(**WISH, host="DC0_C0_H1")
    assert (done["failure"]["phase"], done["changed"]) == ("relocate", False)
    assert seen(spawning)["host"] == f"{CLUSTER}/DC0_C0_H0"


def test_another_datastore_takes_another_machine(spawning: Spawning, machine: dict[str, Any]) -> None:
    with pytest.raises(VirtError, match="LocalDS_0 -> DC0/datastore/LocalDS_1") as refused:
        spawning.run(**WISH, datastore="LocalDS_1")
    assert refused.value.code == "needs_rebuild"
    assert spawning.mutations() == {}
    anew = spawning.run(**WISH, datastore="LocalDS_1", recreate=True)
    assert anew["datastore_path"].startswith("[LocalDS_1] ")


def test_names_that_do_not_go_together_are_refused(spawning: Spawning, machine: dict[str, Any]) -> None:
    with pytest.raises(InvalidSpec, match="leave one of the two out"):
        spawning.run(**WISH, cluster="DC0_C0", host="DC0_H0")
    assert spawning.mutations() == {}


def test_without_drs_the_emptiest_host_that_can_take_it_is_taken(spawning: Spawning, without_drs: None) -> None:
    spawning.vcenter.govc("host.maintenance.enter", f"{CLUSTER}/DC0_C0_H0", f"{CLUSTER}/DC0_C0_H1")
    try:
        assert spawning.run(**WISH, cluster="DC0_C0")["host"] == "DC0_C0_H2"
        spawning.run(name="place-1", folder="places", state="absent")
        with pytest.raises(InsufficientResources, match="DC0_C0_H0 is in maintenance mode; DC0_C0_H1 is in maintenance mode; DC0_C0_H2 has"):
            spawning.run(**WISH, cluster="DC0_C0", memory_mb=1024**2)
        assert spawning.mutations() == {}
    finally:
        spawning.vcenter.govc("host.maintenance.exit", f"{CLUSTER}/DC0_C0_H0", f"{CLUSTER}/DC0_C0_H1")
        spawning.run(name="place-1", folder="places", state="absent")
