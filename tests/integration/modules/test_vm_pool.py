# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``vm_pool`` and ``vm_pool_info`` through ansible-playbook: arguments, check and diff mode, answers, secrets, failures."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.tests.integration.modules.conftest import Ansible, Played

SETUP = Path(__file__).parents[2] / "setup"
POOL = "poolwright.virt.vm_pool"
INFO = "poolwright.virt.vm_pool_info"
SECRET = "only-for-the-guest-7f3a"


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """What several cases look at, in one play: a play costs more than most of what is in it."""
    ansible = Ansible(tmp_path_factory.mktemp("played"))
    absent = {POOL: {"provider": "dummy", "path": ansible.database, "state": "absent", "pools": [{"name": "ci"}]}}
    read = {INFO: {"provider": "dummy", "path": ansible.database}}
    found = subprocess.run([str(SETUP / "python.sh"), "oldest"], capture_output=True, text=True, check=True)
    oldest, broken = elsewhere(ansible.pool(), ansible.folder / "oldest.db"), elsewhere(ansible.pool(size=3), ansible.folder / "broken.db")
    oldest["vars"] = {"ansible_python_interpreter": found.stdout.split()[1]}
    broken[POOL]["dummy"] = {"faults": [{"operation": "create", "machine": "ci-2", "fault": "fail", "from_call": 1}]}
    return ansible.play(ansible.pool(), ansible.pool(), ansible.pool(size=3), read, absent, absent, oldest, oldest, broken)


def elsewhere(task: dict[str, Any], database: Path) -> dict[str, Any]:
    return {**task, POOL: {**task[POOL], "path": str(database)}}


def test_a_pool_is_kept_grown_and_removed(played: Played) -> None:
    assert played.status == 0
    made, again, grown, found, removed, gone = results = played.results[:6]
    assert [result["changed"] for result in results] == [True, False, True, False, True, False]
    assert made["pools"]["ci"]["created"] == ["ci-1", "ci-2"]
    assert again["actions"] == []
    assert grown["pools"]["ci"]["created"] == ["ci-3"]
    assert [machine["name"] for machine in found["pools"]["ci"]["machines"]] == ["ci-1", "ci-2", "ci-3"]
    assert removed["pools"]["ci"]["destroyed"] == ["ci-1", "ci-2", "ci-3"]
    assert gone["pools"]["ci"]["machines"] == []


def test_the_answer_has_the_documented_keys(played: Played) -> None:
    result = played.results[0]
    assert {"changed", "diff", "actions", "pools", "stats"} <= set(result)
    pool = result["pools"]["ci"]
    assert {"size", "ready", "machines", "created", "destroyed", "replaced", "failed"} <= set(pool)
    machine = {"name", "slot", "state", "power", "ip", "host", "image", "spec_hash", "created_at", "reason"}
    assert set(pool["machines"][0]) == machine
    assert set(result["stats"]) == {"calls", "logins", "seconds"}


def test_it_runs_on_the_oldest_python(played: Played) -> None:
    assert [result["changed"] for result in played.results[6:8]] == [True, False]


def test_check_and_diff_mode_show_what_a_run_does(ansible: Ansible) -> None:
    foretold = ansible.play(ansible.pool(), options=("--check", "--diff"))
    done = ansible.play(ansible.pool(), options=("--diff",))
    assert "+  ci-1: ready" in foretold.output
    for key in ("actions", "diff", "changed"):
        assert foretold.results[0][key] == done.results[0][key]
    assert foretold.results[0]["pools"]["ci"]["machines"] == []


def test_module_defaults_of_the_action_group_apply(ansible: Ansible) -> None:
    task = {POOL: {"pools": [{"name": "ci", "size": 1}]}}
    played = ansible.play(task, {INFO: {}}, defaults={"group/poolwright.virt.libvirt": {"provider": "dummy", "path": ansible.database}})
    assert [result["failed"] for result in played.results if "failed" in result] in ([], [False, False])
    assert played.results[1]["pools"]["ci"]["size"] == 1


def test_a_partial_failure_still_tells_all_that_was_done(played: Played) -> None:
    result = played.results[8]
    assert (result["failed"], result["code"], result["changed"]) == (True, "incomplete", True)
    assert result["pools"]["ci"]["created"] == ["ci-1", "ci-3"]
    (failure,) = result["pools"]["ci"]["failed"]
    assert set(failure) == {"name", "phase", "code", "message", "hint"}
    assert (failure["name"], failure["phase"]) == ("ci-2", "create")
    assert "ci-2" in result["msg"]


def test_secrets_are_never_shown(ansible: Ansible) -> None:
    broken = ansible.pool(user_data=f"password: {SECRET}", size=-1)
    played = ansible.play(ansible.pool(user_data=f"password: {SECRET}"), broken, options=("-vvv", "--diff"))
    assert len(played.results) == 2
    assert SECRET not in played.output
    assert SECRET not in str(played.results)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"provider": "dummy"}, "path"),
    ({"provider": "vmware", "path": "/x"}, "provider"),
    ({"provider": "dummy", "path": "{database}", "pools": []}, "pools: is empty"),
    ({"provider": "dummy", "path": "{database}", "state": "absent"}, "all_pools"),
    ({"provider": "dummy", "path": "{database}", "all_pools": True, "pools": [{"name": "a", "size": 1}]}, "all_pools"),
    ({"provider": "dummy", "path": "{database}", "pools": [{"name": "ci"}]}, "size: is missing"),
    ({"provider": "dummy", "path": "{database}", "pools": [{"name": "a&b", "size": 1}]}, "'a&b' is no host name label"),
    ({"provider": "dummy", "path": "{database}", "pools": [{"name": "ci", "size": 1}], "max_parallel": 0}, "max_parallel: 0"),
    ({"provider": "dummy", "path": "{database}", "pools": [{"name": "ci", "size": 1}], "max_delete": "some"}, "max_delete"),
    ({"provider": "dummy", "path": "{database}", "pools": [{"name": "ci", "size": 1}], "dummy": {"clok": "x"}}, "dummy.clok"),
    ({"provider": "libvirt", "uri": "qemu+unix:///system?socket=/none", "pools": [{"name": "ci", "size": 0}]}, "libvirt cannot be reached"),
    ({"provider": "libvirt", "uri": "nonsense", "pools": [{"name": "ci", "size": 0}]}, "nonsense"),
]


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """All of them in one play: what a play costs is more than what is refused in it."""
    ansible = Ansible(tmp_path_factory.mktemp("refused"))
    given = [{key: ansible.database if value == "{database}" else value for key, value in arguments.items()} for arguments, _said in REFUSED]
    return ansible.play(*({POOL: arguments} for arguments in given))


@pytest.mark.parametrize("number", range(len(REFUSED)), ids=[said for _arguments, said in REFUSED])
def test_bad_input_is_refused_in_one_sentence_without_a_traceback(refused: Played, number: int) -> None:
    result = refused.results[number]
    assert result["failed"] is True
    assert result["changed"] is False
    assert REFUSED[number][1] in result["msg"]
    assert "Traceback" not in refused.output
    assert "exception" not in result or "Traceback" not in str(result["exception"])
