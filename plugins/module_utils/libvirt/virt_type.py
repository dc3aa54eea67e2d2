# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What new guests run on: KVM only where a KVM guest really runs, else QEMU's emulation."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.capabilities import DomainCapabilities
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.domain_xml import Platform
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.faults import Unsupported
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host

VIRT_TYPES = ("auto", "kvm", "qemu")

EMULATED = "no KVM guest can run on this host, so its machines are emulated, which is many times slower"
_KVM_HINT = "enable virtualization in the firmware (or nested virtualization on the outer host) and load the module kvm, or set virt_type to auto"


def choose_platform(host: Host, virt_type: str, kvm_works: Callable[[], bool]) -> tuple[Platform, str]:
    """The platform for new guests, and a warning, "" where there is nothing to say.

    Changes nothing. libvirt offers kvm wherever ``/dev/kvm`` opens, also where no guest can execute anything; hence the probe.

    :param virt_type: one of ``VIRT_TYPES``.
    :raises Unsupported: the host cannot run guests of this type.
    """
    if host.driver() == "TEST":
        return Platform("test", host.capabilities().arch, rng=False), ""
    if virt_type != "qemu":
        found = host.domain_capabilities("kvm")
        if found is not None and kvm_works():
            return _platform(found, ("host-passthrough", "host-model")), ""
        if virt_type == "kvm":
            raise Unsupported("no KVM guest can run on this host", obj=host.uri, phase="check", hint=_KVM_HINT)
    emulated = host.domain_capabilities("qemu")
    if emulated is None:
        hint = "install qemu-system for the host's architecture"
        raise Unsupported("neither KVM nor emulated guests can run on this host", obj=host.uri, phase="check", hint=hint)
    # QEMU's default model is too old for the x86-64-v2 that current distributions are built for.
    return _platform(emulated, ("maximum",)), EMULATED if virt_type == "auto" else ""


def _platform(found: DomainCapabilities, modes: tuple[str, ...]) -> Platform:
    mode = next((mode for mode in modes if mode in found.cpu_modes), "")
    return Platform(found.virt_type, found.arch, found.machine, found.emulator, mode, rng="random" in found.rng_models)
