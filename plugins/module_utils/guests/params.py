# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""From the parameters of ``libvirt_guest`` to a wish: every fault is found at once and named with its place and remedy."""

from __future__ import annotations

import re
import uuid as uuids
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.guests import wish as wishes
from ansible_collections.poolwright.virt.plugins.module_utils.guests.spec import guest_options
from ansible_collections.poolwright.virt.plugins.module_utils.guests.wish import BUS_PREFIXES, State, Wish
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import snapshot_name
from ansible_collections.poolwright.virt.plugins.module_utils.storage.params import PLACE, parse_disk

Params = Mapping[str, Any]
Problem = Callable[[str, str], None]

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_TARGET = re.compile(r"(vd|sd|hd)[a-z]{1,2}")
_PCI = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_USB = re.compile(r"[0-9a-f]{4}:[0-9a-f]{4}")
_CPU_SET = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")
_NAME = re.compile(r"[^/\n\x00-\x1f]{1,200}")
_KEY = re.compile(r"[A-Za-z0-9_.:/-]{1,200}")
_VNC_PASSWORD = 8
_BESIDE_XML = frozenset({"xml", "uuid", "autostart"})


def parse_request(params: Params) -> list[Wish]:
    """The guests that are asked for, one or several.

    :raises InvalidSpec: with every fault of all.
    """
    several = params.get("guests")
    found, problems = [], []
    for number, one in enumerate([params] if several is None else several):
        try:
            found.append(parse_guest(one))
        except InvalidSpec as exc:
            problems += exc.problems if several is None else [f"guests[{number}].{fault}" for fault in exc.problems]
    for name in _repeated([wish.name for wish in found]):
        problems.append(f"guests: {name} is there more than once")
    if several is not None and params.get("state") != "present":
        problems.append("state: give it with each of the guests")
    if params.get("keep") and not any(wish.state is State.ABSENT for wish in found) and not problems:
        problems.append("keep: goes with state: absent only; leave it out")
    if problems:
        raise InvalidSpec(problems)
    return found


def parse_guest(params: Params) -> Wish:
    """:raises InvalidSpec: with every fault."""
    problems: list[str] = []

    def problem(key: str, what: str) -> None:
        problems.append(f"{key}: {what}")

    state = State(params["state"])
    name = str(params["name"])
    if not _NAME.fullmatch(name) or name != name.strip():
        problem("name", f"{name!r} cannot be a guest's name; use 1 to 200 characters without / and line breaks, no spaces around")
    typed = sorted(key for key in guest_options() if key not in _BESIDE_XML and params.get(key) is not None)
    if params.get("xml") is not None and typed:
        problem("xml", f"stands in place of {', '.join(typed)}; give either")
    wish = Wish(name, state) if state is State.ABSENT else _described(params, name, state, problem)
    if problems:
        raise InvalidSpec(problems)
    return wish


def _described(params: Params, name: str, state: State, problem: Problem) -> Wish:
    plain: dict[str, Any] = {key: params.get(key) for key in ("xml", "title", "description", "machine", "firmware", "secure_boot", "agent", "autostart")}
    events: dict[str, Any] = {key: params.get(key) for key in ("on_poweroff", "on_reboot", "on_crash")}
    numbers: dict[str, Any] = {key: _positive(params, key, problem) for key in ("cpus", "max_cpus", "memory_mb", "max_memory_mb")}
    metadata = params.get("metadata")
    for key, value in (metadata or {}).items():
        if not _KEY.fullmatch(str(key)):
            problem(f"metadata.{key}", "is no key; use letters, digits and _ . : / -")
        if isinstance(value, (dict, list)):
            problem(f"metadata.{key}", "is no text; give a string, and quote numbers and booleans")
    features = params.get("features")
    wish = Wish(
        name=name,
        state=state,
        uuid=_uuid(params, problem),
        **plain,
        **events,
        **numbers,
        metadata=None if metadata is None else {str(key): "" if value is None else str(value) for key, value in metadata.items()},
        cpu=_cpu(params.get("cpu"), problem),
        ballooning=_group(wishes.Balloon, params.get("ballooning")),
        numa=_numa(params.get("numa"), problem),
        tpm=_group(wishes.Tpm, params.get("tpm")),
        features=None if features is None else {key: bool(value) for key, value in features.items() if value is not None},
        clock=_clock(params.get("clock"), problem),
        boot_order=_tuple(params.get("boot_order")),
        disks=_each(params.get("disks"), lambda number, raw: _disk(f"disks[{number}]", raw, problem)),
        cdroms=_each(params.get("cdroms"), lambda number, raw: _cdrom(f"cdroms[{number}]", raw, problem)),
        networks=_each(params.get("networks"), lambda number, raw: _card(f"networks[{number}]", raw, problem)),
        channels=_each(params.get("channels"), lambda _number, raw: wishes.Channel(str(raw["name"]), str(raw.get("type") or "unix"))),
        serial=_group(wishes.Serial, params.get("serial")),
        graphics=_graphics(params.get("graphics"), problem),
        video=_group(wishes.Video, params.get("video")),
        vsock=_group(wishes.Vsock, params.get("vsock")),
        rng=_group(wishes.Rng, params.get("rng")),
        watchdog=_group(wishes.Watchdog, params.get("watchdog")),
        hostdevs=_each(params.get("hostdevs"), lambda number, raw: _hostdev(f"hostdevs[{number}]", raw, problem)),
        snapshot=_snapshot(params.get("snapshot"), problem),
    )
    _check_together(wish, problem)
    _check_devices(wish, problem)
    return wish


def _group(kind: Any, raw: Params | None) -> Any:
    """A dataclass of plain values from an option's, key by key."""
    if raw is None:
        return None
    return kind(**{key: value for key, value in raw.items() if value is not None})


def _each(raw: Sequence[Params] | None, parse: Callable[[int, Params], Any]) -> tuple[Any, ...] | None:
    return None if raw is None else tuple(parse(number, one) for number, one in enumerate(raw))


def _tuple(raw: Sequence[Any] | None) -> tuple[Any, ...] | None:
    return None if raw is None else tuple(raw)


def _positive(raw: Params, key: str, problem: Problem, where: str = "") -> int | None:
    value = raw.get(key)
    if value is not None and value < 1:
        problem(f"{where}{key}", f"{value} is not above 0")
    return None if value is None else int(value)


def _uuid(params: Params, problem: Problem) -> str | None:
    text = params.get("uuid")
    if text is None:
        return None
    try:
        return str(uuids.UUID(text))
    except ValueError:
        problem("uuid", f"{text!r} is no UUID")
        return None


def _cpu(raw: Params | None, problem: Problem) -> wishes.Cpu | None:
    if raw is None:
        return None
    for key in ("sockets", "dies", "cores", "threads"):
        _positive(raw, key, problem, "cpu.")
    mode, model = raw.get("mode"), raw.get("model")
    if mode == "custom" and not model:
        problem("cpu.model", "is missing beside mode: custom")
    if model and mode not in (None, "custom"):
        problem("cpu.model", f"goes with mode: custom, not with {mode}")
    features = raw.get("features")
    names = [str(one["name"]) for one in features or ()]
    for name in _repeated(names):
        problem("cpu.features", f"{name} is there more than once")
    return wishes.Cpu(
        mode=mode,
        model=model,
        **{key: raw.get(key) for key in ("sockets", "dies", "cores", "threads")},
        features=None if features is None else tuple((str(one["name"]), str(one.get("policy") or "require")) for one in features),
    )


def _numa(raw: Params | None, problem: Problem) -> wishes.Numa | None:
    if raw is None:
        return None
    for number, cell in enumerate(raw.get("cells") or ()):
        if not _CPU_SET.fullmatch(str(cell["cpus"])):
            problem(f"numa.cells[{number}].cpus", f"{cell['cpus']!r} is no set of CPUs, such as 0-1,4")
        _positive(cell, "memory_mb", problem, f"numa.cells[{number}].")
    nodeset = raw.get("nodeset")
    if nodeset and not _CPU_SET.fullmatch(str(nodeset)):
        problem("numa.nodeset", f"{nodeset!r} is no set of nodes, such as 0-1")
    cells = _each(raw.get("cells"), lambda _number, cell: wishes.NumaCell(str(cell["cpus"]), int(cell["memory_mb"])))
    return wishes.Numa(cells, raw.get("mode"), nodeset)


def _clock(raw: Params | None, problem: Problem) -> wishes.Clock | None:
    if raw is None:
        return None
    if raw.get("timezone") and raw.get("offset") != "timezone":
        problem("clock.timezone", "goes with offset: timezone")
    if raw.get("offset") == "timezone" and not raw.get("timezone"):
        problem("clock.timezone", "is missing beside offset: timezone")
    timers = _each(raw.get("timers"), lambda _number, timer: _timer(timer))
    for name in _repeated([timer["name"] for timer in timers or ()]):
        problem("clock.timers", f"{name} is there more than once")
    return wishes.Clock(raw.get("offset"), raw.get("timezone"), timers)


def _timer(raw: Params) -> dict[str, str]:
    present = raw.get("present")
    made = {"name": raw["name"], "present": None if present is None else "yes" if present else "no"}
    return {key: str(value) for key, value in {**made, "tickpolicy": raw.get("tickpolicy"), "track": raw.get("track")}.items() if value is not None}


def _disk(where: str, raw: Params, problem: Problem) -> wishes.Disk:
    path, on_backend = str(raw.get("path") or ""), any(raw.get(key) for key in PLACE)
    if path and (on_backend or any(raw.get(key) for key in ("image", "content", "size_gb"))):
        problem(where, "has a path, so it is there already; leave out backend, location, name, image, content and size_gb")
    if path and not path.startswith("/"):
        problem(f"{where}.path", f"{path!r} is no absolute path")
    if path and not raw.get("format"):
        problem(f"{where}.format", "is missing: what is on a disk is never guessed; give raw or qcow2")
    _check_target(where, raw, "virtio", problem)
    keys = ("target", "bus", "cache", "io", "discard", "detect_zeroes", "boot_order", "readonly", "shareable", "serial")
    on = None if path else parse_disk(where, raw, problem)
    return wishes.Disk(on, path, str(raw.get("format") or ""), **{key: raw.get(key) for key in keys})


def _check_target(where: str, raw: Params, bus: str, problem: Problem) -> None:
    target, bus = raw.get("target"), raw.get("bus") or bus
    if target and not _TARGET.fullmatch(target):
        problem(f"{where}.target", f"{target!r} is no name of a disk, such as vda")
    elif target and raw.get("bus") and not target.startswith(BUS_PREFIXES[bus]):
        problem(f"{where}.target", f"on the bus {bus} names begin with {BUS_PREFIXES[bus]}")
    order = raw.get("boot_order")
    if order is not None and order < 0:
        problem(f"{where}.boot_order", f"{order} is not 0 (none) or above")


def _cdrom(where: str, raw: Params, problem: Problem) -> wishes.Cdrom:
    path = str(raw.get("path") or "")
    if path and not path.startswith("/"):
        problem(f"{where}.path", f"{path!r} is no absolute path")
    _check_target(where, raw, "sata", problem)
    return wishes.Cdrom(path, raw.get("bus"), raw.get("target"), raw.get("boot_order"))


def _card(where: str, raw: Params, problem: Problem) -> wishes.Card:
    places = [key for key in ("network", "bridge", "direct") if raw.get(key)]
    if len(places) != 1:
        problem(where, f"has {' and '.join(places) or 'nothing to be on'}; give one of network, bridge and direct")
    if raw.get("direct_mode") and not raw.get("direct"):
        problem(f"{where}.direct_mode", "goes with direct")
    mac = str(raw.get("mac") or "").lower().replace("-", ":")
    if mac and (not _MAC.fullmatch(mac) or int(mac[:2], 16) % 2):
        problem(f"{where}.mac", f"{raw['mac']!r} is no address of a card, such as 52:54:00:12:34:56")
    mtu, order = raw.get("mtu"), raw.get("boot_order")
    if mtu is not None and mtu != 0 and not 68 <= mtu <= 65535:
        problem(f"{where}.mtu", f"{mtu} is neither 0 (the network's own) nor between 68 and 65535")
    if order is not None and order < 0:
        problem(f"{where}.boot_order", f"{order} is not 0 (none) or above")
    return wishes.Card(
        network=str(raw.get("network") or ""),
        bridge=str(raw.get("bridge") or ""),
        direct=str(raw.get("direct") or ""),
        direct_mode=raw.get("direct_mode"),
        mac=mac,
        model=raw.get("model"),
        boot_order=order,
        mtu=mtu,
        link=None if raw.get("link") is None else raw["link"] == "up",
        filter=raw.get("filter"),
    )


def _graphics(raw: Params | None, problem: Problem) -> wishes.Graphics | None:
    if raw is None:
        return None
    for key in ("listen", "port", "keymap", "password"):
        if raw["type"] == "none" and raw.get(key):
            problem(f"graphics.{key}", "there are no graphics with type: none")
    port, password = raw.get("port"), raw.get("password")
    if port is not None and not 5900 <= port <= 65535:
        problem("graphics.port", f"{port} is not between 5900 and 65535")
    if password and raw["type"] == "vnc" and len(password) > _VNC_PASSWORD:
        problem("graphics.password", f"VNC takes {_VNC_PASSWORD} characters at most, and would cut off the rest")
    found: wishes.Graphics = _group(wishes.Graphics, raw)
    return found


def _hostdev(where: str, raw: Params, problem: Problem) -> wishes.HostDevice:
    address = str(raw["address"]).lower()
    if raw["type"] == "pci" and re.fullmatch(r"[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", address):
        address = f"0000:{address}"
    if not (_PCI if raw["type"] == "pci" else _USB).fullmatch(address):
        problem(f"{where}.address", f"{raw['address']!r} is not {'0000:01:00.0' if raw['type'] == 'pci' else 'vendor:product, such as 046d:c52b'}")
    return wishes.HostDevice(str(raw["type"]), address)


def _snapshot(raw: Params | None, problem: Problem) -> wishes.SnapshotWish | None:
    if raw is None:
        return None
    try:
        name = snapshot_name(str(raw["name"]))
    except InvalidSpec as exc:
        name = ""
        for fault in exc.problems:
            problem("snapshot.name", fault)
    return wishes.SnapshotWish(name, wishes.SnapshotState(raw.get("state") or "present"))


def _check_together(wish: Wish, problem: Problem) -> None:
    if wish.cpus is not None and wish.max_cpus is not None and wish.cpus > wish.max_cpus:
        problem("cpus", f"{wish.cpus} are more than max_cpus: {wish.max_cpus}")
    if wish.memory_mb is not None and wish.max_memory_mb is not None and wish.memory_mb > wish.max_memory_mb:
        problem("memory_mb", f"{wish.memory_mb} is more than max_memory_mb: {wish.max_memory_mb}")
    most = wish.max_cpus if wish.max_cpus is not None else wish.cpus
    if wish.cpu is not None and wish.cpu.topology is not None:
        sockets, dies, cores, threads = wish.cpu.topology
        made = sockets * dies * cores * threads
        if most is None:
            problem("cpus", f"is missing beside the topology; it has room for {made}")
        elif made != most:
            problem("cpu", f"{sockets} sockets x {dies} dies x {cores} cores x {threads} threads are {made}, not {most} CPUs")
    if wish.numa is not None and wish.numa.cells:
        total, memory = sum(cell.memory_mb for cell in wish.numa.cells), wish.max_memory_mb if wish.max_memory_mb is not None else wish.memory_mb
        if memory != total:
            problem("numa.cells", f"have {total} MiB together, the guest {memory}; give it the same")
    if wish.secure_boot and wish.firmware != "efi":
        problem("secure_boot", "wants firmware: efi")
    if wish.secure_boot and wish.machine is not None and "q35" not in wish.machine:
        problem("machine", f"{wish.machine} has no secure boot; give q35")
    if wish.boot_order is not None and wish.orders_devices:
        problem("boot_order", "is given by kind of device and on devices; give it in one way")
    for kind in _repeated(wish.boot_order or ()):
        problem("boot_order", f"{kind} is there more than once")
    if wish.vsock is not None and wish.vsock.cid is not None and not 3 <= wish.vsock.cid < 2**32 - 1:
        problem("vsock.cid", f"{wish.vsock.cid} is not 3 or above")
    if wish.rng is not None and wish.rng.rate_period_ms is not None and wish.rng.rate_bytes is None:
        problem("rng.rate_bytes", "is missing beside rate_period_ms")
    if wish.ballooning is not None and wish.ballooning.model == "none" and (wish.ballooning.stats_period or wish.ballooning.autodeflate):
        problem("ballooning", "there is no balloon with model: none; leave out its other options")


def _check_devices(wish: Wish, problem: Problem) -> None:
    disks, cdroms, cards = wish.disks or (), wish.cdroms or (), wish.networks or ()
    drives: list[wishes.Disk | wishes.Cdrom] = [*disks, *cdroms]
    bootable: list[wishes.Disk | wishes.Cdrom | wishes.Card] = [*disks, *cdroms, *cards]
    for label in _repeated([disk.label for disk in disks]):
        problem("disks", f"{label} is there more than once")
    for target in _repeated([one.target for one in drives if one.target]):
        problem("disks", f"the target {target} is there more than once")
    for order in _repeated([one.boot_order for one in bootable if one.boot_order]):
        problem("boot_order", f"{order} is there more than once")
    for mac in _repeated([card.mac for card in cards if card.mac]):
        problem("networks", f"the address {mac} is there more than once")
    for name in _repeated([channel.name for channel in wish.channels or ()]):
        problem("channels", f"{name} is there more than once")
    for device in _repeated([f"{device.type} {device.address}" for device in wish.hostdevs or ()]):
        problem("hostdevs", f"{device} is there more than once")


def _repeated(values: Sequence[Any]) -> list[Any]:
    return [value for value, times in Counter(values).items() if times > 1]
