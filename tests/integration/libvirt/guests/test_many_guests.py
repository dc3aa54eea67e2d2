# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many guests in one call, on libvirt's test driver: one connection, one look at all of them, and the same results as one by one."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.poolwright.virt.plugins.module_utils.guests.request import guest_with
from ansible_collections.poolwright.virt.plugins.module_utils.guests.spec import module_options

URI = "test:///default"


@pytest.fixture
def keeper() -> Iterator[Any]:
    """Holds the test driver's state, which would go with its last connection."""
    connection = libvirt.open(URI)
    yield connection
    for domain in connection.listAllDomains():
        if domain.name().startswith("many-"):
            if domain.isActive():
                domain.destroy()
            domain.undefine()
    connection.close()


@pytest.fixture
def run(tmp_path: Path, keeper: Any) -> Any:
    def run(*guests: dict[str, Any], check_mode: bool = False) -> dict[str, Any]:
        given = {"uri": URI, "location": str(tmp_path / "state"), "virt_type": "qemu", "guests": list(guests)}
        validated = ArgumentSpecValidator(module_options()).validate(given)
        assert not validated.error_messages
        return guest_with(validated.validated_parameters, check_mode, threading.Event())

    return run


def guests(number: int, **more: Any) -> list[dict[str, Any]]:
    return [{"name": f"many-{index}", "memory_mb": 64, "networks": [{"network": "default"}], **more} for index in range(number)]


def define(keeper: Any, number: int) -> None:
    """Domains as somebody else has made them: the test driver has no type that new guests of ours have."""
    for index in range(number):
        card = f"<interface type='network'><mac address='52:54:00:00:00:{index:02x}'/><source network='default'/></interface>"
        text = f"<domain type='test'><name>many-{index}</name><memory>65536</memory><os><type>hvm</type></os><devices>{card}</devices></domain>"
        keeper.defineXML(text)


def test_guests_that_are_as_they_shall_be_cost_a_call_each(run: Any, keeper: Any) -> None:
    define(keeper, 20)
    first = run(*guests(20))
    assert first["failures"] == []
    counted = []
    for number in (10, 20):
        result = run(*guests(number))
        assert (result["changed"], result["failures"], len(result["guests"])) == (False, [], number)
        assert result["stats"]["logins"] == 1
        counted.append(Counter(result["stats"]["calls"]))
    assert counted[1] - counted[0] == {"virDomainGetXMLDesc": 10}
    assert counted[1].total() <= 20 + 6


def test_a_running_one_costs_two(run: Any, keeper: Any) -> None:
    define(keeper, 4)
    run(*guests(4, state="running"))
    counted = [Counter(run(*guests(number, state="running"))["stats"]["calls"]) for number in (2, 4)]
    assert counted[1] - counted[0] == {"virDomainGetXMLDesc": 4}


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_look_at_all_says_what_a_look_at_each_says(run: Any, keeper: Any, check_mode: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    define(keeper, 6)
    run(*guests(6))
    keeper.lookupByName("many-1").create()
    keeper.lookupByName("many-3").undefine()
    wanted = [*guests(2), {"name": "many-2", "memory_mb": 32}, *guests(5)[3:], {"name": "many-5", "state": "absent"}, {"name": "many-6", "state": "absent"}]
    at_once = run(*wanted, check_mode=True)
    monkeypatch.setattr("ansible_collections.poolwright.virt.plugins.module_utils.guests.request._as_it_is", lambda *_arguments: None)
    one_by_one = run(*wanted, check_mode=check_mode)
    assert [one["changed"] for one in at_once["guests"]] == [one["changed"] for one in one_by_one["guests"]]
    if check_mode:
        assert {**at_once, "stats": None} == {**one_by_one, "stats": None}
