# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Edits of what a guest is as a whole: processors, memory, firmware, clock. Pure, and without effect where all is as wanted."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence

from ansible_collections.poolwright.virt.plugins.module_utils.guests import tree
from ansible_collections.poolwright.virt.plugins.module_utils.guests.wish import Balloon, Clock, Cpu, Numa

# Written as an element that is there or not; all other features have a state.
_PRESENT = ("acpi", "apic", "pae")
# libvirt gives each kind of machine a name with its version; a guest keeps the version it was made with.
_FAMILIES = {"q35": "pc-q35-", "pc": "pc-i440fx-", "virt": "virt-"}
_BOOT_DEVICES = {"disk": "hd", "cdrom": "cdrom", "network": "network"}


def title(domain: ET.Element, text: str) -> None:
    tree.set_text(domain, "title", text)


def description(domain: ET.Element, text: str) -> None:
    tree.set_text(domain, "description", text)


def on_event(domain: ET.Element, tag: str, action: str) -> None:
    """:param tag: such as ``on_crash``."""
    tree.set_text(domain, tag, action)


def machine(domain: ET.Element, wanted: str, canonical: str) -> None:
    """:param canonical: what libvirt calls ``wanted`` today, "" where it does not say."""
    kind = tree.ensure(domain, "os/type")
    now = kind.get("machine", "")
    if now in (wanted, canonical) or (wanted in _FAMILIES and now.startswith(_FAMILIES[wanted])):
        return
    if _family(now) != _family(canonical or wanted):
        _forget_buses(domain)
    kind.set("machine", wanted)


def _family(name: str) -> str:
    return next((family for family, prefix in _FAMILIES.items() if name == family or name.startswith(prefix)), name)


def _forget_buses(domain: ET.Element) -> None:
    """Another kind of machine has other slots: libvirt gives new ones."""
    inside = tree.devices_element(domain)
    for element in list(inside):
        address = element.find("address")
        if element.tag == "controller" and element.get("type") in ("pci", "ide", "fdc"):
            inside.remove(element)
        elif address is not None and address.get("type") == "pci":
            tree.forget_place(element)


# -- processors


def cpus(domain: ET.Element, count: int | None, most: int | None) -> None:
    """``count`` processors to begin with, of ``most`` that can be plugged in; without ``most`` a room that is there stays."""
    element = tree.ensure(domain, "vcpu")
    highest = int((element.text or "1").strip())
    now = int(element.get("current", highest))
    wanted = now if count is None else count
    limit = most if most is not None else highest if "current" in element.attrib and wanted <= highest else wanted
    wanted = min(wanted, limit)
    if (now, highest) == (wanted, limit):
        return
    element.text = str(limit)
    tree.set_attributes(element, current=str(wanted) if wanted != limit else None)
    # What says which of them are plugged in no longer fits.
    tree.drop(domain, "vcpus")


def cpu(domain: ET.Element, wanted: Cpu, *, live: bool) -> None:
    """:param live: libvirt spells out in a running guest what ``host-model`` came to, so that is not held against it."""
    if wanted.mode is not None or wanted.model is not None:
        _cpu_model(domain, wanted, live)
    if wanted.topology is not None:
        _topology(domain, wanted.topology)
    if wanted.features is not None and not (live and wanted.mode == "host-model"):
        _cpu_features(domain, wanted.features)


def _cpu_model(domain: ET.Element, wanted: Cpu, live: bool) -> None:
    mode = wanted.mode or "custom"
    element = domain.find("cpu")
    now = "" if element is None else element.get("mode", "custom" if element.find("model") is not None else "")
    model = "" if element is None else element.findtext("model", "")
    if now == mode and (mode != "custom" or model == wanted.model):
        return
    if live and mode == "host-model" and now == "custom":
        return
    element = tree.ensure(domain, "cpu")
    tree.set_attributes(element, mode=mode, check=None, match="exact" if mode == "custom" else None, migratable=None)
    tree.drop(element, "model", "vendor")
    if wanted.features is None and now:
        # Features were those of the former model.
        tree.drop(element, "feature")
    if mode == "custom":
        element.insert(0, _model(wanted.model or ""))


def _model(name: str) -> ET.Element:
    element = ET.Element("model", fallback="forbid")
    element.text = name
    return element


def _topology(domain: ET.Element, wanted: tuple[int, int, int, int]) -> None:
    element = tree.ensure(domain, "cpu/topology")
    keys = ("sockets", "dies", "cores", "threads")
    if tuple(int(element.get(key, "1")) for key in keys) != wanted or "sockets" not in element.attrib:
        tree.set_attributes(element, **{key: str(number) for key, number in zip(keys, wanted)})


def _cpu_features(domain: ET.Element, wanted: Sequence[tuple[str, str]]) -> None:
    element = domain.find("cpu")
    now = [] if element is None else [(one.get("name", ""), one.get("policy", "require")) for one in tree.named(element, "feature")]
    if sorted(now) == sorted(wanted):
        return
    element = tree.ensure(domain, "cpu")
    tree.drop(element, "feature")
    for name, policy in wanted:
        tree.child(element, "feature", policy=policy, name=name)


# -- memory


def memory(domain: ET.Element, amount_mb: int | None, most_mb: int | None) -> None:
    """What the guest gets, of the most that its balloon may let it have; without ``most_mb`` a room that is there stays."""
    highest = tree.kib_of(domain.find("memory")) or 0
    now = tree.kib_of(domain.find("currentMemory")) or highest
    wanted = now if amount_mb is None else amount_mb * 1024
    limit = most_mb * 1024 if most_mb is not None else highest if now < highest and wanted <= highest else wanted
    wanted = min(wanted, limit)
    tree.set_kib(domain, "memory", limit)
    if domain.find("currentMemory") is not None or wanted != limit:
        tree.set_kib(domain, "currentMemory", wanted)


def ballooning(domain: ET.Element, wanted: Balloon) -> None:
    inside = tree.devices_element(domain)
    element = inside.find("memballoon")
    if element is None:
        element = tree.child(inside, "memballoon", model="virtio")
    if wanted.model is not None and element.get("model") != wanted.model:
        tree.forget_place(element)
        element.set("model", wanted.model)
        if wanted.model == "none":
            tree.drop(element, "stats", "driver")
            tree.set_attributes(element, autodeflate=None, freePageReporting=None)
    for key, value in (("autodeflate", wanted.autodeflate), ("freePageReporting", wanted.free_page_reporting)):
        if value is not None and (element.get(key, "off") == "on") != value:
            tree.set_attributes(element, **{key: "on" if value else None})
    if wanted.stats_period is not None:
        stats = element.find("stats")
        if (0 if stats is None else int(stats.get("period", "0"))) != wanted.stats_period:
            tree.drop(element, "stats")
            if wanted.stats_period:
                tree.child(element, "stats", period=str(wanted.stats_period))


def numa(domain: ET.Element, wanted: Numa) -> None:
    if wanted.cells is not None:
        _numa_cells(domain, wanted)
    if wanted.mode is not None or wanted.nodeset is not None:
        _numa_memory(domain, wanted)


def _numa_cells(domain: ET.Element, wanted: Numa) -> None:
    asked = [(_cpu_set(cell.cpus), cell.memory_mb * 1024) for cell in wanted.cells or ()]
    now = [(_cpu_set(cell.get("cpus", "")), _cell_kib(cell)) for cell in domain.iterfind("cpu/numa/cell")]
    if asked == now:
        return
    if not asked:
        tree.drop(domain.find("cpu"), "numa")
        tree.drop_empty(domain, "cpu")
        return
    cells = tree.ensure(domain, "cpu/numa")
    kept = tree.named(cells, "cell")
    for number, cell in enumerate(wanted.cells or ()):
        element = kept[number] if number < len(kept) else ET.SubElement(cells, "cell")
        if number < len(now) and now[number] == asked[number]:
            continue
        tree.set_attributes(element, id=str(number), cpus=cell.cpus, memory=str(cell.memory_mb * 1024), unit="KiB")
    for element in kept[len(asked) :]:
        cells.remove(element)


def _cell_kib(cell: ET.Element) -> int:
    amount = ET.Element("memory", {"unit": cell.get("unit", "KiB")})
    amount.text = cell.get("memory", "0")
    return tree.kib_of(amount) or 0


def _cpu_set(text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in filter(None, text.replace(" ", "").split(",")):
        first, _dash, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return frozenset(found)


def _numa_memory(domain: ET.Element, wanted: Numa) -> None:
    element = domain.find("numatune/memory")
    if wanted.mode == "none":
        tree.drop(domain.find("numatune"), "memory")
        tree.drop_empty(domain, "numatune")
        return
    now = ("strict", "") if element is None else (element.get("mode", "strict"), element.get("nodeset", ""))
    asked = (wanted.mode or now[0], now[1] if wanted.nodeset is None else wanted.nodeset)
    if element is None or now[0] != asked[0] or _cpu_set(now[1]) != _cpu_set(asked[1]):
        tree.set_attributes(tree.ensure(domain, "numatune/memory"), mode=asked[0], nodeset=asked[1] or None)


# -- firmware


def is_efi(domain: ET.Element) -> bool:
    system = domain.find("os")
    return system is not None and (system.get("firmware") == "efi" or system.find("loader[@type='pflash']") is not None)


def is_secure(domain: ET.Element) -> bool:
    loader = domain.find("os/loader")
    feature = domain.find("os/firmware/feature[@name='secure-boot']")
    return (loader is not None and loader.get("secure") == "yes") or (feature is not None and feature.get("enabled") == "yes")


def firmware(domain: ET.Element, wanted: str) -> None:
    system = tree.ensure(domain, "os")
    if is_efi(domain) == (wanted == "efi"):
        return
    tree.drop(system, "loader", "nvram", "firmware")
    tree.set_attributes(system, firmware="efi" if wanted == "efi" else None)


def secure_boot(domain: ET.Element, wanted: bool) -> None:
    """libvirt chooses the firmware that fits."""
    if is_secure(domain) == wanted:
        return
    system = tree.ensure(domain, "os")
    tree.drop(system, "loader", "nvram", "firmware")
    system.set("firmware", "efi")
    said = tree.child(system, "firmware")
    for name in ("enrolled-keys", "secure-boot"):
        tree.child(said, "feature", enabled="yes" if wanted else "no", name=name)
    if wanted:
        tree.child(system, "loader", secure="yes")
        smm = tree.ensure(domain, "features/smm")
        smm.set("state", "on")


def boot_order(domain: ET.Element, wanted: Sequence[str]) -> None:
    """By kind of device; numbers on devices, which cannot stand beside it, are removed."""
    system = tree.ensure(domain, "os")
    kinds = [_BOOT_DEVICES[kind] for kind in wanted]
    if [one.get("dev") for one in tree.named(system, "boot")] != kinds:
        tree.drop(system, "boot")
        for kind in kinds:
            tree.child(system, "boot", dev=kind)
    for device in tree.devices(domain):
        tree.drop(device, "boot")


def no_boot_order(domain: ET.Element) -> None:
    """Devices are booted from by numbers of their own."""
    tree.drop(domain.find("os"), "boot")


# -- the rest


def features(domain: ET.Element, wanted: Mapping[str, bool]) -> None:
    element = tree.ensure(domain, "features")
    for name, on in wanted.items():
        found = element.find(name)
        if name in _PRESENT:
            if (found is not None) != on:
                if on:
                    tree.child(element, name)
                else:
                    tree.drop(element, name)
        elif found is None or (found.get("state", "on") == "on") != on:
            tree.ensure(element, name).set("state", "on" if on else "off")
    tree.drop_empty(domain, "features")


def clock(domain: ET.Element, wanted: Clock) -> None:
    element = tree.ensure(domain, "clock")
    if wanted.offset is not None and element.get("offset", "utc") != wanted.offset:
        tree.set_attributes(element, offset=wanted.offset, adjustment=None, basis=None, timezone=None, start=None)
    if "offset" not in element.attrib:
        element.set("offset", wanted.offset or "utc")
    if wanted.timezone is not None and element.get("timezone") != wanted.timezone:
        element.set("timezone", wanted.timezone)
    if wanted.timers is not None:
        now = sorted(sorted(timer.attrib.items()) for timer in tree.named(element, "timer"))
        if now != sorted(sorted(timer.items()) for timer in wanted.timers):
            tree.drop(element, "timer")
            for timer in wanted.timers:
                tree.child(element, "timer", **dict(timer))
