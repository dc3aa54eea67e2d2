# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of an evacuation, as it is made of a plan and of what became of it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.poolwright.virt.plugins.filter.evacuation_report import evacuation_report


def move(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "uuid": f"u-{name}",
        "state": "running",
        "pool": "",
        "memory_mb": 512,
        "source": "kvm-1",
        "target": "kvm-2",
        "target_uri": "qemu+tls://kvm-2/system",
        "mode": "live",
        "reason": "kvm-2 is the only host that can take it, 40% full with it",
        "rejected": {},
    }


def stays(name: str, *, wanted: bool = True) -> dict[str, Any]:
    rejected = {"kvm-2": "does not have the network storage, or it is not active"} if wanted else {}
    return {
        "name": name,
        "uuid": "u",
        "state": "running",
        "pool": "",
        "source": "kvm-1",
        "wanted": wanted,
        "reason": "no host can take it",
        "rejected": rejected,
    }


PLAN = {
    "moves": [move("a"), move("b"), move("c")],
    "left": [stays("d"), stays("e", wanted=False)],
    "hosts": [{"name": "kvm-2", "before_percent": 20, "after_percent": 40, "free_mb": 900}],
}
DONE = [
    {"name": "a", "seconds": 1.25, "downtime_ms": 40, "transferred_bytes": 81788928, "changed": True},
    {"failed": True, "msg": "b: the link is gone", "ansible_loop_var": "host_evacuate_move", "host_evacuate_move": move("b")},
]


def test_what_became_of_each_guest() -> None:
    report = evacuation_report(PLAN, DONE)
    assert [(row["name"], row["status"]) for row in report["guests"]] == [("a", "moved"), ("b", "failed"), ("c", "not tried"), ("d", "left"), ("e", "stays")]
    assert (report["moved"], report["failed"], report["left"], report["empty"]) == (["a"], ["b", "c"], ["d"], False)
    assert report["lines"] == [
        "GUEST  STATUS     FROM   TO     HOW   SECONDS  STOOD STILL  SENT",
        "a      moved      kvm-1  kvm-2  live  1.2      40 ms        78.0 MiB",
        "b      failed     kvm-1  kvm-2  live  -        -            -",
        "c      not tried  kvm-1  kvm-2  live  -        -            -",
        "d      left       kvm-1  -      -     -        -            -",
        "e      stays      kvm-1  -      -     -        -            -",
        "",
        "b could not be moved: the link is gone",
        "c was not tried",
        "d is left: no host can take it",
        "  kvm-2 does not have the network storage, or it is not active",
        "e stays: no host can take it",
        "kvm-2: 20% full before, 40% after, 900 MiB left for guests",
    ]


def test_a_plan_alone_and_a_prediction_say_what_is_to_come() -> None:
    assert evacuation_report(PLAN)["moved"] == ["a", "b", "c"]
    foretold = evacuation_report(PLAN, DONE, check_mode=True)
    assert [(row["name"], row["status"]) for row in foretold["guests"]][:2] == [("a", "to move"), ("b", "failed")]


def test_a_result_of_waiting_is_that_of_what_was_begun() -> None:
    begun = {"ansible_job_id": "1", "ansible_loop_var": "host_evacuate_move", "host_evacuate_move": move("c")}
    waited = {"finished": 1, "seconds": 2.0, "name": "c", "ansible_loop_var": "host_evacuate_job", "host_evacuate_job": begun}
    failed = {"failed": True, "msg": "no", "ansible_loop_var": "host_evacuate_job", "host_evacuate_job": {**begun, "host_evacuate_move": move("b")}}
    assert [row["status"] for row in evacuation_report(PLAN, [waited, failed])["guests"]][:3] == ["not tried", "failed", "moved"]


def test_an_empty_host_is_reported_as_such() -> None:
    report = evacuation_report({"moves": [], "left": [stays("e", wanted=False)], "hosts": []})
    assert report["empty"]
    assert evacuation_report({"moves": [], "left": []})["lines"] == ["There is no guest to move."]


def test_something_else_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="this is no plan"):
        evacuation_report({"msg": "it failed"})
