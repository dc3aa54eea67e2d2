# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""From a module's parameters to its result."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
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
from ansible_collections.poolwright.virt.plugins.module_utils.images.scratch import make_directories
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import naming_storage_errors
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.layout import Layout, default_location
from ansible_collections.poolwright.virt.plugins.module_utils.locks import FileLock
from ansible_collections.poolwright.virt.plugins.module_utils.migration.run import MigrationRun, Result, Site
from ansible_collections.poolwright.virt.plugins.module_utils.migration.wish import Wish, problems, route, weaker, wish_of
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats

Params = Mapping[str, Any]


def migrate_with(params: Params, check_mode: bool, cancel: threading.Event) -> Result:
    """:raises VirtError: see ``MigrationRun``. Of several guests, those that failed are told in the result."""
    way = route(str(params["target"]), params.get("transport"))
    names = [params["name"]] if params.get("name") is not None else list(params["names"])
    wishes = [wish_of(str(name), params, way.transport) for name in names]
    _check(wishes)
    clock = Clock()
    stats = Stats(clock)
    uri = str(params["uri"])
    location = params.get("location") or default_location(uri, os.environ, os.path.expanduser("~"))
    source, target = Host(uri, clock, stats), Host(way.uri, clock, stats, keepalive=True)
    site = Site(source, target, clock, stats, _locks(Layout(os.path.abspath(location)), clock))
    warnings = [f"what {way.uri} is told is protected, and the memory of guests is not; use transport: tls"] if weaker(way) else []
    try:
        if params.get("name") is not None:
            done = MigrationRun(site, wishes[0], cancel, check_mode=check_mode).result()
        else:
            done = _several(site, wishes, cancel, check_mode)
        return {**done, "warnings": [*warnings, *done["warnings"]], "stats": stats.as_dict()}
    finally:
        source.close()
        target.close()


def _locks(layout: Layout, clock: Clock) -> Callable[[str, Deadline], AbstractContextManager[object]]:
    def lock(name: str, deadline: Deadline) -> AbstractContextManager[object]:
        path = layout.guest_lock(name)
        with naming_storage_errors(path, "lock"):
            make_directories(layout.locks)
        return FileLock(path, clock, deadline)

    return lock


def _check(wishes: Sequence[Wish]) -> None:
    if not wishes or any(not wish.name for wish in wishes):
        raise InvalidSpec(["names: a guest's name is missing"])
    found = problems(wishes[0])
    names = [wish.name for wish in wishes]
    found += [f"names: {name} is there twice" for name in sorted({name for name in names if names.count(name) > 1})]
    if len(wishes) > 1 and any(one.name for one in wishes[0].disks):
        found.append("disks: a disk's name is for one guest; leave it out, or move one guest")
    if found:
        raise InvalidSpec(found)


def _several(site: Site, wishes: Sequence[Wish], cancel: threading.Event, check_mode: bool) -> Result:
    """One after the other; one that fails does not stop the others, unless a host cannot be had."""
    results: list[Result] = []
    failures: list[str] = []
    for wish in wishes:
        if cancel.is_set():
            failures.append(str(Cancelled("the run was told to stop", obj=wish.name, phase="migrate")))
            continue
        try:
            results.append(MigrationRun(site, wish, cancel, check_mode=check_mode).result())
        except (AuthenticationFailed, ConnectionFailed, MissingDependency) as exc:
            failures.append(f"{wish.name}: {exc}")
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
