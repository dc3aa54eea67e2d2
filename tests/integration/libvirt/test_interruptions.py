# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""libvirtd killed in the middle of a run, and what is kept on disk when the run itself is killed."""

from __future__ import annotations

import threading
from unittest import mock

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.errors import ConnectionFailed, MaybeApplied, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest import Guest
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines import create
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Power
from ansible_collections.poolwright.virt.tests.integration.libvirt.conftest import Bench


def test_the_connection_is_opened_again_and_guests_outlive_their_daemon(bench: Bench) -> None:
    bench.without_network()
    made = bench.make()
    bench.daemon.kill()
    bench.daemon.start()
    (seen,) = bench.provider.vms_in_pool("it")
    assert (seen.power, seen.mark) == (Power.RUNNING, made.mark)
    assert bench.stats.as_dict()["logins"] == 2
    assert made.mark is not None
    assert bench.provider.destroy_vm("it", "it-1", made.mark)


def test_a_daemon_that_comes_back_in_time_is_waited_for(bench: Bench) -> None:
    bench.without_network()
    bench.make()
    bench.daemon.kill()
    restart = threading.Timer(1.0, bench.daemon.start)
    restart.start()
    try:
        assert [machine.name for machine in bench.provider.vms_in_pool("it")] == ["it-1"]
    finally:
        restart.join()


def test_a_daemon_that_stays_away_is_no_empty_pool(bench: Bench) -> None:
    bench.without_network()
    bench.make()
    bench.daemon.kill()
    try:
        with pytest.raises(ConnectionFailed):
            bench.provider.vms_in_pool("it")
    finally:
        bench.daemon.start()


@pytest.mark.parametrize("step", ["define", "make_files", "start"])
def test_a_fill_goes_on_when_the_daemon_is_killed_in_its_middle(bench: Bench, step: str) -> None:
    """Between calls: a libvirtd 9.0 that is killed while it starts a QEMU itself keeps that domain locked for ever."""
    bench.without_network()
    bench.make(1)
    owner = Guest if step == "start" else create
    plain = getattr(owner, step)

    def kill_first(*arguments: object) -> object:
        patched.stop()
        bench.daemon.kill()
        bench.daemon.start()
        return plain(*arguments)

    patched = mock.patch.object(owner, step, kill_first)
    patched.start()
    try:
        bench.make(2)
    except MaybeApplied:
        found = bench.provider.get_vm("it", "it-2")
        if found is not None and found.mark is not None:
            bench.provider.destroy_vm("it", "it-2", found.mark)
        bench.make(2)
    finally:
        mock.patch.stopall()
    bench.make(3)
    machines = bench.provider.vms_in_pool("it")
    assert [(machine.name, machine.power, machine.broken) for machine in machines] == [(f"it-{slot}", Power.RUNNING, "") for slot in (1, 2, 3)]
    assert len(bench.directories()) == 3


@pytest.mark.parametrize("step", ["define", "make_files"])
def test_a_machine_is_marked_before_any_file_of_it_exists(bench: Bench, step: str) -> None:
    bench.without_network()
    bench.provider.prepare("it", bench.deadline())
    seen: list[tuple[bool, bool]] = []

    def look() -> None:
        machine = bench.provider.get_vm("it", "it-1")
        seen.append((machine is not None and machine.mark is not None, bool(bench.directories())))

    plain = getattr(create, step)

    def watched(*arguments: object) -> object:
        look()
        result = plain(*arguments)
        look()
        return result

    with mock.patch.object(create, step, watched):
        bench.make()
    assert seen == ([(False, False), (True, False)] if step == "define" else [(True, False), (True, True)])


@pytest.mark.parametrize("step", ["destroy", "undefine"])
def test_an_interrupted_removal_keeps_its_mark_until_nothing_is_left(bench: Bench, step: str) -> None:
    bench.without_network()
    made = bench.make()
    assert made.mark is not None
    with mock.patch.object(Guest, step, side_effect=VirtError("killed")), pytest.raises(VirtError):
        bench.provider.destroy_vm("it", "it-1", made.mark)
    left = bench.get()
    assert left.mark is not None and left.mark.state.value == "destroying"
    assert bench.provider.destroy_vm("it", "it-1", left.mark)
    assert bench.directories() == []
    assert bench.provider.get_vm("it", "it-1") is None
