# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Which of two hosts has a guest whose migration has ended somehow. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ansible_collections.poolwright.virt.plugins.module_utils.migration.note import Note

ABSENT, RUNNING, PAUSED, SHUTOFF = "absent", "running", "paused", "shutoff"
# virDomainPausedReason
BY_MIGRATION, BY_POST_COPY, POST_COPY_FAILED = 2, 12, 13


@dataclass(frozen=True)
class Side:
    """A guest on one host. ``job`` is whether a migration is under way there; ``reason`` as libvirt numbers it for the state."""

    state: str = ABSENT
    reason: int = 0
    job: bool = False
    note: Note | None = None

    @property
    def active(self) -> bool:
        return self.state not in (ABSENT, SHUTOFF, "crashed")


class Verdict(enum.Enum):
    """What is to be done."""

    WAIT = "a migration is under way"
    SOURCE = "the guest is where it was: clear up the target"
    TARGET = "the guest has arrived: clear up the source"
    RESUME = "a link failed in the middle of post-copy: take it up again"
    FOREIGN = "the target has a guest of this UUID that did not come from this migration"
    BROKEN = "the target has lost it in the middle of post-copy, and what it had in memory with it"
    LOST = "neither host has it"


def verdict(note: Note, source: Side, target: Side) -> Verdict:
    """What both sides amount to. A target that has it running counts, since only a guest that has arrived as a whole is ever let go on there."""
    broke = source.state == PAUSED and POST_COPY_FAILED in (source.reason, target.reason if target.state == PAUSED else 0)
    # libvirt counts one whose link failed as still under way.
    if source.job and not broke:
        return Verdict.WAIT
    foreign = target.state != ABSENT and (target.note is None or target.note.id != note.id)
    if not foreign and not target.active and source.state == PAUSED and source.reason in (BY_POST_COPY, POST_COPY_FAILED):
        return Verdict.BROKEN
    if target.state == ABSENT:
        return Verdict.LOST if source.state == ABSENT else Verdict.SOURCE
    if foreign:
        return Verdict.FOREIGN
    if broke:
        return Verdict.RESUME
    if target.state == RUNNING:
        return Verdict.TARGET
    if note.kind == "cold":
        # It is defined there once all of its disks are, and were read back.
        return Verdict.SOURCE if source.active else Verdict.TARGET
    # It waits there for the rest of its memory, unless it was paused before.
    return Verdict.SOURCE if source.active or source.state == PAUSED else Verdict.TARGET
