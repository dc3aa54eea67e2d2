# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One session of measurements: which ones, in which order, and where their figures go."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from types import FrameType
from typing import Any, NoReturn

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.locks import FileLock
from ansible_collections.poolwright.virt.tests.bench import (
    cached_image,
    converged,
    document,
    dummy,
    fill,
    guests,
    image_fetch,
    machine_disk,
    upload,
    vsphere_fill,
    vsphere_scale,
)
from ansible_collections.poolwright.virt.tests.bench.figures import Measured, Wrong
from ansible_collections.poolwright.virt.tests.bench.machine import facts
from ansible_collections.poolwright.virt.tests.bench.places import BENCH, RESULTS, ROOT

MEASUREMENTS: dict[str, Callable[[bool], Measured]] = {
    "fill": fill.measure,
    "converged": converged.measure,
    "guests": guests.measure,
    "dummy": dummy.measure,
    "cached-image": cached_image.measure,
    "image-fetch": image_fetch.measure,
    "machine-disk": machine_disk.measure,
    "vsphere-fill": vsphere_fill.measure,
    "vsphere-scale": vsphere_scale.measure,
    "vsphere-upload": upload.measure,
}


def run(arguments: Sequence[str]) -> int:
    """:return: 0 unless something could not be run, ended wrong, or made more calls than it may."""
    parser = argparse.ArgumentParser(prog="run.py", description="Measure poolwright.virt. Figures go to .work/bench/results.json and docs/performance.md.")
    # With "choices", argparse would refuse that none is named.
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure: {', '.join(MEASUREMENTS)}; all of them by default")
    parser.add_argument("--quick", action="store_true", help="few machines and one round, to see that everything runs; nothing is written")
    chosen = parser.parse_args(arguments)
    unknown = set(chosen.names) - set(MEASUREMENTS)
    if unknown:
        parser.error(f"not known: {', '.join(sorted(unknown))}; known are {', '.join(MEASUREMENTS)}")
    signal.signal(signal.SIGTERM, _stop)

    BENCH.mkdir(parents=True, exist_ok=True)
    try:
        # Two sessions would remove each other's machines, and measure each other.
        with FileLock(str(BENCH / "session.lock"), Clock()):
            return _session(chosen.names or list(MEASUREMENTS), chosen.quick)
    except Busy as exc:
        print(f"error: another session is running: {exc}", file=sys.stderr)
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
    return 1


def _session(names: Sequence[str], quick: bool) -> int:
    failed = []
    results = {} if quick else _earlier()
    for name in names:
        print(f"== {name}", flush=True)
        try:
            measured = MEASUREMENTS[name](quick)
        except (Wrong, VirtError) as exc:
            print(f"error: {name}: {exc}", file=sys.stderr, flush=True)
            failed.append(name)
            continue
        print(document.as_text(measured), flush=True)
        if not quick:
            results["measurements"][name] = measured.as_dict() | {"date": _today()}
            _keep(results)
    if not quick and set(results["measurements"]) == set(MEASUREMENTS):
        document.rewrite(results)
        print(f"written: {document.PAGE.relative_to(ROOT)}")
    if failed:
        print(f"error: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _earlier() -> dict[str, Any]:
    """What was measured before on this very machine; figures of different machines stand in no table together."""
    here = facts()
    try:
        earlier = json.loads(RESULTS.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        earlier = {}
    if earlier.get("machine") == here:
        return dict(earlier)
    return {"machine": here, "measurements": {}}


def _keep(results: dict[str, Any]) -> None:
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def _today() -> str:
    return datetime.now(tz=timezone.utc).strftime("%Y-%m-%d")


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    """Ended from outside: leave as from the keyboard, by way of everything that cleans up."""
    raise KeyboardInterrupt
