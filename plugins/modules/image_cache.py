#!/usr/bin/python
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_cache
short_description: Keep images where machines are made from them
version_added: 0.1.0
description:
  - Brings an image to a directory of a KVM host, or to a datastore of vSphere, once, and keeps it there for all machines that are made
    from it later.
  - An image is known by its checksum. A source without one is looked at in each run, and brought again when it has changed.
  - What comes from outside is inspected before anything of it is sent on. It is refused where it names other files, is damaged, or is not
    what it was said to be.
  - Several controllers may work on one datastore. The same image is brought once, and appears only when it is complete. What killed
    runs left is removed by the next one.
  - With O(path) the images are files below that directory, where overlays stand on them. With O(datastore) they are disks in the folder
    C(poolwright-cache) of the datastore. Nothing else is touched.
extends_documentation_fragment:
  - poolwright.virt.attributes
  - poolwright.virt.attributes.action_group
  - poolwright.virt.vsphere
attributes:
  check_mode:
    support: full
    details:
      - A source without a checksum that was seen before is asked whether it has changed, and read where it cannot tell. No call is made
        that changes anything.
      - An image that is not there yet is not fetched, so whether it would be refused is not known.
  diff_mode:
    support: full
  idempotent:
    support: full
    details:
      - That an image was used is recorded each time. This is not counted as a change.
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
      - The directory of the cache, on the host that the module runs on. It is made when it is missing. Exactly one of O(path) and
        O(datastore) is needed.
    type: path
  datastore:
    description:
      - The datastore, by name or inventory path, as an alternative to O(path). It needs O(hostname).
    type: str
  state:
    description:
      - V(present) has the image there, and not pinned.
      - V(pinned) has it there, and never removed by O(state=aged).
      - V(absent) removes it with all its bases, or with all that was converted from it. It is refused while a machine stands on it, and for a
        pinned image without O(force).
      - V(aged) on a datastore marks the images that no machine uses, and removes those marked for longer than O(max_unused). An image that
        is used in between, is pinned, or has child disks stays.
      - V(aged) with O(path) removes the images that were last used longer than O(max_unused) ago. An image that is pinned, or that a disk,
        a domain or a process stands on, stays, and its time begins when it no longer is in use.
    type: str
    choices: [present, pinned, absent, aged]
    default: present
  source:
    description:
      - Where the image is. An C(http), C(https) or C(file) URL, an absolute path on the host that the module runs on, or with O(datastore)
        what vSphere has already, as C([datastore] path).
      - With O(path), a URL or path that ends in a slash is a directory of images, or another host's cache. The image is the one in it that
        has the O(checksum), by its place in a cache, else by the directory's C(SHA256SUMS) or C(SHA512SUMS).
      - A transfer over the web that breaks is taken up again from where it broke, if the server can do so and still has the same version.
      - Files that an OVF descriptor refers to are looked for beside it.
    type: str
  checksum:
    description:
      - What the file has to be, as V(sha256:) or V(sha512:) and hexadecimal digits. Of an OVF package it is that of the descriptor; its
        manifest, where there is one, has those of the other files.
      - Not for what is on a datastore.
      - With O(path), also the URL or absolute path of a file with checksums as C(sha256sum) writes it. The line counts that names the file
        that O(source) ends in. It is read in each run.
      - Of a compressed file it is the checksum of the file as it is fetched.
      - Of a V(vmdk) of several files it is that of the descriptor and all of them, joined in the order in which the descriptor names them.
    type: str
  format:
    description:
      - What the file is; of a compressed one, what is in it. The default goes by the end of the source's name. A file that is something
        else is refused.
      - With O(path), one of V(qcow2), V(raw), V(vmdk), V(vhdx) and V(vdi). A V(vmdk) of several files is named by its descriptor, and becomes
        one file.
      - With O(datastore), any but V(vdi).
    type: str
    choices: [vmdk, ova, ovf, iso, qcow2, raw, vhdx, vdi]
  compression:
    description:
      - How the file is compressed. It is unpacked while it comes. The default goes by the end of the source's name (C(.gz), C(.xz),
        C(.zst)).
      - Only with O(path).
    type: str
    choices: [none, gzip, xz, zstd]
  convert_to:
    description:
      - Have the image in this format. It is converted once, and kept beside the file that came under the same digest.
      - Only with O(path).
    type: str
    choices: [qcow2, raw]
  max_size_gb:
    description:
      - The most GiB that the image's disk may have, and that a compressed file may become. A larger one is refused.
      - Only with O(path).
    type: float
    default: 1024
  disk_directories:
    description:
      - Directories where disks may stand on images, with all below them. O(state=aged) and O(state=absent) look there.
      - The default is the directory that O(path) is in. Those in which M(poolwright.virt.disk_backend) made disks are looked into besides.
      - Only with O(path).
    type: list
    elements: path
  uri:
    description:
      - The libvirt whose domains' disks may stand on images. O(state=aged) and O(state=absent) ask it, and fail where it does not answer.
      - The default is C(qemu:///system) where a libvirt daemon serves this host. An empty one asks none.
      - Only with O(path).
    type: str
  disk_type:
    description:
      - How the bits lie in a V(vmdk) or V(raw) file. The default goes by the header of the file, and one that says otherwise is refused.
      - With V(preallocated), V(thick), V(thin) or V(eagerZeroedThick) the file is the disk byte by byte, such as a C(-flat.vmdk), and the
        disk on the datastore is of this type.
    type: str
    choices: [sparse, preallocated, thin, thick, eagerZeroedThick, streamOptimized]
  adapter_type:
    description:
      - The controller that the disk is for. The default is what an OVF descriptor or a disk on a datastore says, else V(lsiLogic).
    type: str
    choices: [lsiLogic, lsiLogicsas, busLogic, paraVirtual, ide]
  size_gb:
    description:
      - Also have a base of this size in GiB there, for child disks. An image that is larger is refused.
    type: float
  force:
    description:
      - With O(state=absent), also remove a pinned image. What a machine stands on is never removed.
    type: bool
    default: false
  max_unused:
    description:
      - For O(state=aged), how long an image may be unused, such as V(7d), V(12h), V(30m), or a number of seconds.
    type: str
    default: 7d
  timeout:
    description:
      - Seconds for the whole run, waiting for another that brings the same image included.
    type: float
    default: 3600
requirements:
  - oslo.utils 7.4 or newer, below 10.1
  - qemu-img, on a datastore for images in the formats qcow2, vhdx and raw only
  - zstd for images compressed with it
  - libvirt-python where a libvirt daemon serves the host, for O(state=aged) and O(state=absent)
author:
  - poolwright.virt contributors (@poolwright)
seealso:
  - module: poolwright.virt.datastore_path
  - module: poolwright.virt.image_cache_info
"""

EXAMPLES = r"""
- name: Have an image on a KVM host, unpacked and as raw
  poolwright.virt.image_cache:
    path: /var/lib/poolwright/images
    source: https://images.example.com/debian-13.qcow2.xz
    checksum: https://images.example.com/SHA256SUMS
    format: qcow2
    convert_to: raw

- name: Keep an image of a KVM host however long it is unused
  poolwright.virt.image_cache:
    path: /var/lib/poolwright/images
    source: /srv/images/debian-13.qcow2
    state: pinned

- name: Take from a KVM host's cache what nobody has used for a week
  poolwright.virt.image_cache:
    path: /var/lib/poolwright/images
    state: aged
    max_unused: 7d

- name: Work on one vCenter
  module_defaults:
    group/poolwright.virt.vsphere:
      hostname: vc.example.com
      username: "{{ vcenter_user }}"
      password: "{{ vcenter_password }}"
      ca_path: /etc/ssl/vc.pem
      datacenter: DC0
  block:
    - name: Have an image on a datastore, and a base of 20 GiB for linked clones
      poolwright.virt.image_cache:
        datastore: LocalDS_0
        source: https://images.example.com/debian-13.qcow2
        checksum: sha256:3a7b2f0c9d8e1f6a5b4c3d2e1f0a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a
        size_gb: 20

    - name: Keep an image however long it is unused
      poolwright.virt.image_cache:
        datastore: LocalDS_0
        source: /srv/images/appliance.ova
        state: pinned

    - name: Take a disk that vSphere has already
      poolwright.virt.image_cache:
        datastore: LocalDS_0
        source: "[LocalDS_0] templates/debian-13/debian-13.vmdk"

    - name: Remove what nobody has used for a week
      poolwright.virt.image_cache:
        datastore: LocalDS_0
        state: aged
        max_unused: 7d

    - name: Remove an image
      poolwright.virt.image_cache:
        datastore: LocalDS_0
        source: https://images.example.com/debian-13.qcow2
        checksum: sha256:3a7b2f0c9d8e1f6a5b4c3d2e1f0a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a
        state: absent
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
  sample: ssd-1
path:
  description: The image's file, with O(convert_to) the converted one. On a datastore the disk or the ISO image, with O(size_gb) the base of that size.
  returned: when the image is there
  type: str
  sample: '[ssd-1] poolwright-cache/images/sha256-3a7b2f0c9d8e1f6a5b4c3d2e1f0a9b8c7d6e5f4a-qcow2/3a7b2f0c9d8e.20.vmdk'
datastore_path:
  description: The same as RV(path).
  returned: when the image is there, with O(datastore)
  type: str
  sample: '[ssd-1] poolwright-cache/images/sha256-3a7b2f0c9d8e1f6a5b4c3d2e1f0a9b8c7d6e5f4a-qcow2/3a7b2f0c9d8e.20.vmdk'
digest:
  description:
    - What the image is known by, the checksum of the file as it came. Of an OVF package it is of all its files. Empty for what was copied
      from a datastore.
  returned: when the image is there
  type: str
  sample: sha256:3a7b2f0c9d8e1f6a5b4c3d2e1f0a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a
format:
  description: What the file was. With O(path), what the file is.
  returned: when the image is there
  type: str
  sample: qcow2
converted_from:
  description: What the file was before it was converted. None for one that is as it came.
  returned: when the image is there, with O(path)
  type: str
  sample: vmdk
compression:
  description: How the file was compressed when it came, V(none) for not.
  returned: when the image is there, with O(path)
  type: str
  sample: xz
fetched:
  description: When it came, in UTC.
  returned: when the image is there, with O(path)
  type: str
  sample: '2026-01-31T12:00:00Z'
disk_type:
  description: How the bits reached the datastore. Empty for ISO images.
  returned: when the image is there, with O(datastore)
  type: str
  sample: streamOptimized
adapter_type:
  description: The controller that the disk is for. Empty for ISO images.
  returned: when the image is there, with O(datastore)
  type: str
  sample: lsiLogic
size:
  description: Bytes of the file that was fetched. With O(path), of the file at RV(path).
  returned: when the image is there
  type: int
  sample: 412090368
virtual_size:
  description: Bytes of the disk, as its guest sees it.
  returned: when the image is there
  type: int
  sample: 21474836480
source:
  description: Where it came from, without credentials.
  returned: when the image is there
  type: str
  sample: https://images.example.com/debian-13.qcow2
pinned:
  description: Whether it is never removed by O(state=aged).
  returned: when the image is there
  type: bool
  sample: false
last_used:
  description: When it was used last, in UTC.
  returned: when the image is there
  type: str
  sample: '2026-01-31T12:00:00Z'
removed:
  description: Images that were removed, by their paths or folders. In check mode, those that would be.
  returned: O(state=aged), and O(state=absent) with O(path)
  type: list
  elements: str
  sample: ['[ssd-1] poolwright-cache/images/sha256-3a7b2f0c9d8e1f6a5b4c3d2e1f0a9b8c7d6e5f4a-qcow2']
kept:
  description: Images that were kept, each with the reason.
  returned: O(state=aged) with O(path)
  type: dict
  sample:
    /var/lib/poolwright/images/sha256/3a7b2f0c9d8e1f6a5b4c3d2e1f0a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a.qcow2: in use by domain web-1
marked:
  description: Images that were marked as unused.
  returned: O(state=aged) with O(datastore)
  type: list
  elements: str
  sample: []
cleared:
  description: Images whose marks were taken away, as they are used or pinned.
  returned: O(state=aged) with O(datastore)
  type: list
  elements: str
  sample: []
stats:
  description: What the run cost. C(calls) to vCenter by name, C(logins), and C(seconds) by phase.
  returned: success
  type: dict
  sample:
    calls: {MakeDirectory: 1, SearchDatastoreSubFolders_Task: 1}
    logins: 1
    seconds: {look up: 0.12}
code:
  description: What kind of failure it was, such as V(invalid_spec), V(image_refused), V(checksum_mismatch), V(busy) or V(not_found).
  returned: failure
  type: str
  sample: image_refused
problems:
  description: Every fault of the request.
  returned: when the request is invalid
  type: list
  elements: str
failure:
  description: The failure, with C(name), C(phase), C(code), C(message) and C(hint).
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.poolwright.virt.plugins.module_utils.argspec import vsphere_options
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.image_requests import keep_files
from ansible_collections.poolwright.virt.plugins.module_utils.runner import run_module
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.request import keep_images


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **vsphere_options(),
            "path": {"type": "path"},
            "datastore": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "pinned", "absent", "aged"], "default": "present"},
            "source": {"type": "str"},
            "checksum": {"type": "str"},
            "format": {"type": "str", "choices": ["vmdk", "ova", "ovf", "iso", "qcow2", "raw", "vhdx", "vdi"]},
            "compression": {"type": "str", "choices": ["none", "gzip", "xz", "zstd"]},
            "convert_to": {"type": "str", "choices": ["qcow2", "raw"]},
            "disk_type": {"type": "str", "choices": ["sparse", "preallocated", "thin", "thick", "eagerZeroedThick", "streamOptimized"]},
            "adapter_type": {"type": "str", "choices": ["lsiLogic", "lsiLogicsas", "busLogic", "paraVirtual", "ide"]},
            "size_gb": {"type": "float"},
            "max_size_gb": {"type": "float", "default": 1024},
            "disk_directories": {"type": "list", "elements": "path"},
            "uri": {"type": "str"},
            "force": {"type": "bool", "default": False},
            "max_unused": {"type": "str", "default": "7d"},
            "timeout": {"type": "float", "default": 3600},
        },
        required_if=[("state", state, ["source"]) for state in ("present", "pinned", "absent")],
        required_one_of=[("path", "datastore")],
        mutually_exclusive=[("path", "datastore")],
        supports_check_mode=True,
    )
    keep = keep_files if module.params["path"] is not None else keep_images
    run_module(module, lambda cancel: keep(module.params, module.check_mode, cancel))


if __name__ == "__main__":
    main()
