# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""``state: pruned`` of the module ``disk_backend``: what a backend keeps of images, and no disk stands on, goes."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Interruptible
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, InvalidSpec, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import Image
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import Base
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.registry import disk_image
from ansible_collections.poolwright.virt.plugins.module_utils.storage.params import parse_options
from ansible_collections.poolwright.virt.plugins.module_utils.storage.request import PRUNED, module_options

Params = Mapping[str, Any]
Result = dict[str, Any]

_TAKEN = frozenset({"backend", "location", "state", "conf", "user", "keyring", "secret", "cache", "uri", "timeout"})
_NO_DISK = "any"  # a place is reached through a disk's name, whether there is such a disk or not


def is_asked(params: Params) -> bool:
    return params.get("state") == PRUNED


def pruned(params: Params, check_mode: bool, cancel: threading.Event, clock: Clock) -> Result:
    """:raises InvalidSpec: with every fault of the request.   :raises VirtError: the storage cannot be asked."""
    place = parse_place(params)
    deadline = Interruptible(clock, clock.monotonic() + float(params["timeout"]), cancel)
    if not check_mode:
        place.sweep(deadline)
    before = place.bases(deadline)
    removed = {base.digest for base in before if not base.users}
    if check_mode:
        return _result(place, before, before, removed, [])
    failures = []
    for digest in sorted(removed):
        try:
            deadline.check("the removal of a base", obj=digest, phase="remove")
            if not place.remove_base(digest, deadline):
                # Somebody else was faster.
                before = [base for base in before if base.digest != digest]
                removed.remove(digest)
        except Busy:
            # A disk was made of it since.
            removed.remove(digest)
        except VirtError as exc:
            removed.remove(digest)
            failures.append(f"{digest}: {exc}")
    kept = [base for base in before if base.digest not in removed]
    after = place.bases(deadline) if any(not base.users for base in kept) and not failures else before
    return _result(place, before, after, removed, failures)


def read_bases(place: Image, deadline: Interruptible) -> list[Result]:
    return [{"digest": base.digest, "used_by": list(base.users)} for base in place.bases(deadline)]


def parse_place(params: Params) -> Image:
    """:raises InvalidSpec: with every fault."""
    problems = []
    for key, option in module_options().items():
        if key not in _TAKEN and params.get(key) not in (None, option.get("default")):
            problems.append(f"{key}: goes with disks, and state: {PRUNED} is for what they are made from; leave it out")
    missing = [key for key in ("backend", "location") if not params.get(key)]
    problems += [f"{key}: is missing beside state: {PRUNED}" for key in missing]
    if params["timeout"] <= 0:
        problems.append(f"timeout: {params['timeout']:g} is not above 0")
    found = None
    try:
        found = None if missing else place_of(params)
    except InvalidSpec as exc:
        problems += exc.problems
    if problems or found is None:
        raise InvalidSpec(problems)
    return found


def place_of(params: Params) -> Image:
    """:raises InvalidSpec: the location or an option is not for the backend."""
    return disk_image(str(params["backend"]), str(params["location"]), _NO_DISK, parse_options(params))


def _result(place: Image, before: Sequence[Base], after: Sequence[Base], removed: set[str], failures: list[str]) -> Result:
    users = {base.digest: base.users for base in [*before, *after]}
    said = {base.digest: _words(base.users) for base in before}
    left = {digest: _words(users[digest]) for digest in said if digest not in removed}
    return {
        "changed": bool(removed),
        "backend": place.backend,
        "location": place.location,
        "state": PRUNED,
        "actions": [f"remove the base of {digest}" for digest in sorted(removed)],
        "bases": [{"digest": base.digest, "removed": base.digest in removed, "used_by": list(users[base.digest])} for base in before],
        "diff": {"before_header": place.location, "after_header": place.location, "before": said, "after": left},
        "failures": failures,
    }


def _words(users: Sequence[str]) -> str:
    return f"used by {', '.join(users)}" if users else "used by nothing"
