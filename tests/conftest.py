# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A test that does not run proves nothing: whatever is missing is installed, or the run fails."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.configuration import set_hypothesis_home_dir

from ansible_collections.poolwright.virt.tests import seeds

set_hypothesis_home_dir(Path(__file__).parents[1] / ".work" / "cache" / "hypothesis")

# How long an example takes says something about the machine only. A failure prints how to repeat it.
settings.register_profile("poolwright", deadline=None, max_examples=seeds.examples(), print_blob=True)
settings.load_profile("poolwright")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--most-cases", type=int, metavar="N", help="run at most N cases of each test, drawn by the first seed; a soak runs all")


def pytest_configure() -> None:
    # Before the processes of pytest-xdist are started: they inherit it.
    seeds.first_seed()


def pytest_report_header() -> str:
    return seeds.described()


@pytest.hookimpl(trylast=True)  # after -k and -m
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    most = config.getoption("most_cases")
    if most is None:
        return
    tests: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        tests[item.nodeid.partition("[")[0]].append(item)
    chosen = {item for test, cases in tests.items() for item in seeds.some(cases, most, test)}
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = [item for item in items if item in chosen]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped: {report.longrepr}"
    return report
