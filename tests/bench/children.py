# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Child processes: timed, weighed, and gone when the measurement is."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import IO

from ansible_collections.poolwright.virt.tests.bench.figures import must

_GRACE_SECONDS = 20.0


@dataclass(frozen=True)
class Ended:
    """A process that has ended well. ``cpu`` counts its own children that it waited for; ``peak_mb`` is the largest of them."""

    seconds: float
    cpu: float
    peak_mb: float
    output: str


class Child:
    """A process in a session of its own, its output in files. It does not outlive the ``with`` block that it is for."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._argv = argv
        self._environment = {**os.environ, **(environment or {})}
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
        return Ended(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, output)

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


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode("utf-8", "replace")
