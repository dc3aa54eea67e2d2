# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""gate.py [STAGE...]: what `make test` does: every stage, also after one has failed, and a table of what each found.

A stage is the make target of its name. Stages run beside each other, one more than the machine has cores, each with its output in
a file. The exit status is that of the worst stage.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.poolwright.virt.tests.setup.results import Outcome, read_results, table

ROOT = Path(__file__).resolve().parents[2]
LOGS = ROOT / ".work" / "gate"
LOG_LINES = 150  # of a stage that failed, shown when it ends
STAGE_SECONDS = 5000.0  # a stage that hangs is ended, and has failed
TIMED_OUT = 124  # as timeout(1) has it
CLEAN_UP_SECONDS = 60


@dataclass(frozen=True)
class Stage:
    """A make target.

    :ivar needs: stages that end before it starts; it runs also when they failed, and then says itself what it lacks.
    """

    name: str
    needs: tuple[str, ...] = ()


# What others need first, then what waits most: its guests boot while others compute. Short ones last, so that all end together.
STAGES = (
    Stage("lab-up"),
    Stage("debian-guest"),
    Stage("integration", ("lab-up",)),
    Stage("vsphere"),
    Stage("lvm", ("lab-up",)),
    Stage("backends", ("lab-up",)),
    Stage("contract", ("lab-up",)),
    Stage("sanity"),
    Stage("unit"),
    Stage("unit-newest"),
    Stage("floor", ("lab-up",)),
    Stage("molecule"),
    Stage("lint"),
    Stage("sanity-floor"),
)


@dataclass
class Running:
    stage: Stage
    process: subprocess.Popen[bytes]
    since: float
    timed_out: bool = False

    @property
    def status(self) -> int:
        """Of the stage, once it has ended: as a shell has it."""
        status = self.process.returncode
        return TIMED_OUT if self.timed_out else 128 - status if status < 0 else status

    def end(self) -> None:
        """End all that the stage has started in its session: by SIGINT, at which pytest cleans up, and by force after a while."""
        for number in (signal.SIGINT, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(CLEAN_UP_SECONDS)


@dataclass
class Gate:
    """A run of stages, ``most`` at once. ``last`` is a command that takes back what they share, however they ended."""

    stages: Sequence[Stage]
    most: int
    command: Sequence[str] = ("make", "--no-print-directory")
    logs: Path = LOGS
    seconds: float = STAGE_SECONDS
    last: Sequence[str] = ()
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    running: list[Running] = field(default_factory=list)

    def run(self) -> int:
        """:returns: the exit status of the worst stage."""
        shutil.rmtree(self.logs, ignore_errors=True)
        self.logs.mkdir(parents=True)
        begun, left = time.monotonic(), 0
        try:
            while len(self.outcomes) < len(self.stages):
                for stage in startable(self.stages, [running.stage for running in self.running], self.outcomes, self.most):
                    say(begun, f"{stage.name} starts; its output goes to {self.log(stage)}")
                    self.running.append(self._start(stage))
                self._wait(begun)
        finally:
            self._end_all()
            if self.last:
                left = subprocess.run(self.last, check=False).returncode
        for line in table([self.outcomes[stage.name] for stage in self.stages], time.monotonic() - begun):
            print(line)
        return max([left, *(outcome.status for outcome in self.outcomes.values())])

    def log(self, stage: Stage) -> Path:
        return self.logs / f"{stage.name}.log"

    def _start(self, stage: Stage) -> Running:
        results = self.logs / stage.name
        results.mkdir()
        options = f"{os.environ.get('PYTEST_ADDOPTS', '')} --junitxml={results / 'pytest.xml'}".strip()
        # The make above has its own flags and its own jobs.
        environment = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
        environment.update(RESULTS=str(results), PYTEST_ADDOPTS=options)
        with open(self.log(stage), "wb") as log:
            process = subprocess.Popen(
                [*self.command, stage.name], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        return Running(stage, process, time.monotonic())

    def _wait(self, begun: float) -> None:
        """Until one or more of the stages have ended."""
        while True:
            ended = [running for running in self.running if self._ended(running)]
            if ended:
                break
            time.sleep(0.2)
        for running in ended:
            self.running.remove(running)
            stage = running.stage
            outcome = read_results(stage.name, running.status, time.monotonic() - running.since, self.logs / stage.name)
            self.outcomes[stage.name] = outcome
            say(begun, f"{stage.name} {'passed' if outcome.status == 0 else 'FAILED'} after {outcome.seconds:.0f} s")
            if outcome.status:
                print("".join(tail(self.log(stage), LOG_LINES)), flush=True)

    def _ended(self, running: Running) -> bool:
        if running.process.poll() is None and time.monotonic() - running.since > self.seconds:
            running.timed_out = True
            running.end()
        return running.process.returncode is not None

    def _end_all(self) -> None:
        for running in self.running:
            running.end()


def startable(stages: Sequence[Stage], running: Sequence[Stage], ended: Mapping[str, Outcome], most: int) -> list[Stage]:
    """Those that may start now, in order: what they need has ended, and no more than ``most`` run at once."""
    names = {stage.name for stage in stages}
    free = [stage for stage in stages if stage not in running and stage.name not in ended and all(need not in names or need in ended for need in stage.needs)]
    return free[: max(0, most - len(running))]


def tail(path: Path, lines: int) -> list[str]:
    with open(path, encoding="utf-8", errors="replace") as stream:
        return stream.readlines()[-lines:]


def say(begun: float, what: str) -> None:
    minutes, seconds = divmod(int(time.monotonic() - begun), 60)
    print(f"{minutes:3d}:{seconds:02d} {what}", flush=True)


def main(names: Sequence[str]) -> int:
    unknown = set(names) - {stage.name for stage in STAGES}
    if unknown:
        print(f"error: no such stage: {', '.join(sorted(unknown))}; there are {', '.join(stage.name for stage in STAGES)}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    # A shell has its jobs ignore it, and they theirs; the stages clean up at it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Each waits now and then: for a guest, for a server, at its end for its last case.
    most = len(os.sched_getaffinity(0)) + 1
    chosen = [stage for stage in STAGES if not names or stage.name in names]
    in_lab = any("lab-up" in (stage.name, *stage.needs) for stage in chosen)
    # It fails where a stage has left something in the lab.
    down = (str(ROOT / "tests" / "lab" / "lab"), "down") if in_lab else ()
    try:
        return Gate(chosen, most, last=down).run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
