# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The module ``datastore_path``: from its parameters to its result."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Callable

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Cancelled
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.connection import connect
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import Site
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Inventory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states.downloaded import plan_downloaded
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states.folders import plan_absent, plan_directory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states.looked import plan_stat
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states.placed import plan_copied, plan_moved
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states.plan import Plan, Work
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states.request import Request, parse
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states.spot import check_datastore
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states.uploaded import plan_file
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.transfer import Transfer
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM

STATES: dict[str, Callable[[Work], Plan]] = {
    "file": plan_file,
    "directory": plan_directory,
    "absent": plan_absent,
    "copied": plan_copied,
    "moved": plan_moved,
    "downloaded": plan_downloaded,
    "stat": plan_stat,
}


def run_with(params: Mapping[str, Any], check_mode: bool, cancel: threading.Event) -> dict[str, Any]:
    """Run the module; returns its result.

    :raises InvalidSpec: the options are wrong; nothing was sent.   :raises VirtError: what went wrong; see the states.
    """
    request = parse(params)
    clock = Clock()
    stats = Stats(clock)
    with connect(params, clock, stats) as vim:
        result = bring_about(vim, request, params["datacenter"] or "", check_mode=check_mode, cancel=cancel, stats=stats)
    # The logout is among the calls.
    return {**result, "stats": stats.as_dict()}


def bring_about(vim: VIM, request: Request, datacenter: str, *, check_mode: bool, cancel: threading.Event, stats: Stats) -> dict[str, Any]:
    """Plan, and unless in check mode carry it out. Nothing is changed before the plan is whole."""
    work = _work(vim, request, datacenter, cancel, stats)
    with stats.phase("look"):
        check_datastore(work.site, request.path, writing=request.writes)
        if request.source is not None:
            check_datastore(work.other, request.source, writing=request.state == "moved")
        plan = STATES[request.state](work)
    facts = dict(plan.facts)
    if not check_mode:
        with stats.phase("change"):
            for step in plan.steps:
                if cancel.is_set():
                    raise Cancelled("the run was told to stop", obj=str(request.path), phase="change")
                facts.update(step.act() or {})
    return {
        "changed": plan.changed,
        "path": str(request.path),
        "actions": [step.what for step in plan.steps],
        "diff": {"before": plan.before, "after": plan.after},
        **facts,
    }


def _work(vim: VIM, request: Request, datacenter: str, cancel: threading.Event, stats: Stats) -> Work:
    site = Site(vim, Inventory(vim, datacenter))
    elsewhere = request.source_datacenter and request.source_datacenter != datacenter
    other = Site(vim, Inventory(vim, request.source_datacenter)) if elsewhere else site
    transfer = Transfer(site, stats=stats, cancel=cancel)
    return Work(request, site, other, transfer, Deadline.after(vim.clock, request.timeout), stats)
