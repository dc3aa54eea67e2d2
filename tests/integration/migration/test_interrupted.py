# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever ends a migration in its middle: one host runs the guest, and the other has nothing of it after the next run."""

from __future__ import annotations

import os
import shutil
import signal
import time
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.migration.note import NAMESPACE
from ansible_collections.poolwright.virt.tests.integration.forked import Run
from ansible_collections.poolwright.virt.tests.integration.migration.conftest import Alive, Pair
from ansible_collections.poolwright.virt.tests.seeds import points

NAME = "m-1"


def one_runs(pair: Pair) -> int:
    """The host that runs it; the other has no domain, disk or pool of it, and no note is left."""
    here, there = pair.states(NAME)
    assert (here, there) in (("running", ""), ("", "running")), (here, there)
    host = 1 if here == "running" else 2
    assert pair.files(host) == ["m-1_root.qcow2"]
    assert pair.files(3 - host) == []
    assert pair.pools(1) + pair.pools(2) == ""
    assert "xmlns/migration" not in pair.virsh(host, "dumpxml", NAME) + pair.virsh(host, "dumpxml", NAME, "--inactive")
    return host


def same_run(pair: Pair, address: str, before: Alive) -> bool:
    after = pair.alive(address)
    return after.boot == before.boot and after.uptime >= before.uptime


def until_it_moves(pair: Pair, running: Run, host: int = 1) -> None:
    while not pair.moves(host, NAME):
        assert running.poll() is None, running.result()
        time.sleep(0.1)


def in_post_copy(pair: Pair) -> Run:
    """A run that is in the middle of it, for some seconds still."""
    running = pair.begin(1, "migrate", -1, pair.params(NAME, bandwidth_mib=1, post_copy=True, post_copy_after=1.0))
    until_it_moves(pair, running)
    pair.virsh(1, "migrate-setspeed", NAME, "1", "--postcopy")
    while not pair.in_post_copy(2, NAME):
        assert running.poll() is None, running.result()
        time.sleep(0.1)
    return running


def taken_up(pair: Pair, address: str) -> dict[str, Any]:
    """Run again, as is said, until libvirt can take it up.

    QEMU on the target notices that its connection is gone when it next asks for memory, which TCP repeats ever more seldom the longer the cable was out.
    """
    deadline = time.monotonic() + 900
    while True:
        # Whoever asks the guest has it ask for its memory.
        pair.ask(address)
        told = pair.migrate(NAME)
        if "libvirt could not take it up" not in told.get("error", ""):
            return told
        assert time.monotonic() < deadline, told


def test_a_run_that_is_killed_at_any_point(pair: Pair) -> None:
    """Over and over, to and fro, the same boot of the same guest."""
    address = pair.boot(NAME, pair.local / "disks")
    before = pair.alive(address)
    count = pair.migrate(NAME)["points"]
    assert count >= 12
    host, killed = one_runs(pair), 0
    chosen = points(count, 5, "live move", soak=13)
    for point in chosen:
        told = pair.migrate(NAME, host, point)
        killed += "killed" in told
        # At once, without giving anything that still goes on the time to end.
        mended = pair.migrate(NAME, host)
        assert "error" not in mended, (point, mended)
        assert one_runs(pair) == 3 - host, point
        assert same_run(pair, address, before), point
        host = 3 - host
    assert killed, "it was never killed"  # a run that waits less has fewer points, and may end before a late one


def test_a_cold_move_that_is_killed_at_any_point(pair: Pair) -> None:
    pair.guest(1, name=NAME, disks=[pair.disk(NAME, pair.local / "disks")], state="shutoff")
    digest = pair.digest(1, str(pair.local / "disks" / "m-1_root.qcow2"))
    count = pair.migrate(NAME)["points"]
    host, killed = 2, 0
    chosen = points(count, 5, "cold move", soak=13)
    for point in chosen:
        killed += "killed" in pair.migrate(NAME, host, point)
        mended = pair.migrate(NAME, host)
        assert "error" not in mended, (point, mended)
        states = pair.states(NAME)
        assert sorted(states) == ["", "shut off"] and states[2 - host] == "shut off", (point, states)
        assert (pair.files(host), pair.files(3 - host)) == ([], ["m-1_root.qcow2"]), point
        assert pair.pools(1) + pair.pools(2) == "", point
        host = 3 - host
    assert killed, "it was never killed"  # a run that waits less has fewer points, and may end before a late one
    assert pair.digest(host, str(pair.local / "disks" / "m-1_root.qcow2")) == digest


@pytest.mark.parametrize("delay", [0.0, 1.5])
def test_the_targets_daemon_is_killed(pair: Pair, delay: float) -> None:
    address = pair.boot(NAME, pair.local / "disks")
    before = pair.alive(address)
    running = pair.begin(1, "migrate", -1, pair.params(NAME, bandwidth_mib=1))
    until_it_moves(pair, running)
    time.sleep(delay)
    pair.kill(2)
    told = pair.end(running)
    assert "error" in told, told
    assert pair.state(1, NAME) == "running"
    assert same_run(pair, address, before)
    pair.up()
    moved = pair.migrate(NAME)
    assert "error" not in moved, moved
    assert one_runs(pair) == 2
    assert same_run(pair, address, before)


def test_the_sources_daemon_is_killed(pair: Pair) -> None:
    address = pair.boot(NAME, pair.local / "disks")
    before = pair.alive(address)
    running = pair.begin(1, "migrate", -1, pair.params(NAME, bandwidth_mib=1))
    until_it_moves(pair, running)
    pair.kill(1)
    told = pair.end(running)
    assert "error" in told, told
    pair.up()
    moved = pair.migrate(NAME)
    assert "error" not in moved, moved
    assert one_runs(pair) == 2
    assert same_run(pair, address, before)


@pytest.mark.parametrize("delay", [0.0, 2.0])
def test_the_cable_is_pulled(pair: Pair, delay: float) -> None:
    address = pair.boot(NAME, pair.local / "disks")
    before = pair.alive(address)
    running = pair.begin(1, "migrate", -1, pair.params(NAME, bandwidth_mib=1, timeout=60.0))
    until_it_moves(pair, running)
    time.sleep(delay)
    pair.cut(2)
    told = pair.end(running)
    assert "error" in told, told
    assert pair.state(1, NAME) == "running"
    pair.join(2)
    assert same_run(pair, address, before)
    moved = pair.migrate(NAME)
    assert "error" not in moved, moved
    assert one_runs(pair) == 2
    assert same_run(pair, address, before)


def test_the_cable_is_pulled_in_the_middle_of_post_copy(pair: Pair) -> None:
    """A part of its memory is on either host: it can only go on when they reach each other, and the next run has it do so."""
    address = pair.boot(NAME, pair.local / "disks")
    pair.give_images()
    before = pair.alive(address)
    running = in_post_copy(pair)
    pair.cut(2)
    told = pair.end(running)
    assert "in the middle of post-copy" in told["error"] and "run again with the same target" in told["error"], told
    assert "paused" in pair.virsh(1, "domstate", NAME, "--reason")
    apart = pair.migrate(NAME)
    assert apart["code"] == "connection_failed", apart
    pair.join(2)
    foreseen = pair.migrate(NAME, check=True)
    assert "take it up again" in foreseen["recovered"][0], foreseen
    mended = taken_up(pair, address)
    # Its connection may have outlived that.
    ways = ("take the migration up where its link failed", "wait for the migration that was under way")
    assert mended.get("changed") is True and mended["recovered"][0] in ways, mended
    assert one_runs(pair) == 2
    assert same_run(pair, address, before)


@pytest.fixture
def lost(pair: Pair) -> Alive:
    """The guest before QEMU was killed on the target in the middle of post-copy, with which its memory is lost."""
    before = pair.alive(pair.boot(NAME, pair.local / "disks"))
    pair.give_images()
    running = in_post_copy(pair)
    os.kill(int((pair.folder / "2" / "run" / "qemu" / f"{NAME}.pid").read_text()), signal.SIGKILL)
    told = pair.end(running)
    assert "in the middle of post-copy" in told["error"], told
    return before


def is_left(pair: Pair, *words: str) -> None:
    """A run changes nothing, and says these words."""
    for _again in range(2):
        told = pair.migrate(NAME)
        assert all(word in told["error"] for word in ("the target has lost it in the middle of post-copy", *words)), told
        assert (pair.state(1, NAME), pair.files(2)) == ("paused", ["m-1_root.qcow2"])


def test_the_target_loses_it_in_the_middle_of_post_copy(pair: Pair, lost: Alive) -> None:
    is_left(pair, "and so is its definition: switch it off here (virsh destroy m-1), and run again")
    pair.virsh(1, "destroy", NAME)
    told = pair.migrate(NAME)
    assert told.get("changed") is True and pair.states(NAME) == ("", "shut off"), told
    assert (pair.files(1), pair.files(2)) == ([], ["m-1_root.qcow2"])
    pair.virsh(2, "start", NAME)
    assert pair.alive(pair.booted(2, NAME)).boot != lost.boot


def test_the_target_loses_its_definition_too(pair: Pair, lost: Alive) -> None:
    disk = (pair.local / "disks" / "m-1_root.qcow2").relative_to(pair.folder)
    pair.virsh(2, "undefine", NAME)
    is_left(pair, f"its last disks are on kvm2, or shared: {pair.folder / disk};", "virsh destroy m-1", "--remove")
    shutil.copy(pair.folder / "2" / disk, pair.folder / "1" / disk)
    pair.virsh(1, "destroy", NAME)
    pair.virsh(1, "metadata", NAME, NAMESPACE, "--remove")
    pair.virsh(1, "start", NAME)
    assert pair.alive(pair.booted(1, NAME)).boot != lost.boot


def test_two_runs_at_once(pair: Pair) -> None:
    """The second waits for the first, and finds the guest where it was to go."""
    pair.guest(1, name=NAME, disks=[pair.disk(NAME, pair.local / "disks")], state="running")
    runs = [pair.begin(1, "migrate", -1, pair.params(NAME)) for _number in range(2)]
    told = [pair.end(one) for one in runs]
    assert sorted(one["changed"] for one in told) == [False, True], told
    assert one_runs(pair) == 2
