# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The dummy's database."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.dummy.store import Row, Seen, Store, Usage
from ansible_collections.poolwright.virt.plugins.module_utils.errors import ConnectionFailed, NameTaken


def test_fifty_threads_take_every_name_once(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "db"))

    def take(number: int) -> int:
        try:
            store.insert(Row(name=f"vm-{number % 100}"))
        except NameTaken:
            return 0
        return 1

    with ThreadPoolExecutor(50) as pool:
        assert sum(pool.map(take, range(500))) == 100
    assert len(store.everything()) == 100
    store.close()


def test_eight_processes_open_a_new_database_and_fill_it_together(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from ansible_collections.poolwright.virt.plugins.module_utils.dummy.store import Row, Store\n"
        "store = Store(sys.argv[1])\n"
        "for number in range(50):\n"
        "    store.insert(Row(name=f'{sys.argv[2]}-{number}'), lambda usage: str(sum(usage.machines.values())))\n"
        "    store.count([('create', '')])\n"
    )
    path = tmp_path / "db"
    environment = {"PYTHONPATH": ":".join(entry for entry in sys.path if entry)}
    children = [subprocess.Popen([sys.executable, "-c", program, str(path), str(child)], env=environment) for child in range(8)]
    assert [child.wait(timeout=600) for child in children] == [0] * 8
    store = Store(str(path))
    # Each host is the count of machines before: every transaction saw the one before it.
    assert sorted(int(seen.row.host) for seen in store.everything()) == list(range(400))
    assert store.counted(("create", "")) == 400
    store.close()


def test_a_change_that_raises_leaves_all_as_it_was(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "db"))
    store.insert(Row(name="vm"))

    def fail(seen: Seen | Row) -> Row:
        raise KeyError(seen)

    def nowhere(usage: Usage) -> str:
        raise KeyError(usage)

    before = store.everything()
    with pytest.raises(KeyError):
        store.change("vm", fail)
    with pytest.raises(KeyError):
        store.delete("vm", fail)
    with pytest.raises(KeyError):
        store.insert(Row(name="other"), nowhere)
    assert store.everything() == before
    store.close()


def test_missing_machines_are_told_apart(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "db"))
    assert store.machine("vm") is None
    assert store.change("vm", lambda seen: seen.row) is None
    assert store.move("vm", lambda seen, usage: "host-1") is None
    assert not store.delete("vm")
    assert not store.add_disk("vm", 1.0, lambda row: None)
    assert not store.add_snapshot("vm", "s", lambda row: None)
    assert not store.revert("vm", "s", lambda row: None)
    assert store.leftovers() == []
    store.close()


def test_a_snapshot_brings_back_the_disks(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "db"))
    store.insert(Row(name="vm"))
    store.add_disk("vm", 1.0, lambda row: None, "root")
    store.add_snapshot("vm", "one", lambda row: None)
    store.drop_disk("vm")
    store.add_disk("vm", 2.0, lambda row: None)
    assert store.disks("vm") == {"disk1": 2.0}
    assert store.revert("vm", "one", lambda row: None)
    assert store.disks("vm") == {"root": 1.0}
    assert store.snapshots("vm") == ["one"]
    assert store.delete("vm")
    assert store.leftovers() == []
    store.close()


def test_leftovers_are_what_no_machine_has(tmp_path: Path) -> None:
    path = tmp_path / "db"
    store = Store(str(path))
    store.insert(Row(name="vm"))
    store.add_disk("vm", 1.0, lambda row: None, "root")
    other = sqlite3.connect(path)
    with other:
        other.execute("DELETE FROM machines")
    other.close()
    assert store.leftovers() == ["disk root of vm"]
    store.close()


def test_a_machine_keeps_all_its_fields(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "db"))
    row = Row("vm", "ci", "{}", "running", "host-1", "10.0.0.1", 64, 1.5, 2.5, 3.5, None)
    store.insert(row)
    assert store.machine("vm") == Seen(row, has_root=False)
    changed = store.change("vm", lambda seen: replace(seen.row, power="off", up_at=None))
    assert store.machine("vm") == Seen(replace(row, power="off", up_at=None), has_root=False)
    assert changed is not None
    assert store.latest_time() == 1.5
    assert store.usage() == Usage({"host-1": 1}, 64)
    store.close()


def test_paths_that_cannot_be_used_are_refused_with_a_remedy(tmp_path: Path) -> None:
    text, foreign = tmp_path / "text", tmp_path / "foreign"
    text.write_text("no database at all, but long enough to be looked at as one\n" * 20)
    other = sqlite3.connect(foreign)
    with other:
        other.execute("CREATE TABLE things (name TEXT)")
    other.close()
    before = [path.read_bytes() for path in (text, foreign)]
    for path in (text, foreign, tmp_path, tmp_path / "missing" / "db"):
        with pytest.raises(ConnectionFailed) as caught:
            Store(str(path))
        assert caught.value.obj == str(path)
        assert caught.value.hint
    assert [path.read_bytes() for path in (text, foreign)] == before


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "db"))
    store.close()
    store.close()
    with pytest.raises(ConnectionFailed):
        store.everything()
