# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""From a module's parameters to its result."""

from __future__ import annotations

import functools
import os
import socket
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.guests.params import parse_guest
from ansible_collections.poolwright.virt.plugins.module_utils.guests.run import GuestRun, Options, Result, Site
from ansible_collections.poolwright.virt.plugins.module_utils.guests.wish import Wish
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import ImageCache
from ansible_collections.poolwright.virt.plugins.module_utils.images.scratch import make_directories
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import naming_storage_errors
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.kvm_probe import kvm_works
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.session import remote_name
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.virt_type import choose_platform
from ansible_collections.poolwright.virt.plugins.module_utils.locks import FileLock
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.layout import Layout, default_location
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats

Params = Mapping[str, Any]


def guest_with(params: Params, check_mode: bool, cancel: threading.Event) -> Result:
    """:raises VirtError: see ``GuestRun``."""
    wish, clock = parse_guest(params), Clock()
    stats = Stats(clock)
    host = Host(str(params["uri"]), clock, stats)
    try:
        _refuse_other_machine(host, wish)
        run = GuestRun(site_of(host, params, clock), wish, options_of(params, check_mode), cancel)
        return {**run.result(), "stats": stats.as_dict()}
    finally:
        host.close()


def options_of(params: Params, check_mode: bool) -> Options:
    return Options(
        check_mode=check_mode,
        shutdown_timeout=float(params["shutdown_timeout"]),
        force=bool(params["force"]),
        keep=frozenset(params["keep"]),
        unplug_timeout=float(params["unplug_timeout"]),
        timeout=float(params["timeout"]),
    )


def site_of(host: Host, params: Params, clock: Clock) -> Site:
    location = params.get("location") or default_location(str(params["uri"]), os.environ, os.path.expanduser("~"))
    layout = Layout(os.path.abspath(location))
    virt_type = str(params["virt_type"])

    def lock(name: str, deadline: Deadline) -> AbstractContextManager[object]:
        path = os.path.join(layout.locks, f"guest-{_file_name(name)}.lock")
        with naming_storage_errors(path, "lock"):
            make_directories(layout.locks)
        return FileLock(path, clock, deadline)

    platform = functools.cache(lambda: choose_platform(host, virt_type, kvm_works))
    return Site(host, ImageCache(layout.images, clock), clock, platform, lock)


def _file_name(name: str) -> str:
    """Names may hold what a file's should not; none becomes another's."""
    return "".join(letter if letter.isalnum() or letter in "-_" else f"%{ord(letter):x}" for letter in name)


def _refuse_other_machine(host: Host, wish: Wish) -> None:
    """Disks are made where the guests run."""
    if not remote_name(host.uri) or not (wish.disks or wish.cdroms):
        return
    theirs, ours = host.hostname(), socket.gethostname()
    if theirs.partition(".")[0].lower() != ours.partition(".")[0].lower():
        hint = f"run this on {theirs} itself (an inventory host of its own) with uri qemu:///system: disks are made where the guests run"
        raise InvalidSpec([f"uri: {host.uri} leads to the host {theirs}, and this runs on {ours}; {hint}"])
