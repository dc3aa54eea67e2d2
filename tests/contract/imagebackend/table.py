# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The table of cases by backends: for a terminal, and for the documentation."""

from __future__ import annotations

import fcntl
from collections.abc import Mapping, Sequence
from pathlib import Path

Outcomes = dict[tuple[str, str], str]

_BEGIN, _END = "<!-- table: begin -->", "<!-- table: end -->"


def as_lines(outcomes: Mapping[tuple[str, str], str], labs: Sequence[str]) -> list[str]:
    cases = _cases(outcomes)
    width = max(len(_sentence(case)) for case in cases)
    lines = [f"{'':{width}}  {'  '.join(f'{lab:9}' for lab in labs)}".rstrip()]
    for case in cases:
        lines.append(f"{_sentence(case):{width}}  {'  '.join(f'{outcomes.get((case, lab), chr(45)):9}' for lab in labs)}".rstrip())
    lines.append(f"{f'{len(cases)} cases':{width}}  {'  '.join(f'{_counted(outcomes, lab):9}' for lab in labs)}".rstrip())
    return lines


def write_into(path: Path, outcomes: Mapping[tuple[str, str], str], labs: Sequence[str]) -> None:
    """Put the outcomes into the table between the two marks of a Markdown file; what this run was not about stays as it is.

    :raises ValueError: the file has no such marks.
    """
    with open(path, "r+", encoding="utf-8") as stream:
        # Two runs, for some of the labs each, may end at once.
        fcntl.flock(stream, fcntl.LOCK_EX)
        text = _filled(path, stream.read(), outcomes, labs)
        stream.seek(0)
        stream.truncate()
        stream.write(text)


def _filled(path: Path, text: str, outcomes: Mapping[tuple[str, str], str], labs: Sequence[str]) -> str:
    head, begin, rest = text.partition(_BEGIN)
    old, end, tail = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{path} has no marks {_BEGIN} and {_END}")
    known = {**_read(old, labs), **{(_sentence(case), lab): outcome for (case, lab), outcome in outcomes.items()}}
    cases = sorted({case for case, _lab in known})
    rows = [f"| case | {' | '.join(f'`{lab}`' for lab in labs)} |", f"|---|{'---|' * len(labs)}"]
    rows += [f"| {case} | {' | '.join(known.get((case, lab), '-') for lab in labs)} |" for case in cases]
    rows.append(f"| **{len(cases)} cases** | {' | '.join(_counted(known, lab) for lab in labs)} |")
    return "".join([head, begin, "\n\n", "\n".join(rows), "\n\n", end, tail])


def _read(text: str, labs: Sequence[str]) -> Outcomes:
    """The outcomes in a table that ``write_into`` has written."""
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")]
    if not rows or [cell.strip("`") for cell in rows[0][1:]] != list(labs):
        return {}
    return {(row[0], lab): cell for row in rows[1:] if not row[0].startswith("**") for lab, cell in zip(labs, row[1:]) if cell != "-"}


def _cases(outcomes: Mapping[tuple[str, str], str]) -> list[str]:
    return list(dict.fromkeys(case for case, _lab in outcomes))


def _counted(outcomes: Mapping[tuple[str, str], str], lab: str) -> str:
    """``35 passed`` or ``2 failed``."""
    seen = [outcome for (_case, where), outcome in outcomes.items() if where == lab]
    failed = sum(outcome != "passed" for outcome in seen)
    return f"{failed} failed" if failed else f"{len(seen)} passed"


def _sentence(case: str) -> str:
    return case.removeprefix("test_").replace("_", " ")
