# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: evacuation_report
short_description: Put together what was planned and what was done to empty a host
version_added: 0.1.0
author:
  - poolwright.virt contributors (@poolwright)
description:
  - Takes what M(poolwright.virt.libvirt_evacuation_plan) returned, and what M(poolwright.virt.libvirt_migrate) returned of each move.
  - It is what the role P(poolwright.virt.host_evacuate#role) shows.
positional: results
options:
  _input:
    description: The plan.
    type: dict
    required: true
  results:
    description:
      - The results of the moves in any order, each with the C(name) of its guest. Those of a loop over the plan's moves, in which a result has
        its guest in C(item), are taken as they are.
      - Of several results of a guest the last one counts. A move without a result was not tried.
    type: list
    elements: dict
    default: []
  check_mode:
    description: Whether the results are predictions.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show what would be done to empty a host
  ansible.builtin.debug:
    msg: "{{ (plan | poolwright.virt.evacuation_report).lines }}"
"""

RETURN = r"""
_value:
  description:
    - C(guests), a list with C(name), C(status), C(pool), C(source), C(target), C(mode), C(seconds), C(downtime_ms), C(transferred_bytes),
      C(reason) and C(rejected) of each guest. C(status) is C(moved), C(to move), C(failed), C(not tried), C(left), or C(stays) for one that was not to move.
    - C(moved), C(failed) and C(left), the names of guests by what became of them. One that was not tried counts as failed, except where nothing was
      tried since all is a prediction.
    - C(hosts), as in the plan.
    - C(empty), whether nothing is left that was to move.
    - C(lines), all of it as text.
  type: dict
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Callable

from ansible.errors import AnsibleFilterError

Row = dict[str, Any]

_HEADS = {"name": "GUEST", "status": "STATUS", "source": "FROM", "target": "TO", "mode": "HOW", "took": "SECONDS", "stood": "STOOD STILL", "sent": "SENT"}
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def evacuation_report(plan: Mapping[str, Any], results: Sequence[Mapping[str, Any]] = (), check_mode: bool = False) -> Row:
    """One account of all guests, in the order of the plan."""
    if not isinstance(plan, Mapping) or "moves" not in plan or "left" not in plan:
        raise AnsibleFilterError(f"evacuation_report: this is no plan: {str(plan)[:200]}")
    done = {_guest_of(result): result for result in results}
    guests = [_moved(move, done.get(move["name"]), check_mode or not results) for move in plan["moves"]]
    guests += [_stays(one) for one in plan["left"]]
    by_status = {status: [row["name"] for row in guests if row["status"] == status] for status in ("moved", "to move", "failed", "not tried", "left", "stays")}
    failed = by_status["failed"] + by_status["not tried"]
    report: Row = {
        "guests": guests,
        "moved": by_status["moved"] + by_status["to move"],
        "failed": failed,
        "left": by_status["left"],
        "hosts": list(plan.get("hosts") or ()),
        "empty": not failed and not by_status["left"],
    }
    return {**report, "lines": list(_lines(report))}


def _guest_of(result: Mapping[str, Any]) -> str:
    """The guest that a result is about, also where it is that of waiting for a move that was begun before."""
    item: Any = result
    while isinstance(item, Mapping):
        inner = item.get(str(item.get("ansible_loop_var") or "item"))
        if not isinstance(inner, Mapping):
            break
        item = inner
    return str(item.get("name") or "")


def _moved(move: Mapping[str, Any], result: Mapping[str, Any] | None, foretold: bool) -> Row:
    row = {key: move[key] for key in ("name", "pool", "source", "target", "mode", "reason", "rejected")}
    if result is None:
        return {**row, **_measured({}), "status": "to move" if foretold else "not tried"}
    if result.get("failed"):
        return {**row, **_measured({}), "status": "failed", "reason": str(result.get("msg") or "it gave no answer").removeprefix(f"{move['name']}: ")}
    return {**row, **_measured(result), "status": "to move" if foretold else "moved"}


def _stays(one: Mapping[str, Any]) -> Row:
    row = {key: one[key] for key in ("name", "pool", "source", "reason", "rejected")}
    return {**row, **_measured({}), "target": "", "mode": "", "status": "left" if one.get("wanted", True) else "stays"}


def _measured(result: Mapping[str, Any]) -> Row:
    return {key: result.get(key) for key in ("seconds", "downtime_ms", "transferred_bytes")}


def _lines(report: Row) -> Iterable[str]:
    if not report["guests"]:
        yield "There is no guest to move."
    else:
        yield from _table([_HEADS, *({**row, **_words(row)} for row in report["guests"])])
        yield ""
    for row in report["guests"]:
        if row["status"] in ("failed", "not tried", "left", "stays"):
            why = f": {row['reason']}" if row["status"] != "not tried" else ""
            yield f"{row['name']} {_SAID[row['status']]}{why}"
            yield from (f"  {host} {reason}" for host, reason in row["rejected"].items() if row["status"] == "left")
    for host in report["hosts"]:
        yield f"{host['name']}: {host['before_percent']}% full before, {host['after_percent']}% after, {host['free_mb']} MiB left for guests"


_SAID = {"failed": "could not be moved", "not tried": "was not tried", "left": "is left", "stays": "stays"}


def _words(row: Row) -> dict[str, str]:
    seconds, stood, sent = row["seconds"], row["downtime_ms"], row["transferred_bytes"]
    # What was only foretold has no figures.
    shown = row["status"] == "moved"
    return {
        "took": f"{seconds:.1f}" if shown and seconds is not None else "",
        "stood": f"{stood} ms" if shown and stood is not None else "",
        "sent": _size(int(sent)) if shown and sent is not None else "",
    }


def _size(count: int) -> str:
    amount, unit = float(count), 0
    while amount >= 1024 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    return f"{amount:.0f} {_UNITS[unit]}" if unit == 0 or amount >= 100 else f"{amount:.1f} {_UNITS[unit]}"


def _table(rows: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    cells = [[str(row[column] or "-") for column in _HEADS] for row in rows]
    widths = [max(len(line[number]) for line in cells) for number in range(len(_HEADS))]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(line, widths)).rstrip() for line in cells]


class FilterModule:
    """Ansible's way to this file's filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"evacuation_report": evacuation_report}
