# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Whether a host could run further machines: everything that can be found out without changing anything. ``preflight_disks`` sees to their disks."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InsufficientResources, InvalidSpec, NotFound, OperationFailed, telling_where
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.layout import Layout
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.session import remote_name
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.create import wishes
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import NetworkSpec, PoolTemplate

_NET_CLASS = "/sys/class/net"
NAME = "check"
"""Stands for the machines that are to be made."""


class NotUsable(OperationFailed):
    """Something on the host is there but cannot be used as it is."""

    code = "not_usable"
    config = True


def refuse_other_machine(host: Host) -> None:
    """:raises InvalidSpec: the connection leads to another machine than this one."""
    if not remote_name(host.uri):
        return
    theirs, ours = host.hostname(), socket.gethostname()
    if theirs.partition(".")[0].lower() != ours.partition(".")[0].lower():
        hint = f"run this on {theirs} itself (an inventory host of its own) with uri qemu:///system: disks are made where the guests run"
        raise InvalidSpec([f"uri: {host.uri} leads to the host {theirs}, and this runs on {ours}; {hint}"])


def check_host(host: Host, layout: Layout, template: PoolTemplate, virt_type: str) -> None:
    """Places of disks, networks, CPUs and directories."""
    spec, pool = template.machine, template.name
    places = {wish.location for wish in wishes(spec, layout.location, NAME)}
    check_networks(host, spec.networks, pool)
    if virt_type != "test":
        check_cpus(host, virt_type, spec.cpus, pool)
    for directory in sorted({layout.location, *places}):
        # A location of another kind (a volume group, say) is its backend's to judge.
        if os.path.isabs(directory):
            check_location(directory, pool)


@telling_where("networks")
def check_networks(host: Host, networks: Iterable[NetworkSpec], pool: str) -> None:
    """Each network is there and active, each bridge is there. No call where there is no network."""
    wanted = sorted({card.network for card in networks if card.network})
    known = host.networks.all() if wanted else {}
    for name in wanted:
        if name not in known:
            there = ", ".join(sorted(known)) or "none"
            raise NotFound(f"the host has no network {name!r}", obj=pool, phase="check", hint=f"its networks are: {there}")
        if not known[name].active:
            raise NotUsable(f"the network {name!r} is not active", obj=pool, phase="check", hint=f"start it on the host: virsh net-start {name}")
    for bridge in sorted({card.bridge for card in networks if card.bridge}):
        if not os.path.exists(os.path.join(_NET_CLASS, bridge)):
            there = ", ".join(name for name in sorted(os.listdir(_NET_CLASS)) if os.path.isdir(os.path.join(_NET_CLASS, name, "bridge"))) or "none"
            raise NotFound(f"the host has no bridge {bridge!r}", obj=pool, phase="check", hint=f"its bridges are: {there}")


@telling_where("memory_mb")
def check_memory(available_kib: int, memory_mb: int, making: int, promised_mb: int, pool: str) -> None:
    """:param available_kib: what the host has.   :param promised_mb: what was promised to other pools and is not taken yet."""
    available_mb = max(0, available_kib // 1024 - promised_mb)
    fitting = available_mb // memory_mb
    if fitting < making:
        raise InsufficientResources(
            f"{making} further machines of {memory_mb} MiB need {making * memory_mb} MiB, the host has {available_mb} MiB free: {fitting} would fit",
            obj=pool,
            phase="check",
            hint="make the pool or its machines smaller, or free memory on the host",
        )


@telling_where("cpus")
def check_cpus(host: Host, virt_type: str, cpus: int, pool: str) -> None:
    """A guest may have more CPUs than the host, but not more than its machine type."""
    found = host.domain_capabilities(virt_type)
    if found is not None and cpus > found.max_vcpus:
        raise InsufficientResources(f"{cpus} CPUs are more than the {found.max_vcpus} that a machine can have", obj=pool, phase="check", hint="ask for fewer")


@telling_where("location")
def check_location(directory: str, pool: str) -> None:
    """The directory, or the first parent that is there, can be written to."""
    there = _existing(directory)
    if not os.path.isdir(there):
        raise NotUsable(f"{there} is no directory", obj=pool, phase="check", hint="choose another location")
    if not os.access(there, os.W_OK | os.X_OK):
        raise NotUsable(f"{there} cannot be written to", obj=pool, phase="check", hint="run as root, or choose another location")


def _existing(path: str) -> str:
    while not os.path.lexists(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    return path
