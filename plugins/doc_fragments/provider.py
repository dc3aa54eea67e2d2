# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Which hypervisor, and how to reach it."""

    DOCUMENTATION = r"""
options:
  provider:
    description:
      - The hypervisor that holds the machines.
      - V(libvirt) runs them on the target host through libvirt. The module has to run on that host, since the disks are there.
      - V(vsphere) runs them on the ESXi hosts of a vCenter. The module runs anywhere from where vCenter can be reached, such as the controller.
      - V(dummy) simulates them in a database file, with delays and faults as asked for in O(dummy). It needs no hypervisor and no root.
    type: str
    choices: [dummy, libvirt, vsphere]
    required: true
  uri:
    description:
      - The libvirt connection. Used with O(provider=libvirt).
    type: str
    default: qemu:///system
  location:
    description:
      - The directory for images, disks and locks on the target host. Used with O(provider=libvirt).
      - The default is C(/var/lib/poolwright) for C(qemu:///system), and C(poolwright) below the user's data directory otherwise.
    type: path
  virt_type:
    description:
      - How guests are executed. V(auto) uses KVM where a guest really runs with it, and emulation with a warning elsewhere.
      - Used with O(provider=libvirt).
    type: str
    choices: [auto, kvm, qemu]
    default: auto
  path:
    description:
      - The database file of the simulation, made if it does not exist. Required with O(provider=dummy).
    type: path
  dummy:
    description:
      - How the simulation behaves. Used with O(provider=dummy).
      - C(delays) and C(fail_percent) are dictionaries by operation, C(faults) is a list of scripted faults. C(seed) makes chance
        reproducible, and C(clock=instant) lets simulated time pass without waiting.
      - All keys are described in the guide L(The dummy provider,https://github.com/poolwright/virt/blob/main/docs/dummy.md).
    type: dict
    default: {}
requirements:
  - Python 3.9 or newer on the target host
  - libvirt-python (O(provider=libvirt))
  - oslo.utils 7.4 or newer, below 10.1 (O(provider=libvirt))
  - qemu-img (O(provider=libvirt))
  - xorriso (O(provider=libvirt), for machines with cloud-init data)
"""
