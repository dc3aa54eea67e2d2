# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What vCenter sets in a guest at its first boot, as a specification. Pure."""

from __future__ import annotations

from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import library
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.description import Address, Customization


def customization_spec(wanted: Customization) -> Any:
    """For a Linux guest with VMware Tools and Perl, or cloud-init with customization allowed."""
    kinds = library().vim.vm.customization
    return kinds.Specification(
        identity=kinds.LinuxPrep(hostName=kinds.FixedName(name=wanted.hostname), domain=wanted.domain),
        globalIPSettings=kinds.GlobalIPSettings(dnsServerList=list(wanted.dns), dnsSuffixList=[wanted.domain] if wanted.domain else []),
        nicSettingMap=[kinds.AdapterMapping(adapter=_settings(address)) for address in wanted.addresses],
    )


def _settings(address: Address) -> Any:
    kinds = library().vim.vm.customization
    if not address.ip:
        return kinds.IPSettings(ip=kinds.DhcpIpGenerator())
    settings = kinds.IPSettings(ip=kinds.FixedIp(ipAddress=address.ip), subnetMask=address.netmask)
    if address.gateway:
        settings.gateway = [address.gateway]
    return settings
