# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Each option alone, on a real libvirtd: what it changes is in the XML and nothing else, and all of it goes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from ansible_collections.poolwright.virt.tests.integration.libvirt.guests.conftest import Lab, difference, lines, outside

Options = dict[str, Any]
# libvirt gives each device a place on a bus, and makes the controllers for it.
PLACES = r"|devices/[a-z]+/address|devices/controller"


@dataclass(frozen=True)
class Case:
    """``change`` is given beside ``base`` and then ``back``; ``where`` is a regular expression of the lines that may differ."""

    name: str
    change: Options
    back: Options
    where: str
    base: Options


def case(name: str, change: Options, back: Options, where: str, **base: Any) -> Case:
    return Case(name, change, back, where, base)


CARD = {"network": "default"}
DISK = {"path": "/dev/zero", "format": "raw", "target": "vda"}
CPU = {"mode": "custom", "model": "qemu64"}

CASES = [
    case("title", {"title": "Web server"}, {"title": ""}, "title"),
    case("title with markup", {"title": "<a> & 'b' \"c\" ü"}, {"title": ""}, "title"),
    case("description", {"description": "first\nsecond"}, {"description": ""}, "description"),
    case("metadata", {"metadata": {"owner": "ops", "tier": "1"}}, {"metadata": {}}, "nothing"),
    case("cpus", {"cpus": 4}, {"cpus": 1}, "vcpu"),
    case("max_cpus", {"cpus": 1, "max_cpus": 4}, {"cpus": 1, "max_cpus": 1}, "vcpu"),
    case("cpus below the most", {"cpus": 3, "max_cpus": 4}, {"cpus": 2, "max_cpus": 4}, "vcpu", cpus=2, max_cpus=4),
    case("cpu mode", {"cpu": {"mode": "maximum"}}, {"cpu": CPU}, "cpu", cpu=CPU),
    case("cpu model", {"cpu": {"mode": "custom", "model": "Nehalem"}}, {"cpu": CPU}, "cpu", cpu=CPU),
    case(
        "cpu topology",
        {"cpu": {"sockets": 2, "cores": 2, "threads": 1}},
        {"cpu": {"sockets": 1, "cores": 2, "threads": 2}},
        "cpu/topology",
        cpus=4,
        cpu={"sockets": 1, "cores": 2, "threads": 2},
    ),
    case("cpu features", {"cpu": {**CPU, "features": [{"name": "aes", "policy": "require"}]}}, {"cpu": {**CPU, "features": []}}, "cpu/feature", cpu=CPU),
    case(
        "cpu feature's policy", {"cpu": {**CPU, "features": [{"name": "avx", "policy": "disable"}]}}, {"cpu": {**CPU, "features": []}}, "cpu/feature", cpu=CPU
    ),
    case("memory_mb", {"memory_mb": 256}, {"memory_mb": 128}, "memory|currentMemory", memory_mb=128),
    case("max_memory_mb", {"memory_mb": 128, "max_memory_mb": 512}, {"memory_mb": 128, "max_memory_mb": 128}, "memory|currentMemory", memory_mb=128),
    case(
        "memory below the most",
        {"memory_mb": 256, "max_memory_mb": 512},
        {"memory_mb": 128, "max_memory_mb": 512},
        "currentMemory",
        memory_mb=128,
        max_memory_mb=512,
    ),
    case("no balloon", {"ballooning": {"model": "none"}}, {"ballooning": {"model": "virtio"}}, "devices/memballoon" + PLACES),
    case("balloon's statistics", {"ballooning": {"stats_period": 5}}, {"ballooning": {"stats_period": 0}}, "devices/memballoon/stats"),
    case(
        "balloon gives way",
        {"ballooning": {"autodeflate": True}},
        {"ballooning": {"autodeflate": False}},
        "devices/memballoon@autodeflate",
        ballooning={"autodeflate": False},
    ),
    case(
        "free pages are told",
        {"ballooning": {"free_page_reporting": True}},
        {"ballooning": {"free_page_reporting": False}},
        "devices/memballoon@freePageReporting",
        ballooning={"free_page_reporting": False},
    ),
    case(
        "numa cells",
        {"numa": {"cells": [{"cpus": "0", "memory_mb": 64}, {"cpus": "1", "memory_mb": 64}]}},
        {"numa": {"cells": []}},
        "cpu",
        cpus=2,
        memory_mb=128,
    ),
    case("numa memory", {"numa": {"mode": "preferred", "nodeset": "0"}}, {"numa": {"mode": "none"}}, "numatune"),
    case("firmware", {"firmware": "efi"}, {"firmware": "bios"}, "os@firmware|os/loader|os/nvram|os/firmware|features"),
    case(
        "secure boot",
        {"firmware": "efi", "secure_boot": True},
        {"firmware": "efi", "secure_boot": False},
        "os|features/smm",
        machine="q35",
        firmware="efi",
        secure_boot=False,
        features={"smm": True},
    ),
    case("tpm", {"tpm": {"model": "tpm-crb"}}, {"tpm": {"model": "none"}}, "devices/tpm"),
    case("another tpm", {"tpm": {"model": "tpm-tis"}}, {"tpm": {"model": "tpm-crb"}}, "devices/tpm@model", tpm={"model": "tpm-crb"}),
    case("feature that is there or not", {"features": {"pae": True}}, {"features": {"pae": False}}, "features/pae"),
    case("feature with a state", {"features": {"vmport": False}}, {"features": {"vmport": True}}, "features/vmport", features={"vmport": True}),
    case("hardware counters", {"features": {"pmu": False}}, {"features": {"pmu": True}}, "features/pmu", features={"pmu": True}),
    case("clock", {"clock": {"offset": "localtime"}}, {"clock": {"offset": "utc"}}, "clock@offset"),
    case("time zone", {"clock": {"offset": "timezone", "timezone": "Europe/Berlin"}}, {"clock": {"offset": "utc"}}, "clock@"),
    case(
        "timers", {"clock": {"timers": [{"name": "hpet", "present": False}, {"name": "pit", "tickpolicy": "delay"}]}}, {"clock": {"timers": []}}, "clock/timer"
    ),
    case("on_poweroff", {"on_poweroff": "restart"}, {"on_poweroff": "destroy"}, "on_poweroff"),
    case("on_reboot", {"on_reboot": "destroy"}, {"on_reboot": "restart"}, "on_reboot"),
    case("on_crash", {"on_crash": "coredump-destroy"}, {"on_crash": "destroy"}, "on_crash"),
    case("boot_order", {"boot_order": ["network", "disk"]}, {"boot_order": ["disk"]}, "os/boot"),
    case("disk", {"disks": [DISK]}, {"disks": []}, "devices/disk" + PLACES),
    case("second disk", {"disks": [DISK, {"path": "/dev/null", "format": "raw"}]}, {"disks": [DISK]}, "devices/disk" + PLACES, disks=[DISK]),
    case("disk's cache", {"disks": [{**DISK, "cache": "none"}]}, {"disks": [{**DISK, "cache": "default"}]}, "devices/disk/driver@cache", disks=[DISK]),
    case("disk's io", {"disks": [{**DISK, "io": "threads"}]}, {"disks": [{**DISK, "io": "default"}]}, "devices/disk/driver@io", disks=[DISK]),
    case("disk's discard", {"disks": [{**DISK, "discard": "unmap"}]}, {"disks": [{**DISK, "discard": "default"}]}, "devices/disk/driver@discard", disks=[DISK]),
    case(
        "disk's zeroes",
        {"disks": [{**DISK, "detect_zeroes": "on"}]},
        {"disks": [{**DISK, "detect_zeroes": "default"}]},
        "devices/disk/driver@detect_zeroes",
        disks=[DISK],
    ),
    case("disk's serial", {"disks": [{**DISK, "serial": "pw-1"}]}, {"disks": [{**DISK, "serial": ""}]}, "devices/disk/serial", disks=[DISK]),
    case("readonly disk", {"disks": [{**DISK, "readonly": True}]}, {"disks": [{**DISK, "readonly": False}]}, "devices/disk/readonly", disks=[DISK]),
    case("shared disk", {"disks": [{**DISK, "shareable": True}]}, {"disks": [{**DISK, "shareable": False}]}, "devices/disk/shareable", disks=[DISK]),
    case(
        "disk's bus",
        {"disks": [{**DISK, "target": "sda", "bus": "scsi"}]},
        {"disks": [{**DISK, "bus": "virtio"}]},
        "devices/disk" + PLACES,
        disks=[{**DISK, "bus": "virtio"}],
    ),
    case(
        "disk's boot order",
        {"disks": [{**DISK, "boot_order": 1}]},
        {"disks": [{**DISK, "boot_order": 0}]},
        "devices/disk/boot|os/boot",
        disks=[{**DISK, "boot_order": 0}],
    ),
    case("drive", {"cdroms": [{}]}, {"cdroms": []}, "devices/disk" + PLACES),
    case("medium", {"cdroms": [{"path": "/etc/hostname"}]}, {"cdroms": [{}]}, "devices/disk", cdroms=[{}]),
    case("drive's bus", {"cdroms": [{"bus": "scsi"}]}, {"cdroms": [{"bus": "ide"}]}, "devices/disk" + PLACES, cdroms=[{"bus": "ide"}]),
    case("card", {"networks": [CARD]}, {"networks": []}, "devices/interface" + PLACES),
    case("second card", {"networks": [CARD, CARD]}, {"networks": [CARD]}, "devices/interface" + PLACES, networks=[CARD]),
    case("card on a bridge", {"networks": [{"bridge": "BRIDGE"}]}, {"networks": [CARD]}, "devices/interface", networks=[CARD]),
    case("card on a device", {"networks": [{"direct": "lo"}]}, {"networks": [CARD]}, "devices/interface", networks=[CARD]),
    case(
        "card's way",
        {"networks": [{"direct": "lo", "direct_mode": "vepa"}]},
        {"networks": [{"direct": "lo", "direct_mode": "bridge"}]},
        "devices/interface/source@mode",
        networks=[{"direct": "lo"}],
    ),
    case(
        "card's address",
        {"networks": [{**CARD, "mac": "52:54:00:aa:bb:cc"}]},
        {"networks": [{**CARD, "mac": "52:54:00:aa:bb:01"}]},
        "devices/interface/mac",
        networks=[{**CARD, "mac": "52:54:00:aa:bb:01"}],
    ),
    case(
        "card's model",
        {"networks": [{**CARD, "model": "e1000"}]},
        {"networks": [{**CARD, "model": "virtio"}]},
        "devices/interface/model" + PLACES,
        networks=[CARD],
    ),
    case("card's mtu", {"networks": [{**CARD, "mtu": 1400}]}, {"networks": [{**CARD, "mtu": 0}]}, "devices/interface/mtu", networks=[CARD]),
    case(
        "card's link",
        {"networks": [{**CARD, "link": "down"}]},
        {"networks": [{**CARD, "link": "up"}]},
        "devices/interface/link",
        networks=[{**CARD, "link": "up"}],
    ),
    case(
        "card's filter",
        {"networks": [{**CARD, "filter": "clean-traffic"}]},
        {"networks": [{**CARD, "filter": ""}]},
        "devices/interface/filterref",
        networks=[CARD],
    ),
    case(
        "card's boot order",
        {"networks": [{**CARD, "boot_order": 2}]},
        {"networks": [{**CARD, "boot_order": 0}]},
        "devices/interface/boot|os/boot",
        networks=[{**CARD, "boot_order": 0}],
    ),
    case("no agent", {"agent": False}, {"agent": True}, "devices/channel" + PLACES),
    case("channel", {"channels": [{"name": "org.example.0"}]}, {"channels": []}, "devices/channel" + PLACES),
    case(
        "channel's kind",
        {"channels": [{"name": "com.redhat.spice.0", "type": "spicevmc"}]},
        {"channels": []},
        "devices/channel" + PLACES,
        graphics={"type": "spice"},
    ),
    case("serial log", {"serial": {"log_file": "/tmp/pw-serial.log", "append": True}}, {"serial": {"log_file": ""}}, "devices/(serial|console)/log"),
    case("vnc", {"graphics": {"type": "vnc"}}, {"graphics": {"type": "none"}}, "devices/(graphics|video|input|audio)" + PLACES, video={"model": "vga"}),
    case(
        "spice",
        {"graphics": {"type": "spice"}},
        {"graphics": {"type": "vnc"}},
        "devices/(graphics|audio|channel)",
        graphics={"type": "vnc"},
        video={"model": "vga"},
    ),
    case(
        "where vnc listens",
        {"graphics": {"type": "vnc", "listen": "127.0.0.2"}},
        {"graphics": {"type": "vnc", "listen": "127.0.0.1"}},
        "devices/graphics(/listen@address|@listen)",
        graphics={"type": "vnc", "listen": "127.0.0.1"},
    ),
    case(
        "vnc's port",
        {"graphics": {"type": "vnc", "port": 5907}},
        {"graphics": {"type": "vnc", "port": 5908}},
        "devices/graphics@port",
        graphics={"type": "vnc", "port": 5908},
    ),
    case(
        "vnc's keymap",
        {"graphics": {"type": "vnc", "keymap": "de"}},
        {"graphics": {"type": "vnc", "keymap": ""}},
        "devices/graphics@keymap",
        graphics={"type": "vnc"},
    ),
    case(
        "vnc's password",
        {"graphics": {"type": "vnc", "password": "geheim"}},
        {"graphics": {"type": "vnc", "password": ""}},
        "devices/graphics@passwd",
        graphics={"type": "vnc"},
    ),
    case("video", {"video": {"model": "virtio"}}, {"video": {"model": "vga"}}, "devices/video" + PLACES, video={"model": "vga"}),
    case(
        "video memory",
        {"video": {"model": "vga", "vram_mb": 32}},
        {"video": {"model": "vga", "vram_mb": 16}},
        "devices/video/model@vram",
        video={"model": "vga", "vram_mb": 16},
    ),
    case("vsock", {"vsock": {"cid": 77}}, {"vsock": {"enabled": False}}, "devices/vsock" + PLACES),
    case("vsock's number", {"vsock": {"cid": 78}}, {"vsock": {"cid": 77}}, "devices/vsock/cid", vsock={"cid": 77}),
    case("no random numbers", {"rng": {"enabled": False}}, {"rng": {"enabled": True}}, "devices/rng" + PLACES),
    case("source of random numbers", {"rng": {"source": "/dev/random"}}, {"rng": {"source": "/dev/urandom"}}, "devices/rng/backend"),
    case("rate of random numbers", {"rng": {"rate_bytes": 1024, "rate_period_ms": 2000}}, {"rng": {"rate_bytes": 0}}, "devices/rng/rate"),
    case("watchdog", {"watchdog": {"model": "i6300esb", "action": "poweroff"}}, {"watchdog": {"model": "none"}}, "devices/watchdog" + PLACES),
    case(
        "watchdog's action",
        {"watchdog": {"model": "i6300esb", "action": "pause"}},
        {"watchdog": {"model": "i6300esb", "action": "reset"}},
        "devices/watchdog@action",
        watchdog={"model": "i6300esb", "action": "reset"},
    ),
    case("device of the host", {"hostdevs": [{"type": "pci", "address": "0000:00:1f.7"}]}, {"hostdevs": []}, "devices/hostdev" + PLACES),
    case("usb device of the host", {"hostdevs": [{"type": "usb", "address": "046d:c52b"}]}, {"hostdevs": []}, "devices/hostdev|devices/input" + PLACES),
]


def bridged(lab: Lab, options: Options) -> Options:
    """The bridge of the lab's network has a name of the lab's own."""
    assert lab.daemon is not None
    if not any(card.get("bridge") for card in options.get("networks") or ()):
        return options
    return {**options, "networks": [{"bridge": lab.daemon.virsh("net-info", "default").split()[-1]}]}


@pytest.mark.parametrize("one", CASES, ids=lambda one: one.name)
def test_an_option_changes_what_it_says_and_goes_back(lab: Lab, one: Case) -> None:
    base: dict[str, Any] = {"memory_mb": 128, **one.base}
    assert lab.run(**base)["changed"]
    first = lab.xml()
    step: Callable[[Options], tuple[dict[str, Any], str]] = lambda options: (lab.run(**options), lab.xml())  # noqa: E731
    assert (lab.run(**base)["changed"], lab.xml()) == (False, first)

    wanted = bridged(lab, {**base, **one.change})
    predicted = lab.run(check=True, **wanted)
    assert lab.xml() == first
    result, changed = step(wanted)
    assert result["changed"]
    assert {key: predicted[key] for key in ("changed", "changes", "actions", "diff")} == {key: result[key] for key in ("changed", "changes", "actions", "diff")}
    assert outside(difference(first, changed), one.where) == set()
    assert (lines(first) != lines(changed)) is (one.where != "nothing")
    again, same = step(wanted)
    assert (again["changed"], again["changes"], same) == (False, [], changed)

    returned, last = step({**base, **one.back})
    assert returned["changed"]
    # Buses that libvirt made for a device stay, and that there is no secure boot is then said in so many words.
    assert outside(difference(first, last), "devices/controller|devices/[a-z]+/address|os/firmware/feature") == set()
    assert step({**base, **one.back})[0]["changed"] is False


def test_there_are_sixty_option_sets_at_least() -> None:
    assert len({one.name for one in CASES}) >= 60
