# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The cases for image backends, run on every lab that ``--backend`` names. A lab that cannot be started is a failure.

Cases of labs that need another kernel run in guests, which this same pytest runs in; their reports become this run's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from ansible_collections.poolwright.virt.tests import seeds
from ansible_collections.poolwright.virt.tests.contract.imagebackend.guest import INSIDE, GuestRuns, Reporter, shared_directory
from ansible_collections.poolwright.virt.tests.contract.imagebackend.labs import lvm_shell
from ansible_collections.poolwright.virt.tests.contract.imagebackend.labs.base import DiskLab, LabFailed
from ansible_collections.poolwright.virt.tests.contract.imagebackend.labs.directories import FlatLab, PloopLab, Qcow2Lab
from ansible_collections.poolwright.virt.tests.contract.imagebackend.labs.lvm import LvmLab, LvmThinLab
from ansible_collections.poolwright.virt.tests.contract.imagebackend.labs.rbd import RbdLab
from ansible_collections.poolwright.virt.tests.contract.imagebackend.staging import Site, Supplies, make_supplies
from ansible_collections.poolwright.virt.tests.contract.imagebackend.table import Outcomes, as_lines, write_into

LABS: dict[str, type[DiskLab]] = {lab.name: lab for lab in (FlatLab, Qcow2Lab, LvmLab, LvmThinLab, RbdLab, PloopLab)}
CASE = "poolwright_case"
# Labs are no tests, whatever their files are called.
collect_ignore_glob = ["labs/*"]

OUTCOMES: pytest.StashKey[OutcomesHeard] = pytest.StashKey()
CHOSEN: pytest.StashKey[list[str]] = pytest.StashKey()
GUEST: pytest.StashKey[GuestRuns] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backend", default="flat,qcow2,ploop", help=f"labs for the image backends, with commas between: {', '.join(LABS)}")
    parser.addoption("--table", default="", help="a file with a table of cases by backends, into which the outcomes of this run go")


def pytest_configure(config: pytest.Config) -> None:
    names = [name.strip() for name in config.getoption("--backend").split(",") if name.strip()]
    unknown = [name for name in names if name not in LABS]
    if unknown or not names:
        raise pytest.UsageError(f"--backend: there is no lab {', '.join(unknown) or ''!r}; known are {', '.join(LABS)}")
    in_guests = [name for name in names if LABS[name].in_guest and not INSIDE]
    if in_guests and config.getoption("numprocesses", None):
        raise pytest.UsageError(f"--backend: {', '.join(in_guests)} run in a guest for each core already: leave -n out, or run the others apart")
    config.stash[CHOSEN] = names
    config.stash[GUEST] = GuestRuns(config)
    config.stash[OUTCOMES] = OutcomesHeard()
    config.pluginmanager.register(config.stash[OUTCOMES])
    if INSIDE:
        config.pluginmanager.register(Reporter(config))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "site" in metafunc.fixturenames:
        names = metafunc.config.stash[CHOSEN]
        metafunc.parametrize("site", names, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Those of the guests last: they work while the others run here."""
    items.sort(key=lambda item: config.stash[GUEST].wanted(LABS.get(lab_of(item))))


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    if session.config.option.collectonly:
        return
    cases: dict[str, list[str]] = {}
    for item in session.items:
        if session.config.stash[GUEST].wanted(LABS.get(lab_of(item))):
            cases.setdefault(lab_of(item), []).append(item.nodeid)
    guests = session.config.stash[GUEST]
    if cases and not seeds.soaking():
        lvm_shell.build(guests.shared)
    guests.start(cases)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    guest = item.config.stash[GUEST]
    lab = lab_of(item)
    if not guest.wanted(LABS.get(lab)):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in guest.reports(item):
        name_case(item, report)
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_sessionfinish(session: pytest.Session) -> None:
    session.config.stash[GUEST].stop()


def lab_of(item: pytest.Item) -> str:
    callspec = getattr(item, "callspec", None)
    return str(callspec.params.get("site", "")) if callspec is not None else ""


@pytest.fixture(scope="session")
def supplies(tmp_path_factory: pytest.TempPathFactory) -> Supplies:
    return make_supplies(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="session", autouse=True)
def quick_tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """In a guest, LVM without the start of its tools; those themselves in a soak."""
    if not INSIDE or seeds.soaking():
        yield
        return
    shell = lvm_shell.start(shared_directory(), tmp_path_factory.mktemp("lvm") / "tools")
    yield
    shell.kill()
    shell.wait()


@pytest.fixture(scope="session")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, DiskLab | LabFailed]]:
    """The labs that were started, by name, or why one could not be."""
    started: dict[str, DiskLab | LabFailed] = {}
    yield started
    with contextlib.ExitStack() as stopping:
        # Each of them, also where another one cannot be stopped.
        for lab in started.values():
            if isinstance(lab, DiskLab):
                stopping.callback(lab.stop)


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path, supplies: Supplies, labs: dict[str, DiskLab | LabFailed]) -> Iterator[Site]:
    """An empty location on a started lab."""
    name = request.param
    if name not in labs:
        lab = LABS[name](request.getfixturevalue("tmp_path_factory").mktemp(name))
        try:
            lab.start()
            labs[name] = lab
        except LabFailed as exc:
            labs[name] = exc
    found = labs[name]
    if isinstance(found, LabFailed):
        pytest.fail(f"the lab {name} cannot be started: {found}", pytrace=False)
    found.begin()
    try:
        yield Site(request.node.name, found, supplies, tmp_path)
    finally:
        found.end()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    name_case(item, report)
    return report


def name_case(item: pytest.Item, report: pytest.TestReport) -> None:
    """So that it is known to whoever gets the report: that may be another process."""
    lab = lab_of(item)
    if lab and not any(key == CASE for key, _value in report.user_properties):
        report.user_properties.append((CASE, [str(getattr(item, "originalname", item.name)), lab]))


class OutcomesHeard:
    """Of each case and lab, whether it passed."""

    def __init__(self) -> None:
        self.found: Outcomes = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties:
            if name == CASE and (report.failed or report.when == "call"):
                case, lab = map(str, value)  # type: ignore[call-overload]
                self.found[case, lab] = "failed" if report.failed else self.found.get((case, lab), str(report.outcome))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    # Processes end them in any order.
    outcomes = dict(sorted(config.stash[OUTCOMES].found.items()))
    names = config.stash[CHOSEN]
    if not outcomes:
        return
    terminalreporter.section("the image backends, case by case")
    for line in as_lines(outcomes, names):
        terminalreporter.line(line)
    path = config.getoption("--table")
    if path:
        write_into(Path(path), outcomes, list(LABS))
        terminalreporter.line(f"written to {path}")
