#!/usr/bin/python
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: libvirt_host_info
short_description: Read what a KVM host has and what is on it
version_added: 0.1.0
description:
  - Tells of a libvirt host what a choice between hosts goes by. That is its versions, processors, memory, machine types and networks, and what
    its guests may take of them.
  - With O(guests), also what each guest needs of the host that it is on. With O(candidates), whether this host can show guests of others the
    CPUs they need.
  - M(poolwright.virt.libvirt_evacuation_plan) takes the answers of several hosts as they are.
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
  guests:
    description:
      - Whether to tell what each guest needs. Takes up to four calls for each.
    type: bool
    default: false
  candidates:
    description:
      - Guests of other hosts that may come here, as RV(guests) of this module has them there.
      - Their CPUs are compared with this host's, and the files of their disks are looked for. Guests whose CPUs are alike are asked about once.
    type: list
    elements: dict
    default: []
requirements:
  - Python 3.9 or newer on the target host
  - libvirt-python
seealso:
  - module: poolwright.virt.libvirt_evacuation_plan
  - module: poolwright.virt.libvirt_guest_info
author:
  - poolwright.virt contributors (@poolwright)
"""

EXAMPLES = r"""
- name: Read this host
  poolwright.virt.libvirt_host_info:
  register: here

- name: Show how much memory is left
  ansible.builtin.debug:
    msg: "{{ here.host.available_mb }} of {{ here.host.memory_mb }} MiB are free, {{ here.host.residents | length }} guests are here"

- name: Read what the guests need
  poolwright.virt.libvirt_host_info:
    guests: true
  register: here

- name: Ask whether a host can show them the CPUs they need
  poolwright.virt.libvirt_host_info:
    candidates: "{{ here.guests }}"
  register: there
"""

RETURN = r"""
host:
  description: The host.
  returned: success
  type: dict
  sample:
    hostname: kvm-1
    uuid: 7e1f0000-0000-4000-8000-000000000001
    arch: x86_64
    libvirt: 9000000
    hypervisor: 7002022
    cpus: 16
    memory_mb: 64227
    available_mb: 41034
    cpu: <cpu><arch>x86_64</arch><model>EPYC-Rome</model><vendor>AMD</vendor></cpu>
    cpu_model: EPYC-Rome
    machines: {x86_64/kvm: [pc-q35-7.2, q35]}
    networks: [default]
    devices: [eth0, lo, virbr0]
    residents:
      - {name: web-1, uuid: 2f1d9d5c-6f0e-5c69-9f52-9d6e4cb5e0a1, active: true, memory_mb: 1024, cpus: 2}
    room: {/srv: 204800}
  contains:
    libvirt:
      description: The version, 1,000,000 x major + 1,000 x minor + release.
      type: int
    hypervisor:
      description: The version of QEMU, likewise.
      type: int
    memory_mb:
      description: MiB in all.
      type: int
    available_mb:
      description: MiB that nothing uses now. Memory that only caches files counts as free.
      type: int
    cpu:
      description: The host's own CPU as libvirt's XML.
      type: str
    cpu_model:
      description: What libvirt calls that CPU.
      type: str
    machines:
      description: Machine types by architecture and type of virtualization.
      type: dict
    networks:
      description: Networks of libvirt that are active.
      type: list
      elements: str
    devices:
      description: Bridges and network cards. Nothing where libvirt does not know of them.
      type: list
      elements: str
    residents:
      description: All guests, with the memory and the CPUs that each may take.
      type: list
      elements: dict
    room:
      description: MiB that are left on the file systems that disks of O(candidates) would be copied to, by mount point.
      type: dict
guests:
  description: What each guest needs, with O(guests).
  returned: success
  type: list
  elements: dict
  sample:
    - name: web-1
      uuid: 2f1d9d5c-6f0e-5c69-9f52-9d6e4cb5e0a1
      state: running
      persistent: true
      memory_mb: 1024
      cpus: 2
      arch: x86_64
      virt_type: kvm
      machine: pc-q35-7.2
      live_cpu: {mode: custom, xml: <cpu mode="custom"><model>EPYC-Rome</model></cpu>}
      cold_cpu: {mode: host-model, xml: ''}
      networks: [default]
      devices: []
      tied: []
      not_cold: []
      disks: [/srv/shared/web-1.qcow2]
      disk_files: {/srv/shared/web-1.qcow2: {/srv/shared/web-1.qcow2: 1310720, /srv/images/debian.qcow2: 524288000}}
      pool: ''
  contains:
    live_cpu:
      description: The CPU that it has as it runs, with C(mode) and C(xml).
      type: dict
    cold_cpu:
      description: The CPU that it asks for when it starts, likewise.
      type: dict
    devices:
      description: Bridges of the host that its cards are joined to.
      type: list
      elements: str
    tied:
      description: Why it cannot move at all, such as a PCI device that it has.
      type: list
      elements: str
    not_cold:
      description: Why it can move only while it runs.
      type: list
      elements: str
    disks:
      description: Files, devices and images that it writes to.
      type: list
      elements: str
    disk_files:
      description: Of each disk and medium that is a file, the files that it consists of, with the bytes that each takes. Nothing of another host's.
      type: dict
    pool:
      description: The pool whose machine it is, empty for none.
      type: str
verdicts:
  description:
    - Of each of O(candidates) by its UUID, why this host cannot show it the CPU it needs. Empty where it can.
    - C(needs) are the MiB that its disks would take here by the mount point, of those that are not here already.
  returned: success
  type: dict
  sample:
    2f1d9d5c-6f0e-5c69-9f52-9d6e4cb5e0a1: {live: '', cold: '', needs: {/srv: 502}}
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

from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host_facts import read_host
from ansible_collections.poolwright.virt.plugins.module_utils.runner import run_module


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "uri": {"type": "str", "default": "qemu:///system"},
            "guests": {"type": "bool", "default": False},
            "candidates": {"type": "list", "elements": "dict", "default": []},
        },
        supports_check_mode=True,
    )
    run_module(module, lambda _cancel: read_host(module.params))


if __name__ == "__main__":
    main()
