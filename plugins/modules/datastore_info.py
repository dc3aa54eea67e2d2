#!/usr/bin/python
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: datastore_info
short_description: List vSphere datastores
version_added: 0.1.0
description:
  - Lists the datastores of a datacenter, all or those that are named, with their space, their state and the hosts that mount them.
  - Takes two reads, however many datastores and hosts there are.
extends_documentation_fragment:
  - poolwright.virt.attributes
  - poolwright.virt.attributes.action_group
  - poolwright.virt.attributes.info_module
  - poolwright.virt.vsphere
attributes:
  action_group:
    description: Use C(group/poolwright.virt.vsphere) in C(module_defaults) to set the connection for all modules at once.
    support: full
    membership:
      - poolwright.virt.all
      - poolwright.virt.vsphere
options:
  names:
    description:
      - Names or inventory paths. One that does not exist is an error, and so is one that fits several datastores.
    type: list
    elements: str
    default: []
  datastore_regex:
    description:
      - A regular expression that names have to fit from their start. Mutually exclusive with O(names).
    type: str
  datastore_cluster:
    description:
      - Only the members of this datastore cluster. Mutually exclusive with O(names).
    type: str
seealso:
  - module: poolwright.virt.datastore_path
author:
  - poolwright.virt contributors (@poolwright)
"""

EXAMPLES = r"""
- name: List all datastores
  poolwright.virt.datastore_info:
    hostname: vc.example.com
    username: "{{ vcenter_user }}"
    password: "{{ vcenter_password }}"
    ca_path: /etc/ssl/vc.pem
    datacenter: DC0
  register: all

- name: Look at some of them
  poolwright.virt.datastore_info:
    hostname: vc.example.com
    username: "{{ vcenter_user }}"
    password: "{{ vcenter_password }}"
    ca_path: /etc/ssl/vc.pem
    datacenter: DC0
    datastore_regex: ssd-
"""

RETURN = r"""
datastores:
  description: The datastores, by their paths.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      returned: always
    path:
      description: Its inventory path.
      type: str
      returned: always
    moid:
      description: Its id.
      type: str
      returned: always
    type:
      description: Such as V(VMFS), V(NFS), V(NFS41), V(vsan), V(VVOL) or V(OTHER).
      type: str
      returned: always
    capacity:
      description: Bytes in all.
      type: int
      returned: always
    free:
      description: Bytes that are free.
      type: int
      returned: always
    uncommitted:
      description: Bytes that thin disks on it may still grow by.
      type: int
      returned: always
    accessible:
      description: Whether some host has access to it.
      type: bool
      returned: always
    maintenance:
      description: V(normal), V(enteringMaintenance) or V(inMaintenance).
      type: str
      returned: always
    datacenter:
      description: The path of its datacenter.
      type: str
      returned: always
    cluster:
      description: The datastore cluster that it is in, or an empty string.
      type: str
      returned: always
    url:
      description: Its URL.
      type: str
      returned: always
    hosts:
      description: The hosts that mount it.
      type: list
      elements: dict
      returned: always
      contains:
        name:
          description: The host's name.
          type: str
          returned: always
        writable:
          description: Whether it is mounted, accessible and not read-only there.
          type: bool
          returned: always
  sample:
    - name: ssd-1
      path: DC0/datastore/ssd-1
      moid: datastore-46
      type: VMFS
      capacity: 1099511627776
      free: 549755813888
      uncommitted: 0
      accessible: true
      maintenance: normal
      datacenter: DC0
      cluster: ''
      url: ds:///vmfs/volumes/5f3e/
      hosts:
        - {name: esx-1, writable: true}
stats:
  description:
    - What the reading cost. C(calls) to vCenter by name, C(logins), and C(seconds) by phase.
  returned: success
  type: dict
  sample:
    calls: {RetrievePropertiesEx: 2}
    logins: 1
    seconds: {look: 0.02}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.poolwright.virt.plugins.module_utils.argspec import vsphere_options
from ansible_collections.poolwright.virt.plugins.module_utils.runner import run_module
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_listing import list_with


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **vsphere_options(),
            "names": {"type": "list", "elements": "str", "default": []},
            "datastore_regex": {"type": "str"},
            "datastore_cluster": {"type": "str"},
        },
        mutually_exclusive=[("names", "datastore_regex", "datastore_cluster")],
        supports_check_mode=True,
    )
    run_module(module, lambda _cancel: list_with(module.params))


if __name__ == "__main__":
    main()
