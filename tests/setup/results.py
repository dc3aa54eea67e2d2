# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the stages of `make test` found, from the reports of the tools that they run."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Outcome:
    """A stage that has ended.

    :ivar status: its exit status; also 1 where its tool reports failures and ended with 0 all the same.
    :ivar failed: the names of the cases that failed, or why it failed without one.
    """

    stage: str
    status: int
    seconds: float
    passed: int
    failed: tuple[str, ...]


def read_results(stage: str, status: int, seconds: float, folder: Path) -> Outcome:
    """:param folder: the stage's reports: JUnit's XML, JSON of nox, and what molecule prints."""
    readers = {".xml": _junit, ".json": _nox, ".txt": _molecule}
    passed, failed = 0, list[str]()
    for path in sorted(folder.iterdir()):
        try:
            good, bad = readers[path.suffix](path)
        except (KeyError, ValueError, ET.ParseError) as exc:
            good, bad = 0, [f"the report {path.name} cannot be read: {exc!r}"]
        passed += good
        failed += bad
    if status and not failed:
        failed.append(f"exit status {status} with no case that failed; see its output above")
    return Outcome(stage, status or (1 if failed else 0), seconds, passed, tuple(failed))


def _junit(path: Path) -> tuple[int, list[str]]:
    passed, failed = 0, []
    for case in ET.parse(path).iter("testcase"):
        if case.find("skipped") is not None:
            continue
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(".".join(part for part in (case.get("classname", "").rpartition("tests.")[2], case.get("name", "")) if part))
        else:
            passed += 1
    return passed, failed


def _nox(path: Path) -> tuple[int, list[str]]:
    sessions = json.loads(path.read_text(encoding="utf-8"))["sessions"]
    failed = [str(session["name"]) for session in sessions if session["result"] != "success"]
    return len(sessions) - len(failed), failed


def _molecule(path: Path) -> tuple[int, list[str]]:
    """By the summary at its end: a case is an action of a scenario."""
    summary = path.read_text(encoding="utf-8").rpartition("DETAILS")[2]
    actions = re.findall(r"^(\S+) \S+ (\S+): Executed: (\S+)", re.sub(r"\x1b\[[0-9;]*m", "", summary), re.MULTILINE)
    failed = [f"{scenario}.{action}" for scenario, action, outcome in actions if outcome != "Successful"]
    return len(actions) - len(failed), failed


def table(outcomes: Sequence[Outcome], seconds: float) -> list[str]:
    """The stages by rows, the names of what failed, and a line that counts all."""
    passed, failed = sum(one.passed for one in outcomes), sum(len(one.failed) for one in outcomes)
    rows = [("stage", "passed", "failed", "seconds", "")]
    rows += [(one.stage, str(one.passed), str(len(one.failed)), f"{one.seconds:.0f}", f"exit status {one.status}" if one.status else "") for one in outcomes]
    rows += [("all", str(passed), str(failed), f"{seconds:.0f}", "")]
    width = max(len(row[0]) for row in rows)
    lines = ["", *(f"{name:{width}}  {good:>6}  {bad:>6}  {took:>7}  {remark}".rstrip() for name, good, bad, took, remark in rows)]
    for one in outcomes:
        lines += [f"failed in {one.stage}: {name}" for name in one.failed]
    return [*lines, "", f"{passed} passed, {failed} failed"]
