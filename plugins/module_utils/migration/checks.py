# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Whether a host can run a guest: what is wanting there, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.poolwright.virt.plugins.module_utils.migration.facts import GuestFacts, HostFacts

# What QEMU itself takes beside a guest's memory, KiB.
_OVERHEAD = 64 * 1024


def misfits(guest: GuestFacts, source: HostFacts, target: HostFacts, *, live: bool) -> list[str]:
    """Why ``target`` cannot take the guest, [] where it can; disks aside."""
    if source.uuid and source.uuid == target.uuid:
        return [f"target: {target.name} is the host it is on"]
    return [*_host(guest, source, target, live), *_guest(guest, live), *_surroundings(guest, target)]


def _host(guest: GuestFacts, source: HostFacts, target: HostFacts, live: bool) -> Iterator[str]:
    if source.driver != target.driver:
        yield f"target: {target.name} runs {target.driver}, and the guest needs {source.driver}"
    if guest.arch and guest.arch != target.arch and guest.virt_type == "kvm":
        yield f"target: {target.name} has {target.arch} processors, and the guest needs {guest.arch}"
    elif not target.max_cpus:
        yield f"target: {target.name} has no {guest.virt_type} guests of the machine type {guest.machine}; update its QEMU, or give the guest another type"
    elif guest.cpus > target.max_cpus:
        yield f"target: guests have {target.max_cpus} processors at most on {target.name}, and this one has {guest.cpus}"
    if target.cpu_fits is False:
        yield f"target: the processor of {target.name} lacks what the guest's has; give the guest a model that both have (virsh hypervisor-cpu-baseline)"
    needed = guest.memory + _OVERHEAD
    if (live or guest.active) and needed > target.memory:
        yield f"target: {target.name} has {target.memory // 1024} MiB of memory free, and the guest takes {needed // 1024}"


def _guest(guest: GuestFacts, live: bool) -> Iterator[str]:
    for what in guest.bound:
        yield f"it has {what}, which stays here; take that off first"
    if guest.snapshots:
        yield f"it has {guest.snapshots} snapshots of libvirt's, which libvirt takes nowhere; delete them first (virsh snapshot-delete)"
    if not live and guest.saved and not guest.active:
        yield "its memory is saved on this host; start it, or throw that away with virsh managedsave-remove"
    if not live and guest.tpm:
        yield "what its TPM keeps is on this host and moves only while the guest runs; use mode: live"
    if live and guest.state == "asleep":
        yield "it sleeps; wake it up, or use mode: cold"


def _surroundings(guest: GuestFacts, target: HostFacts) -> Iterator[str]:
    if target.uuid_taken:
        yield f"target: {target.name} has a guest of this UUID already, {target.uuid_taken}; remove the one that is not needed"
    elif target.name_taken:
        yield f"target: {target.name} has another guest of this name; rename one of them"
    for network in guest.networks:
        if not target.networks.get(network, False):
            what = "is not active" if network in target.networks else "does not exist"
            yield f"target: the network {network} {what} on {target.name}"
    for bridge in guest.bridges:
        if target.bridges is not None and bridge not in target.bridges:
            yield f"target: there is no bridge {bridge} on {target.name}"
    for secret in target.secrets:
        if secret.problem:
            yield f"target: {secret.problem}"
