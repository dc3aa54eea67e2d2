#!/usr/bin/python
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_pool
short_description: Keep pools of ready virtual machines
version_added: 0.1.0
description:
  - Brings each declared pool to its number of ready machines and keeps it there. It makes missing machines, removes surplus ones,
    mends or replaces broken ones, and rebuilds outdated ones a few at a time.
  - Every machine carries a mark that says to which pool it belongs. A machine without that mark is never touched, whatever its name.
    There is no other state, so a run that was killed is simply run again.
  - All pools of a call are served through one connection, many machines at a time.
  - Leased machines are never touched.
extends_documentation_fragment:
  - poolwright.virt.attributes
  - poolwright.virt.attributes.action_group
  - poolwright.virt.provider
  - poolwright.virt.vsphere
  - poolwright.virt.pools
attributes:
  check_mode:
    support: full
    details:
      - The plan is the one that a run carries out, and no call is made that changes anything.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description:
      - Whether the pools shall exist. V(absent) removes all their machines.
    type: str
    choices: [present, absent]
    default: present
  all_pools:
    description:
      - With O(state=absent), also remove every other pool that is found on the hypervisor.
    type: bool
    default: false
  max_parallel:
    description:
      - How many machines are worked on at a time.
      - The default is V(8), and V(32) with O(provider=vsphere), where vCenter queues what is too much for its hosts.
    type: int
  max_delete:
    description:
      - How many machines the run may remove, replace or reset, as a number or a percentage of the pools' machines. A run that would go
        beyond is refused before it touches anything.
      - Machines that were never finished do not count.
    type: str
  keep_failed:
    description:
      - Keep a machine that could not be made, or did not become ready, for a look at it. The next run takes it up again.
    type: bool
    default: false
  timeout:
    description:
      - Seconds for the whole run.
    type: float
    default: 3600
  lock_timeout:
    description:
      - Seconds to wait for another run that works on one of the same pools.
    type: float
    default: 600
seealso:
  - module: poolwright.virt.vm_pool_info
author:
  - poolwright.virt contributors (@poolwright)
"""

EXAMPLES = r"""
- name: Keep three machines that answer on SSH
  poolwright.virt.vm_pool:
    provider: libvirt
    uri: qemu:///system
    pools:
      - name: ci
        size: 3
        image:
          source: /var/lib/images/debian-13.qcow2
          format: qcow2
        cpus: 1
        memory_mb: 512
        disk:
          backend: qcow2
          size_gb: 10
        networks:
          - network: default
        hostname: "{name}"
        ready:
          check: tcp
          port: 22
          timeout: 300

- name: Keep twenty linked clones of a template on vSphere
  poolwright.virt.vm_pool:
    provider: vsphere
    hostname: vc.example.com
    username: "{{ vcenter_user }}"
    password: "{{ vcenter_password }}"
    ca_path: /etc/ssl/vc.pem
    datacenter: DC0
    pools:
      - name: ci
        size: 20
        template: templates/debian-13
        clone: linked
        folder: pools/ci
        cluster: C0
        datastore: ssd-1
        cpus: 1
        memory_mb: 512
        networks:
          - network: VM Network
        ready:
          timeout: 600

- name: Keep two machines with a file system and swap on disks of their own, that go back to their clean state once they are used up
  poolwright.virt.vm_pool:
    provider: libvirt
    pools:
      - name: jobs
        size: 2
        image:
          source: /var/lib/images/debian-13.qcow2
        memory_mb: 512
        disk:
          backend: flat
        disks:
          - size_gb: 0.1
            content:
              ephemeral: ext4
              label: data
          - size_gb: 0.1
            backend: qcow2
            content:
              swap: true
        reset: snapshot

- name: Look at what a larger pool would take, without doing it
  poolwright.virt.vm_pool:
    provider: dummy
    path: /tmp/pools.db
    pools:
      - name: ci
        size: 20
  check_mode: true
  diff: true

- name: Keep two pools, and never remove more than a quarter of their machines in one run
  poolwright.virt.vm_pool:
    provider: dummy
    path: /tmp/pools.db
    max_delete: 25%
    pools:
      - name: ci
        size: 10
      - name: demo
        size: 2
        on_unhealthy: start

- name: Remove one pool
  poolwright.virt.vm_pool:
    provider: dummy
    path: /tmp/pools.db
    state: absent
    pools:
      - name: demo

- name: Remove every pool
  poolwright.virt.vm_pool:
    provider: dummy
    path: /tmp/pools.db
    state: absent
    all_pools: true
"""

RETURN = r"""
actions:
  description:
    - The plan, in order. In check mode it is what a run would do.
  returned: success, and failure after the plan was made
  type: list
  elements: dict
  sample:
    - {action: create, name: ci-1, pool: ci, reason: the slot is empty, wave: 1}
  contains:
    action:
      description: V(create), V(destroy), V(replace), V(reset), V(start), or V(wait) for a machine that an earlier run left booting.
      type: str
      returned: always
    pool:
      description: The pool.
      type: str
      returned: always
    name:
      description: The machine.
      type: str
      returned: always
    reason:
      description: Why.
      type: str
      returned: always
    wave:
      description: Actions of one wave run side by side. The next wave begins when they have ended.
      type: int
      returned: always
pools:
  description:
    - Each pool by its name, as it stands after the run. In check mode, as it stands now, with the forecast of what would be done.
  returned: success, and failure after the plan was made
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
      created: [ci-1]
      destroyed: []
      replaced: []
      reset: []
      started: []
      finished: []
      failed: []
      untouched: {}
stats:
  description:
    - What the run cost. C(calls) to the provider by name, C(logins), and C(seconds) by phase. Seconds of work done side by side add up.
  returned: success, and failure after the plan was made
  type: dict
  sample:
    calls: {create_vm: 1, vms_in_pool: 2}
    logins: 1
    seconds: {create: 0.41, observe: 0.02, plan: 0.0}
code:
  description:
    - What kind of failure it was. V(incomplete) when some machines failed, V(invalid_spec), V(connection_failed), V(image_refused) and
      others when nothing was touched.
  returned: failure
  type: str
  sample: max_delete
problems:
  description:
    - Every fault of the request, each with its place and remedy.
  returned: when the request is invalid
  type: list
  elements: str
failure:
  description:
    - The failure that kept the run from touching anything, with C(name), C(phase), C(code), C(message) and C(hint).
  returned: failure before anything was touched
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.poolwright.virt.plugins.module_utils.argspec import pool_options, provider_options, required_by_provider, run_options
from ansible_collections.poolwright.virt.plugins.module_utils.pool.request import converge_with
from ansible_collections.poolwright.virt.plugins.module_utils.runner import run_module


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **provider_options(),
            **run_options(),
            "pools": {"type": "list", "elements": "dict", "default": [], "options": pool_options()},
        },
        required_if=required_by_provider(),
        supports_check_mode=True,
    )
    run_module(module, lambda cancel: converge_with(module.params, module.check_mode, cancel))


if __name__ == "__main__":
    main()
