#!/usr/bin/python
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: disk_backend
short_description: Keep disks as described, on any storage
version_added: 0.1.0
description:
  - Makes disks from an image, from a described content, or blank. Grows them, removes them, and makes the same disk again elsewhere.
  - A disk is described by what it is. How it is made (overlay, clone, copy) is up to its backend.
  - What was made is recorded beside the disk. In its directory, in the tags of its volume group, or as an object of its pool. The record is
    found from every host that reaches the disk, and moves with the storage. Nothing on a disk is looked at again.
  - A disk that is otherwise than asked for is never changed behind its owner's back. It grows in place. A shrink and another image or content
    are refused, except with O(recreate).
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
      - Predicts what the run does. The size of an image is not known before it was fetched or unpacked, so it is not told of a disk that is made from one.
  diff_mode:
    support: full
    details:
      - Shows in plain words what is recorded of a disk before and after.
  idempotent:
    support: full
options:
  backend: &backend
    description:
      - What keeps the disk. V(flat) is a raw file, V(qcow2) a file that stands on the cached image, V(ploop) a directory as Virtuozzo has it,
        V(lvm) a logical volume, V(rbd) an image in a Ceph cluster.
    type: str
    choices: [flat, lvm, ploop, qcow2, rbd]
  location: &location
    description:
      - The backend's place. An absolute path of a directory (O(backend=flat), O(backend=qcow2), O(backend=ploop)), a volume group or C(group/thin-pool)
        (O(backend=lvm)), a pool or C(pool/namespace) (O(backend=rbd)).
    type: str
  name: &name
    description:
      - The disk's name there.
    type: str
  image: &image
    description:
      - The image that the disk is made from. It is fetched once into a cache, and inspected before any tool opens it.
    type: dict
    suboptions:
      source:
        description:
          - An C(http), C(https) or C(file) URL, or an absolute path on the host. One that ends in C(/) is a directory with images, another cache perhaps.
        type: str
        required: true
      checksum:
        description:
          - C(sha256:HEX) or C(sha512:HEX) of the file as it is fetched, or URL or path of a file with checksums, such as C(SHA256SUMS).
          - An image with a checksum is not asked for again once it is in the cache.
        type: str
      format:
        description:
          - What the file is said to be. It is refused if it is something else. All but V(qcow2) and V(raw) are converted to qcow2 once, in the cache.
        type: str
        choices: [qcow2, raw, vmdk, vhdx, vdi]
        default: qcow2
      compression:
        description:
          - How the file is compressed. The default goes by the end of its name.
        type: str
        choices: [none, gzip, xz, zstd]
  content: &content
    description:
      - What is on a disk that is made without an image. V(blank), or one of these.
      - "C({ephemeral: ext4}) is an empty file system: C(ext2), C(ext3), C(ext4), C(vfat) or C(xfs)."
      - "C({swap: true}) is a swap space."
      - "C({directory: /path, as: iso9660}) is a copy of a tree, as an ISO image (the default) or as C(ext2), C(ext3) or C(ext4). It needs no O(size_gb)."
      - Each takes C(label) as well. IDs in the contents follow from O(name) and times are fixed, so the same description gives the same bytes.
    type: raw
  size_gb: &size_gb
    description:
      - The size in GiB. A larger one grows the disk. The default is that of the image or of the directory.
      - Alone, it makes a blank disk.
    type: float
  full: &full
    description:
      - Copy the image in place of standing on it.
    type: bool
    default: false
  preallocation: &preallocation
    description:
      - What is allocated when the disk is made. For O(backend=flat), and for O(backend=qcow2) with O(full) or O(extended_l2).
    type: str
    choices: ['off', metadata, falloc, full]
  cluster_size: &cluster_size
    description:
      - Bytes of a cluster, a power of two. For O(backend=qcow2) and O(backend=ploop).
    type: int
  extended_l2: &extended_l2
    description:
      - Subclusters, so that small writes to an overlay copy less of its base. For O(backend=qcow2).
    type: bool
  compressed: &compressed
    description:
      - Store a full copy compressed. For O(backend=qcow2).
    type: bool
  clear: &clear
    description:
      - What happens to the blocks of the volume once it is removed. For O(backend=lvm).
    type: str
    choices: [none, zero, discard]
  conf: &conf
    description:
      - The cluster's configuration. For O(backend=rbd). The default is that of Ceph's own tools.
    type: path
  user: &user
    description:
      - The cluster's user, without C(client.).
    type: str
  keyring: &keyring
    description:
      - The file with that user's key. Keys themselves are never asked for.
    type: path
  secret: &secret
    description:
      - UUID of the libvirt secret that holds that user's key, for guests that use the disk.
    type: str
  state:
    description:
      - V(present) makes what is missing and grows what is too small.
      - V(absent) removes the disk, its snapshots and its record.
      - V(identical_to) makes what O(like) names once more, from the same image or contents, whatever the backend. The new disk is read back, and its
        digest compared. What a guest wrote to the other disk since is not copied.
      - V(pruned) removes what O(backend) keeps of images at O(location) to make disks from, where no disk and no snapshot stands on it. It takes
        no O(name). V(rbd) keeps an image of each, and V(lvm) with a thin pool a volume of each. The others keep nothing of their own, and nothing changes.
        What V(qcow2) stands on is in the cache, which M(poolwright.virt.image_cache) ages.
    type: str
    choices: [present, absent, identical_to, pruned]
    default: present
  like: &like
    description:
      - The disk that this one is to be like, by its place or by what was recorded of it.
    type: dict
    suboptions:
      backend:
        description: That disk's backend.
        type: str
        choices: [flat, lvm, ploop, qcow2, rbd]
      location:
        description: That backend's place.
        type: str
      name:
        description: That disk's name.
        type: str
      conf:
        description: The configuration of the cluster that it is in.
        type: path
      user:
        description: That cluster's user.
        type: str
      keyring:
        description: The file with that user's key.
        type: path
      secret:
        description: UUID of the libvirt secret with that user's key.
        type: str
      recorded:
        description: What this module returned as RV(recorded), on another host perhaps.
        type: dict
  recreate: &recreate
    description:
      - Throw a disk away that is there and is otherwise than asked for, and make it anew. Also make one anew that was lost.
    type: bool
    default: false
  force: &force
    description:
      - Remove a disk of which nothing is recorded, or (with O(recreate)) replace it. Remove a disk that a guest has which is off.
      - A disk of a guest that runs is never touched.
    type: bool
    default: false
  verify: &verify
    description:
      - Read the disk back and compare it, with O(state=identical_to).
    type: bool
    default: true
  disks:
    description:
      - Several disks in place of one, each with its own options. All are looked at before the first is made. One that fails does not stop the others.
    type: list
    elements: dict
    suboptions:
      backend: *backend
      location: *location
      name: *name
      image: *image
      content: *content
      size_gb: *size_gb
      full: *full
      preallocation: *preallocation
      cluster_size: *cluster_size
      extended_l2: *extended_l2
      compressed: *compressed
      clear: *clear
      conf: *conf
      user: *user
      keyring: *keyring
      secret: *secret
      state:
        description:
          - As O(state) of one disk.
        type: str
        choices: [present, absent, identical_to]
        default: present
      like: *like
      recreate: *recreate
      force: *force
      verify: *verify
  cache:
    description:
      - The directory of the image cache.
    type: path
    default: /var/lib/poolwright/images
  uri:
    description:
      - The libvirt connection. Before a disk is removed, made anew or grown, it is asked which guests have it. An empty text asks nobody.
      - The default is the system's QEMU where a libvirt daemon serves this host.
    type: str
  timeout:
    description:
      - Seconds for the whole run.
    type: float
    default: 3600
requirements:
  - Python 3.9 or newer on the target host
  - oslo.utils 7.4 or newer, below 10.1 (for images)
  - qemu-img
  - lvm2 (for O(backend=lvm)), ceph-common and QEMU's driver for RBD (for O(backend=rbd))
  - e2fsprogs, xfsprogs 5.12 or newer, dosfstools, util-linux or xorriso for the contents that they make
notes:
  - A guest's disks may be made here and then named in M(poolwright.virt.libvirt_guest) by backend, location and name alone. They are then not removed with it.
seealso:
  - module: poolwright.virt.libvirt_guest
  - module: poolwright.virt.image_cache
author:
  - poolwright.virt contributors (@poolwright)
"""

EXAMPLES = r"""
- name: A system disk that stands on an image
  poolwright.virt.disk_backend:
    backend: qcow2
    location: /var/lib/poolwright/disks
    name: web-1_root
    image:
      source: /var/lib/images/debian-13.qcow2
    size_gb: 20

- name: All disks of a machine
  poolwright.virt.disk_backend:
    disks:
      - backend: qcow2
        location: /var/lib/poolwright/disks
        name: db-1_root
        image:
          source: /var/lib/images/debian-13.qcow2
      - backend: flat
        location: /var/lib/poolwright/disks
        name: db-1_data
        content: {ephemeral: ext4, label: data}
        size_gb: 1
      - backend: flat
        location: /var/lib/poolwright/disks
        name: db-1_swap
        content: {swap: true}
        size_gb: 0.5
      - backend: flat
        location: /var/lib/poolwright/disks
        name: db-1_seed
        content: {directory: /var/lib/seeds/db-1, as: iso9660, label: cidata}

- name: Twice the room for data
  poolwright.virt.disk_backend:
    backend: flat
    location: /var/lib/poolwright/disks
    name: db-1_data
    size_gb: 2

- name: The same system disk once more, on another backend
  poolwright.virt.disk_backend:
    backend: ploop
    location: /var/lib/poolwright/other
    name: db-1_root
    state: identical_to
    like:
      backend: qcow2
      location: /var/lib/poolwright/disks
      name: db-1_root
  register: copied

- name: A third one, from what was recorded of the second
  poolwright.virt.disk_backend:
    backend: flat
    location: /var/lib/poolwright/other
    name: db-2_root
    state: identical_to
    like:
      recorded: "{{ copied.recorded }}"

- name: No such disk
  poolwright.virt.disk_backend:
    backend: qcow2
    location: /var/lib/poolwright/disks
    name: web-1_root
    state: absent

- name: Nothing is kept of images that no disk in the pool stands on
  poolwright.virt.disk_backend:
    backend: rbd
    location: rbd
    state: pruned
"""

RETURN = r"""
backend:
  description: The disk's backend, as asked for. So are RV(location) and RV(name).
  returned: success, of one disk
  type: str
  sample: qcow2
location:
  description: Its place.
  returned: success, of one disk
  type: str
  sample: /var/lib/poolwright/disks
name:
  description: Its name there.
  returned: success, of one disk
  type: str
  sample: web-1_root
state:
  description: V(present), V(absent) or V(pruned).
  returned: success, of one disk
  type: str
  sample: present
actions:
  description: What was done, or would be done, in plain words.
  returned: success, of one disk
  type: list
  elements: str
  sample: ["make /var/lib/poolwright/disks/web-1_root.qcow2 from /var/lib/images/debian-13.qcow2, 20 GiB"]
uri:
  description: Where the disk is, as QEMU takes it.
  returned: when the disk is there
  type: str
  sample: file:///var/lib/poolwright/disks/web-1_root.qcow2
path:
  description: The file, device or image.
  returned: when the disk is there
  type: str
  sample: /var/lib/poolwright/disks/web-1_root.qcow2
format:
  description: What QEMU is told.
  returned: when the disk is there
  type: str
  sample: qcow2
size:
  description: Bytes that the disk takes of its storage now. None in check mode for one that would be made.
  returned: when the disk is there
  type: int
  sample: 200704
virtual_size:
  description: Bytes that a guest sees.
  returned: when the disk is there
  type: int
  sample: 21474836480
backing:
  description: What the disk stands on, with C(path), C(format) and the image's C(digest). None for one that stands on nothing.
  returned: when the disk is there
  type: dict
  sample: {path: /var/lib/poolwright/images/sha256/0000.qcow2, format: qcow2, digest: "sha256:0000"}
recorded:
  description: What is recorded of the disk, which O(like) takes on this host and on others.
  returned: when the disk is there
  type: dict
  sample:
    backend: qcow2
    location: /var/lib/poolwright/disks
    name: web-1_root
    path: /var/lib/poolwright/disks/web-1_root.qcow2
    format: qcow2
    size: 21474836480
    image: "sha256:0000"
    backing: {path: /var/lib/poolwright/images/sha256/0000.qcow2, format: qcow2, digest: "sha256:0000"}
    origin: {source: /var/lib/images/debian-13.qcow2, checksum: "sha256:0000", format: qcow2}
    made: true
digest:
  description: Of the bytes on the new disk, zeros left out, so that it is the same on every backend.
  returned: O(state=identical_to)
  type: str
  sample: blocks-sha256:0000
bases:
  description:
    - What was kept of images before the run. RV(actions) names what was removed.
    - C(used_by) names why one stays, which are disks, C(disk@snapshot), clones in other pools or in the trash, and
      clients that have it open.
  returned: O(state=pruned)
  type: list
  elements: dict
  sample: [{digest: "sha256:0000", removed: false, used_by: [web-1_root]}]
disks:
  description: Each disk with all of the above.
  returned: success, with O(disks)
  type: list
  elements: dict
code:
  description: What kind of failure it was, such as V(invalid_spec), V(busy), V(not_ours), V(not_found) or V(insufficient_resources).
  returned: failure
  type: str
  sample: invalid_spec
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

from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.disk_requests import disks_with
from ansible_collections.poolwright.virt.plugins.module_utils.runner import run_module
from ansible_collections.poolwright.virt.plugins.module_utils.storage.request import module_options


def main() -> None:
    of_disks = [("state", state, ["name", "disks"], True) for state in ("present", "absent", "identical_to")]
    required = [*of_disks, ("state", "pruned", ["backend", "location"])]
    module = AnsibleModule(argument_spec=module_options(), required_if=required, supports_check_mode=True)
    run_module(module, lambda cancel: disks_with(module.params, module.check_mode, cancel))


if __name__ == "__main__":
    main()
