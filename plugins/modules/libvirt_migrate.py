#!/usr/bin/python
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: libvirt_migrate
short_description: Move guests from one KVM host to another
version_added: 0.1.0
description:
  - Moves libvirt domains to another host, live or switched off, with shared disks or with disks that are copied. The two libvirt daemons
    talk to each other; a guest's memory does not pass through this module.
  - Everything is checked on both hosts before anything is touched, and all faults are told at once.
  - Whether storage is shared is tried out and not assumed. A file is made beside the disks and looked for on the target, also in check mode.
  - Disks that are to be copied are made on the target with the same size, format and base. What was made there is removed again if the
    guest does not arrive.
  - A deadline that passes, a signal and a broken link leave the guest running where it was.
  - What a run prepares is noted in the guest's own metadata before it is made. After a run that was killed, the next one sees which host has the
    guest, and cleans up the other.
  - The metadata of a guest moves with it, and with that its membership in a pool. So do its UEFI variables, snapshots that this collection took, and
    secrets of its disks whose value can be had.
extends_documentation_fragment:
  - poolwright.virt.attributes
  - poolwright.virt.attributes.action_group
attributes:
  action_group:
    description: Use C(group/poolwright.virt.libvirt) in C(module_defaults) to set the connection for all modules at once.
    support: full
    membership:
      - poolwright.virt.all
      - poolwright.virt.libvirt
  check_mode:
    support: full
    details:
      - Checks both hosts as a run does, and tells how each disk would move. What a killed run left is told and not mended.
  diff_mode:
    support: full
    details:
      - Shows the guest's host and state, and where its disks are.
  idempotent:
    support: full
    details:
      - A guest that is on the target and not on the source is left alone.
options:
  uri:
    description:
      - The libvirt connection to the host that the guests are on. This module has to run on that host.
    type: str
    default: qemu:///system
  location:
    description:
      - The directory for locks. The default is C(/var/lib/poolwright) for C(qemu:///system), and C(poolwright) below the
        user's data directory otherwise.
    type: path
  name:
    description:
      - The guest to move.
    type: str
  names:
    description:
      - The guests to move, one after the other. One that cannot be moved does not stop the others.
    type: list
    elements: str
  target:
    description:
      - The libvirt connection to the host that the guests go to, as the source host reaches it, such as C(qemu+tls://kvm2/system).
      - A bare host name stands for such a connection by O(transport).
    type: str
    required: true
  transport:
    description:
      - How a guest's memory and disks travel. The default follows from O(target).
      - V(tcp) is not encrypted, and is for a network that only the hosts are on.
      - V(tls) encrypts the memory and the disks, with the certificates that QEMU has on both hosts.
      - V(ssh) sends the memory through libvirt's own connection. Disks cannot be copied that way while the guest runs.
    type: str
    choices: [tcp, tls, ssh]
  migrate_uri:
    description:
      - The address that a guest's memory and disks are sent to, such as C(tcp://10.1.0.2), where they have a network of their own.
    type: str
  mode:
    description:
      - V(live) moves a guest that runs, and refuses others. V(cold) shuts a guest down first, and starts it again on the target.
      - V(auto) moves those that run live and the others switched off.
    type: str
    choices: [auto, live, cold]
    default: auto
  storage:
    description:
      - V(shared) refuses guests that have a disk which is not the same on both hosts.
      - V(copy) refuses guests that have nothing to copy.
      - V(auto) copies the disks that are not shared.
    type: str
    choices: [auto, shared, copy]
    default: auto
  copy_disks:
    description:
      - The devices that may be copied, such as C(vda). A guest with another disk that is not shared is refused, and so is
        one that has a disk of these that is shared. An empty list allows none.
      - The default is all disks that are not shared.
    type: list
    elements: str
  disks:
    description:
      - Disks that are to lie elsewhere, or on another backend, on the target. Only for guests that are moved switched off.
      - The only way for a disk on a block device, which stays on the source.
    type: list
    elements: dict
    default: []
    suboptions:
      target:
        description:
          - The disk's device, such as C(vda).
        type: str
        required: true
      backend:
        description:
          - What it becomes. V(rbd) is written by this host, so both must reach the cluster.
        type: str
        choices: [flat, qcow2, rbd]
        required: true
      location:
        description:
          - The directory on the target, or the pool.
        type: str
        required: true
      name:
        description:
          - Its name there. The default is that of the guest with the device.
        type: str
      conf:
        description:
          - The configuration of the Ceph cluster, the same on both hosts.
        type: path
      user:
        description:
          - The Ceph user, without C(client.).
        type: str
      keyring:
        description:
          - The keyring of that user on this host. libvirt on the target gets the key from it.
        type: path
      secret:
        description:
          - The UUID of the libvirt secret on the target that holds the user's key. With a keyring it is made there.
        type: str
  keep_source_disks:
    description:
      - Whether disks that were copied stay on the source.
    type: bool
    default: false
  undefine_source:
    description:
      - Whether the guest's definition goes from the source. One that stays there is switched off, and must not be started.
      - Disks that were copied go all the same, unless O(keep_source_disks).
    type: bool
    default: true
  persist:
    description:
      - Whether the guest is defined on the target. Without that it vanishes as soon as it stops. Guests that are moved
        switched off always are.
    type: bool
    default: true
  bandwidth_mib:
    description:
      - The most to send in a second, in MiB. It does not hold back what a guest waits for after O(post_copy).
    type: int
  auto_converge:
    description:
      - Slow the guest's processors down as far as it takes to get ahead of its writes.
    type: bool
    default: false
  compress:
    description:
      - Compress the memory pages that are sent again.
    type: bool
    default: false
  post_copy:
    description:
      - Let the guest go on at the target before all of its memory is there, if it has not moved after O(post_copy_after). A
        link that fails after that stops the guest until the next run resumes it.
    type: bool
    default: false
  post_copy_after:
    description:
      - Seconds after which that is done.
    type: float
    default: 60
  max_downtime_ms:
    description:
      - How long the guest may stand still at the end, in milliseconds.
    type: int
  timeout:
    description:
      - Seconds that moving one guest may take.
    type: float
    default: 600
  on_timeout:
    description:
      - What happens to a guest that moves live and has not arrived in that time.
      - V(abort) leaves it running where it is, and fails.
      - V(postcopy) has it go on at the target at once, and needs O(post_copy).
      - V(pause) stops it so that it arrives for sure. It runs again on the target.
    type: str
    choices: [abort, postcopy, pause]
    default: abort
  shutdown_timeout:
    description:
      - Seconds in which a guest has to switch itself off with O(mode=cold).
    type: float
    default: 60
  force:
    description:
      - Whether it is switched off if it does not.
    type: bool
    default: false
requirements:
  - Python 3.9 or newer on the source host
  - libvirt-python
  - qemu-img (for disks that are copied)
seealso:
  - module: poolwright.virt.libvirt_guest
  - module: poolwright.virt.libvirt_guest_info
author:
  - poolwright.virt contributors (@poolwright)
"""

EXAMPLES = r"""
- name: Move a guest while it runs
  poolwright.virt.libvirt_migrate:
    name: web-1
    target: qemu+tls://kvm2/system

- name: Move a busy guest with its disks, within ten minutes or not at all
  poolwright.virt.libvirt_migrate:
    name: db-1
    target: qemu+tcp://kvm2/system
    migrate_uri: tcp://10.77.0.2
    storage: copy
    bandwidth_mib: 400
    auto_converge: true
    timeout: 600

- name: Move a guest that writes faster than the link carries
  poolwright.virt.libvirt_migrate:
    name: cache-1
    target: qemu+tcp://kvm2/system
    post_copy: true
    post_copy_after: 30

- name: Move a guest switched off, its disk from a file to another kind of file
  poolwright.virt.libvirt_migrate:
    name: old-1
    target: qemu+tcp://kvm2/system
    mode: cold
    disks:
      - target: vda
        backend: flat
        location: /var/lib/poolwright/disks

- name: Move several
  poolwright.virt.libvirt_migrate:
    names: [web-2, web-3]
    target: qemu+tcp://kvm2/system
"""

RETURN = r"""
name:
  description: The guest's name.
  returned: success
  type: str
  sample: web-1
uuid:
  description: Its UUID.
  returned: success
  type: str
  sample: 2f1d9d5c-6f0e-5c69-9f52-9d6e4cb5e0a1
state:
  description: Its state on the target. In check mode it is what a run would lead to.
  returned: success
  type: str
  sample: running
mode:
  description: V(live), V(cold), or V(none) for a guest that was on the target already.
  returned: success
  type: str
  sample: live
source:
  description: The host it was on, by its own name.
  returned: success
  type: str
  sample: kvm1
target:
  description: The host it is on.
  returned: success
  type: str
  sample: kvm2
disks:
  description:
    - Its disks. C(how) is V(shared), V(there) for an identical one, V(copied) while the guest ran, V(sent) as a file, or V(converted) to another place.
    - C(sha256) is of disks that were sent or made anew, and read back from the target. It is that of the bytes the guest sees, for a
      qcow2 file that was sent as it is that of the file.
  returned: success
  type: list
  elements: dict
  sample:
    - {target: vda, how: copied, source: /var/lib/poolwright/disks/web-1_root.qcow2, path: /var/lib/poolwright/disks/web-1_root.qcow2,
       format: qcow2, size: 3221225472, base: /var/lib/poolwright/images/debian, sha256: ''}
seconds:
  description: How long it took, from the first check to the end.
  returned: success
  type: float
  sample: 4.2
downtime_ms:
  description: How long the guest stood still, as QEMU measured it. Of a guest that was moved switched off it is the whole time.
  returned: success
  type: int
  sample: 43
transferred_bytes:
  description: Bytes that were sent, memory and disks together.
  returned: success
  type: int
  sample: 81788928
memory_bytes:
  description: Bytes of memory that were sent.
  returned: success
  type: int
  sample: 81788928
disk_bytes:
  description: Bytes of disks that were sent.
  returned: success
  type: int
  sample: 0
recovered:
  description: What was mended after a run that was killed, in words.
  returned: success
  type: list
  elements: str
  sample: []
actions:
  description: What was done, in order. In check mode it is what a run would do.
  returned: success
  type: list
  elements: str
  sample: [migrate, undefine on the source]
guests:
  description: What is returned of each guest, without the diff, in place of all that.
  returned: with O(names)
  type: list
  elements: dict
  sample: []
stats:
  description: What the run cost. C(calls) to libvirt by name, C(logins), and C(seconds) by phase.
  returned: success
  type: dict
  sample:
    calls: {virDomainMigrateToURI3: 1}
    logins: 2
    seconds: {}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.poolwright.virt.plugins.module_utils.migration.options import module_options, module_rules
from ansible_collections.poolwright.virt.plugins.module_utils.migration.request import migrate_with
from ansible_collections.poolwright.virt.plugins.module_utils.runner import run_module


def main() -> None:
    module = AnsibleModule(argument_spec=module_options(), supports_check_mode=True, **module_rules())
    run_module(module, lambda cancel: migrate_with(module.params, module.check_mode, cancel))


if __name__ == "__main__":
    main()
