# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""From a module's parameters to a run, and from its report to the module's result."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock
from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.pool.run import Request, converge, read
from ansible_collections.poolwright.virt.plugins.module_utils.pool.spec import PoolSpec, Share
from ansible_collections.poolwright.virt.plugins.module_utils.pool.spec_parse import parse_pools
from ansible_collections.poolwright.virt.plugins.module_utils.providers.base import Provider
from ansible_collections.poolwright.virt.plugins.module_utils.providers.registry import choose_clock, clones_templates, make_provider, needs_image
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats

Params = Mapping[str, Any]

# How many machines are worked on at a time unless it is said: a host does the work itself, a vCenter shares it out and queues what is too much.
_AT_HOST = 8
_AT_VCENTER = 32


def converge_with(params: Params, check_mode: bool, cancel: threading.Event) -> dict[str, Any]:
    """Run ``vm_pool``. The result has the module's return values beside ``failures`` and ``warnings``.

    :raises VirtError: nothing was touched.
    """
    request = _request(params, check_mode)
    with _provider(params, request.specs) as (provider, clock):
        report = converge(provider, request, clock, cancel)
        return {
            "changed": report.changed,
            "actions": report.actions,
            "pools": report.pools,
            "diff": report.diff,
            "stats": provider.stats.as_dict(),
            "failures": report.failures,
            "warnings": provider.warnings,
        }


def read_with(params: Params) -> dict[str, Any]:
    """Run ``vm_pool_info``."""
    specs = parse_pools(params["pools"], state="present", needs_image=False, templates=clones_templates(params), names_suffice=True)
    with _provider(params, specs) as (provider, clock):
        pools = read(provider, specs, clock)
        return {"changed": False, "pools": pools, "stats": provider.stats.as_dict(), "warnings": provider.warnings}


def _request(params: Params, check_mode: bool) -> Request:
    problems: list[str] = []
    specs: list[PoolSpec] = []
    try:
        specs = parse_pools(params["pools"], state=params["state"], needs_image=needs_image(params), templates=clones_templates(params))
    except InvalidSpec as exc:
        problems += exc.problems
    max_delete = None
    if params["max_delete"] is not None:
        try:
            max_delete = Share.parse(params["max_delete"])
        except ValueError as exc:
            problems.append(f"max_delete: {exc}")
    max_parallel = params["max_parallel"]
    if max_parallel is None:
        max_parallel = _AT_VCENTER if clones_templates(params) else _AT_HOST
    if not 1 <= max_parallel <= 256:
        problems.append(f"max_parallel: {max_parallel} is not between 1 and 256")
    problems += [f"{key}: {params[key]:g} is not above 0" for key in ("timeout", "lock_timeout") if params[key] <= 0]
    if params["all_pools"] and params["state"] != "absent":
        problems.append("all_pools: goes with state: absent only")
    if not params["pools"] and not params["all_pools"]:
        problems.append("pools: is empty; name the pools, or say all_pools: true with state: absent to remove every one")
    if problems:
        raise InvalidSpec(problems)
    return Request(
        specs=specs,
        every_pool_absent=params["all_pools"],
        check_mode=check_mode,
        max_parallel=max_parallel,
        max_delete=max_delete,
        keep_failed=params["keep_failed"],
        timeout=params["timeout"],
        lock_timeout=params["lock_timeout"],
    )


@contextmanager
def _provider(params: Params, specs: Sequence[PoolSpec]) -> Iterator[tuple[Provider, Clock]]:
    """The provider that the parameters name, serving these pools, and the clock it runs by; closed at the end."""
    clock = choose_clock(params)
    provider = make_provider(params, [spec.template for spec in specs], clock, Stats(clock))
    try:
        yield provider, clock
    finally:
        provider.close()
