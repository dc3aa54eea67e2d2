# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""From a module's ``pools`` parameter to ``PoolSpec``: every fault is found at once and named with its place and remedy."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource, redact
from ansible_collections.poolwright.virt.plugins.module_utils.pool.disk_parse import parse_further, parse_root
from ansible_collections.poolwright.virt.plugins.module_utils.pool.spec import (
    OnOutdated,
    OnUnhealthy,
    PoolSpec,
    Reset,
    Share,
    needs_address,
)
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import (
    Check,
    Clone,
    DiskSpec,
    MachineSpec,
    NetworkSpec,
    Placement,
    ReadyCheck,
    SeedSpec,
)

if TYPE_CHECKING:
    from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.image import VMwareImage

MAX_SIZE = 10_000
IMAGE_CARDS = ("virtio", "e1000", "e1000e", "rtl8139")
TEMPLATE_CARDS = ("vmxnet3", "e1000", "e1000e")
_VMWARE_FORMATS = ("vmdk", "ova")
_NOT_HERE = "is for provider: vsphere only; leave it out"
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?")
_NETWORK = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. :-]*")
_LONGEST_HOSTNAME = 63

Problem = Callable[[str, str], None]


def parse_pools(raw: Sequence[Mapping[str, Any]], *, state: str, needs_image: bool, templates: bool = False, names_suffice: bool = False) -> list[PoolSpec]:
    """The declared pools, in the order given.

    :param raw: the module's ``pools``; Ansible's argument spec has seen to types and choices.
    :param state: ``present`` or ``absent`` for pools that do not say so themselves.
    :param needs_image: whether the provider makes machines from something that has to be named.
    :param templates: whether that may be a template, and where machines go is named too.
    :param names_suffice: a pool without a size is not described, which is enough to read it.
    :raises InvalidSpec: with every fault in every pool.
    """
    problems: list[str] = []
    specs: list[PoolSpec] = []
    for index, entry in enumerate(raw):
        where = f"pools[{index}] '{entry['name']}'"

        def problem(key: str, what: str, where: str = where) -> None:
            problems.append(f"{where}: {key}: {what}")

        if names_suffice and entry.get("size") is None:
            specs.append(replace(_pool(entry, "absent", False, templates, problem), present=True, described=False))
        else:
            specs.append(_pool(entry, entry.get("state") or state, needs_image, templates, problem))
    problems.extend(_overlaps(specs))
    if problems:
        raise InvalidSpec(problems)
    return specs


def _pool(raw: Mapping[str, Any], state: str, needs_image: bool, templates: bool, problem: Problem) -> PoolSpec:
    name, prefix = str(raw["name"]), str(raw.get("prefix") or raw["name"])
    for key, value in (("name", name), ("prefix", prefix)):
        if not _LABEL.fullmatch(value):
            problem(key, f"{value!r} is no host name label; use letters, digits and inner hyphens only")
    if state == "absent":
        # Its folder is where its machines are looked for.
        return PoolSpec(name=name, prefix=prefix, machine=MachineSpec(placement=_placement(raw, templates, problem)), present=False)
    size = raw.get("size")
    if size is None:
        problem("size", "is missing; say how many machines there shall be, or give the pool state: absent")
        size = 0
    if not 0 <= size <= MAX_SIZE:
        problem("size", f"{size} is not between 0 and {MAX_SIZE}")
    longest = len(f"{prefix}-{size}")
    if longest > _LONGEST_HOSTNAME:
        problem("prefix", f"machine names would have {longest} characters, host names have at most {_LONGEST_HOSTNAME}; shorten it")
    machine = _machine(raw, needs_image and size > 0, templates, problem)
    return PoolSpec(
        name=name,
        prefix=prefix,
        size=size,
        machine=machine,
        ready=_ready(raw.get("ready") or {}, machine, problem),
        on_unhealthy=OnUnhealthy(raw.get("on_unhealthy") or "replace"),
        on_outdated=OnOutdated(raw.get("on_outdated") or "replace"),
        reset=_reset(raw, machine, problem),
        max_unavailable=_share(str(raw.get("max_unavailable") or "25%"), problem),
    )


def _reset(raw: Mapping[str, Any], machine: MachineSpec, problem: Problem) -> Reset:
    reset = Reset(raw.get("reset") or "rebuild")
    if reset is Reset.SNAPSHOT and machine.clone is Clone.INSTANT:
        problem("reset", "an instant clone runs from its first moment, so it has no snapshot from before; use rebuild, or another clone")
    return reset


def _share(text: str, problem: Problem) -> Share:
    try:
        return Share.parse(text)
    except ValueError as exc:
        problem("max_unavailable", str(exc))
        return Share(1)


def _machine(raw: Mapping[str, Any], needs_image: bool, templates: bool, problem: Problem) -> MachineSpec:
    cpus = _within(raw, "cpus", 1, 1, 1024, problem)
    memory_mb = _within(raw, "memory_mb", 1024, 16, 16 * 1024**2, problem)
    template = str(raw.get("template") or "")
    if template and not templates:
        problem("template", _NOT_HERE)
    if template and raw.get("image"):
        problem("template", "give either template or image")
    clone = Clone(raw.get("clone") or "linked")
    if raw.get("clone") and not (templates and (template or raw.get("image"))):
        problem("clone", "says how machines come from a template or an image; name one" if templates else _NOT_HERE)
    elif clone is Clone.INSTANT and not template:
        problem("clone", "an instant clone is forked from a running machine, and an image is none; name the machine as template, or say clone: linked")
    if templates and needs_image and not (template or raw.get("image")):
        problem("template", "is missing; name the template, or the machine, that the pool's machines are cloned from, or give an image")
    disk = parse_root(raw.get("disk") or {}, templates, problem)
    return MachineSpec(
        image=None if templates else _image(raw.get("image"), needs_image, problem),
        vmware_image=_vmware_image(raw["image"], disk, problem) if templates and raw.get("image") else None,
        template=template,
        clone=clone,
        placement=_placement(raw, templates, problem),
        cpus=int(cpus),
        memory_mb=int(memory_mb),
        disk=disk,
        disks=parse_further(raw.get("disks") or (), disk, templates, problem),
        networks=tuple(_network(number, card, templates, problem) for number, card in enumerate(raw.get("networks") or [])),
        seed=_seed(raw, problem),
        power_on=(raw.get("power") or "on") == "on",
    )


def _within(raw: Mapping[str, Any], key: str, default: float, low: float, high: float, problem: Problem, shown: str = "") -> float:
    value = raw.get(key)
    if value is None:
        return default
    if not low <= value <= high:
        problem(shown or key, f"{value:g} is not between {low:g} and {high:g}")
    return float(value)


def _image(raw: Mapping[str, Any] | None, needed: bool, problem: Problem) -> ImageSource | None:
    if not raw:
        if needed:
            problem("image", "is missing; give its source (a URL, or a path on the target host), and better its checksum")
        return None
    for key in ("disk_type", "adapter_type"):
        if raw.get(key):
            problem(f"image.{key}", _NOT_HERE)
    if raw.get("format") in _VMWARE_FORMATS:
        problem("image.format", f"{raw['format']} is for provider: vsphere only; convert the disk: qemu-img convert -O qcow2 OLD NEW")
        return None
    image = ImageSource(str(raw["source"]), raw.get("checksum") or None, str(raw.get("format") or "qcow2"))
    faults = image.problems()
    for fault in faults:
        key, _colon, what = fault.partition(": ")
        problem(key, what)
    return None if faults else image


def _vmware_image(raw: Mapping[str, Any], disk: DiskSpec, problem: Problem) -> VMwareImage | None:
    # Loaded where it is needed: most pools have none.
    from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.image import VMwareImage, size_problems

    source = str(raw["source"])
    # What else a name ends in says nothing: many a qcow2 image is called .img.
    named = next((name for name in _VMWARE_FORMATS if redact(source).partition("?")[0].lower().endswith(f".{name}")), "qcow2")
    faults: list[str] = []
    image = None
    try:
        image = VMwareImage(source, raw.get("checksum") or None, str(raw.get("format") or named), raw.get("disk_type") or "", raw.get("adapter_type") or "")
        faults = size_problems(disk.size_gb, image, "disk")
    except InvalidSpec as exc:
        faults = exc.problems
    for fault in faults:
        key, _colon, what = fault.partition(": ")
        problem(key, what)
    return image


def _network(number: int, raw: Mapping[str, Any], templates: bool, problem: Problem) -> NetworkSpec:
    network, bridge = str(raw.get("network") or ""), str(raw.get("bridge") or "")
    if templates and bridge:
        problem(f"networks[{number}].bridge", "is for KVM hosts; name a network")
    if bool(network) == bool(bridge):
        problem(f"networks[{number}]", "give either network or bridge")
    for key, value in (("network", network), ("bridge", bridge)):
        if value and not templates and not _NETWORK.fullmatch(value):
            problem(f"networks[{number}].{key}", f"{value!r} is no name of a network")
    models = TEMPLATE_CARDS if templates else IMAGE_CARDS
    model = str(raw.get("model") or models[0])
    if model not in models:
        problem(f"networks[{number}].model", f"{model!r} is no card of this hypervisor; give one of {', '.join(models)}")
    return NetworkSpec(network=network, bridge=bridge, model=model)


def _placement(raw: Mapping[str, Any], templates: bool, problem: Problem) -> Placement:
    said = {field.name: str(raw.get(field.name) or "").strip("/") for field in fields(Placement)}
    for key, value in said.items():
        if value and not templates:
            problem(key, _NOT_HERE)
    if any(part in (".", "..") for part in said["folder"].split("/")):
        problem("folder", f"{said['folder']!r} has '.' or '..' in it; give the folder's path below the datacenter's folder of machines")
    return Placement(**said) if templates else Placement()


def _seed(raw: Mapping[str, Any], problem: Problem) -> SeedSpec:
    hostname = str(raw.get("hostname") or "")
    if hostname and not all(_LABEL.fullmatch(part) for part in hostname.replace("{name}", "x").split(".")):
        problem("hostname", f"{hostname!r} is no host name; use letters, digits, hyphens and dots, and {{name}} for the slot's name")
    keys = tuple(str(key).strip() for key in raw.get("ssh_keys") or ())
    for number, key in enumerate(keys):
        if "\n" in key or len(key.split()) < 2:
            problem(f"ssh_keys[{number}]", "is no public key of the form 'type base64 comment', one line each")
    return SeedSpec(
        user_data=str(raw.get("user_data") or ""),
        network_config=str(raw.get("network_config") or ""),
        ssh_keys=keys,
        hostname=hostname,
    )


def _ready(raw: Mapping[str, Any], machine: MachineSpec, problem: Problem) -> ReadyCheck:
    default = Check.RUNNING if machine.power_on else Check.NONE
    check = Check(raw["check"]) if raw.get("check") else default
    if needs_address(check) and not machine.networks:
        problem("ready.check", f"{check.value} needs a machine with a network; add networks")
    if check is not Check.NONE and not machine.power_on:
        problem("ready.check", f"{check.value} cannot be met by machines that are kept off; use none, or power: on")
    return ReadyCheck(
        check=check,
        port=int(_within(raw, "port", 22, 1, 65535, problem, "ready.port")),
        timeout=_within(raw, "timeout", 300.0, 1, 86400, problem, "ready.timeout"),
        grace=_within(raw, "grace", 10.0, 0, 86400, problem, "ready.grace"),
        interval=_within(raw, "interval", 0.5, 0.05, 60, problem, "ready.interval"),
    )


def _overlaps(specs: Sequence[PoolSpec]) -> list[str]:
    """Pools that would claim the same names; host names do not tell upper from lower case."""
    problems = []
    for number, spec in enumerate(specs):
        for other in specs[:number]:
            if spec.name.lower() == other.name.lower():
                problems.append(f"pools[{number}] '{spec.name}': name: another pool of this call has it; give each pool once")
            elif spec.prefix.lower() == other.prefix.lower():
                problems.append(
                    f"pools[{number}] '{spec.name}': prefix: {spec.prefix!r} is also that of pool '{other.name}', both would claim "
                    f"{spec.prefix}-1; give them different prefixes"
                )
            else:
                problems.extend(_slot_as_name(number, spec, other))
    return problems


def _slot_as_name(number: int, spec: PoolSpec, other: PoolSpec) -> list[str]:
    for taker, owner in ((spec, other), (other, spec)):
        if owner.template.slot_of(taker.prefix) is not None:
            return [
                f"pools[{number}] '{spec.name}': name: '{taker.prefix}' is the name of a machine of pool '{owner.name}'; "
                "rename one of the pools or give it another prefix"
            ]
    return []
