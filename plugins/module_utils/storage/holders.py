# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Guests that have disks, and what may be done to those all the same. Pure."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy
from ansible_collections.poolwright.virt.plugins.module_utils.storage.plan import Plan, Step
from ansible_collections.poolwright.virt.plugins.module_utils.storage.request import State


@dataclass(frozen=True)
class Holder:
    """A guest that has a disk."""

    name: str
    running: bool


@dataclass(frozen=True)
class Holders:
    """Guests by the disks that they have: real path of a file or device, ``pool/name`` of an image in a pool."""

    by_source: Mapping[str, tuple[Holder, ...]] = field(default_factory=dict)

    def of(self, path: str) -> tuple[Holder, ...]:
        return self.by_source.get(os.path.realpath(path) if path.startswith("/") else path, ())


def concerns_guests(plan: Plan) -> bool:
    """Whether something is done that a guest with this disk would mind."""
    return Step.REMOVE in plan.steps or Step.GROW in plan.steps


def refuse_held(plan: Plan, path: str, holders: Holders) -> None:
    """:raises Busy: a guest runs with the disk; or it is to be gone for good and a guest has it, unless that is forced."""
    found = holders.of(path)
    running = sorted(holder.name for holder in found if holder.running)
    if running:
        grows = Step.REMOVE not in plan.steps
        hint = "libvirt_guest grows a disk while its guest runs: give it the new size_gb" if grows else "shut the guest off, or take the disk off it"
        raise Busy(f"the guest {', '.join(running)} runs with it", obj=path, phase="check", hint=hint)
    if found and plan.request.state is State.ABSENT and not plan.request.force:
        names = ", ".join(sorted(holder.name for holder in found))
        hint = "remove the guest with libvirt_guest, take the disk off it, or give force: true"
        raise Busy(f"the guest {names} has it", obj=path, phase="check", hint=hint)
