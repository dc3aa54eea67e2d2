#!/usr/bin/python
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: datastore_path
short_description: Manage files, folders and virtual disks on vSphere datastores
version_added: 0.1.0
description:
  - Uploads, downloads, copies, moves and removes files on a datastore, makes folders, and tells what is there.
  - A virtual disk is named by its descriptor, such as C(web-1.vmdk), and always goes as a whole, with its extents.
  - What is uploaded or copied is made under a name of its own beside its place, checked, and moved there in one step. So nobody sees
    half a file, and what is there stays until it is replaced. What a run that was killed left, a further run for the same path removes.
  - Folders above a path are made as needed.
extends_documentation_fragment:
  - poolwright.virt.attributes
  - poolwright.virt.attributes.action_group
  - poolwright.virt.vsphere
attributes:
  check_mode:
    support: full
    details:
      - What is there is compared as in a run, so with O(compare=content) a file of the same size is read. No call is made that changes anything.
  diff_mode:
    support: full
  idempotent:
    support: full
  action_group:
    description: Use C(group/poolwright.virt.vsphere) in C(module_defaults) to set the connection for all modules at once.
    support: full
    membership:
      - poolwright.virt.all
      - poolwright.virt.vsphere
options:
  path:
    description:
      - The path on the datastore, written as vSphere does, such as C([ssd-1] iso/debian.iso).
      - It is always the whole path. A folder that is there is never taken as one to put something into.
    type: str
    required: true
  state:
    description:
      - V(file) uploads the local file O(src), unless the same is there.
      - V(directory) makes a folder.
      - V(absent) removes a file, a virtual disk, or a folder. The root of a datastore is refused.
      - V(copied) copies O(src), another path on a datastore, unless the same is there.
      - V(moved) moves O(src). Nothing at O(src) and something at O(path) is what a move leaves, so then nothing changes.
      - V(downloaded) fetches the file to the local path O(src), unless the same is there. A download that broke off is gone on with.
        Of a virtual disk it is just the file that is named, be it the descriptor or an extent.
      - V(stat) only looks.
    type: str
    choices: [file, directory, absent, copied, moved, downloaded, stat]
    default: file
  src:
    description:
      - For O(state=file), the local file. For O(state=copied) and O(state=moved), the path on the datastore that it comes from.
        For O(state=downloaded), the local path to write to; in a directory, the file keeps its name.
      - Local paths are those of the host that the module runs on. On a local connection, relative ones start from the playbook's directory.
    type: str
  src_datacenter:
    description:
      - The datacenter of O(src), where it is another than O(datacenter). For O(state=copied) and O(state=moved).
    type: str
  checksum:
    description:
      - The SHA-256 that the file has to have, as V(sha256:) and 64 hexadecimal digits. For O(state=file) it is that of O(src), and nothing is
        sent if it is another. For O(state=downloaded) it is that of what arrives, and nothing is put in place if it is another.
      - With O(state=downloaded), a local file that has it is taken to be the same, with no look at the datastore's.
    type: str
  compare:
    description:
      - When two files count as the same. Datastores know no hashes, so with V(content) files of the same size are read to compare them.
      - V(size) is enough for what never changes under its name.
      - Virtual disks are compared by their capacity, folders by the names and sizes in them.
    type: str
    choices: [content, size]
    default: content
  force:
    description:
      - For O(state=copied) and O(state=moved), replace another file or disk that is at O(path).
      - For O(state=file), replace a virtual disk that is at O(path). A file is replaced without.
      - For O(state=file), O(state=absent) and O(state=moved), do so even if a registered machine uses it, or if it is a single extent of a
        virtual disk. vCenter itself still refuses what is locked.
    type: bool
    default: false
  recurse:
    description:
      - For O(state=absent) and O(state=copied), take a folder with all that is in it. Without, only an empty one is taken.
      - For O(state=stat), list all that is below a folder.
    type: bool
    default: false
  mode:
    description:
      - The mode of the local file, in octal digits. For O(state=downloaded).
    type: str
    default: '0644'
  timeout:
    description:
      - Seconds for the whole run.
    type: float
    default: 3600
seealso:
  - module: poolwright.virt.datastore_info
author:
  - poolwright.virt contributors (@poolwright)
"""

EXAMPLES = r"""
- name: Work on one vCenter
  module_defaults:
    group/poolwright.virt.vsphere:
      hostname: vc.example.com
      username: "{{ vcenter_user }}"
      password: "{{ vcenter_password }}"
      ca_path: /etc/ssl/vc.pem
      datacenter: DC0
  block:
    - name: Have an installation image on a datastore
      poolwright.virt.datastore_path:
        path: "[ssd-1] iso/debian.iso"
        src: files/debian.iso
        state: file

    - name: Have a folder
      poolwright.virt.datastore_path:
        path: "[ssd-1] backup/web"
        state: directory

    - name: Copy a virtual disk with its extents
      poolwright.virt.datastore_path:
        path: "[ssd-1] backup/web/disk1.vmdk"
        src: "[ssd-1] app-1/disk1.vmdk"
        state: copied

    - name: Give it another name
      poolwright.virt.datastore_path:
        path: "[ssd-1] backup/web/monday.vmdk"
        src: "[ssd-1] backup/web/disk1.vmdk"
        state: moved

    - name: Fetch the image, and only accept the right one
      poolwright.virt.datastore_path:
        path: "[ssd-1] iso/debian.iso"
        src: /tmp/debian.iso
        checksum: "sha256:{{ lookup('ansible.builtin.file', 'files/debian.iso', rstrip=false) | hash('sha256') }}"
        state: downloaded

    - name: See all that is in a folder
      poolwright.virt.datastore_path:
        path: "[ssd-1] backup"
        state: stat
        recurse: true
      register: backup

    - name: Remove a folder with all that is in it
      poolwright.virt.datastore_path:
        path: "[ssd-1] backup"
        state: absent
        recurse: true
"""

RETURN = r"""
path:
  description: The path on the datastore.
  returned: success
  type: str
  sample: '[ssd-1] iso/debian.iso'
actions:
  description: What was done, in order. In check mode, what a run would do.
  returned: success
  type: list
  elements: str
  sample: ['make the folder [ssd-1] iso', 'upload files/debian.iso to [ssd-1] iso/debian.iso']
size:
  description: Bytes of the file.
  returned: for files and disks that are there
  type: int
  sample: 790626304
checksum:
  description: The SHA-256 of the file.
  returned: where its bytes were read or sent
  type: str
  sample: sha256:0b813535dd76f2ea96eff908c65e8521512c92a0631fd41c95756ffd7d4896dc
src:
  description: The local file.
  returned: O(state=downloaded)
  type: str
  sample: /tmp/debian.iso
resumed:
  description: Bytes that were there from an earlier attempt.
  returned: O(state=downloaded), where something was fetched
  type: int
  sample: 0
exists:
  description: Whether there is something.
  returned: O(state=stat)
  type: bool
stat:
  description: What is there.
  returned: O(state=stat), where there is something
  type: dict
  contains:
    path:
      description: The path.
      type: str
      returned: always
    kind:
      description: V(file), V(folder), V(disk), V(extent), V(iso), V(floppy), V(config), V(template), V(log), V(nvram) or V(snapshot).
      type: str
      returned: always
    size:
      description: Bytes that it takes.
      type: int
      returned: always
    modified:
      description: When it was changed last, as ISO 8601.
      type: str
      returned: always
    owner:
      description: Its owner, where the datastore has such.
      type: str
      returned: always
    capacity:
      description: Bytes that the disk has for a machine.
      type: int
      returned: for virtual disks
    thin:
      description: Whether the disk is thin; none where that is not known.
      type: bool
      returned: for virtual disks
    adapter:
      description: The adapter that the descriptor names.
      type: str
      returned: for virtual disks
    disk_type:
      description: The type that the descriptor names.
      type: str
      returned: for virtual disks
    uuid:
      description: The disk's UUID.
      type: str
      returned: for virtual disks
    children:
      description: All that is below the folder, with the first five of these keys each.
      type: list
      elements: dict
      returned: for folders with O(recurse=true)
  sample:
    path: '[ssd-1] iso/debian.iso'
    kind: iso
    size: 790626304
    modified: '2026-01-31T12:00:00+00:00'
    owner: ''
diff:
  description: The state of the path before and after. For O(state=downloaded), of the local file; for O(state=copied) and O(state=moved), of both.
  returned: success
  type: dict
  sample:
    before: {path: '[ssd-1] iso/debian.iso', state: absent}
    after: {path: '[ssd-1] iso/debian.iso', state: file, size: 790626304}
stats:
  description:
    - What the run cost. C(calls) to vCenter by name, C(logins), and C(seconds) by phase. C(compare) is within C(look), and C(transfer),
      C(copy) and C(move) are within C(change).
  returned: success
  type: dict
  sample:
    calls: {Login: 1, PUT /folder: 1}
    logins: 1
    seconds: {look: 0.03, transfer: 4.1, change: 4.2}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.poolwright.virt.plugins.module_utils.argspec import vsphere_options
from ansible_collections.poolwright.virt.plugins.module_utils.runner import run_module
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states.run import run_with


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **vsphere_options(),
            "path": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["file", "directory", "absent", "copied", "moved", "downloaded", "stat"], "default": "file"},
            "src": {"type": "str"},
            "src_datacenter": {"type": "str"},
            "checksum": {"type": "str"},
            "compare": {"type": "str", "choices": ["content", "size"], "default": "content"},
            "force": {"type": "bool", "default": False},
            "recurse": {"type": "bool", "default": False},
            "mode": {"type": "str", "default": "0644"},
            "timeout": {"type": "float", "default": 3600},
        },
        supports_check_mode=True,
    )
    run_module(module, lambda cancel: run_with(module.params, module.check_mode, cancel))


if __name__ == "__main__":
    main()
