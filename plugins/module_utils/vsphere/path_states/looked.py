# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""State ``stat``: what is there, with everything that vCenter tells about it."""

from __future__ import annotations

import contextlib
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.disks import disk_info, disk_uuid
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.extents import read_descriptor
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import FileInfo, tree
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states.plan import Plan, Work, shown
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states.spot import Spot, look


def plan_stat(work: Work) -> Plan:
    path = work.request.path
    spot = look(work, work.site, path)
    now = shown(path, spot.info, disk=spot.disk)
    facts: dict[str, Any] = {"exists": spot.info is not None}
    if spot.info is not None:
        told = details(spot.info)
        if spot.disk:
            told.update(_disk(work, spot))
        if spot.is_folder and work.request.recurse:
            told["children"] = [details(entry) for entry in tree(work.site, path, work.deadline)]
        facts.update(stat=told, size=spot.info.size)
    return Plan(now, now, (), facts)


def details(info: FileInfo) -> dict[str, Any]:
    """``modified`` is in ISO 8601, "" where the datastore has no time for it."""
    modified = "" if info.modified is None else info.modified.isoformat()
    return {"path": str(info.path), "kind": info.kind, "size": info.size, "modified": modified, "owner": info.owner}


def _disk(work: Work, spot: Spot) -> dict[str, Any]:
    """Capacity in bytes, uuid, thin or not: what the server tells of a disk; the descriptor tells what the server does not."""
    known = disk_info(spot.site, spot.path, work.deadline)
    descriptor = read_descriptor(work.transfer.beginning(spot.path, work.deadline, 65536))
    told: dict[str, Any] = {
        "kind": "disk",
        "capacity": known.capacity_kb * 1024 if known.capacity_kb else descriptor.capacity,
        "thin": known.thin if known.thin is not None else descriptor.thin,
        "adapter": descriptor.adapter or known.controller,
        "disk_type": descriptor.create_type,
    }
    # A descriptor whose extents are gone has none.
    with contextlib.suppress(VirtError):
        told["uuid"] = disk_uuid(spot.site, spot.path, work.deadline)
    return told
