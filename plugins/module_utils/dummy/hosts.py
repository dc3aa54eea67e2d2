# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Where machines go on the dummy hypervisor. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.poolwright.virt.plugins.module_utils.dummy.config import DummyOptions
from ansible_collections.poolwright.virt.plugins.module_utils.dummy.store import Usage
from ansible_collections.poolwright.virt.plugins.module_utils.errors import InsufficientResources, NotFound


def check_networks(options: DummyOptions, networks: Sequence[str]) -> None:
    """:raises NotFound: there is no such network; the hint lists those there are."""
    for network in networks:
        if network not in options.networks:
            known = ", ".join(options.networks) or "none"
            raise NotFound(f"there is no network {network!r}", obj=network, phase="check", hint=f"known networks: {known}")


def check_room(options: DummyOptions, usage: Usage, making: int, memory_mb: int) -> None:
    """:param memory_mb: MiB of each of the machines to be made. :raises InsufficientResources: they do not fit."""
    if making and options.memory_mb:
        free = options.memory_mb - usage.memory_mb
        if making * memory_mb > free:
            raise InsufficientResources(
                f"{making} machines of {memory_mb} MiB need {making * memory_mb} MiB, {max(0, free)} of {options.memory_mb} MiB are free",
                phase="check",
                hint="make fewer or smaller machines, or raise dummy.memory_mb",
            )
    if making and options.host_capacity:
        free = sum(max(0, options.host_capacity - usage.machines.get(host, 0)) for host in options.hosts)
        if making > free:
            raise InsufficientResources(
                f"{making} machines do not fit, the hosts have room for {free} more",
                phase="check",
                hint="make fewer machines, or raise dummy.hosts or dummy.host_capacity",
            )


def place(options: DummyOptions, usage: Usage, memory_mb: int) -> str:
    """The host for one more machine: the least used, the first named among equals."""
    check_room(options, usage, 1, memory_mb)
    return min(_with_room(options, usage), key=lambda host: usage.machines.get(host, 0))


def better(options: DummyOptions, usage: Usage, own: str) -> str:
    """The host a machine on ``own`` would best move to; ``own`` where the move would not even things out."""
    others = [host for host in _with_room(options, usage) if host != own]
    if not others:
        return own
    best = min(others, key=lambda host: usage.machines.get(host, 0))
    return best if usage.machines.get(best, 0) + 1 < usage.machines.get(own, 0) else own


def check_target(options: DummyOptions, usage: Usage, host: str) -> None:
    """:raises NotFound: there is no such host. :raises InsufficientResources: it is full."""
    if host not in options.hosts:
        raise NotFound(f"there is no host {host!r}", obj=host, phase="migrate", hint=f"known hosts: {', '.join(options.hosts)}")
    if host not in _with_room(options, usage):
        raise InsufficientResources(f"the host has its {options.host_capacity} machines", obj=host, phase="migrate")


def _with_room(options: DummyOptions, usage: Usage) -> list[str]:
    return [host for host in options.hosts if not options.host_capacity or usage.machines.get(host, 0) < options.host_capacity]
