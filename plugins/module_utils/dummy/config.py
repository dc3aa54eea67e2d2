# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What the dummy provider is told: the module's ``dummy`` dictionary as frozen data, every fault in it found at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.dummy.faults import (
    FOREVER,
    OPERATIONS,
    Fault,
    FaultKind,
    fault_problem,
)
from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec

# What takes time although no call is made for it: the way from power-on to readiness, a clean power-off, and how long
# after it is up a machine shows its drift.
STAGES = ("boot", "shutdown", "drift")

Range = tuple[float, float]
Problem = Callable[[str, str], None]

_MAX_HOSTS = 1000
_KEYS = (
    "delays",
    "fail_percent",
    "power_off_percent",
    "rename_percent",
    "connections",
    "connection_timeout",
    "hosts",
    "host_capacity",
    "memory_mb",
    "networks",
    "seed",
    "clock",
    "faults",
)
_FAULT_KEYS = ("operation", "machine", "call", "from_call", "to_call", "times", "fault")


def _no_ranges() -> Mapping[str, Range]:
    return MappingProxyType({})


def _no_percents() -> Mapping[str, float]:
    return MappingProxyType({})


@dataclass(frozen=True)
class DummyOptions:
    """How the simulated hypervisor behaves. The defaults are a perfect one that takes no time.

    ``delays``: seconds from and to, by operation or stage. ``fail_percent``: 0 to 100, by operation.
    ``power_off_percent`` and ``rename_percent``: how many boots end in a machine that switches itself off, or whose guest
    calls itself by another name. ``connections``: how many operations may be under way at once, 0 for any number.
    ``host_capacity``: machines per host, ``memory_mb``: MiB of all hosts together; 0 for no limit.
    """

    delays: Mapping[str, Range] = field(default_factory=_no_ranges)
    fail_percent: Mapping[str, float] = field(default_factory=_no_percents)
    power_off_percent: float = 0.0
    rename_percent: float = 0.0
    connections: int = 0
    connection_timeout: float = 10.0
    hosts: tuple[str, ...] = ("host-1", "host-2", "host-3")
    host_capacity: int = 0
    memory_mb: int = 0
    networks: tuple[str, ...] = ("default",)
    seed: int = 0
    instant: bool = False
    faults: tuple[Fault, ...] = ()

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any] | None) -> DummyOptions:
        """:raises InvalidSpec: with every fault found, each beginning with its key, such as ``dummy.delays.create``."""
        raw = {key: value for key, value in (raw or {}).items() if value is not None}
        problems: list[str] = []

        def problem(key: str, what: str) -> None:
            problems.append(f"dummy.{key}: {what}")

        for key in raw:
            if key not in _KEYS:
                problem(str(key), f"is not known; known are {', '.join(_KEYS)}")
        standard = cls()
        options = cls(
            delays=MappingProxyType(_by_name(raw, "delays", (*OPERATIONS, *STAGES), _range, problem)),
            fail_percent=MappingProxyType(_by_name(raw, "fail_percent", OPERATIONS, _percent, problem)),
            power_off_percent=_percent(raw.get("power_off_percent", 0), "power_off_percent", problem),
            rename_percent=_percent(raw.get("rename_percent", 0), "rename_percent", problem),
            connections=_whole(raw.get("connections", 0), "connections", problem),
            connection_timeout=_seconds(raw.get("connection_timeout", standard.connection_timeout), "connection_timeout", problem),
            hosts=_hosts(raw.get("hosts", standard.hosts), problem),
            host_capacity=_whole(raw.get("host_capacity", 0), "host_capacity", problem),
            memory_mb=_whole(raw.get("memory_mb", 0), "memory_mb", problem),
            networks=_names(raw.get("networks", standard.networks), "networks", problem),
            seed=_whole(raw.get("seed", 0), "seed", problem),
            instant=_clock(raw.get("clock", "real"), problem),
            faults=_faults(raw.get("faults", ()), problem),
        )
        if problems:
            raise InvalidSpec(problems)
        return options


def _by_name(raw: Mapping[str, Any], key: str, known: Sequence[str], parse: Callable[[Any, str, Problem], Any], problem: Problem) -> dict[str, Any]:
    value = raw.get(key, {})
    if not isinstance(value, Mapping):
        problem(key, f"{value!r} is no dictionary of operations")
        return {}
    parsed = {}
    for name, given in value.items():
        if name not in known:
            problem(f"{key}.{name}", f"is no operation; known are {', '.join(known)}")
        elif given is not None:
            parsed[str(name)] = parse(given, f"{key}.{name}", problem)
    return parsed


def _number(value: Any) -> float | None:
    """A finite number, also one written as text, as templating makes them. A boolean is none."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) < FOREVER else None


def _seconds(value: Any, key: str, problem: Problem) -> float:
    number = _number(value)
    if number is None or number < 0:
        problem(key, f"{value!r} is no number of seconds from 0 up")
        return 0.0
    return number


def _range(value: Any, key: str, problem: Problem) -> Range:
    if not isinstance(value, (list, tuple)):
        seconds = _seconds(value, key, problem)
        return seconds, seconds
    ends = [_number(end) for end in value]
    if len(ends) != 2 or ends[0] is None or ends[1] is None or not 0 <= ends[0] <= ends[1]:
        problem(key, f"{value!r} is no [least, most] in seconds")
        return 0.0, 0.0
    return ends[0], ends[1]


def _percent(value: Any, key: str, problem: Problem) -> float:
    number = _number(value)
    if number is None or not 0 <= number <= 100:
        problem(key, f"{value!r} is no percentage from 0 to 100")
        return 0.0
    return number


def _whole(value: Any, key: str, problem: Problem, least: int = 0) -> int:
    number = _number(value)
    if number is None or number != int(number) or number < least:
        problem(key, f"{value!r} is no whole number from {least} up")
        return least
    return int(number)


def _names(value: Any, key: str, problem: Problem) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) and name for name in value):
        problem(key, f"{value!r} is no list of names")
        return ()
    if len(set(value)) != len(value):
        problem(key, "has a name twice")
    return tuple(value)


def _hosts(value: Any, problem: Problem) -> tuple[str, ...]:
    if isinstance(value, (list, tuple)):
        names = _names(value, "hosts", problem)
        if not value:
            problem("hosts", "is empty; machines need a host")
        return names
    count = _whole(value, "hosts", problem, least=1)
    if count > _MAX_HOSTS:
        problem("hosts", f"{count} are more than {_MAX_HOSTS}")
        count = _MAX_HOSTS
    return tuple(f"host-{number}" for number in range(1, count + 1))


def _clock(value: Any, problem: Problem) -> bool:
    if value not in ("real", "instant"):
        problem("clock", f"{value!r} is neither real nor instant")
    return bool(value == "instant")


def _faults(value: Any, problem: Problem) -> tuple[Fault, ...]:
    if not isinstance(value, (list, tuple)):
        problem("faults", f"{value!r} is no list")
        return ()
    parsed = (_fault(f"faults[{number}]", entry, problem) for number, entry in enumerate(value))
    return tuple(fault for fault in parsed if fault is not None)


def _fault(where: str, raw: Any, problem: Problem) -> Fault | None:
    if not isinstance(raw, Mapping):
        problem(where, f"{raw!r} is no dictionary")
        return None
    raw = {key: value for key, value in raw.items() if value is not None}
    found: list[str] = []

    def note(key: str, what: str) -> None:
        found.append(key)
        problem(key, what)

    for key in raw:
        if key not in _FAULT_KEYS:
            note(f"{where}.{key}", f"is not known; known are {', '.join(_FAULT_KEYS)}")
    operation, machine = str(raw.get("operation", "")), str(raw.get("machine", ""))
    if operation and operation not in OPERATIONS:
        note(f"{where}.operation", f"{operation!r} is no operation; known are {', '.join(OPERATIONS)}")
    kinds = [kind.value for kind in FaultKind]
    if raw.get("fault") not in kinds:
        note(f"{where}.fault", f"{raw.get('fault', '')!r} is no fault; known are {', '.join(kinds)}")
    if "call" in raw and ("from_call" in raw or "to_call" in raw):
        note(f"{where}.call", "cannot be given together with from_call or to_call")
    if "times" in raw and "to_call" in raw:
        note(f"{where}.times", "cannot be given together with to_call")
    first = _whole(raw.get("call", raw.get("from_call", 1)), f"{where}.{'call' if 'call' in raw else 'from_call'}", note, 1)
    last = _last_call(where, raw, first, note)
    if found:
        return None
    fault = Fault(kind=FaultKind(raw["fault"]), operation=operation, machine=machine, first=first, last=last)
    wrong = fault_problem(fault)
    if wrong:
        problem(where, wrong)
    return fault


def _last_call(where: str, raw: Mapping[str, Any], first: int, problem: Problem) -> int:
    """``to_call``, or as many ``times`` as said; a window that was only opened stays open, anything else is one call."""
    if "to_call" in raw:
        last = _whole(raw["to_call"], f"{where}.to_call", problem, 1)
        if last < first:
            problem(f"{where}.to_call", f"{last} is before call {first}")
        return last
    if "times" in raw:
        return first + _whole(raw["times"], f"{where}.times", problem, 1) - 1
    return FOREVER if "from_call" in raw else first
