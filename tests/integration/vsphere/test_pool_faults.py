# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pools on a vCenter on which everything goes wrong: they become exact, and nothing else is touched or left behind."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock
from ansible_collections.poolwright.virt.plugins.module_utils.errors import VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.pool import request
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere import MUTATING
from ansible_collections.poolwright.virt.tests.contract.labs.vcenter import VCenter
from ansible_collections.poolwright.virt.tests.contract.labs.vsphere import TEMPLATE, VsphereLab
from ansible_collections.poolwright.virt.tests.integration.pool.sites import DRIVER, Site, finished, killed
from ansible_collections.poolwright.virt.tests.seeds import pairs, seeds, some

FURTHER_RUNS = 2
LAST_CALL = 30  # of a fill of five machines, or after it
KILLS = 7
ACTIONS = ["drop-before", "drop-after", "unavailable", "truncated", "slow"]
FAULTS = {
    "CloneVM_Task": ["ResourceInUse", "TaskInProgress", "InsufficientResourcesFault", "FileLocked", "NoDiskSpace"],
    "ReconfigVM_Task": ["TaskInProgress", "ConcurrentAccess", "ResourceInUse"],
    "PowerOffVM_Task": ["TaskInProgress", "InvalidPowerState"],
    "PowerOnVM_Task": ["InsufficientResourcesFault", "TaskInProgress"],
    "Destroy_Task": ["ResourceInUse", "FileLocked", "TaskInProgress"],
    "CreateSnapshot_Task": ["TaskInProgress"],
    "CreateFolder": ["DuplicateName"],
}
# What a fill and a removal use; each is answered, and lost, once.
USED = ["CloneVM_Task", "CreateFolder", "CreateSnapshot_Task", "Destroy_Task", "PowerOffVM_Task", "ReconfigVM_Task"]


class HastyClock(Clock):
    """Waits a tenth of the time between two attempts: what is waited for here is there at once."""

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds / 10)


class Place:
    """A folder of machines on the vCenter, and the pool ``ci`` in it."""

    def __init__(self, folder: Path) -> None:
        self.lab = VsphereLab(folder, HastyClock())
        self.lab.start()
        where = self.vcenter
        connection = {
            "provider": "vsphere",
            "hostname": where.host,
            "port": where.port,
            "username": where.user,
            "password": where.password,
            "token": None,
            "validate_certs": True,
            "ca_path": where.ca_path,
            "thumbprint": None,
            "proxy_host": None,
            "proxy_port": 8080,
            "datacenter": None,
        }
        pool = {
            "template": TEMPLATE,
            "folder": f"{self.lab.place}/ci",
            "memory_mb": 32,
            "networks": [{"network": self.lab.network}],
            "ready": {"check": "running"},
        }
        self.site = Site(self.lab, connection, pool, MUTATING)
        # What the lab itself sees are the machines of the pool's folder.
        self.lab.place = str(pool["folder"])

    @property
    def vcenter(self) -> VCenter:
        return self.lab.vcenter

    def controller(self, size: int, name: str, kill_at_call: int = 0, **run: Any) -> subprocess.Popen[str]:
        """A run in a process of its own, on a controller that shares nothing with another of another name."""
        params = self.site.params(self.site.ci(size), **run)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry), "XDG_STATE_HOME": str(self.lab.folder / name)}
        child = subprocess.Popen([sys.executable, str(DRIVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        assert child.stdin is not None
        child.stdin.write(json.dumps({"params": params, "kill_at_call": kill_at_call}))
        child.stdin.close()
        return child

    def attempt(self, size: int) -> bool:
        """One run, which may fail; whether it ended well."""
        try:
            result = self.site.run(self.site.ci(size))
        except VirtError:
            return False
        failed = [failure for failure in result["pools"]["ci"]["failed"] if failure["code"] != "slot_taken"]
        return not failed and not result["pools"]["ci"]["untouched"]

    def mend(self, size: int) -> None:
        """The pool is exact after a few further runs, on a vCenter that works again."""
        self.vcenter.calm()
        assert any(self.attempt(size) for _run in range(FURTHER_RUNS)), f"not exact after {FURTHER_RUNS} further runs"

    def foreign(self) -> dict[str, str]:
        return {name: self.lab.fingerprint(name) for name in ("ci-3", "ci-99")}

    def put_foreign(self) -> dict[str, str]:
        for name in ("ci-3", "ci-99"):
            self.lab.put_foreign(name)
        return self.foreign()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(request, "choose_clock", lambda _params: HastyClock())
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "own"))
    made = Place(tmp_path)
    yield made
    made.lab.cleanup()


def trouble(vcenter: VCenter, seed: int) -> None:
    """Several things that go wrong from now on, drawn from the seed."""
    chance = random.Random(seed)
    share = chance.choice([0.05, 0.2])
    kinds = chance.sample(ACTIONS, chance.randint(1, 3))
    for number, action in enumerate(kinds):
        vcenter.chaos("*", action, rate=share / len(kinds), seed=seed * 10 + number, ms=20)
    for method in chance.sample(sorted(FAULTS), chance.randint(0, 3)):
        vcenter.fault(method, chance.choice(FAULTS[method]), times=chance.randint(1, 2), skip=chance.randint(0, 3))
    if chance.random() < 0.3:
        vcenter.chaos("RetrievePropertiesEx", "unreadable", times=1, skip=chance.randint(0, 3))


@pytest.mark.parametrize("seed", seeds(gate=12, soak=100))
def test_the_pool_becomes_exact_whatever_goes_wrong(place: Place, seed: int) -> None:
    chance, vcenter = random.Random(-seed - 1), place.vcenter
    size = chance.randint(4, 6)
    place.site.run(place.site.ci(1))
    before, sessions = place.put_foreign(), vcenter.calls().sessions
    trouble(vcenter, seed)
    place.attempt(size)
    if chance.random() < 0.3:
        vcenter.expire_sessions()
        sessions = 0
    vcenter.calm()
    ours = sorted(place.lab.machines() - set(before))
    for name in chance.sample(ours, min(len(ours), chance.randint(0, 2))):
        chance.choice([place.lab.power_off, place.lab.pause, place.lab.undefine])(name)
    trouble(vcenter, seed + 1_000_000)
    place.attempt(size)
    # The lab's own is one of them, and govc leaves one for its next call. Each of the two runs in trouble may have had to give up its logout,
    # after three tries: vCenter ends such a session when it has been idle for long enough.
    left = vcenter.calls().sessions
    assert left <= max(sessions, 1) + 2
    place.mend(size)

    assert vcenter.calls().sessions <= max(left, 1)
    assert place.foreign() == before
    assert place.lab.machines() == {f"ci-{slot}" for slot in range(1, size + 1)} | set(before)
    assert place.lab.leftovers() == []
    again = place.site.run(place.site.ci(size))
    assert (again["changed"], place.site.mutations(again)) == (False, {})


@pytest.mark.parametrize(("method", "action"), pairs(USED, ["drop-before", "drop-after", "truncated"], 2, "lost answers to pools"))
def test_an_answer_lost_once_leaves_nothing_wrong(place: Place, method: str, action: str) -> None:
    place.vcenter.chaos(method, action, times=1)
    place.attempt(4)
    place.attempt(2)
    place.mend(3)
    place.site.assert_exact(3)


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_a_fill_gets_through_lost_calls(place: Place, share: float) -> None:
    place.vcenter.chaos("*", "drop-before", rate=share / 2, seed=3)
    place.vcenter.chaos("*", "drop-after", rate=share / 2, seed=4)
    place.attempt(8)
    place.mend(8)
    place.site.assert_exact(8)


def test_sessions_that_end_in_the_middle_of_a_fill_are_opened_again(place: Place) -> None:
    child = place.controller(10, "one", max_parallel=2)
    while not place.lab.machines():
        assert child.poll() is None
        time.sleep(0.02)
    place.vcenter.expire_sessions()
    assert finished(child)["failures"] == []
    place.site.assert_exact(10)


@pytest.mark.parametrize("at", some(range(1, LAST_CALL + 1), KILLS, "kills on a vCenter", always=(1, LAST_CALL)))
def test_a_fill_killed_at_any_call_is_completed_by_the_next_run(place: Place, at: int) -> None:
    size = 5
    was_killed = killed(place.controller(size, "own", kill_at_call=at, max_parallel=1 + at % 4))
    assert was_killed or at > 20
    # The vCenter ends what it was told before the kill.
    assert any(place.attempt(size) for _run in range(FURTHER_RUNS))
    place.site.assert_exact(size)


def test_two_controllers_fill_one_pool_at_once(place: Place) -> None:
    results = [finished(child) for child in [place.controller(8, name) for name in ("one", "other")]]
    assert [result["failures"] for result in results] == [[], []]
    made = [name for result in results for name in result["pools"]["ci"]["created"]]
    assert sorted(made) == [f"ci-{slot}" for slot in range(1, 9)]
    assert [result["pools"]["ci"]["destroyed"] + result["pools"]["ci"]["replaced"] for result in results] == [[], []]
    place.site.assert_exact(8)


def test_a_run_told_to_stop_logs_out(place: Place) -> None:
    sessions = place.vcenter.calls().sessions
    # The second machine is not made before the run was told.
    place.vcenter.chaos("CloneVM_Task", "slow", ms=600_000, skip=1)
    child = place.controller(10, "own", max_parallel=1)
    while not place.lab.machines():
        assert child.poll() is None
        time.sleep(0.02)
    child.send_signal(signal.SIGTERM)
    place.vcenter.calm()
    assert finished(child)["pools"]["ci"]["untouched"]
    assert place.vcenter.calls().sessions == sessions
    place.mend(4)
    place.site.assert_exact(4)
