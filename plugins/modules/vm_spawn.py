#!/usr/bin/python
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_spawn
short_description: Make, change and remove one virtual machine
version_added: 0.1.0
description:
  - Makes one machine from an image, a template or another machine, keeps it as described, and removes it.
  - What changes in the description later is changed in place where that can be done, and while the machine runs where that can be done.
    What wants the machine off is done with O(restart=true) only, and what takes another machine with O(recreate=true) only. Otherwise
    the module fails and says what it is, and nothing is touched.
  - Every machine carries a mark that says that this module made it. A machine without that mark is never touched, whatever its name.
  - What fails after something was made is taken back in the same run, and RV(undone) says what that was.
extends_documentation_fragment:
  - poolwright.virt.attributes
  - poolwright.virt.attributes.action_group
  - poolwright.virt.provider
  - poolwright.virt.vsphere
attributes:
  check_mode:
    support: full
    details:
      - The actions are those that a run carries out, and no call is made that changes anything.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  name:
    description:
      - The machine's name. With O(provider=vsphere) it is unique in its O(folder), and otherwise on the host.
      - With O(provider=libvirt) and O(provider=dummy), letters, digits and inner hyphens.
    type: str
    required: true
  state:
    description:
      - V(poweredon) and V(poweredoff) have the machine there and on or off.
      - V(present) has it there. A new machine is not switched on, and the power of one that is there is left alone.
      - V(absent) removes it with its own disks. Disks that come from elsewhere are taken off and stay. Folders of the inventory stay.
    type: str
    choices: [poweredon, poweredoff, present, absent]
    default: poweredon
  image:
    description:
      - The image that the machine's root disk is made from. Mutually exclusive with O(template).
      - It is fetched once into a cache, and inspected before any tool opens it.
    type: dict
    suboptions:
      source:
        description:
          - An C(http), C(https) or C(file) URL, or an absolute path where the module runs.
          - With O(provider=vsphere), also C([datastore] path) of what vSphere has already.
        type: str
        required: true
      checksum:
        description:
          - C(sha256:HEX) or C(sha512:HEX) of the file.
          - On a KVM host also the URL or absolute path of a file with checksums, as C(sha256sum) writes it.
        type: str
      format:
        description:
          - What the file is. V(qcow2) and V(raw) work everywhere, the others with O(provider=vsphere).
          - The default is V(qcow2), and with O(provider=vsphere) what the name's suffix says.
        type: str
        choices: [qcow2, raw, vmdk, ova, ovf, iso, vhdx]
      disk_type:
        description:
          - How the bits lie in a VMDK file. The default goes by the file's own header. Used with O(provider=vsphere).
        type: str
        choices: [sparse, preallocated, thin, thick, eagerZeroedThick, streamOptimized]
      adapter_type:
        description:
          - The controller that the disk is for. The default goes by the file, else it is V(lsiLogic). Used with O(provider=vsphere).
        type: str
        choices: [lsiLogic, lsiLogicsas, busLogic, paraVirtual, ide]
  template:
    description:
      - The template or machine to clone, by its name or inventory path. Used with O(provider=vsphere). Mutually exclusive with O(image).
    type: str
  clone:
    description:
      - How the machine comes from its image or template. V(full) copies the disk. V(linked) makes a child disk of the cached image or of a
        snapshot of the template. V(instant) forks a running machine.
      - The default is V(full). Used with O(provider=vsphere).
    type: str
    choices: [linked, full, instant]
  snapshot:
    description:
      - The snapshot of the template that a linked clone stands on. The default is C(poolwright-base), which is taken if it is not there
        and stays with the template. Used with O(provider=vsphere).
    type: str
  folder:
    description:
      - The folder below the datacenter's folder of machines, made as needed. Used with O(provider=vsphere).
    type: str
  cluster:
    description:
      - The cluster, or a host that stands alone, by its name or inventory path. The default is that of O(host) or of the template, else
        the only one there is. Used with O(provider=vsphere).
      - A machine that is in another one is moved, without a stop where it runs, if the hosts here have its datastore; else this needs a
        rebuild, see O(recreate).
    type: str
  host:
    description:
      - The host. The default leaves it to DRS, and where that is off takes the host with most room. Used with O(provider=vsphere).
      - A machine that is on another one is moved, without a stop where it runs. Leave this out where DRS may move machines.
    type: str
  resource_pool:
    description:
      - The resource pool in the cluster. The default is the cluster's own. Used with O(provider=vsphere).
      - A machine that is in another one is moved; left out, it stays in the one that it is in.
    type: str
  datastore:
    description:
      - The datastore for a new machine, or a datastore cluster of which the member with most free space is taken.
      - The default is the template's datastore, and for an image the one with most free space that the cluster's hosts can write to.
      - A machine that is on another one stays there unless it is rebuilt, see O(recreate).
      - Used with O(provider=vsphere).
    type: str
  storage_policy:
    description:
      - The storage policy of the machine and its own disks, by its name or id.
      - A machine that is there is given another policy where that takes the datastores that it is on; where it does not, this needs
        a rebuild, see O(recreate). It is compared with the policy that this module gave the machine last, by the name that had then, so
        what was changed by hand is not seen. Left out, the machine stays as it is and no policy is asked for.
      - Only datastores that the policy takes are chosen then; another that O(datastore) or O(disks[].datastore) names is refused. A full
        clone of a template whose own datastore is none of them goes to the one of them with most free space.
      - The account needs the privilege C(StorageProfile.View) on the vCenter. Used with O(provider=vsphere).
    type: str
  cpus:
    description:
      - The number of virtual CPUs. The default is that of the template, and 1 where there is none.
    type: int
  cores_per_socket:
    description:
      - How many of them are in one socket. Used with O(provider=vsphere).
    type: int
  memory_mb:
    description:
      - Memory in MiB. The default is that of the template, and 1024 where there is none.
    type: int
  cpu_limits:
    description:
      - What the machine may use of the host's processors, and is sure of. Used with O(provider=vsphere).
    type: dict
    suboptions:
      limit:
        description:
          - The most, in MHz. V(-1) lifts the limit.
        type: int
      reservation:
        description:
          - The least, in MHz.
        type: int
      shares:
        description:
          - V(low), V(normal), V(high) or a number.
        type: str
  memory_limits:
    description:
      - What the machine may use of the host's memory, and is sure of. Used with O(provider=vsphere).
    type: dict
    suboptions:
      limit:
        description:
          - The most, in MiB. V(-1) lifts the limit.
        type: int
      reservation:
        description:
          - The least, in MiB.
        type: int
      shares:
        description:
          - V(low), V(normal), V(high) or a number.
        type: str
  firmware:
    description:
      - The firmware. It is that of the template where it is not given. Used with O(provider=vsphere).
    type: str
    choices: [bios, efi]
  secure_boot:
    description:
      - Whether the firmware starts signed systems only. Used with O(provider=vsphere).
    type: bool
  guest_id:
    description:
      - vSphere's id of the guest's system, such as V(debian12_64Guest). Used with O(provider=vsphere).
    type: str
  annotation:
    description:
      - The notes on the machine. Used with O(provider=vsphere).
    type: str
  extra_config:
    description:
      - Further values of the machine's configuration. An empty one removes a key. Keys that are not named are left alone.
      - Used with O(provider=vsphere).
    type: dict
  networks:
    description:
      - The network cards, in order. With O(provider=vsphere), a template's cards are put on these networks, and those there are too many of
        are removed. Not given, the cards are left alone.
    type: list
    elements: dict
    suboptions:
      network:
        description:
          - A network of the hypervisor. With O(provider=vsphere) a standard network, a distributed port group or an opaque network, by its exact
            name or its inventory path.
        type: str
      bridge:
        description:
          - A bridge of the host. Used with O(provider=libvirt).
        type: str
      model:
        description:
          - The card's model. The default is V(vmxnet3) with O(provider=vsphere), and V(virtio) otherwise.
        type: str
        choices: [virtio, vmxnet3, vmxnet2, e1000, e1000e, pcnet32, rtl8139]
      mac:
        description:
          - The card's address. The default leaves it to vCenter. Used with O(provider=vsphere).
        type: str
  disk:
    description:
      - The root disk. With O(provider=vsphere), only O(disk.size_gb) is used.
    type: dict
    suboptions:
      size_gb:
        description:
          - The size in GiB, at least that of the image or template. The default is their own size.
        type: float
      backend:
        description:
          - V(qcow2) makes an overlay on the cached image. V(flat) makes a raw copy of it. V(lvm) and V(rbd) make volumes and Ceph images.
            V(ploop) makes a copy in the format of Virtuozzo.
          - Used with O(provider=libvirt), like the options after it. The default is V(qcow2).
        type: str
        choices: [flat, lvm, ploop, qcow2, rbd]
      location:
        description:
          - The directory for V(flat), V(qcow2) and V(ploop), by default one of the machine's own below O(location).
          - The volume group or C(group/thin-pool) for V(lvm), the pool for V(rbd). Required for these.
        type: path
      full: &full
        description:
          - Copy the image in place of standing on it.
        type: bool
        default: false
      preallocation: &preallocation
        description:
          - What is allocated when the disk is made. For V(flat) and V(qcow2).
        type: str
        choices: ['off', metadata, falloc, full]
      cluster_size: &cluster_size
        description:
          - Bytes of a cluster, a power of two. For V(qcow2) and V(ploop).
        type: int
      extended_l2: &extended_l2
        description:
          - Subclusters for V(qcow2), so that small writes to an overlay copy less of its base.
        type: bool
      compressed: &compressed
        description:
          - Store a full copy compressed. For V(qcow2).
        type: bool
      clear: &clear
        description:
          - What happens to the blocks of a removed volume. For V(lvm).
        type: str
        choices: [none, zero, discard]
      conf: &conf
        description:
          - The Ceph cluster's configuration. For V(rbd), like the options after it.
        type: path
      user: &user
        description:
          - The Ceph user without C(client.).
        type: str
      keyring: &keyring
        description:
          - The file with that user's key. libvirt gets the key from it as a private secret, when the machine is made.
        type: path
      secret: &secret
        description:
          - UUID of a libvirt secret of your own that holds that user's key.
        type: str
  disks:
    description:
      - Disks beside the root disk, in order.
      - With O(provider=vsphere) they are blank. Further ones are added and larger ones grown in place.
      - With O(provider=libvirt) a change takes another machine, see O(recreate).
    type: list
    elements: dict
    suboptions:
      size_gb:
        description:
          - The size in GiB. The default is that of O(disks[].image), or what a C(directory) takes. Required for all others.
        type: float
      datastore:
        description:
          - The datastore of a new disk. The default is with the machine. Used with O(provider=vsphere), like the two options after it.
        type: str
      thin:
        description:
          - Whether a new disk takes space only as it is written.
        type: bool
        default: true
      ephemeral:
        description:
          - Whether what is written to a new disk is gone once the machine is off.
        type: bool
        default: false
      content:
        description:
          - What is on the disk. The default is V(blank), nothing. Used with O(provider=libvirt), like the options after it.
          - "C({ephemeral: ext4}) for an empty file system: C(ext2), C(ext3), C(ext4), C(vfat) or C(xfs). C({swap: true}) for a swap space."
          - "C({directory: /path, as: iso9660}) for a copy of a tree on the host as an ISO image, or as C(ext2), C(ext3) or C(ext4)."
          - Each takes C(label) as well, by which the guest finds it.
        type: raw
      image:
        description:
          - The image that the disk is made from. Mutually exclusive with O(disks[].content).
        type: dict
        suboptions:
          source:
            description:
              - An C(http), C(https) or C(file) URL, or an absolute path where the module runs.
            type: str
            required: true
          checksum:
            description:
              - C(sha256:HEX) or C(sha512:HEX) of the file, or URL or path of a file with checksums, such as C(SHA256SUMS).
            type: str
          format:
            description:
              - What the file is. All but V(qcow2) and V(raw) are converted to qcow2 once, in the cache.
            type: str
            choices: [qcow2, raw, vmdk, vhdx, vdi]
            default: qcow2
          compression:
            description:
              - How the file is compressed. The default goes by the end of its name.
            type: str
            choices: [none, gzip, xz, zstd]
      backend:
        description:
          - The default is that of the root disk. See O(disk.backend).
        type: str
        choices: [flat, lvm, ploop, qcow2, rbd]
      location:
        description:
          - See O(disk.location). On the backend of the root disk the default is where that is, and the options from O(disks[].clear) on are
            its too.
        type: path
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
  config_drive:
    description:
      - cloud-init's data, given to the machine on a CD-ROM (NoCloud). Mutually exclusive with O(cloud_init).
      - It is for the first boot, so other data takes another machine.
    type: dict
    suboptions: &seed
      user_data:
        description:
          - cloud-init's user data, of whatever kind.
        type: str
      meta_data:
        description:
          - Values of its meta-data. C(instance-id) and C(local-hostname) are set by themselves where they are not given.
          - With O(provider=libvirt) and O(provider=dummy), only C(local-hostname) and C(public-keys).
        type: dict
      network_config:
        description:
          - Its network configuration.
        type: str
  cloud_init:
    description:
      - The same, given to the machine in its configuration (C(guestinfo)). Used with O(provider=vsphere).
    type: dict
    suboptions: *seed
  customization:
    description:
      - What vCenter sets in a Linux guest at its first boot. Used with O(provider=vsphere) and O(template), for a new machine.
    type: dict
    suboptions:
      hostname:
        description:
          - The host name. The default is the machine's name.
        type: str
      domain:
        description:
          - The domain.
        type: str
      dns:
        description:
          - The addresses of name servers.
        type: list
        elements: str
        default: []
      addresses:
        description:
          - One for each network card, in order. An empty one is DHCP.
        type: list
        elements: dict
        default: []
        suboptions:
          ip:
            description:
              - The IPv4 address.
            type: str
          netmask:
            description:
              - The network mask, such as V(255.255.255.0).
            type: str
          gateway:
            description:
              - The gateway's address.
            type: str
  wait_for_address:
    description:
      - Wait until the guest has an address that others can reach. A new machine that gets none is removed again, unless O(keep_failed).
    type: bool
    default: false
  address_timeout:
    description:
      - Seconds to wait for it.
    type: float
    default: 300
  restart:
    description:
      - Switch a machine that runs off and on again where a change wants that. Used with O(provider=vsphere).
    type: bool
    default: false
  recreate:
    description:
      - Remove the machine and make it anew where a change takes that. All that is on its disks is lost.
    type: bool
    default: false
  keep_failed:
    description:
      - Keep a machine that could not be made as described, for a look at it.
    type: bool
    default: false
  timeout:
    description:
      - Seconds for the whole run.
    type: float
    default: 3600
seealso:
  - module: poolwright.virt.vm_pool
author:
  - poolwright.virt contributors (@poolwright)
"""

EXAMPLES = r"""
- name: Clone a template
  poolwright.virt.vm_spawn:
    provider: vsphere
    hostname: vc.example.com
    username: "{{ vcenter_user }}"
    password: "{{ vcenter_password }}"
    ca_path: /etc/ssl/vc.pem
    name: web-1
    template: templates/debian-13
    clone: linked
    folder: web
    cpus: 2
    memory_mb: 2048
    networks:
      - network: VM Network
    wait_for_address: true

- name: Make a machine of an image, with a data disk and cloud-init's data on a CD-ROM
  poolwright.virt.vm_spawn:
    provider: vsphere
    name: db-1
    image:
      source: https://images.example.com/debian-13.vmdk
      checksum: sha256:3b2c50e2b2d0c1c5e2b9f8f5f6f6c51d6ab9e8ee6b7a8a3c9f0f2ac5a5d4c3b1
      disk_type: streamOptimized
    folder: db
    cluster: C0
    datastore: ssd-1
    cpus: 2
    memory_mb: 2048
    disk:
      size_gb: 20
    disks:
      - size_gb: 100
    networks:
      - network: VM Network
    config_drive:
      user_data: "{{ lookup('ansible.builtin.file', 'user-data.yml') }}"
      meta_data:
        role: database

- name: Make a machine on a KVM host
  poolwright.virt.vm_spawn:
    provider: libvirt
    name: web-1
    image:
      source: /var/lib/images/debian-13.qcow2
    memory_mb: 512
    networks:
      - network: default
    wait_for_address: true

- name: Switch it off
  poolwright.virt.vm_spawn:
    provider: dummy
    path: /tmp/pools.db
    name: web-1
    state: poweredoff

- name: Remove it
  poolwright.virt.vm_spawn:
    provider: dummy
    path: /tmp/pools.db
    name: web-1
    state: absent
"""

RETURN = r"""
actions:
  description:
    - What was done, in order. In check mode it is what a run would do.
  returned: success, and failure after something was made
  type: list
  elements: dict
  sample:
    - {action: reconfigure, reason: cpus 1 -> 2}
  contains:
    action:
      description: V(create), V(recreate), V(relocate), V(reconfigure), V(power on), V(power off) or V(remove).
      type: str
      returned: always
    reason:
      description: Why.
      type: str
      returned: always
name:
  description: The machine's name.
  returned: success, and failure after something was made
  type: str
  sample: web-1
state:
  description: The state that was asked for.
  returned: success, and failure after something was made
  type: str
  sample: poweredon
power:
  description: Whether it is V(running), V(off) or V(paused). Empty where there is no machine.
  returned: success, and failure after something was made
  type: str
  sample: running
uuid:
  description: Its UUID, as its guest sees it.
  returned: success, and failure after something was made
  type: str
instance_uuid:
  description: The UUID by which the hypervisor knows it.
  returned: success, and failure after something was made
  type: str
moid:
  description: Its managed object id, with O(provider=vsphere).
  returned: success, and failure after something was made
  type: str
  sample: vm-42
ip:
  description: The first of its addresses, empty where none is known.
  returned: success, and failure after something was made
  type: str
addresses:
  description: Its addresses that others can reach, IPv4 first.
  returned: success, and failure after something was made
  type: list
  elements: str
host:
  description: The host that it is on.
  returned: success, and failure after something was made
  type: str
folder:
  description: Its folder, with O(provider=vsphere).
  returned: success, and failure after something was made
  type: str
datastore_path:
  description: The path of its configuration file, with O(provider=vsphere).
  returned: success, and failure after something was made
  type: str
  sample: '[ssd-1] web-1/web-1.vmx'
disks:
  description: Its disks, the root disk first, each with C(path) and C(size_gb).
  returned: success, and failure after something was made
  type: list
  elements: dict
networks:
  description: Its network cards, each with C(network), C(model) and C(mac).
  returned: success, and failure after something was made
  type: list
  elements: dict
image:
  description: The image that it was made from.
  returned: success, and failure after something was made
  type: str
template:
  description: The inventory path of what it was cloned from.
  returned: success, and failure after something was made
  type: str
undone:
  description: What was taken back after a failure.
  returned: success, and failure after something was made
  type: list
  elements: str
  sample: [removed the machine web-1]
left:
  description: What was kept after a failure, or could not be taken back, and why.
  returned: success, and failure after something was made
  type: list
  elements: str
kept:
  description: The disks from elsewhere that a removed machine had. They are still there.
  returned: success, and failure after something was made
  type: list
  elements: str
stats:
  description:
    - What the run cost. C(calls) by name, C(logins), and C(seconds) by phase.
  returned: success, and failure after something was made
  type: dict
  sample:
    calls: {CloneVM_Task: 1}
    logins: 1
    seconds: {create: 3.02, look up: 0.05}
code:
  description:
    - What kind of failure it was. V(incomplete) after something was made, V(needs_restart), V(needs_rebuild), V(not_ours), V(invalid_spec),
      V(not_found), V(ambiguous), V(permission_denied) and others when nothing was touched.
  returned: failure
  type: str
problems:
  description:
    - Every fault of the request, each with its place and remedy.
  returned: when the request is invalid
  type: list
  elements: str
failure:
  description:
    - The failure, with C(name), C(phase), C(code), C(message) and C(hint).
  returned: failure, unless the request is invalid
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.poolwright.virt.plugins.module_utils.argspec import further_disk_options, provider_options, required_by_provider, root_disk_options
from ansible_collections.poolwright.virt.plugins.module_utils.runner import run_module
from ansible_collections.poolwright.virt.plugins.module_utils.spawn.request import spawn_with


def spawn_options() -> dict[str, Any]:
    limits = {"limit": {"type": "int"}, "reservation": {"type": "int"}, "shares": {"type": "str"}}
    seed = {"user_data": {"type": "str", "no_log": True}, "meta_data": {"type": "dict"}, "network_config": {"type": "str"}}
    return {
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["poweredon", "poweredoff", "present", "absent"], "default": "poweredon"},
        "image": {
            "type": "dict",
            "options": {
                "source": {"type": "str", "required": True},
                "checksum": {"type": "str"},
                "format": {"type": "str", "choices": ["qcow2", "raw", "vmdk", "ova", "ovf", "iso", "vhdx"]},
                "disk_type": {"type": "str", "choices": ["sparse", "preallocated", "thin", "thick", "eagerZeroedThick", "streamOptimized"]},
                "adapter_type": {"type": "str", "choices": ["lsiLogic", "lsiLogicsas", "busLogic", "paraVirtual", "ide"]},
            },
        },
        "template": {"type": "str"},
        "clone": {"type": "str", "choices": ["linked", "full", "instant"]},
        **{key: {"type": "str"} for key in ("snapshot", "folder", "cluster", "host", "resource_pool", "datastore", "storage_policy", "guest_id", "annotation")},
        **{key: {"type": "int"} for key in ("cpus", "cores_per_socket", "memory_mb")},
        "cpu_limits": {"type": "dict", "options": limits},
        "memory_limits": {"type": "dict", "options": limits},
        "firmware": {"type": "str", "choices": ["bios", "efi"]},
        "secure_boot": {"type": "bool"},
        "extra_config": {"type": "dict"},
        "networks": {
            "type": "list",
            "elements": "dict",
            "options": {
                "network": {"type": "str"},
                "bridge": {"type": "str"},
                "model": {"type": "str", "choices": ["virtio", "vmxnet3", "vmxnet2", "e1000", "e1000e", "pcnet32", "rtl8139"]},
                "mac": {"type": "str"},
            },
        },
        "disk": {"type": "dict", "options": root_disk_options()},
        "disks": {
            "type": "list",
            "elements": "dict",
            "options": {
                **further_disk_options(),
                "datastore": {"type": "str"},
                "thin": {"type": "bool", "default": True},
                "ephemeral": {"type": "bool", "default": False},
            },
        },
        "config_drive": {"type": "dict", "options": seed},
        "cloud_init": {"type": "dict", "options": seed},
        "customization": {
            "type": "dict",
            "options": {
                "hostname": {"type": "str"},
                "domain": {"type": "str"},
                "dns": {"type": "list", "elements": "str", "default": []},
                "addresses": {
                    "type": "list",
                    "elements": "dict",
                    "default": [],
                    "options": {"ip": {"type": "str"}, "netmask": {"type": "str"}, "gateway": {"type": "str"}},
                },
            },
        },
        "wait_for_address": {"type": "bool", "default": False},
        "address_timeout": {"type": "float", "default": 300},
        "restart": {"type": "bool", "default": False},
        "recreate": {"type": "bool", "default": False},
        "keep_failed": {"type": "bool", "default": False},
        "timeout": {"type": "float", "default": 3600},
    }


def main() -> None:
    module = AnsibleModule(argument_spec={**provider_options(), **spawn_options()}, required_if=required_by_provider(), supports_check_mode=True)
    run_module(module, lambda cancel: spawn_with(module.params, module.check_mode, cancel))


if __name__ == "__main__":
    main()
