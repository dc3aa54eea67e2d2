# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""From the parameters of ``vm_spawn`` to a machine in a vCenter: every fault is found at once and named with its place and remedy."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DiskOptions
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.hardware import CARD_MODELS, Allocation
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.image import VMwareImage
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.description import (
    FULL,
    INSTANT,
    LINKED,
    Address,
    CardWish,
    Customization,
    Description,
    DiskWish,
    Seed,
    State,
)
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.seed import GUESTINFO, ISO

Params = Mapping[str, Any]
Problem = Callable[[str, str], None]

OWN_KEYS = "poolwright."
_LONGEST_NAME = 80
_LARGEST_GB = 62 * 1024
_ON_KVM_HOSTS = ("backend", "location", *(item.name for item in fields(DiskOptions)))
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def parse_vsphere(params: Params) -> Description:
    """:raises InvalidSpec: with every fault."""
    problems: list[str] = []

    def problem(key: str, what: str) -> None:
        problems.append(f"{key}: {what}")

    name = str(params["name"])
    if not name.strip() or len(name) > _LONGEST_NAME or any(ord(letter) < 32 or letter in "%/\\" for letter in name):
        problem("name", f"{name!r} cannot be a machine's name; use 1 to {_LONGEST_NAME} characters without %, / and \\")
    folder = str(params.get("folder") or "").strip("/")
    if any(part in (".", "..") for part in folder.split("/")):
        problem("folder", f"{folder!r} has '.' or '..' in it; give the path below the datacenter's folder of machines")
    state = State(params["state"])
    if state is State.ABSENT:
        if problems:
            raise InvalidSpec(problems)
        return Description(name, state, folder)
    image = _image(params, problems)
    described = _described(params, name, state, folder, image, problem)
    _check_together(params, described, problem)
    if problems:
        raise InvalidSpec(problems)
    return described


def _described(params: Params, name: str, state: State, folder: str, image: VMwareImage | None, problem: Problem) -> Description:
    clone = params.get("clone") or (LINKED if image is not None and image.linked_clone else FULL)
    return Description(
        name=name,
        state=state,
        folder=folder,
        image=image,
        template=str(params.get("template") or "").strip("/"),
        clone=str(clone),
        snapshot=str(params.get("snapshot") or ""),
        cluster=str(params.get("cluster") or ""),
        host=str(params.get("host") or ""),
        resource_pool=str(params.get("resource_pool") or ""),
        datastore=str(params.get("datastore") or ""),
        storage_policy=str(params.get("storage_policy") or "").strip(),
        cpus=_between(params, "cpus", 1, 1024, problem),
        cores_per_socket=_between(params, "cores_per_socket", 1, 1024, problem),
        memory_mb=_between(params, "memory_mb", 4, 24 * 1024**2, problem),
        cpu_limits=_allocation(params, "cpu_limits", problem),
        memory_limits=_allocation(params, "memory_limits", problem),
        firmware=str(params.get("firmware") or ""),
        secure_boot=params.get("secure_boot"),
        guest_id=str(params.get("guest_id") or ""),
        annotation=params.get("annotation"),
        extra_config=_extra_config(params, problem),
        networks=None if params.get("networks") is None else tuple(_card(number, card, problem) for number, card in enumerate(params["networks"])),
        disks=tuple(_disk(number, disk, problem) for number, disk in enumerate(params.get("disks") or ())),
        root_gb=_root(params, problem),
        seed=_seed(params, problem),
        customization=_customization(params, problem),
    )


def _image(params: Params, problems: list[str]) -> VMwareImage | None:
    raw = params.get("image")
    if not raw:
        return None
    try:
        return VMwareImage(
            source=str(raw["source"]),
            checksum=raw.get("checksum") or None,
            format=str(raw.get("format") or ""),
            disk_type=str(raw.get("disk_type") or ""),
            adapter_type=str(raw.get("adapter_type") or ""),
            os_type=str(params.get("guest_id") or "otherGuest"),
        )
    except InvalidSpec as exc:
        problems += exc.problems
        return None


def _check_together(params: Params, said: Description, problem: Problem) -> None:
    """What does not go with what."""
    if bool(params.get("image")) == bool(said.template):
        problem("template", "give either an image or a template (the name of any machine will do)")
    if params.get("image") and said.clone == INSTANT:
        problem("clone", "an instant clone is forked from a running machine; name it as the template")
    if said.snapshot and (said.clone != LINKED or not said.template):
        problem("snapshot", "is what a linked clone of a template stands on; say clone: linked, or leave it out")
    if said.image is not None and said.image.is_iso and said.root_gb is None:
        problem("disk.size_gb", "is missing: a machine that is installed from an ISO image needs a disk to install on")
    if said.secure_boot and said.firmware == "bios":
        problem("secure_boot", "wants the firmware efi")
    if params.get("config_drive") and params.get("cloud_init"):
        problem("cloud_init", "give either config_drive or cloud_init")
    if said.customization is not None and (said.image is not None or said.clone == INSTANT):
        problem("customization", "is done while a template is cloned (clone: full or linked); use config_drive or cloud_init")
    if said.clone == INSTANT:
        for key in ("cpus", "cores_per_socket", "disks", "memory_mb", "firmware", "networks", "storage_policy"):
            if params.get(key):
                problem(key, "an instant clone has what it is forked from; leave it out")
        if params.get("config_drive"):
            problem("config_drive", "an instant clone has the drives of what it is forked from; use cloud_init")
        if said.state is State.OFF:
            problem("state", "an instant clone runs from the start")
    if said.cores_per_socket and said.cpus and said.cpus % said.cores_per_socket:
        problem("cores_per_socket", f"{said.cpus} CPUs cannot be parted into sockets of {said.cores_per_socket}")
    for number, network in enumerate(params.get("networks") or ()):
        if network.get("bridge"):
            problem(f"networks[{number}].bridge", "is for KVM hosts; name a network")
    for key in _ON_KVM_HOSTS:
        if (params.get("disk") or {}).get(key):
            problem(f"disk.{key}", "is for KVM hosts; disks go to the datastore")
    if params.get("wait_for_address") and said.state is not State.ON:
        problem("wait_for_address", "goes with state: poweredon only")


def _between(params: Params, key: str, low: int, high: int, problem: Problem) -> int | None:
    value = params.get(key)
    if value is None:
        return None
    if not low <= value <= high:
        problem(key, f"{value} is not between {low} and {high}")
    if key == "memory_mb" and value % 4:
        problem(key, f"{value} is no multiple of 4 MiB, which vSphere wants")
    return int(value)


def _allocation(params: Params, key: str, problem: Problem) -> Allocation:
    raw = params.get(key) or {}
    limit, reservation, shares = raw.get("limit"), raw.get("reservation"), raw.get("shares")
    if limit is not None and limit < -1:
        problem(f"{key}.limit", f"{limit} is neither -1 (none) nor an amount")
    if reservation is not None and reservation < 0:
        problem(f"{key}.reservation", f"{reservation} is below 0")
    if limit is not None and reservation is not None and -1 < limit < reservation:
        problem(f"{key}.reservation", f"{reservation} is more than the limit of {limit}")
    if shares is not None and shares not in ("low", "normal", "high"):
        if not str(shares).isdigit() or not 0 <= int(shares) <= 1_000_000:
            problem(f"{key}.shares", f"{shares!r} is neither low, normal, high nor a number up to 1000000")
            shares = None
        else:
            shares = int(shares)
    return Allocation(limit, reservation, shares)


def _extra_config(params: Params, problem: Problem) -> dict[str, str]:
    found = {}
    for key, value in (params.get("extra_config") or {}).items():
        if str(key).startswith(OWN_KEYS):
            problem(f"extra_config.{key}", f"keys that begin with {OWN_KEYS} say whose a machine is; leave it out")
        if isinstance(value, (dict, list)):
            problem(f"extra_config.{key}", "is no text; give a string, and quote numbers and booleans")
        found[str(key)] = "" if value is None else str(value)
    return found


def _card(number: int, raw: Params, problem: Problem) -> CardWish:
    where, network, model = f"networks[{number}]", str(raw.get("network") or ""), str(raw.get("model") or "vmxnet3")
    if not network and not raw.get("bridge"):
        problem(f"{where}.network", "is missing; name a network, a port group or an opaque network")
    if model not in CARD_MODELS:
        problem(f"{where}.model", f"{model!r} is no card of vSphere's; give one of {', '.join(CARD_MODELS)}")
    mac = str(raw.get("mac") or "").lower().replace("-", ":")
    if mac and (not _MAC.fullmatch(mac) or int(mac[:2], 16) % 2):
        problem(f"{where}.mac", f"{raw['mac']!r} is no address of a card, such as 00:50:56:00:00:01")
    return CardWish(network, model, mac)


def _disk(number: int, raw: Params, problem: Problem) -> DiskWish:
    size = raw.get("size_gb")
    if size is None:
        problem(f"disks[{number}].size_gb", "is missing: a blank disk has no size of its own")
    else:
        _check_size(f"disks[{number}].size_gb", size, problem)
    for key in ("image", "content", *_ON_KVM_HOSTS):
        if raw.get(key):
            problem(f"disks[{number}].{key}", "is for KVM hosts; leave it out")
    return DiskWish(float(size or 1), str(raw.get("datastore") or ""), bool(raw.get("thin", True)), bool(raw.get("ephemeral")))


def _root(params: Params, problem: Problem) -> float | None:
    size = (params.get("disk") or {}).get("size_gb")
    if size is not None:
        _check_size("disk.size_gb", size, problem)
    return None if size is None else float(size)


def _check_size(where: str, size: Any, problem: Problem) -> None:
    if size is None or not 0 < size <= _LARGEST_GB:
        problem(where, f"{size if size is None else f'{size:g}'} is not above 0 and at most {_LARGEST_GB}")
    elif size * 1024**3 % 1024:
        problem(where, f"{size!r} is no whole number of KiB")


def _seed(params: Params, problem: Problem) -> Seed | None:
    raw, kind = params.get("config_drive"), ISO
    if not raw:
        raw, kind = params.get("cloud_init"), GUESTINFO
    if not raw:
        return None
    return Seed(kind, str(raw.get("user_data") or ""), str(raw.get("network_config") or ""), dict(raw.get("meta_data") or {}))


def _customization(params: Params, problem: Problem) -> Customization | None:
    raw = params.get("customization")
    if not raw:
        return None
    addresses = []
    for number, one in enumerate(raw.get("addresses") or ()):
        where, ip, netmask, gateway = f"customization.addresses[{number}]", one.get("ip") or "", one.get("netmask") or "", one.get("gateway") or ""
        for key, value in (("ip", ip), ("netmask", netmask), ("gateway", gateway)):
            if value and not _is_ip(value):
                problem(f"{where}.{key}", f"{value!r} is no IPv4 address")
        if ip and not netmask:
            problem(f"{where}.netmask", "is missing beside ip")
        addresses.append(Address(ip, netmask, gateway))
    cards = params.get("networks")
    if cards is not None and addresses and len(addresses) != len(cards):
        problem("customization.addresses", f"there are {len(addresses)} of them and {len(cards)} networks; give one for each card, an empty one for DHCP")
    hostname = str(raw.get("hostname") or params["name"])
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?", hostname):
        problem("customization.hostname", f"{hostname!r} is no host name; use letters, digits and inner hyphens")
    return Customization(hostname, str(raw.get("domain") or ""), tuple(str(one) for one in raw.get("dns") or ()), tuple(addresses))


def _is_ip(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True
