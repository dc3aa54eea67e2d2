# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What `make test` does with its stages, on small ones."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.poolwright.virt.tests.setup.gate import STAGES, Gate, Stage, startable
from ansible_collections.poolwright.virt.tests.setup.results import Outcome, read_results, table

ROOT = Path(__file__).parents[2]
JUNIT = "<testsuites><testsuite>{}</testsuite></testsuites>"
GOOD = '<testcase classname="tests.unit.test_a" name="test_good"/>'
BAD = '<testcase classname="tests.unit.test_a" name="test_bad[1]"><failure message="no"/></testcase>'


def outcome(stage: str, status: int = 0) -> Outcome:
    return Outcome(stage, status, 1.0, 1, ())


def gate(folder: Path, script: str, *stages: Stage) -> Gate:
    """One whose stages run a Python script that is given the stage's name."""
    return Gate(stages, 2, (sys.executable, "-c", script), folder / "gate")


def test_later_stages_run_after_one_has_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = "import sys; print('output of', sys.argv[1]); sys.exit(7 if sys.argv[1] == 'second' else 0)"
    stages = [Stage(name) for name in ("first", "second", "third")]
    assert gate(tmp_path, script, *stages).run() == 7
    shown = capsys.readouterr().out
    assert "third passed" in shown
    assert "output of second" in shown
    assert "failed in second: exit status 7" in shown
    assert shown.splitlines()[-1] == "0 passed, 1 failed"


def test_the_status_is_that_of_the_worst_stage(tmp_path: Path) -> None:
    script = "import sys; sys.exit(int(sys.argv[1]))"
    assert gate(tmp_path, script, Stage("3"), Stage("9"), Stage("0")).run() == 9


def test_a_stage_that_is_killed_has_failed(tmp_path: Path) -> None:
    script = "import os; os.kill(os.getpid(), 9)"
    assert gate(tmp_path, script, Stage("one")).run() == 137


def test_a_stage_that_takes_too_long_has_failed_however_it_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = "import signal, sys, time; signal.signal(signal.SIGINT, lambda *_: sys.exit(0)); time.sleep(600)"
    assert replace(gate(tmp_path, script, Stage("one")), seconds=3.0).run() == 124
    assert "failed in one: exit status 124" in capsys.readouterr().out


@pytest.mark.parametrize("status", [0, 7])
@pytest.mark.parametrize("left", [0, 5])
def test_what_the_stages_share_is_taken_back_however_they_end(tmp_path: Path, status: int, left: int) -> None:
    taken_back = tmp_path / "taken back"
    last = (sys.executable, "-c", f"import pathlib, sys; pathlib.Path({str(taken_back)!r}).touch(); sys.exit({left})")
    assert replace(gate(tmp_path, f"import sys; sys.exit({status})", Stage("one")), last=last).run() == max(status, left)
    assert taken_back.exists()


def test_it_is_taken_back_when_the_gate_is_told_to_stop(tmp_path: Path) -> None:
    taken_back = tmp_path / "taken back"
    last = (sys.executable, "-c", f"import pathlib; pathlib.Path({str(taken_back)!r}).touch()")
    # As SIGTERM and Ctrl-C end it.
    script = "import os, signal, time; os.kill(os.getppid(), signal.SIGINT); time.sleep(60)"
    with pytest.raises(KeyboardInterrupt):
        replace(gate(tmp_path, script, Stage("one")), last=last).run()
    assert taken_back.exists()


def test_a_report_that_cannot_be_read_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(JUNIT.format(GOOD)[:-9])
    (tmp_path / "b.xml").write_text(JUNIT.format(GOOD))
    found = read_results("unit", 0, 2.0, tmp_path)
    assert (found.status, found.passed) == (1, 1)
    assert ["a.xml" in name for name in found.failed] == [True]


def test_cases_are_counted_from_what_the_tools_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = f"import os, pathlib; pathlib.Path(os.environ['RESULTS'], 'a.xml').write_text({JUNIT.format(GOOD + BAD)!r})"
    # A tool that reports a failure and ends with 0.
    assert gate(tmp_path, script, Stage("one")).run() == 1
    shown = capsys.readouterr().out
    assert "failed in one: unit.test_a.test_bad[1]" in shown
    assert shown.splitlines()[-1] == "1 passed, 1 failed"


def test_pytest_is_asked_for_its_report(tmp_path: Path) -> None:
    script = "import os; assert '--junitxml=' + os.environ['RESULTS'] in os.environ['PYTEST_ADDOPTS']"
    assert gate(tmp_path, script, Stage("one")).run() == 0


def test_sessions_of_nox_are_cases(tmp_path: Path) -> None:
    sessions = [{"name": "typing", "result": "failed"}, {"name": "format", "result": "success"}]
    (tmp_path / "nox.json").write_text(json.dumps({"sessions": sessions}))
    assert read_results("lint", 1, 2.0, tmp_path) == Outcome("lint", 1, 2.0, 1, ("typing",))


def test_actions_of_molecules_scenarios_are_cases(tmp_path: Path) -> None:
    summary = "\x1b[32mdefault\x1b[0m > create: Executed: Successful\nroles > verify: Executed: Failed\n"
    summary = f"INFO default > create: Executed: Successful\n\x1b[1mDETAILS\x1b[0m\n{summary}"
    (tmp_path / "molecule.txt").write_text(summary)
    assert read_results("molecule", 1, 2.0, tmp_path) == Outcome("molecule", 1, 2.0, 1, ("roles.verify",))


def test_a_skipped_case_is_not_counted(tmp_path: Path) -> None:
    """ansible-test skips what a collection has no files for; in pytest a skip is a failure, see tests/conftest.py."""
    (tmp_path / "a.xml").write_text(JUNIT.format(GOOD + '<testcase classname="a" name="b"><skipped/></testcase>'))
    assert read_results("sanity", 0, 2.0, tmp_path) == Outcome("sanity", 0, 2.0, 1, ())


def test_the_table_has_a_row_for_each_stage_and_a_plain_last_line() -> None:
    lines = table([Outcome("unit", 0, 61.2, 12, ()), Outcome("lint", 1, 5.0, 3, ("typing",))], 70.0)
    assert lines[2].split() == ["unit", "12", "0", "61"]
    assert lines[3].split() == ["lint", "3", "1", "5", "exit", "status", "1"]
    assert lines[-1] == "15 passed, 1 failed"


def test_stages_start_in_order_and_not_too_many_at_once() -> None:
    stages = [Stage(name) for name in "abcd"]
    assert startable(stages, [], {}, 2) == stages[:2]
    assert startable(stages, stages[:2], {}, 2) == []
    assert startable(stages, [stages[0]], {"b": outcome("b")}, 2) == [stages[2]]


def test_a_stage_waits_for_what_it_needs_even_if_that_fails() -> None:
    stages = [Stage("lab"), Stage("real", ("lab",))]
    assert startable(stages, [stages[0]], {}, 2) == []
    assert startable(stages, [], {"lab": outcome("lab", 1)}, 2) == [stages[1]]


def test_a_stage_chosen_alone_does_not_wait_for_one_that_was_not_chosen() -> None:
    assert startable([Stage("real", ("lab",))], [], {}, 2) == [Stage("real", ("lab",))]


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_every_stage_is_a_make_target_and_described(stage: Stage) -> None:
    assert f"\n{stage.name}:" in (ROOT / "Makefile").read_text()
    assert f"`{stage.name}`" in (ROOT / "CONTRIBUTING.md").read_text()
