# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Child processes: timed, weighed, and gone when the measurement is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from ansible_collections.poolwright.virt.tests.bench.figures import must

_GRACE_SECONDS = 20.0
# Whoever starts a process lends it memory until it is a program of its own, and that counts. This one has hardly any to lend.
_WEIGHER = """import os, sys
_pid, status, used = os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ), 0)
print(used.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))"""


@dataclass(frozen=True)
class Ended:
    """A process that has ended well. ``cpu`` counts its own children that it waited for."""

    seconds: float
    cpu: float
    output: str


class Child:
    """A process in a session of its own, its output in files. It does not outlive the ``with`` block that it is for."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._argv = argv
        self._environment = {**os.environ, **(environment or {})}
        # Python as it comes: what it has compiled once is not compiled for every process, as this variable would have it.
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self._files = ExitStack()

    def __enter__(self) -> Child:
        self._output = self._files.enter_context(tempfile.TemporaryFile())
        self._errors = self._files.enter_context(tempfile.TemporaryFile())
        self._start = time.perf_counter()
        self._process = subprocess.Popen(
            self._argv, stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._errors, env=self._environment, start_new_session=True
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        with self._files:
            if self._process.returncode is None:
                self._stop()

    def end(self) -> Ended:
        """Wait for it.

        :raises Wrong: it ended with another status than 0.
        """
        _pid, status, used = os.wait4(self._process.pid, 0)
        seconds = time.perf_counter() - self._start
        self._process.returncode = os.waitstatus_to_exitcode(status)
        output, errors = _text(self._output), _text(self._errors)
        must(self._process.returncode == 0, f"{self._argv[0]} ended with status {self._process.returncode}: {errors[-2000:]}{output[-2000:]}")
        return Ended(seconds, used.ru_utime + used.ru_stime, output)

    def _stop(self) -> None:
        """Ask it to end, which a run of ours does in order, and insist after a while."""
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def run(argv: Sequence[str], environment: Mapping[str, str] | None = None) -> Ended:
    """:raises Wrong: it ended with another status than 0."""
    with Child(argv, environment) as child:
        return child.end()


def run_lines(script: Path, at_once: int, environment: Mapping[str, str] | None = None) -> Ended:
    """Run every line of ``script`` in a shell of its own, so many at once.

    :raises Wrong: one of them ended with another status than 0.
    """
    return run(["xargs", "-a", str(script), "-P", str(at_once), "-d", "\\n", "-I", "{}", "sh", "-c", "{}"], environment)


def weigh(argv: Sequence[str], environment: Mapping[str, str] | None = None) -> float:
    """The peak memory of a process, or of the largest of its children that it waited for, in MB.

    :raises Wrong: it ended with another status than 0.
    """
    return round(int(run([sys.executable, "-I", "-S", "-c", _WEIGHER, *argv], environment).output.split()[-1]) / 1024, 1)


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode("utf-8", "replace")
