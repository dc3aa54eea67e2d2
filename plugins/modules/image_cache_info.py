#!/usr/bin/python
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_cache_info
short_description: List the images in a cache
version_added: 0.1.0
description:
  - Lists the images that M(poolwright.virt.image_cache) keeps in a directory of a KVM host, and who stands on each, or those that it keeps
    on a datastore.
  - Reads the records beside the images. No image is opened.
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
      - poolwright.virt.libvirt
      - poolwright.virt.vsphere
options:
  path:
    description:
      - The directory of the cache, on the host that the module runs on. Exactly one of O(path) and O(datastore) is needed.
    type: path
  datastore:
    description:
      - The datastore, by name or inventory path. It needs O(hostname).
    type: str
  disk_directories:
    description:
      - Directories where disks may stand on images, with all below them. The default is the directory that O(path) is in.
      - Only with O(path).
    type: list
    elements: path
  uri:
    description:
      - The libvirt whose domains' disks may stand on images. The default is C(qemu:///system) where a libvirt daemon serves this host. An
        empty one asks none.
      - Only with O(path).
    type: str
  timeout:
    description:
      - Seconds for the whole run.
    type: float
    default: 600
requirements:
  - libvirt-python where a libvirt daemon serves the host
author:
  - poolwright.virt contributors (@poolwright)
seealso:
  - module: poolwright.virt.image_cache
"""

EXAMPLES = r"""
- name: List the images on a KVM host
  poolwright.virt.image_cache_info:
    path: /var/lib/poolwright/images
  register: cached

- name: List the images on a datastore
  poolwright.virt.image_cache_info:
    hostname: vc.example.com
    username: "{{ vcenter_user }}"
    password: "{{ vcenter_password }}"
    ca_path: /etc/ssl/vc.pem
    datacenter: DC0
    datastore: LocalDS_0
"""

RETURN = r"""
cache:
  description: The directory of the cache.
  returned: success, with O(path)
  type: str
  sample: /var/lib/poolwright/images
datastore:
  description: The datastore.
  returned: success, with O(datastore)
  type: str
  sample: LocalDS_0
images:
  description: The images, by their paths.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: The image's file, or its disk or ISO image on the datastore.
      type: str
      returned: always
    digest:
      description: What it is known by, the checksum of the file as it came. Empty for what was copied from a datastore.
      type: str
      returned: always
    format:
      description: What the file is. On a datastore, what it was.
      type: str
      returned: always
    converted_from:
      description: What the file was before it was converted. None for one that is as it came.
      type: str
      returned: with O(path)
    compression:
      description: How the file was compressed when it came, V(none) for not.
      type: str
      returned: with O(path)
    size:
      description: Bytes of the file. On a datastore, of the file that was fetched.
      type: int
      returned: always
    virtual_size:
      description: Bytes of the disk, as its guest sees it.
      type: int
      returned: always
    source:
      description: Where it came from, without credentials.
      type: str
      returned: always
    pinned:
      description: Whether it is never removed by ageing.
      type: bool
      returned: always
    last_used:
      description: When it was used last, in UTC.
      type: str
      returned: always
    fetched:
      description: When it came, in UTC.
      type: str
      returned: with O(path)
    used_by:
      description: Who stands on it, in words. Disks, domains, processes and loop devices.
      type: list
      elements: str
      returned: with O(path)
    disk_type:
      description: How the bits reached the datastore.
      type: str
      returned: with O(datastore)
    adapter_type:
      description: The controller that the disk is for.
      type: str
      returned: with O(datastore)
    datastore_path:
      description: The same as the path.
      type: str
      returned: with O(datastore)
  sample:
    - path: /var/lib/poolwright/images/sha256/3a7b2f0c9d8e1f6a5b4c3d2e1f0a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a.qcow2
      digest: sha256:3a7b2f0c9d8e1f6a5b4c3d2e1f0a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a
      format: qcow2
      converted_from:
      compression: none
      size: 412090368
      virtual_size: 21474836480
      source: https://images.example.com/debian-13.qcow2
      pinned: false
      last_used: '2026-01-31T12:00:00Z'
      fetched: '2026-01-30T12:00:00Z'
      used_by: [domain web-1]
stats:
  description: What the run cost. C(calls) by name, C(logins), and C(seconds) by phase.
  returned: success
  type: dict
  sample:
    calls: {virConnectGetAllDomainStats: 1}
    logins: 1
    seconds: {look up users: 0.02}
code:
  description: What kind of failure it was, such as V(invalid_spec), V(incomplete_answer) or V(not_found).
  returned: failure
  type: str
  sample: not_found
failure:
  description: The failure, with C(name), C(phase), C(code), C(message) and C(hint).
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.poolwright.virt.plugins.module_utils.argspec import vsphere_options
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.image_requests import list_files
from ansible_collections.poolwright.virt.plugins.module_utils.runner import run_module
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.request import list_images


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **vsphere_options(),
            "path": {"type": "path"},
            "datastore": {"type": "str"},
            "disk_directories": {"type": "list", "elements": "path"},
            "uri": {"type": "str"},
            "timeout": {"type": "float", "default": 600},
        },
        required_one_of=[("path", "datastore")],
        mutually_exclusive=[("path", "datastore")],
        supports_check_mode=True,
    )
    find = list_files if module.params["path"] is not None else list_images
    run_module(module, lambda cancel: find(module.params, cancel))


if __name__ == "__main__":
    main()
