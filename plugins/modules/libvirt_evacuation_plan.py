#!/usr/bin/python
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: libvirt_evacuation_plan
short_description: Plan where the guests of KVM hosts go that are to be emptied
version_added: 0.1.0
description:
  - Chooses for each guest of O(drain) the least used of the O(hosts) that can take it, and tells of each other host why it cannot.
  - Asks no host. All it goes by was read by M(poolwright.virt.libvirt_host_info), so it commonly runs once, on the controller.
  - A host can take a guest that finds there its architecture, machine type, CPU, networks and bridges, no other guest of its name, and room.
    For a guest that moves as it runs, QEMU is not older there.
  - The largest guests are placed first. What a host is to get counts as taken at once, so no host is given more than it has.
extends_documentation_fragment:
  - poolwright.virt.attributes
  - poolwright.virt.attributes.info_module
  - poolwright.virt.attributes.action_group
attributes:
  action_group:
    description: Use C(group/poolwright.virt.libvirt) in C(module_defaults) to set the same options for all modules at once.
    support: full
    membership:
      - poolwright.virt.all
      - poolwright.virt.libvirt
options:
  hosts:
    description:
      - All hosts that there are, those that are to be emptied among them.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The host's name in the inventory.
        type: str
        required: true
      uri:
        description:
          - How the other hosts reach its libvirt. A host without takes no guests.
        type: str
        default: ''
      facts:
        description:
          - What M(poolwright.virt.libvirt_host_info) returned there, as it is. Of hosts in O(drain) it was asked for with
            O(poolwright.virt.libvirt_host_info#module:guests), of the others with O(poolwright.virt.libvirt_host_info#module:candidates).
          - A host that failed to answer takes no guests, and its RV(ignore:msg) is the reason.
        type: dict
        required: true
      drained:
        description: Whether the host takes no guests whatever room it has.
        type: bool
        default: false
  drain:
    description:
      - The hosts that are to be emptied, by name. They take no guests.
    type: list
    elements: str
    required: true
  guests:
    description:
      - The guests to move, by name. The default is all of them.
    type: list
    elements: str
    default: []
  live:
    description:
      - Whether guests that run or are paused may move as they are.
    type: bool
    default: true
  cold:
    description:
      - Whether a guest that cannot move live may be shut down, moved, and started again.
    type: bool
    default: false
  stopped:
    description:
      - Whether guests that are off leave too.
    type: bool
    default: true
  reserve_mb:
    description:
      - MiB of memory that are left free on each host.
    type: int
    default: 1024
  disk_reserve_mb:
    description:
      - MiB that are left free on each file system that disks are copied to.
      - Disks that are on a host already, by their path, are taken for shared and need no room there. Others need what they take now, with their
        snapshots, and with the images they stand on where these are not there.
    type: int
    default: 1024
  memory_overcommit:
    description:
      - How often a host's memory may be promised to guests, of which each counts with what it may take at most.
      - Whatever it is, memory that is in use is not given to another guest.
    type: float
    default: 1.0
  cpu_overcommit:
    description:
      - How many virtual CPUs there may be for each CPU of a host.
    type: float
    default: 16.0
  margin_percent:
    description:
      - Percent of a host by which loads must differ to count as different. What is free in a host differs a little each time it is read, and does not
        change a plan by that.
      - Of hosts that are as little used with a guest, the one that gets the least in this plan takes it, then the first by name.
      - With V(0) every MiB counts.
    type: float
    default: 5.0
seealso:
  - module: poolwright.virt.libvirt_host_info
  - module: poolwright.virt.libvirt_migrate
author:
  - poolwright.virt contributors (@poolwright)
"""

EXAMPLES = r"""
- name: Read the host that is to be emptied
  poolwright.virt.libvirt_host_info:
    guests: true
  register: full

- name: Plan where its guests go, of one that nobody can take any
  poolwright.virt.libvirt_evacuation_plan:
    hosts:
      - {name: kvm-1, facts: "{{ full }}"}
    drain: [kvm-1]
  register: plan

- name: Show which guests would stay, and why
  ansible.builtin.debug:
    msg: "{{ plan.left | items2dict(key_name='name', value_name='reason') }}"
"""

RETURN = r"""
moves:
  description: Where guests go, in the order in which they were placed.
  returned: success
  type: list
  elements: dict
  sample:
    - name: web-1
      uuid: 2f1d9d5c-6f0e-5c69-9f52-9d6e4cb5e0a1
      state: running
      pool: ''
      memory_mb: 1024
      source: kvm-1
      target: kvm-2
      target_uri: qemu+tls://kvm-2/system
      mode: live
      reason: kvm-2 is the least used of 2 that can take it, 41% full with it
      rejected: {kvm-3: does not have the network storage, or it is not active}
  contains:
    mode:
      description: V(live) or V(cold). A guest that is off moves cold.
      type: str
    reason:
      description: Why it goes there, and so.
      type: str
    rejected:
      description: Why each host cannot take it that cannot.
      type: dict
left:
  description: Guests that stay.
  returned: success
  type: list
  elements: dict
  sample:
    - name: gpu-1
      uuid: 0b0f6b63-9a5b-4c0e-8a53-2f5d8f3c1a77
      state: running
      pool: ''
      source: kvm-1
      wanted: true
      reason: 'it has the pci device 0000:01:00.0 of this host'
      rejected: {}
  contains:
    wanted:
      description: False where it was asked for that it stays.
      type: bool
hosts:
  description: How full each host is and will be, in percent of its memory or of its virtual CPUs, of whichever there is less left.
  returned: success
  type: list
  elements: dict
  sample:
    - {name: kvm-1, before_percent: 60, after_percent: 2, free_mb: 61000}
    - {name: kvm-2, before_percent: 20, after_percent: 41, free_mb: 36000}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.poolwright.virt.plugins.module_utils.placement.request import plan_request
from ansible_collections.poolwright.virt.plugins.module_utils.runner import run_module


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "hosts": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "uri": {"type": "str", "default": ""},
                    "facts": {"type": "dict", "required": True},
                    "drained": {"type": "bool", "default": False},
                },
            },
            "drain": {"type": "list", "elements": "str", "required": True},
            "guests": {"type": "list", "elements": "str", "default": []},
            "live": {"type": "bool", "default": True},
            "cold": {"type": "bool", "default": False},
            "stopped": {"type": "bool", "default": True},
            "reserve_mb": {"type": "int", "default": 1024},
            "disk_reserve_mb": {"type": "int", "default": 1024},
            "memory_overcommit": {"type": "float", "default": 1.0},
            "cpu_overcommit": {"type": "float", "default": 16.0},
            "margin_percent": {"type": "float", "default": 5.0},
        },
        supports_check_mode=True,
    )
    run_module(module, lambda _cancel: plan_request(module.params))


if __name__ == "__main__":
    main()
