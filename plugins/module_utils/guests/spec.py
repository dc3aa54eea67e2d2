# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The options of ``libvirt_guest``, as ``AnsibleModule`` takes them; the module documents them under the same names."""

from __future__ import annotations

from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.storage.spec import disk_options

Spec = dict[str, Any]

SNAPSHOT_STATES = ("present", "absent", "reverted")
STATES = ("present", "running", "paused", "shutoff", "rebooted", "absent")
BUSES = ("virtio", "scsi", "sata", "ide", "usb")
CARD_MODELS = ("virtio", "e1000", "e1000e", "rtl8139", "vmxnet3")
FEATURES = ("acpi", "apic", "pae", "hap", "pmu", "ps2", "smm", "vmport")


def run_options() -> Spec:
    """How a run goes about it."""
    return {
        "uri": {"type": "str", "default": "qemu:///system"},
        "location": {"type": "path"},
        "virt_type": {"type": "str", "choices": ["auto", "kvm", "qemu"], "default": "auto"},
        "shutdown_timeout": {"type": "float", "default": 60},
        "force": {"type": "bool", "default": False},
        "keep": {"type": "list", "elements": "str", "choices": ["disks", "nvram", "tpm"], "default": []},
        "unplug_timeout": {"type": "float", "default": 20},
        "timeout": {"type": "float", "default": 3600},
    }


def module_options() -> Spec:
    """All options: one guest, or several with options of their own."""
    one = {**state_option(), **guest_options()}
    several = {"name": {"type": "str", "required": True}, **one}
    return {"name": {"type": "str"}, **run_options(), **one, "guests": {"type": "list", "elements": "dict", "options": several}}


def module_rules() -> Spec:
    """What goes with what, as ``AnsibleModule`` takes it."""
    return {"required_one_of": [["name", "guests"]], "mutually_exclusive": [["guests", one] for one in ("name", *guest_options())]}


def state_option() -> Spec:
    return {"state": {"type": "str", "choices": list(STATES), "default": "present"}}


def guest_options() -> Spec:
    """What a guest is."""
    return {
        "uuid": {"type": "str"},
        "xml": {"type": "str", "no_log": True},
        "title": {"type": "str"},
        "description": {"type": "str"},
        "metadata": {"type": "dict"},
        "machine": {"type": "str"},
        **_system_options(),
        **_storage_options(),
        **_device_options(),
        "autostart": {"type": "bool"},
        "snapshot": _group(name=_text(required=True), state=_text(*SNAPSHOT_STATES, default="present")),
    }


def _group(**options: Spec) -> Spec:
    return {"type": "dict", "options": options}


def _list(**options: Spec) -> Spec:
    return {"type": "list", "elements": "dict", "options": options}


def _text(*choices: str, **more: Any) -> Spec:
    return {"type": "str", **({"choices": list(choices)} if choices else {}), **more}


def _number() -> Spec:
    return {"type": "int"}


def _flag(**more: Any) -> Spec:
    return {"type": "bool", **more}


def _system_options() -> Spec:
    return {
        "cpus": _number(),
        "max_cpus": _number(),
        "cpu": _group(
            mode=_text("host-passthrough", "host-model", "maximum", "custom"),
            model=_text(),
            sockets=_number(),
            dies=_number(),
            cores=_number(),
            threads=_number(),
            features=_list(name=_text(required=True), policy=_text("force", "require", "optional", "disable", "forbid", default="require")),
        ),
        "memory_mb": _number(),
        "max_memory_mb": _number(),
        "ballooning": _group(model=_text("virtio", "none"), autodeflate=_flag(), free_page_reporting=_flag(), stats_period=_number()),
        "numa": _group(
            cells=_list(cpus=_text(required=True), memory_mb={"type": "int", "required": True}),
            mode=_text("strict", "interleave", "preferred", "none"),
            nodeset=_text(),
        ),
        "firmware": _text("bios", "efi"),
        "secure_boot": _flag(),
        "tpm": _group(model=_text("tpm-crb", "tpm-tis", "none", default="tpm-crb")),
        "features": _group(**{name: _flag() for name in FEATURES}),
        "clock": _group(
            offset=_text("utc", "localtime", "timezone"),
            timezone=_text(),
            timers=_list(
                name=_text("platform", "pit", "rtc", "hpet", "tsc", "kvmclock", "hypervclock", required=True),
                present=_flag(),
                tickpolicy=_text("delay", "catchup", "merge", "discard"),
                track=_text("boot", "guest", "wall", "realtime"),
            ),
        ),
        "on_poweroff": _text("destroy", "restart", "preserve"),
        "on_reboot": _text("destroy", "restart", "preserve"),
        "on_crash": _text("destroy", "restart", "preserve", "coredump-destroy", "coredump-restart"),
        "boot_order": {"type": "list", "elements": "str", "choices": ["disk", "cdrom", "network"]},
    }


def _storage_options() -> Spec:
    return {
        "disks": _list(
            **disk_options(),
            path={"type": "path"},
            format=_text("qcow2", "raw"),
            target=_text(),
            bus=_text(*BUSES),
            cache=_text("default", "none", "writethrough", "writeback", "directsync", "unsafe"),
            io=_text("default", "native", "threads", "io_uring"),
            discard=_text("default", "unmap", "ignore"),
            detect_zeroes=_text("default", "off", "on", "unmap"),
            boot_order=_number(),
            readonly=_flag(),
            shareable=_flag(),
            serial=_text(),
        ),
        "cdroms": _list(path={"type": "path"}, bus=_text("ide", "sata", "scsi", "usb"), target=_text(), boot_order=_number()),
    }


def _device_options() -> Spec:
    return {
        "networks": _list(
            network=_text(),
            bridge=_text(),
            direct=_text(),
            direct_mode=_text("bridge", "vepa", "private", "passthrough"),
            mac=_text(),
            model=_text(*CARD_MODELS),
            boot_order=_number(),
            mtu=_number(),
            link=_text("up", "down"),
            filter=_text(),
        ),
        "agent": _flag(),
        "channels": _list(name=_text(required=True), type=_text("unix", "spicevmc", default="unix")),
        "serial": _group(log_file={"type": "path"}, append=_flag()),
        "graphics": _group(
            type=_text("vnc", "spice", "none", required=True),
            listen=_text(),
            port=_number(),
            keymap=_text(no_log=False),
            password={"type": "str", "no_log": True},
        ),
        "video": _group(model=_text("virtio", "qxl", "vga", "bochs", "cirrus", "none", required=True), vram_mb=_number(), heads=_number()),
        "vsock": _group(enabled=_flag(default=True), cid=_number()),
        "rng": _group(enabled=_flag(default=True), source=_text(), rate_bytes=_number(), rate_period_ms=_number()),
        "watchdog": _group(model=_text("i6300esb", "ib700", "itco", "none", required=True), action=_text("reset", "shutdown", "poweroff", "pause", "none")),
        "hostdevs": _list(type=_text("pci", "usb", required=True), address=_text(required=True)),
    }
