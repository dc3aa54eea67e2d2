# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""From a module's parameters to its result."""

from __future__ import annotations

import functools
import os
import socket
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import (
    AuthenticationFailed,
    Cancelled,
    ConnectionFailed,
    InvalidSpec,
    MissingDependency,
    VirtError,
)
from ansible_collections.poolwright.virt.plugins.module_utils.guests.glance import Glance
from ansible_collections.poolwright.virt.plugins.module_utils.guests.look import AddressBook
from ansible_collections.poolwright.virt.plugins.module_utils.guests.params import parse_request
from ansible_collections.poolwright.virt.plugins.module_utils.guests.run import GuestRun, Options, Result, Site
from ansible_collections.poolwright.virt.plugins.module_utils.guests.secrets import gives_keys
from ansible_collections.poolwright.virt.plugins.module_utils.guests.wish import Wish
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import ImageCache
from ansible_collections.poolwright.virt.plugins.module_utils.images.scratch import make_directories
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import naming_storage_errors
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.kvm_probe import kvm_works
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.layout import Layout, default_location
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.session import remote_name
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.virt_type import choose_platform
from ansible_collections.poolwright.virt.plugins.module_utils.locks import FileLock
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats

Params = Mapping[str, Any]


def guest_with(params: Params, check_mode: bool, cancel: threading.Event) -> Result:
    """:raises VirtError: see ``GuestRun``. Of several guests, those that failed are told in the result."""
    wishes, clock = parse_request(params), Clock()
    stats = Stats(clock)
    host = Host(str(params["uri"]), clock, stats)
    try:
        for wish in wishes:
            _refuse_other_machine(host, wish)
        site, opts = site_of(host, params, clock), options_of(params, check_mode)
        if params.get("guests") is None:
            return {**GuestRun(site, wishes[0], opts, cancel).result(), "stats": stats.as_dict()}
        return {**_several(site, wishes, opts, cancel), "stats": stats.as_dict()}
    finally:
        host.close()


def _several(site: Site, wishes: Sequence[Wish], opts: Options, cancel: threading.Event) -> Result:
    """One after the other; one that fails does not stop the others, unless none can be had."""
    glance = Glance(site.host)
    results: list[Result] = []
    failures: list[str] = []
    for wish in wishes:
        if cancel.is_set():
            failures.append(str(Cancelled("the run was told to stop", obj=wish.name, phase="guest")))
            continue
        try:
            results.append(_as_it_is(site, wish, opts, cancel, glance) or GuestRun(site, wish, opts, cancel).result())
        except (AuthenticationFailed, ConnectionFailed, MissingDependency) as exc:
            failures.append(str(exc))
            break
        except InvalidSpec as exc:
            failures += [f"{wish.name}: {fault}" for fault in exc.problems]
        except VirtError as exc:
            failures.append(str(exc) if wish.name in str(exc) else f"{wish.name}: {exc}")
    diffs = [{**diff, "before_header": one["name"], "after_header": one["name"]} for one in results if (diff := one.pop("diff"))["before"] != diff["after"]]
    return {
        "changed": any(one["changed"] for one in results),
        "guests": results,
        "diff": diffs,
        "warnings": [warning for one in results for warning in one.pop("warnings")],
        "failures": failures,
    }


def _as_it_is(site: Site, wish: Wish, opts: Options, cancel: threading.Event, glance: Glance) -> Result | None:
    """The result for a guest that is as it shall be, told from a look at all of them; None where more is to be done than to look.

    :raises AuthenticationFailed, ConnectionFailed, MissingDependency: it cannot be looked at, and nor can the others.
    """
    seen = glance.of(wish.name)
    if seen.guest is None or gives_keys(wish):
        return None
    try:
        foreseen = GuestRun(site, wish, replace(opts, check_mode=True), cancel).result_for(seen)
    except (AuthenticationFailed, ConnectionFailed, MissingDependency):
        raise
    except VirtError:
        # Whatever it is, the run that looks again says it.
        return None
    return None if foreseen["changed"] else foreseen


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
        path = layout.guest_lock(name)
        with naming_storage_errors(path, "lock"):
            make_directories(layout.locks)
        return FileLock(path, clock, deadline)

    platform = functools.cache(lambda: choose_platform(host, virt_type, kvm_works))
    return Site(host, ImageCache(layout.images, clock), clock, platform, lock, AddressBook(host))


def _refuse_other_machine(host: Host, wish: Wish) -> None:
    """Disks are made where the guests run."""
    if not remote_name(host.uri) or not (wish.disks or wish.cdroms):
        return
    theirs, ours = host.hostname(), socket.gethostname()
    if theirs.partition(".")[0].lower() != ours.partition(".")[0].lower():
        hint = f"run this on {theirs} itself (an inventory host of its own) with uri qemu:///system: disks are made where the guests run"
        raise InvalidSpec([f"uri: {host.uri} leads to the host {theirs}, and this runs on {ours}; {hint}"])
