# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The note for a migration that has been decided on. Pure."""

from __future__ import annotations

import os

from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DiskOptions
from ansible_collections.poolwright.virt.plugins.module_utils.migration.facts import GuestFacts, HostFacts
from ansible_collections.poolwright.virt.plugins.module_utils.migration.moves import CONVERTED, COPIED, SENT
from ansible_collections.poolwright.virt.plugins.module_utils.migration.note import MadeImage, Note
from ansible_collections.poolwright.virt.plugins.module_utils.migration.plan import Plan
from ansible_collections.poolwright.virt.plugins.module_utils.migration.prepare import made_directories, made_paths
from ansible_collections.poolwright.virt.plugins.module_utils.migration.sides import SHUTOFF
from ansible_collections.poolwright.virt.plugins.module_utils.migration.wish import Wish


def note_of(number: str, guest: GuestFacts, source: HostFacts, target: HostFacts, plan: Plan, wish: Wish, uri: str) -> Note:
    """:param number: new.   :param uri: the target's."""
    made = made_paths(plan, guest)
    images = [move for move in plan.of(CONVERTED) if move.place is not None and move.place.backend == "rbd"]
    return Note(
        id=number,
        kind="live" if plan.live else "cold",
        source=source.uuid,
        target=target.uuid,
        where=target.name,
        uri=uri,
        state=guest.state if guest.active else SHUTOFF,
        autostart=guest.autostart,
        undefine=wish.undefine_source,
        made=made,
        directories=made_directories(made, target),
        images=tuple(_image(move.path, move.place.options) for move in images if move.place is not None),
        gone=() if wish.keep_source_disks else _gone(plan, guest),
        machine="" if wish.keep_source_disks or not plan.of(COPIED, SENT, CONVERTED) else guest.directory,
        secrets=tuple(secret.uuid for secret in plan.secrets),
    )


def _image(path: str, options: DiskOptions) -> MadeImage:
    location, name = os.path.split(path)
    return MadeImage(location, name, options.conf, options.user, options.keyring, options.secret)


def _gone(plan: Plan, guest: GuestFacts) -> tuple[str, ...]:
    """What is the guest's alone: not the image of a CD, which others may have in their drives too."""
    moved = [move.disk.path for move in plan.of(COPIED, SENT, CONVERTED) if move.disk.kind == "file" and (move.disk.written or move.disk.own)]
    there = [move.disk.path for move in plan.of("there") if move.disk.own]
    return (*moved, *(kept.path for kept in plan.kept), *there, *([guest.nvram] if plan.nvram else []))
