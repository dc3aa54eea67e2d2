# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Cases that run in guests: the same pytest on the same files, and its reports fetched back.

A guest has one core, so there is one for each core of this machine. Each knows all the cases, and takes one that no other has taken.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from ansible_collections.poolwright.virt.tests.contract.imagebackend.labs.base import DiskLab
from ansible_collections.poolwright.virt.tests.seeds import SEED, SOAK

INSIDE = os.environ.get("POOLWRIGHT_IN_GUEST") == "1"
_SHARED = "POOLWRIGHT_SHARED"
_MOST = 4  # guests
# What cases leave is memory of the guest's, which would be full before the last of them.
_OPTIONS = ("-o", "cache_dir=/tmp/pytest-cache", "-o", "tmp_path_retention_policy=failed")


def shared_directory() -> Path:
    """Inside a guest: what it and the others write to, and this machine before them."""
    return Path(os.environ[_SHARED])


class Reporter:
    """Inside a guest: takes cases, and writes each report down."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._shared = shared_directory()

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """The next case is taken before one runs: what both share is kept up, and nothing else."""
        taken = filter(self._take, session.items)
        item = next(taken, None)
        while item is not None:
            following = next(taken, None)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            item = following
        return True

    def _take(self, item: pytest.Item) -> bool:
        """:returns: whether no other guest has it."""
        try:
            # One host makes it for all guests: it fails for all but one.
            (self._shared / "taken" / hashlib.sha256(item.nodeid.encode()).hexdigest()).mkdir()
        except FileExistsError:
            return False
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        with open(self._shared / f"reports-{os.environ['POOLWRIGHT_GUEST']}", "a", encoding="utf-8") as stream:
            stream.write(json.dumps(data) + "\n")


class GuestRuns:
    """Outside: the guests. They are started early, work beside the cases that need none, and are waited for at the first case of theirs."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._folder = tempfile.TemporaryDirectory(prefix="poolwright-guest-")
        self.shared = Path(self._folder.name)
        self._guests: list[_Guest] = []
        self._reports: dict[str, list[pytest.TestReport]] | None = None

    def wanted(self, lab: type[DiskLab] | None) -> bool:
        return lab is not None and lab.in_guest and not INSIDE

    def start(self, cases: Mapping[str, Sequence[str]]) -> None:
        """:param cases: by lab, the names of its cases."""
        labs = list(cases)
        # Pinned to a core: the kernel and what it runs are processes that wait for each other all the time.
        cores = sorted(os.sched_getaffinity(0))[: min(_MOST, sum(map(len, cases.values())))]
        (self.shared / "taken").mkdir()
        for number, core in enumerate(cores):
            # Each begins with another lab, as long as there are some.
            begin = number % len(labs)
            own = [*labs[begin:], *labs[:begin]]
            self._guests.append(_Guest(self._config, number, core, own, [case for lab in own for case in cases[lab]], self.shared))

    def reports(self, item: pytest.Item) -> list[pytest.TestReport]:
        """What a guest reported of a case; a failure where none did."""
        if self._reports is None:
            self._reports = defaultdict(list)
            for guest in self._guests:
                for report in guest.reports():
                    self._reports[report.nodeid].append(report)
        found = self._reports.get(item.nodeid)
        if found:
            return found
        why = "\n".join(["no guest reported this case; they wrote last:", *(guest.output[-3000:] for guest in self._guests)])
        return [pytest.TestReport(item.nodeid, item.location, {}, "failed", why, "call")]

    def stop(self) -> None:
        for guest in self._guests:
            guest.stop()
        self._folder.cleanup()


class _Guest:
    """:param shared: a directory that all guests write to."""

    def __init__(self, config: pytest.Config, number: int, core: int, labs: Sequence[str], cases: Sequence[str], shared: Path) -> None:
        self._config = config
        self._output, self._reports = shared / f"output-{number}", shared / f"reports-{number}"
        root, arguments = config.rootpath, shared / f"cases-{number}"
        arguments.write_text("\n".join(cases))
        pytest_command = [sys.executable, "-m", "pytest", "-q", *_OPTIONS, "--backend", ",".join(labs), f"@{arguments}"]
        settings = {"POOLWRIGHT_IN_GUEST": "1", "POOLWRIGHT_GUEST": str(number), _SHARED: str(shared), "PYTHONDONTWRITEBYTECODE": "1"}
        settings |= {key: os.environ[key] for key in ("ANSIBLE_COLLECTIONS_PATH", SEED, SOAK) if key in os.environ}
        command = (
            f"cd {shlex.quote(str(root))} && env {' '.join(f'{key}={shlex.quote(value)}' for key, value in settings.items())} {shlex.join(pytest_command)}"
        )
        checkout = Path(__file__).resolve().parents[3]
        visible = [part for directory in sorted({checkout, root, Path(sys.prefix)}) for part in ("-r", str(directory))]
        with open(self._output, "wb") as output:
            # In a session of its own, which can be ended as a whole.
            self._process = subprocess.Popen(
                ["taskset", "--cpu-list", str(core), str(checkout / "tests/lab/in-guest.sh"), "-w", str(shared), *visible, command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._output.read_text(errors="replace")

    def reports(self) -> list[pytest.TestReport]:
        """All, once the guest has ended."""
        self._process.wait()
        lines = self._reports.read_text(encoding="utf-8").splitlines() if self._reports.exists() else []
        return [self._config.hook.pytest_report_from_serializable(config=self._config, data=json.loads(line)) for line in lines]

    def stop(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait()
