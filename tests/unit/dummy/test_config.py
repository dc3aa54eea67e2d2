# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The dummy's options."""

from __future__ import annotations

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.dummy.config import DummyOptions
from ansible_collections.poolwright.virt.plugins.module_utils.dummy.faults import FOREVER, Fault, FaultKind
from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec


def fault(**raw: object) -> Fault:
    return DummyOptions.from_dict({"faults": [raw]}).faults[0]


@pytest.mark.parametrize("raw", [None, {}, {"delays": None, "faults": None}])
def test_nothing_said_is_a_perfect_hypervisor(raw: dict[str, object] | None) -> None:
    assert DummyOptions.from_dict(raw) == DummyOptions()


def test_options_are_read() -> None:
    options = DummyOptions.from_dict(
        {
            "delays": {"create": 0.5, "boot": [1, 3], "list": "0.1"},
            "fail_percent": {"create": 5, "ready": "2.5"},
            "power_off_percent": 1,
            "rename_percent": 2,
            "connections": "4",
            "connection_timeout": 3,
            "hosts": ["alpha", "beta"],
            "host_capacity": 10,
            "memory_mb": 4096,
            "networks": ["default", "lan"],
            "seed": 42,
            "clock": "instant",
        }
    )
    assert options.delays == {"create": (0.5, 0.5), "boot": (1.0, 3.0), "list": (0.1, 0.1)}
    assert options.fail_percent == {"create": 5.0, "ready": 2.5}
    assert (options.connections, options.hosts, options.seed, options.instant) == (4, ("alpha", "beta"), 42, True)


def test_hosts_may_be_counted() -> None:
    assert DummyOptions.from_dict({"hosts": 2}).hosts == ("host-1", "host-2")


def test_every_fault_is_found_at_once_with_its_key() -> None:
    with pytest.raises(InvalidSpec) as caught:
        DummyOptions.from_dict(
            {
                "delay": {},
                "delays": {"creation": 1, "boot": [3, 1], "list": -1, "get": True},
                "fail_percent": {"boot": 5, "create": 101},
                "power_off_percent": "many",
                "rename_percent": float("nan"),
                "connections": -1,
                "connection_timeout": "x",
                "hosts": [],
                "host_capacity": 1.5,
                "memory_mb": None,
                "networks": "default",
                "seed": "s",
                "clock": "sundial",
                "faults": [
                    {"operation": "create", "fault": "fail", "when": 1},
                    {"operation": "make", "fault": "explode", "call": 0},
                    {"operation": "list", "fault": "half_made"},
                    {"operation": "list", "fault": "outage", "from_call": 3, "to_call": 2},
                    {"operation": "list", "fault": "fail", "call": 3, "to_call": 4},
                    {"operation": "ready", "machine": "ci-1", "fault": "lost_answer"},
                    "fail",
                ],
            }
        )
    assert [problem.split(": ")[0] for problem in caught.value.problems] == [
        f"dummy.{key}"
        for key in (
            "delay",
            "delays.creation",
            "delays.boot",
            "delays.list",
            "delays.get",
            "fail_percent.boot",
            "fail_percent.create",
            "power_off_percent",
            "rename_percent",
            "connections",
            "connection_timeout",
            "hosts",
            "host_capacity",
            "networks",
            "seed",
            "clock",
            "faults[0].when",
            "faults[1].operation",
            "faults[1].fault",
            "faults[1].call",
            "faults[2]",
            "faults[3].to_call",
            "faults[4].call",
            "faults[5]",
            "faults[6]",
        )
    ]


def test_a_fault_is_scripted_for_a_call_a_window_or_a_machine() -> None:
    assert fault(operation="create", call=3, fault="fail") == Fault(FaultKind.FAIL, "create", first=3, last=3)
    assert fault(operation="create", call=3, times=2, fault="fail") == Fault(FaultKind.FAIL, "create", first=3, last=4)
    assert fault(fault="outage", from_call=5, to_call=9) == Fault(FaultKind.OUTAGE, first=5, last=9)
    assert fault(operation="list", from_call=2, fault="outage").last == FOREVER
    assert fault(operation="start", machine="ci-3", fault="lost_answer") == Fault(FaultKind.LOST_ANSWER, "start", "ci-3")


def test_wrong_collections_are_named_as_such() -> None:
    with pytest.raises(InvalidSpec) as caught:
        DummyOptions.from_dict({"delays": 3, "fail_percent": [], "faults": {"fault": "fail"}, "hosts": 5000, "networks": ["a", "a"]})
    assert len(caught.value.problems) == 5
