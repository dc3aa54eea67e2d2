#!/usr/bin/python
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_pool_info
short_description: Read pools of virtual machines
version_added: 0.1.0
description:
  - Reads what M(poolwright.virt.vm_pool) keeps, in the same shape, and changes nothing.
  - Pools that are described as for M(poolwright.virt.vm_pool) are judged by their description. With names alone, or no pools at all,
    machines are judged by themselves.
extends_documentation_fragment:
  - poolwright.virt.attributes
  - poolwright.virt.attributes.action_group
  - poolwright.virt.attributes.info_module
  - poolwright.virt.provider
  - poolwright.virt.vsphere
  - poolwright.virt.pools
options:
  pools:
    description:
      - The pools to read. Empty means every pool of which there is a machine.
seealso:
  - module: poolwright.virt.vm_pool
author:
  - poolwright.virt contributors (@poolwright)
"""

EXAMPLES = r"""
- name: Read every pool
  poolwright.virt.vm_pool_info:
    provider: dummy
    path: /tmp/pools.db
  register: found

- name: Read one pool of real machines
  poolwright.virt.vm_pool_info:
    provider: libvirt
    pools:
      - name: ci
  register: found

- name: Read every pool of a datacenter
  poolwright.virt.vm_pool_info:
    provider: vsphere
    hostname: vc.example.com
    username: "{{ vcenter_user }}"
    password: "{{ vcenter_password }}"
    ca_path: /etc/ssl/vc.pem
    datacenter: DC0
  register: pools

- name: Show the machines' addresses
  ansible.builtin.debug:
    msg: "{{ found.pools.ci.machines | map(attribute='ip') }}"
"""

RETURN = r"""
pools:
  description:
    - Each pool by its name.
  returned: success
  type: dict
  sample:
    ci:
      size: 1
      ready: 1
      machines:
        - name: ci-1
          slot: 1
          state: ready
          power: running
          ip: 192.168.122.17
          host: kvm-1
          image: /var/lib/images/debian-13.qcow2
          spec_hash: 2d1f0a6f9c1f7a55
          created_at: '2026-01-31T12:00:00Z'
          reason: ''
stats:
  description:
    - What the reading cost. C(calls) to the provider by name, C(logins), and C(seconds) by phase.
  returned: success
  type: dict
  sample:
    calls: {vms_in_pool: 1}
    logins: 1
    seconds: {observe: 0.02}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.poolwright.virt.plugins.module_utils.argspec import pool_options, provider_options, required_by_provider
from ansible_collections.poolwright.virt.plugins.module_utils.pool.request import read_with
from ansible_collections.poolwright.virt.plugins.module_utils.runner import run_module


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **provider_options(),
            "pools": {"type": "list", "elements": "dict", "default": [], "options": pool_options()},
        },
        required_if=required_by_provider(),
        supports_check_mode=True,
    )
    run_module(module, lambda _cancel: read_with(module.params))


if __name__ == "__main__":
    main()
