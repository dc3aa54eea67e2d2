# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The contract cases, run on every lab that ``--lab`` names. A lab that is not known or cannot be started is a failure."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from ansible_collections.poolwright.virt.tests.contract.labs.base import Ability, Lab, LabFailed
from ansible_collections.poolwright.virt.tests.contract.labs.registry import LABS, UnknownLab, lab_class
from ansible_collections.poolwright.virt.tests.contract.staging import Stage

# Labs are no tests, whatever their files are called.
collect_ignore_glob = ["labs/*"]

CHOSEN: pytest.StashKey[dict[str, type[Lab]]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--lab", default="dummy", help=f"labs to run the contract on, with commas between: {', '.join(LABS)} (default: dummy)")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "can(capability): the case is for providers that declare it: disks, snapshots, migration")
    config.addinivalue_line("markers", "cannot(capability): the case is for providers that do not declare it")
    config.addinivalue_line("markers", "staged(ability, ...): the case needs labs that can stage it")
    names = [name.strip() for name in config.getoption("--lab").split(",") if name.strip()]
    if not names:
        raise pytest.UsageError(f"--lab: name one or more of {', '.join(LABS)}")
    try:
        config.stash[CHOSEN] = {name: lab_class(name) for name in names}
    except UnknownLab as exc:
        raise pytest.UsageError(f"--lab: {exc}") from exc


def labs_of(config: pytest.Config) -> dict[str, type[Lab]]:
    return config.stash[CHOSEN]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "stage" in metafunc.fixturenames:
        metafunc.parametrize("stage", list(labs_of(metafunc.config)), indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Drop the cases that do not concern a lab: by what its provider declares and by what it can stage."""
    kept = [item for item in items if concerns(config, item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def concerns(config: pytest.Config, item: pytest.Item) -> bool:
    lab = labs_of(config).get(lab_of(item))
    if lab is None:
        return True
    declared = [getattr(lab.declared, mark.args[0]) for mark in item.iter_markers("can")]
    undeclared = [not getattr(lab.declared, mark.args[0]) for mark in item.iter_markers("cannot")]
    staged = [isinstance(ability, Ability) and ability in lab.abilities for mark in item.iter_markers("staged") for ability in mark.args]
    return all(declared + undeclared + staged)


def lab_of(item: pytest.Item) -> str:
    callspec = getattr(item, "callspec", None)
    return str(callspec.params.get("stage", "")) if callspec is not None else ""


@pytest.fixture
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """A started lab with helpers for the cases, cleaned up afterwards."""
    chosen = labs_of(request.config)[request.param]
    folder = tmp_path / "lab"
    folder.mkdir()
    lab = chosen(folder, chosen.make_clock())
    try:
        lab.start()
    except LabFailed as exc:
        lab.cleanup()
        pytest.fail(f"the lab {lab.name} cannot be started: {exc}", pytrace=False)
    running = Stage(lab)
    try:
        yield running
    finally:
        running.end()
        lab.cleanup()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write on the report what the table needs: the process that prints it may be another one than this."""
    report = yield
    if lab_of(item):
        report.user_properties += [("case", getattr(item, "originalname", item.name)), ("lab", lab_of(item))]
    return report


def outcomes_of(reports: Iterable[pytest.TestReport]) -> dict[tuple[str, str], str]:
    """By case and lab; failed where one of its parameters, its set-up or its clean-up did."""
    outcomes: dict[tuple[str, str], str] = {}
    for report in reports:
        noted = dict(report.user_properties)
        key = (str(noted.get("case", "")), str(noted.get("lab", "")))
        if all(key) and (report.failed or (report.when == "call" and outcomes.get(key) != "failed")):
            outcomes[key] = report.outcome
    return outcomes


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Cases by labs; a hyphen where a case does not concern a lab."""
    reports = (report for reports in terminalreporter.stats.values() for report in reports if isinstance(report, pytest.TestReport))
    outcomes, labs = outcomes_of(reports), list(labs_of(config))
    cases = sorted({case for case, _lab in outcomes})
    if not cases:
        return
    width = max(len(sentence(case)) for case in cases)
    terminalreporter.section("the provider contract, by lab")
    terminalreporter.line(f"{'':{width}}  {'  '.join(f'{lab:12}' for lab in labs)}".rstrip())
    for case in cases:
        row = "  ".join(f"{outcomes.get((case, lab), '-'):12}" for lab in labs)
        terminalreporter.line(f"{sentence(case):{width}}  {row}".rstrip())
    totals = "  ".join(f"{counted(outcomes, lab):12}" for lab in labs)
    terminalreporter.line(f"{f'{len(cases)} cases':{width}}  {totals}".rstrip())


def counted(outcomes: Mapping[tuple[str, str], str], lab: str) -> str:
    """``84 passed`` or ``2 failed``."""
    seen = [outcome for (_case, where), outcome in outcomes.items() if where == lab]
    failed = sum(outcome != "passed" for outcome in seen)
    return f"{failed} failed" if failed else f"{len(seen)} passed"


def sentence(case: str) -> str:
    return case.removeprefix("test_").replace("_", " ")
