# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""soak.py SECONDS: the tests that draw their cases, with the full numbers of them and new seeds, file after file until the time is used up.

The files come in a random order, again and again. The last one is run to its end.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.poolwright.virt.tests.setup.results import Outcome, read_results, table

ROOT = Path(__file__).resolve().parents[2]
DRAWS = re.compile(r"^from (hypothesis|ansible_collections\.poolwright\.virt\.tests(\.seeds| import seeds|\S+\.sampling))\b", re.MULTILINE)
_PROCESSES = ("-n", str(len(os.sched_getaffinity(0))))
# What the files of a folder are run with, once for each; LVM's guests are several by themselves.
RUNS = {"tests/contract/imagebackend": (("--backend", "flat,qcow2,rbd,ploop", *_PROCESSES), ("--backend", "lvm,lvm_thin"))}

Turn = tuple[Path, tuple[str, ...]]


def turns_to_take() -> list[Turn]:
    """Each file that draws its cases, with the options of pytest."""
    found = (path.relative_to(ROOT) for path in (ROOT / "tests").rglob("test_*.py") if DRAWS.search(path.read_text(encoding="utf-8")))
    return [(path, options) for path in sorted(found) for options in RUNS.get(str(path.parent), (_PROCESSES,))]


def for_ever(turns: list[Turn], chance: random.Random) -> Iterator[Turn]:
    while True:
        yield from chance.sample(turns, len(turns))


def run(path: Path, options: tuple[str, ...], seed: int) -> Outcome:
    """One file's tests with all their cases; what they print is shown where they fail."""
    environment = {**os.environ, "POOLWRIGHT_SOAK": "1", "POOLWRIGHT_SEED": str(seed)}
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = f"--junitxml={folder}/pytest.xml"
        command = [sys.executable, "-m", "pytest", "-q", report, *options, str(path)]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        outcome = read_results(str(path), done.returncode, time.monotonic() - begun, Path(folder))
    how = f"{' '.join(options)} with POOLWRIGHT_SOAK=1 POOLWRIGHT_SEED={seed}"
    print(f"{path} {how}: {outcome.passed} passed, {len(outcome.failed)} failed, {outcome.seconds:.0f} s", flush=True)
    if outcome.status:
        print(done.stdout, flush=True)
    return outcome


def main(seconds: float) -> int:
    begun = time.monotonic()
    outcomes: list[Outcome] = []
    chance = random.SystemRandom()
    for path, options in for_ever(turns_to_take(), chance):
        if time.monotonic() - begun >= seconds:
            break
        outcomes.append(run(path, options, chance.randrange(1_000_000)))
    for line in table(outcomes, time.monotonic() - begun):
        print(line)
    return max((outcome.status for outcome in outcomes), default=0)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
