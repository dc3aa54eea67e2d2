# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""From the parameters of ``disk_backend`` to requests: every fault is found at once and named with its place and remedy. Pure."""

from __future__ import annotations

import enum
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DEFAULT_OPTIONS
from ansible_collections.poolwright.virt.plugins.module_utils.storage.params import PLACE, parse_disk, parse_options
from ansible_collections.poolwright.virt.plugins.module_utils.storage.record import OwnDisk
from ansible_collections.poolwright.virt.plugins.module_utils.storage.spec import access_options, disk_options, place_options
from ansible_collections.poolwright.virt.plugins.module_utils.storage.wish import DiskWish

Params = Mapping[str, Any]
Spec = dict[str, Any]

DEFAULT_CACHE = "/var/lib/poolwright/images"


PRUNED = "pruned"
"""A state of a place, not of a disk."""


class State(enum.Enum):
    PRESENT = "present"
    ABSENT = "absent"
    IDENTICAL = "identical_to"


@dataclass(frozen=True)
class Request:
    """One disk as it is asked for.

    :ivar where: its place in the request, "" where the request is the disk.
    :ivar like: the disk whose description is reproduced: its place, or what was recorded of it.
    :ivar recreate: throw away what is on a disk that is otherwise than asked for.
    :ivar force: touch a disk of this name of which nothing is recorded.
    :ivar verify: read the new disk back and compare.
    """

    wish: DiskWish
    state: State = State.PRESENT
    where: str = ""
    like: DiskWish | OwnDisk | None = None
    recreate: bool = False
    force: bool = False
    verify: bool = True


def one_disk() -> Spec:
    """The options of each disk."""
    like = {**place_options(), **{key: value for key, value in access_options().items() if key != "clear"}, "recorded": {"type": "dict"}}
    return {
        **disk_options(),
        "state": {"type": "str", "choices": [one.value for one in State], "default": "present"},
        "like": {"type": "dict", "options": like},
        "recreate": {"type": "bool", "default": False},
        "force": {"type": "bool", "default": False},
        "verify": {"type": "bool", "default": True},
    }


def module_options() -> Spec:
    """One disk, or several with options of their own; and how a run goes about it."""
    run = {"cache": {"type": "path", "default": DEFAULT_CACHE}, "uri": {"type": "str"}, "timeout": {"type": "float", "default": 3600}}
    state = {"type": "str", "choices": [*(one.value for one in State), PRUNED], "default": "present"}
    return {**one_disk(), "state": state, "disks": {"type": "list", "elements": "dict", "options": one_disk()}, **run}


def parse_requests(params: Params) -> list[Request]:
    """:raises InvalidSpec: with every fault of all."""
    problems: list[str] = []

    def problem(key: str, what: str) -> None:
        problems.append(f"{key}: {what}")

    several = params.get("disks")
    if several is not None:
        for key, option in one_disk().items():
            if params.get(key) not in (None, option.get("default")):
                problem(key, "give it with each of the disks")
        if not several:
            problem("disks", "is empty; name at least one disk")
        found = [_parse(f"disks[{number}]", one, problem) for number, one in enumerate(several)]
    else:
        found = [_parse("", params, problem)]
    for disk, times in Counter(request.wish.key for request in found if all(request.wish.key)).items():
        if times > 1:
            problem("disks", f"{disk[2]} on {disk[0]} at {disk[1]} is there more than once")
    if params["timeout"] <= 0:
        problem("timeout", f"{params['timeout']:g} is not above 0")
    if not os.path.isabs(str(params["cache"])):
        problem("cache", f"{params['cache']!r} is no absolute path")
    if problems:
        raise InvalidSpec(problems)
    return found


def _parse(where: str, raw: Params, problem: Callable[[str, str], None]) -> Request:
    at, state = f"{where}." if where else "", State(raw["state"])
    wish = parse_disk(where, raw, problem)
    if wish.location.startswith("/"):
        wish = replace(wish, location=os.path.normpath(wish.location))
    unwanted = {State.PRESENT: ("like",), State.ABSENT: ("like", "image", "content", "size_gb"), State.IDENTICAL: ("content", "size_gb")}[state]
    for key in unwanted:
        if raw.get(key) is not None:
            why = "the other disk's is taken" if state is State.IDENTICAL else f"goes with state: {'identical_to' if key == 'like' else 'present'}"
            problem(f"{at}{key}", f"{why}; leave it out")
    if state is State.ABSENT and raw.get("recreate"):
        problem(f"{at}recreate", "goes with state: present and identical_to; leave it out")
    like = _like(f"{at}like", raw.get("like"), problem)
    if state is State.IDENTICAL and not raw.get("like"):
        problem(f"{at}like", "is missing beside state: identical_to; give backend, location and name of the other disk, or what was recorded of it")
    if like is not None and isinstance(like, DiskWish) and like.key == wish.key:
        problem(f"{at}like", "is the disk itself")
    flags = {key: bool(raw[key]) for key in ("recreate", "force", "verify")}
    return Request(wish, state, where, like, **flags)


def _like(where: str, raw: Params | None, problem: Callable[[str, str], None]) -> DiskWish | OwnDisk | None:
    if not raw:
        return None
    placed = [key for key in PLACE if raw.get(key)]
    if raw.get("recorded") and (placed or parse_options(raw) != DEFAULT_OPTIONS):
        problem(where, "give either a place, or recorded")
    if not raw.get("recorded"):
        return parse_disk(where, {key: value for key, value in raw.items() if key != "recorded"}, problem)
    try:
        return OwnDisk.from_dict(raw["recorded"])
    except InvalidSpec as exc:
        problem(f"{where}.recorded", exc.message)
        return None
