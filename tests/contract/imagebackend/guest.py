# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Cases that run in a guest: the same pytest on the same files, and its reports brought back."""

from __future__ import annotations

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

INSIDE = os.environ.get("POOLWRIGHT_IN_GUEST") == "1"
_REPORTS = "POOLWRIGHT_REPORTS"


class Reporter:
    """Inside the guest: writes each report down."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        path = os.environ.get(_REPORTS)
        if path:
            data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
            with open(path, "a", encoding="utf-8") as stream:
                stream.write(json.dumps(data) + "\n")


class GuestRuns:
    """Outside: a guest for each lab that needs one. They are started early, work beside each other, and are waited for at their first case."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._guests: dict[str, _Guest] = {}

    def wanted(self, lab: type[DiskLab] | None) -> bool:
        return lab is not None and lab.in_guest and not INSIDE

    def start(self, cases: Mapping[str, Sequence[str]]) -> None:
        """:param cases: by lab, the names of its cases."""
        for lab, names in cases.items():
            self._guests[lab] = _Guest(self._config, lab, names)

    def reports(self, lab: str, item: pytest.Item) -> list[pytest.TestReport]:
        """What the guest said about a case; a failure where it said nothing."""
        return self._guests[lab].reports(item)

    def stop(self) -> None:
        for guest in self._guests.values():
            guest.stop()


class _Guest:
    def __init__(self, config: pytest.Config, lab: str, cases: Sequence[str]) -> None:
        self._config = config
        self._folder = tempfile.TemporaryDirectory(prefix="poolwright-guest-")
        self._reports: dict[str, list[pytest.TestReport]] | None = None
        self._said = ""
        folder, root = Path(self._folder.name), config.rootpath
        (folder / "cases").write_text("\n".join(cases))
        pytest_command = [sys.executable, "-m", "pytest", "-q", "-o", "cache_dir=/tmp/pytest-cache", "--backend", lab, f"@{folder / 'cases'}"]
        settings = {"POOLWRIGHT_IN_GUEST": "1", _REPORTS: str(folder / "reports"), "PYTHONDONTWRITEBYTECODE": "1"}
        path = os.environ.get("ANSIBLE_COLLECTIONS_PATH")
        if path:
            settings["ANSIBLE_COLLECTIONS_PATH"] = path
        command = (
            f"cd {shlex.quote(str(root))} && env {' '.join(f'{key}={shlex.quote(value)}' for key, value in settings.items())} {shlex.join(pytest_command)}"
        )
        checkout = Path(__file__).resolve().parents[3]
        visible = [part for directory in sorted({checkout, root, Path(sys.prefix)}) for part in ("-r", str(directory))]
        with open(folder / "said", "wb") as said:
            # In a session of its own, which can be ended as a whole.
            self._process = subprocess.Popen(
                [str(checkout / "tests/lab/in-guest.sh"), "-w", str(folder), *visible, command],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    def reports(self, item: pytest.Item) -> list[pytest.TestReport]:
        if self._reports is None:
            self._reports = self._collect()
        found = self._reports.get(item.nodeid)
        if found:
            return found
        why = f"the guest did not report this case; it said last:\n{self._said[-3000:]}"
        return [pytest.TestReport(item.nodeid, item.location, {}, "failed", why, "call")]

    def stop(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait()
        self._folder.cleanup()

    def _collect(self) -> dict[str, list[pytest.TestReport]]:
        found: dict[str, list[pytest.TestReport]] = defaultdict(list)
        self._process.wait()
        folder = Path(self._folder.name)
        self._said = (folder / "said").read_text(errors="replace")
        if (folder / "reports").exists():
            for line in (folder / "reports").read_text(encoding="utf-8").splitlines():
                report = self._config.hook.pytest_report_from_serializable(config=self._config, data=json.loads(line))
                found[report.nodeid].append(report)
        return found
