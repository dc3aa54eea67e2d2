# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Locks exclude, leave nothing behind, and survive their holder's death."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline, InstantClock
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy
from ansible_collections.poolwright.virt.plugins.module_utils.locks import FileLock, sweep_locks

HOLD = """
import sys
from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock
from ansible_collections.poolwright.virt.plugins.module_utils.locks import FileLock
with FileLock(sys.argv[1], Clock()):
    print("held", flush=True)
    sys.stdin.read()
"""
COUNT = """
import os, sys
from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.locks import FileLock
clock = Clock()
for _time in range(50):
    with FileLock(sys.argv[1], clock, Deadline.after(clock, 600)):
        with open(sys.argv[2]) as stream:
            number = int(stream.read())
        with open(sys.argv[2], "w") as stream:
            stream.write(str(number + 1))
"""


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def test_a_released_lock_leaves_no_file(tmp_path: Path) -> None:
    with FileLock(str(tmp_path / "lock"), Clock()):
        assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == []


def test_an_error_inside_releases_it(tmp_path: Path) -> None:
    with pytest.raises(KeyError), FileLock(str(tmp_path / "lock"), Clock()):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_another_process_is_kept_out_and_told_who_holds_it(tmp_path: Path) -> None:
    lock = str(tmp_path / "lock")
    with start(HOLD, lock) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        clock = InstantClock()
        with pytest.raises(Busy, match=rf"locked by process {holder.pid} since 20\d\d-") as caught, FileLock(lock, clock, Deadline.after(clock, 3600)):
            pass
        assert caught.value.transient
        assert clock.now() - InstantClock().now() >= 3600
        holder.communicate()
    with FileLock(lock, Clock()):
        pass
    assert list(tmp_path.iterdir()) == []


def test_without_a_deadline_it_is_tried_once(tmp_path: Path) -> None:
    lock = str(tmp_path / "lock")
    clock = InstantClock()
    with FileLock(lock, clock), pytest.raises(Busy), FileLock(lock, clock):
        pass
    assert clock.now() == InstantClock().now()


def test_a_killed_holder_keeps_nobody_waiting(tmp_path: Path) -> None:
    lock = str(tmp_path / "lock")
    with start(HOLD, lock) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        holder.kill()
        holder.wait()
    assert os.path.exists(lock)
    with FileLock(lock, InstantClock()):
        pass
    assert not os.path.exists(lock)


def test_processes_never_hold_it_together(tmp_path: Path) -> None:
    """Many short holds: a waiter often gets the lock on a file that its holder has just unlinked."""
    counter = tmp_path / "counter"
    counter.write_text("0")
    counting = [start(COUNT, tmp_path / "lock", counter) for _time in range(6)]
    for process in counting:
        process.communicate(timeout=600)
        assert process.returncode == 0
    assert counter.read_text() == "300"
    assert [path.name for path in tmp_path.iterdir()] == ["counter"]


def test_threads_never_hold_it_together(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []
    clock = Clock()

    def hold() -> None:
        for _time in range(20):
            with FileLock(str(tmp_path / "lock"), clock, Deadline.after(clock, 600)):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=hold) for _time in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(most), max(most)) == (160, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_file_removed_by_hand_does_not_cost_the_next_holder_his(tmp_path: Path) -> None:
    lock = str(tmp_path / "lock")
    first, second = FileLock(lock, Clock()), FileLock(lock, Clock())
    first.__enter__()
    os.unlink(lock)
    second.__enter__()
    first.__exit__(None, None, None)
    assert os.path.exists(lock)
    second.__exit__(None, None, None)
    assert not os.path.exists(lock)


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("precious")
    (tmp_path / "lock").symlink_to("target")
    with pytest.raises(OSError, match="symbolic links"), FileLock(str(tmp_path / "lock"), Clock()):
        pass
    assert (tmp_path / "target").read_text() == "precious"


def test_lock_files_of_killed_holders_are_swept_and_others_kept(tmp_path: Path) -> None:
    (tmp_path / "dead.lock").write_text("{}")
    (tmp_path / "note.txt").write_text("")
    with FileLock(str(tmp_path / "held.lock"), Clock()):
        sweep_locks(str(tmp_path))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["held.lock", "note.txt"]
