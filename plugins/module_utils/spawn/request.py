# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""From the parameters of ``vm_spawn`` to a run, and from what it did to the module's result."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock
from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import new_machine_id
from ansible_collections.poolwright.virt.plugins.module_utils.providers.registry import choose_clock, make_provider, needs_image
from ansible_collections.poolwright.virt.plugins.module_utils.spawn import single
from ansible_collections.poolwright.virt.plugins.module_utils.spawn.single_params import parse_single
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats

Params = Mapping[str, Any]


def spawn_with(params: Params, check_mode: bool, cancel: threading.Event) -> dict[str, Any]:
    """Run ``vm_spawn``. The result has the module's return values beside ``failures`` and ``warnings``.

    :raises VirtError: nothing was touched.
    """
    problems = [f"{key}: {params[key]:g} is not above 0" for key in ("timeout", "address_timeout") if params[key] <= 0]
    if problems:
        raise InvalidSpec(problems)
    return _in_vcenter(params, check_mode, cancel) if params["provider"] == "vsphere" else _with_provider(params, check_mode, cancel)


def _with_provider(params: Params, check_mode: bool, cancel: threading.Event) -> dict[str, Any]:
    described = parse_single(params, needs_image=needs_image(params) and params["state"] != "absent")
    template = single.with_address_check(described, params["wait_for_address"])
    clock = choose_clock(params)
    provider = make_provider(params, [template], clock, Stats(clock))
    options = single.Options(
        state=params["state"],
        check_mode=check_mode,
        recreate=params["recreate"],
        keep_failed=params["keep_failed"],
        timeout=params["timeout"],
        address_seconds=params["address_timeout"] if params["wait_for_address"] else None,
    )
    try:
        return single.spawn_single(provider, template, options, clock, cancel)
    finally:
        provider.close()


def _in_vcenter(params: Params, check_mode: bool, cancel: threading.Event) -> dict[str, Any]:
    from ansible_collections.poolwright.virt.plugins.module_utils.spawn.vsphere_params import parse_vsphere
    from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.connection import connect
    from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Inventory
    from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.outcome import Options
    from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.run import spawn

    wanted = parse_vsphere(params)
    clock = Clock()
    stats = Stats(clock)
    options = Options(
        check_mode=check_mode,
        recreate=params["recreate"],
        restart=params["restart"],
        keep_failed=params["keep_failed"],
        timeout=params["timeout"],
        address_seconds=params["address_timeout"] if params["wait_for_address"] else None,
    )
    with connect(params, clock, stats) as vim:
        outcome = spawn(Inventory(vim, params["datacenter"] or ""), wanted, options, stats, cancel, partial(new_machine_id, "spawn"))
    empty = dict.fromkeys(("uuid", "instance_uuid", "moid", "power", "ip", "host", "datastore_path", "template"), "")
    result: dict[str, Any] = {
        "changed": bool(outcome.actions) and (outcome.failure is None or outcome.touched or bool(outcome.left)),
        "actions": [action.as_dict() for action in outcome.actions],
        "state": params["state"],
        "name": wanted.name,
        "folder": wanted.folder,
        "addresses": [],
        "disks": [],
        "networks": [],
        **empty,
        **outcome.machine,
        "image": "" if wanted.image is None else str(wanted.image),
        "diff": {"before": outcome.before, "after": outcome.after},
        "undone": list(outcome.undone),
        "left": list(outcome.left),
        "kept": list(outcome.kept),
        "stats": stats.as_dict(),
        "warnings": [f"the disk {path} is none of the machine's own: it was taken off and is still there" for path in outcome.kept],
    }
    if outcome.failure is not None:
        result |= {"failures": [str(outcome.failure)], "failure": outcome.failure.as_dict()}
    return result
