#!/usr/bin/python
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: libvirt_guest_info
short_description: Read the guests of a KVM host
version_added: 0.1.0
description:
  - Tells of all guests of a libvirt host, or of some, whoever made them.
  - States, processors, memory and O(gather=statistics) of all guests come in one call, whatever their number. Leases come in one call for
    each network.
extends_documentation_fragment:
  - poolwright.virt.attributes
  - poolwright.virt.attributes.info_module
  - poolwright.virt.attributes.action_group
attributes:
  action_group:
    description: Use C(group/poolwright.virt.libvirt) in C(module_defaults) to set the connection for all modules at once.
    support: full
    membership:
      - poolwright.virt.all
      - poolwright.virt.libvirt
options:
  uri:
    description:
      - The libvirt connection.
    type: str
    default: qemu:///system
  names:
    description:
      - The guests to tell of. One that is not there is an error. The default is all guests.
    type: list
    elements: str
  gather:
    description:
      - What is told besides a guest's state, processors and memory.
      - V(definition) reads disks, network cards and addresses, by lease and from the host's neighbour table, in one call for each guest.
      - V(statistics) needs no further call.
      - V(jobs) asks each guest that runs for its job (migration, saving) and for those on its disks.
      - V(snapshots) asks the backend of the first disk that was made for each guest.
      - V(agent) asks the agent in each guest that runs for its addresses. One that hangs takes seconds.
    type: list
    elements: str
    choices: [statistics, definition, agent, jobs, snapshots]
    default: [definition]
requirements:
  - Python 3.9 or newer on the target host
  - libvirt-python
seealso:
  - module: poolwright.virt.libvirt_guest
author:
  - poolwright.virt contributors (@poolwright)
"""

EXAMPLES = r"""
- name: Read all guests
  poolwright.virt.libvirt_guest_info:
  register: host

- name: Show the addresses of those that run
  ansible.builtin.debug:
    msg: "{{ host.guests.values() | selectattr('state', 'eq', 'running') | map(attribute='addresses') }}"

- name: Read what one guest does
  poolwright.virt.libvirt_guest_info:
    names: [web-1]
    gather: [statistics, jobs]
"""

RETURN = r"""
guests:
  description: Each guest by its name.
  returned: success
  type: dict
  sample:
    web-1:
      name: web-1
      uuid: 2f1d9d5c-6f0e-5c69-9f52-9d6e4cb5e0a1
      state: running
      persistent: true
      autostart: false
      cpus: 2
      max_cpus: 2
      memory_mb: 1024
      max_memory_mb: 1024
      title: ''
      description: ''
      metadata: {}
      pool: ''
      machine: pc-q35-7.2
      addresses: [192.168.122.17]
      disks: []
      networks: []
  contains:
    state:
      description: V(running), V(paused), V(shutoff), V(crashed) or V(asleep).
      type: str
    disks:
      description: As M(poolwright.virt.libvirt_guest) returns them, with O(gather=definition).
      type: list
      elements: dict
    networks:
      description: As M(poolwright.virt.libvirt_guest) returns them, with O(gather=definition).
      type: list
      elements: dict
    agent_addresses:
      description: Addresses that the agent in the guest tells, by the card's address. With O(gather=agent).
      type: dict
    statistics:
      description: What libvirt counts, under its own names. C(cpu_ns), C(balloon), C(blocks) and C(nets). With O(gather=statistics).
      type: dict
    job:
      description: The job that is under way, empty for none. With O(gather=jobs).
      type: dict
    block_jobs:
      description: Jobs on disks by their target. With O(gather=jobs).
      type: dict
    snapshots:
      description: The names of the snapshots that M(poolwright.virt.libvirt_guest) took. With O(gather=snapshots).
      type: list
      elements: str
stats:
  description: What the reading cost. C(calls) to libvirt by name, C(logins), and C(seconds) by phase.
  returned: success
  type: dict
  sample:
    calls: {virConnectGetAllDomainStats: 1}
    logins: 1
    seconds: {}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.poolwright.virt.plugins.module_utils.guests.info import GATHER, read_guests
from ansible_collections.poolwright.virt.plugins.module_utils.runner import run_module


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "uri": {"type": "str", "default": "qemu:///system"},
            "names": {"type": "list", "elements": "str"},
            "gather": {"type": "list", "elements": "str", "choices": list(GATHER), "default": ["definition"]},
        },
        supports_check_mode=True,
    )
    run_module(module, lambda _cancel: read_guests(module.params))


if __name__ == "__main__":
    main()
