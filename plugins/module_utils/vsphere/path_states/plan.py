# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What a state comes down to: what is there, what shall be, and the steps from one to the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Callable

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import FileInfo, Site
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states.request import Request
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.transfer import Transfer

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Work:
    """What a state is worked on with; ``other`` is the datacenter of ``src``, the same as ``site`` in most cases."""

    request: Request
    site: Site
    other: Site
    transfer: Transfer
    deadline: Deadline
    stats: Stats

    def transfer_at(self, site: Site) -> Transfer:
        return self.transfer if site is self.site else self.transfer.at(site)


@dataclass(frozen=True)
class Step:
    """One change: what it is, in words, and how it is made; it returns what became known by it."""

    what: str
    act: Callable[[], Facts | None]


@dataclass(frozen=True)
class Plan:
    """The state before and after, as diff mode shows them, and the steps; none means that nothing changes. Making it changes nothing."""

    before: Facts
    after: Facts
    steps: tuple[Step, ...] = ()
    facts: Facts = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        return bool(self.steps)


def shown(path: DatastorePath, info: FileInfo | None, *, disk: bool = False) -> dict[str, Any]:
    """How diff mode shows what is at a path."""
    if info is None:
        return {"path": str(path), "state": "absent"}
    if info.is_folder:
        return {"path": str(path), "state": "directory"}
    return {"path": str(path), "state": "disk" if disk else "file", "size": info.size}


def steps_of(*parts: Iterable[Step]) -> tuple[Step, ...]:
    return tuple(step for part in parts for step in part)
