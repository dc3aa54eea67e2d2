# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Storage policies: those that vCenter has, by their names, and the datastores that each of them takes.

They have a service of their own in vCenter, with the session of the other; the account needs ``StorageProfile.View`` on the vCenter.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import library, policy_service
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import Fault
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Ambiguous, Entry
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM

PHASE = "storage policy"

_NEAR = 5
_SHOWN = 20


@dataclass(frozen=True)
class Policy:
    """``id`` is what a machine's specification names it by, such as aa6d5a82-1c88-45da-85d3-3d74b91a5bad."""

    id: str
    name: str


@dataclass(frozen=True)
class Fit:
    """Which datastores a policy takes. ``reasons`` has by the id of each that it does not take why not."""

    policy: Policy
    names: tuple[str, ...]
    reasons: Mapping[str, str]

    def __str__(self) -> str:
        return f"datastores that the storage policy {self.policy.name} takes: {', '.join(self.names[:_SHOWN]) or 'none'}"


class Policies:
    """The storage policies of a vCenter. Each method asks it anew: three calls for ``listed`` and ``policy``, and one for ``fit`` after them."""

    def __init__(self, vim: VIM) -> None:
        self._vim = vim
        self._content: Any = None

    def listed(self) -> list[Policy]:
        """Those that machines can be given, by name."""
        pbm = library().pbm
        manager = self._services.profileManager
        storage = pbm.profile.ResourceType(resourceType="STORAGE")
        ids = self._vim.call(manager, "PbmQueryProfile", phase=PHASE, resourceType=storage, profileCategory="REQUIREMENT")
        # An empty list of them is a fault.
        found = self._vim.call(manager, "PbmRetrieveContent", phase=PHASE, profileIds=list(ids)) if ids else []
        return sorted((Policy(str(one.profileId.uniqueId), str(one.name)) for one in found), key=lambda one: (one.name, one.id))

    def policy(self, wanted: str) -> Policy:
        """By its id or its name. :raises NotFound, Ambiguous: there is none, or several of the name."""
        return choose(self.listed(), wanted)

    def fit(self, policy: Policy, datastores: Sequence[Entry]) -> Fit:
        """What vCenter thinks of placing something with the policy on each of the datastores."""
        pbm = library().pbm
        hubs = [pbm.placement.PlacementHub(hubType="Datastore", hubId=one.moid) for one in datastores]
        profile = pbm.profile.ProfileId(uniqueId=policy.id)
        solver = self._services.placementSolver
        found = self._vim.call(solver, "PbmCheckCompatibility", about=policy.name, phase=PHASE, hubsToSearch=hubs, profile=profile) if hubs else []
        told = {str(one.hub.hubId): [Fault.of(error).text() for error in one.error or ()] for one in found or ()}
        fits = {str(one.hub.hubId) for one in found or () if not one.error}
        why = {one.moid: "; ".join(told.get(one.moid, ())) for one in datastores if one.moid not in fits}
        said = f"the storage policy {policy.name} does not take it"
        reasons = {moid: f"{said} ({text})" if text else said for moid, text in why.items()}
        return Fit(policy, tuple(one.name for one in datastores if one.moid in fits), reasons)

    @property
    def _services(self) -> Any:
        if self._content is None:
            self._content = self._vim.call(policy_service(), "PbmRetrieveServiceContent", phase=PHASE)
        return self._content


def choose(there: Iterable[Policy], wanted: str) -> Policy:
    """The one of the id, in whatever case, or of the name. :raises NotFound, Ambiguous: there is none, or several of the name."""
    listed = list(there)
    found = [one for one in listed if one.id.lower() == wanted.lower()] or [one for one in listed if one.name == wanted]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(sorted(one.id for one in found))
        raise Ambiguous(f"there are {len(found)} of this name: {ids}", obj=f"storage policy {wanted!r}", phase=PHASE, hint="give the id")
    names = sorted({one.name for one in listed})
    near = difflib.get_close_matches(wanted, names, n=_NEAR)
    have = f"is it {' or '.join(near)}?" if near else f"there are: {', '.join(names[:_SHOWN]) or 'none'}"
    raise NotFound("there is no such storage policy", obj=wanted, phase=PHASE, hint=have)
