# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What a choice between hosts goes by: hosts and guests as plain data, which travels between hosts as dictionaries. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec


@dataclass(frozen=True)
class CpuNeed:
    """A guest's ``<cpu>``. ``mode`` is "" where QEMU's default is all it asks for.

    ``xml`` is what a host can compare with itself: the guest's own CPU, or the CPU of the host it runs on where it was handed through.
    """

    mode: str = ""
    xml: str = ""


@dataclass(frozen=True)
class GuestFacts:
    """What a host must offer for a guest to be on it.

    :ivar state: ``running``, ``paused``, ``asleep``, ``crashed``, ``shutoff`` or ``unknown``.
    :ivar persistent: whether it is still there once it is off.
    :ivar memory_mb: MiB that it may take at most.
    :ivar machine: the machine type by its full name; of the domain as it runs where it does.
    :ivar live_cpu: what it sees now.   :ivar cold_cpu: what it asks for when it starts.
    :ivar networks: of libvirt, by name.   :ivar devices: bridges of the host that its cards are joined to.
    :ivar tied: why it cannot move at all, in words.   :ivar not_cold: why it can move only while it runs.
    :ivar disks: its writable disks' files and devices, by path.
    :ivar disk_files: of each disk and medium that is a file, the files it consists of, with the bytes that each takes.
    :ivar pool: whose machine it is, "" for none.
    """

    name: str
    uuid: str
    state: str
    persistent: bool = True
    memory_mb: int = 0
    cpus: int = 1
    arch: str = ""
    virt_type: str = ""
    machine: str = ""
    live_cpu: CpuNeed = CpuNeed()
    cold_cpu: CpuNeed = CpuNeed()
    networks: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    tied: tuple[str, ...] = ()
    not_cold: tuple[str, ...] = ()
    disks: tuple[str, ...] = ()
    disk_files: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    pool: str = ""

    @property
    def active(self) -> bool:
        return self.state != "shutoff"


@dataclass(frozen=True)
class Resident:
    """A guest that is on a host, as one bulk read shows it. ``memory_mb``: MiB that it may take at most."""

    name: str
    uuid: str
    active: bool
    memory_mb: int = 0
    cpus: int = 1


@dataclass(frozen=True)
class HostFacts:
    """A KVM host.

    :ivar libvirt: and ``hypervisor``: versions, 1,000,000 x major + 1,000 x minor + release.
    :ivar memory_mb: MiB in all.   :ivar available_mb: what of it nobody uses now, page cache included.
    :ivar cpu: its own ``<cpu>`` as XML; ``cpu_model`` is for people.
    :ivar machines: machine types by ``arch/virt_type``, such as ``x86_64/kvm``.
    :ivar networks: those that are active.   :ivar devices: its bridges and network cards, None where they cannot be told.
    :ivar room: MiB that are left on the file systems that guests' disks would be copied to, by mount point.
    """

    hostname: str
    uuid: str
    arch: str
    libvirt: int = 0
    hypervisor: int = 0
    cpus: int = 1
    memory_mb: int = 0
    available_mb: int = 0
    cpu: str = ""
    cpu_model: str = ""
    machines: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    networks: tuple[str, ...] = ()
    devices: tuple[str, ...] | None = None
    residents: tuple[Resident, ...] = ()
    room: Mapping[str, int] = field(default_factory=dict)

    @property
    def committed_mb(self) -> int:
        """MiB that its guests may take, whether they do or not."""
        return sum(one.memory_mb for one in self.residents if one.active)

    @property
    def committed_cpus(self) -> int:
        return sum(one.cpus for one in self.residents if one.active)


@dataclass(frozen=True)
class Verdict:
    """Whether a host can show a guest the CPU it needs: why not, in words; "" where it can.

    :ivar needs: MiB by mount point that its disks would take there, of those that are not there already.
    """

    live: str = ""
    cold: str = ""
    needs: Mapping[str, int] = field(default_factory=dict)


def as_dict(facts: GuestFacts | HostFacts | Verdict) -> dict[str, Any]:
    """Plain data, tuples become lists."""
    plain: dict[str, Any] = _plain(asdict(facts))
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def guest_from(data: Any, place: str) -> GuestFacts:
    """:raises InvalidSpec: it is not what ``as_dict`` makes of a guest."""
    values = _checked(GuestFacts, data, place)
    for key in ("live_cpu", "cold_cpu"):
        if key in values:
            values[key] = CpuNeed(**_checked(CpuNeed, values[key], f"{place}.{key}"))
    for path, files in values.get("disk_files", {}).items():
        _numbers(files, f"{place}.disk_files[{path}]")
    return GuestFacts(**values)


def host_from(data: Any, place: str) -> HostFacts:
    """:raises InvalidSpec: it is not what ``as_dict`` makes of a host."""
    values = _checked(HostFacts, data, place)
    residents = values.pop("residents", ())
    values["residents"] = tuple(Resident(**_checked(Resident, one, f"{place}.residents[{number}]")) for number, one in enumerate(residents))
    values["machines"] = {str(kind): _texts(names, f"{place}.machines.{kind}") for kind, names in dict(values.get("machines") or {}).items()}
    _numbers(values.get("room", {}), f"{place}.room")
    return HostFacts(**values)


def verdict_from(data: Any, place: str) -> Verdict:
    """:raises InvalidSpec: it is not what ``as_dict`` makes of a verdict."""
    values = _checked(Verdict, data, place)
    _numbers(values.get("needs", {}), f"{place}.needs")
    return Verdict(**values)


# What a field holds, by the annotation it has.
_KINDS: Mapping[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "bool": (bool,), "CpuNeed": (Mapping,)}


def _checked(kind: type, data: Any, place: str) -> dict[str, Any]:
    """The values of a dataclass, each of its type. What it does not know is left out: a newer host may tell more."""
    if not isinstance(data, Mapping):
        raise InvalidSpec([f"{place}: {data!r} is not what poolwright.virt.libvirt_host_info returns"])
    values: dict[str, Any] = {}
    problems = []
    for one in fields(kind):
        if one.name not in data:
            continue
        value, annotation = data[one.name], str(one.type)
        if annotation.startswith("tuple["):
            if value is None and annotation.endswith("None"):
                values[one.name] = None
            elif not isinstance(value, (list, tuple)):
                problems.append(f"{place}.{one.name}: {value!r} is no list")
            else:
                values[one.name] = tuple(value) if "Resident" in annotation else _texts(value, f"{place}.{one.name}")
        elif not isinstance(value, _kinds(annotation)) or (annotation == "int" and isinstance(value, bool)):
            problems.append(f"{place}.{one.name}: {value!r} is of another type than {annotation}")
        else:
            values[one.name] = value
    # Those that have no default; their order is the dataclass's own.
    missing = [name for name in _needed(kind) if name not in values and not problems]
    problems += [f"{place}.{name}: is missing" for name in missing]
    if problems:
        raise InvalidSpec(problems)
    return values


def _kinds(annotation: str) -> tuple[type, ...]:
    return (Mapping,) if annotation.startswith("Mapping[") else _KINDS[annotation]


def _needed(kind: type) -> tuple[str, ...]:
    return {GuestFacts: ("name", "uuid", "state"), Resident: ("name", "uuid", "active"), HostFacts: ("hostname", "uuid", "arch")}.get(kind, ())


def _numbers(value: Any, place: str) -> None:
    if not isinstance(value, Mapping) or not all(isinstance(one, int) and not isinstance(one, bool) for one in value.values()):
        raise InvalidSpec([f"{place}: {value!r} does not name numbers"])


def _texts(value: Any, place: str) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(one, str) for one in value):
        raise InvalidSpec([f"{place}: {value!r} is no list of texts"])
    return tuple(value)
