# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""One request of the module ``disk_backend_info``: what is recorded of disks, whether they are there, and which bases are kept beside them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Interruptible
from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.storage import ledger, view
from ansible_collections.poolwright.virt.plugins.module_utils.storage.params import parse_disk
from ansible_collections.poolwright.virt.plugins.module_utils.storage.pruning import place_of, read_bases
from ansible_collections.poolwright.virt.plugins.module_utils.storage.spec import access_options, place_options

Result = dict[str, Any]
Spec = dict[str, Any]


def info_options() -> Spec:
    places = {key: option for key, option in place_options().items() if key != "name"}
    names = {"type": "list", "elements": "str", "default": []}
    access = {key: option for key, option in access_options().items() if key != "clear"}
    return {**{key: {**option, "required": True} for key, option in places.items()}, "names": names, **access, "timeout": {"type": "float", "default": 300}}


def read_disks(params: Mapping[str, Any], cancel: threading.Event, *, clock: Clock | None = None) -> Result:
    """:raises InvalidSpec: with every fault of the options.   :raises VirtError: the storage cannot be asked."""
    clock = clock or Clock()
    problems: list[str] = []
    wishes = [parse_disk("", {**params, "name": name}, lambda key, what: problems.append(f"{key}: {what}")) for name in params["names"]]
    if params["timeout"] <= 0:
        problems.append(f"timeout: {params['timeout']:g} is not above 0")
    if problems:
        raise InvalidSpec(problems)
    storage = place_of(params)
    deadline = Interruptible(clock, clock.monotonic() + float(params["timeout"]), cancel)
    found: dict[str, Result] = {}
    for wish in wishes:
        place = wish.place()
        own, exists = ledger.read(place, deadline), place.exists(deadline)
        facts = {} if own is None else view.facts(own)
        found[wish.name] = {"state": view.state_of(own, exists), "size": place.used_bytes(deadline) if exists else None, **facts}
    return {"changed": False, "disks": found, "bases": read_bases(storage, deadline)}
