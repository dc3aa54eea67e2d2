# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tables as text, and ``docs/performance.md``, in which everything between a pair of markers is written here."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.poolwright.virt.tests.bench.figures import Measured, Table
from ansible_collections.poolwright.virt.tests.bench.places import ROOT

PAGE = ROOT / "docs" / "performance.md"
_MARKED = re.compile(r"(<!-- begin ([\w-]+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)


def as_text(measured: Measured) -> str:
    return "\n".join(_table(table) for table in measured.tables)


def rewrite(results: dict[str, Any]) -> None:
    """Put the figures of all measurements, and the machine's facts, between their markers."""
    parts = {name: _measurement(found) for name, found in results["measurements"].items()}
    parts["machine"] = _grid(["", ""], [[fact, value] for fact, value in results["machine"].items()])
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(_MARKED.sub(lambda match: f"{match[1]}\n{parts[match[2]]}\n{match[3]}", page), encoding="utf-8")


def _measurement(found: dict[str, Any]) -> str:
    tables = "\n".join(_table(Table(**table)) for table in found["tables"])
    return f"Measured on {found['date']}.\n\n{tables}"


def _table(table: Table) -> str:
    return f"{table.title}:\n\n{_grid(table.columns, table.rows)}"


def _grid(columns: Any, rows: Any) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
