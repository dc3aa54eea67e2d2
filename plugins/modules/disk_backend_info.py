#!/usr/bin/python
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: disk_backend_info
short_description: Read what is recorded of disks, and what they are made from
version_added: 0.1.0
description:
  - Tells of disks that M(poolwright.virt.disk_backend) made what they were made from, how large they are, and whether they are there.
  - Also tells what the backend keeps of images at the location to make disks from, and which disks stand on it.
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
  backend:
    description:
      - What keeps the disks.
    type: str
    choices: [flat, lvm, ploop, qcow2, rbd]
    required: true
  location:
    description:
      - The backend's place, as M(poolwright.virt.disk_backend) takes it.
    type: str
    required: true
  names:
    description:
      - The disks to tell of.
    type: list
    elements: str
    default: []
  uri:
    description:
      - Not asked for anything. It is here so that a default for all modules can be set.
    type: str
  conf:
    description:
      - The cluster's configuration. For O(backend=rbd).
    type: path
  user:
    description:
      - The cluster's user, without C(client.).
    type: str
  keyring:
    description:
      - The file with that user's key.
    type: path
  secret:
    description:
      - UUID of the libvirt secret that holds that user's key.
    type: str
  timeout:
    description:
      - Seconds for the whole run.
    type: float
    default: 300
requirements:
  - Python 3.9 or newer on the target host
  - lvm2 (for O(backend=lvm)), ceph-common (for O(backend=rbd))
seealso:
  - module: poolwright.virt.disk_backend
author:
  - poolwright.virt contributors (@poolwright)
"""

EXAMPLES = r"""
- name: What the disks of a machine were made from
  poolwright.virt.disk_backend_info:
    backend: flat
    location: /var/lib/poolwright/disks
    names: [db-1_data, db-1_swap]
  register: found

- name: The same data disk elsewhere
  poolwright.virt.disk_backend:
    backend: flat
    location: /var/lib/poolwright/other
    name: db-1_data
    state: identical_to
    like:
      recorded: "{{ found.disks['db-1_data'].recorded }}"
"""

RETURN = r"""
disks:
  description: Each disk by its name.
  returned: success
  type: dict
  sample:
    db-1_swap:
      state: present
      uri: file:///var/lib/poolwright/disks/db-1_swap.raw
      path: /var/lib/poolwright/disks/db-1_swap.raw
      format: raw
      size: 4096
      virtual_size: 536870912
      backing: null
      recorded:
        backend: flat
        location: /var/lib/poolwright/disks
        name: db-1_swap
        path: /var/lib/poolwright/disks/db-1_swap.raw
        format: raw
        size: 536870912
        origin: {content: {kind: swap}, seed: db-1_swap, digest: "blocks-sha256:0000"}
        made: true
  contains:
    state:
      description:
        - V(present) and V(absent). V(unfinished) where a run was killed that made it, V(lost) where it was made and is not there,
          V(unrecorded) where it is there and nothing is recorded of it. The other keys are there where something is recorded.
      type: str
    size:
      description: Bytes that it takes of its storage now. None where it is not there.
      type: int
    uri:
      description: As M(poolwright.virt.disk_backend) returns it.
      type: str
    path:
      description: As M(poolwright.virt.disk_backend) returns it.
      type: str
    format:
      description: As M(poolwright.virt.disk_backend) returns it.
      type: str
    virtual_size:
      description: As M(poolwright.virt.disk_backend) returns it.
      type: int
    backing:
      description: As M(poolwright.virt.disk_backend) returns it.
      type: dict
    recorded:
      description: As M(poolwright.virt.disk_backend) returns it.
      type: dict
bases:
  description:
    - What the backend itself keeps of images there. O(backend=rbd) and O(backend=lvm) with a thin pool do.
      M(poolwright.virt.disk_backend) with C(state=pruned) removes those that nothing stands on.
  returned: success
  type: list
  elements: dict
  sample: [{digest: "sha256:0000", used_by: [web-1_root]}]
  contains:
    digest:
      description: The image's, as the cache names it.
      type: str
    used_by:
      description: Disks, C(disk@snapshot), clones in other pools or in the trash, and clients that have it open.
      type: list
      elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.poolwright.virt.plugins.module_utils.runner import run_module
from ansible_collections.poolwright.virt.plugins.module_utils.storage.info import info_options, read_disks


def main() -> None:
    module = AnsibleModule(argument_spec={**info_options(), "uri": {"type": "str"}}, supports_check_mode=True)
    run_module(module, lambda cancel: read_disks(module.params, cancel))


if __name__ == "__main__":
    main()
