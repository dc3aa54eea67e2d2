# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The options of a pool, for every module that takes O(pools)."""

    DOCUMENTATION = r"""
options:
  pools:
    description:
      - The pools. All of them are served through one connection.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - The pool's name. Every machine of the pool is marked with it.
          - Letters, digits and inner hyphens.
        type: str
        required: true
      state:
        description:
          - V(absent) removes every machine of the pool. Takes precedence over
            O(poolwright.virt.vm_pool#module:state).
        type: str
        choices: [present, absent]
      prefix:
        description:
          - What the machines' names begin with. They are named C(PREFIX-1) to C(PREFIX-SIZE), the lowest free slot first.
          - The default is the pool's name.
        type: str
      size:
        description:
          - How many machines there shall be. Required unless the pool shall be absent.
        type: int
      image:
        description:
          - The disk image that machines are made from. Required for O(provider=libvirt) unless O(pools[].size=0).
          - It is fetched once into a cache, and inspected before any tool opens it.
          - With O(provider=vsphere), give it or O(pools[].template). The cache is on the datastore. A machine with a copy of the image is
            made once for all pools that use it, in the folder C(poolwright-images). It stays off, and machines are cloned from it as
            O(pools[].clone) says. Remove it by hand once no pool needs it.
        type: dict
        suboptions:
          source:
            description:
              - An C(http), C(https) or C(file) URL, or an absolute path on the target host.
              - With O(provider=vsphere), the controller fetches it, and C([datastore] path) names what a datastore has already.
            type: str
            required: true
          checksum:
            description:
              - C(sha256:HEX) or C(sha512:HEX) of the file. None for what is on a datastore already.
              - On a KVM host also the URL or absolute path of a file with checksums, as C(sha256sum) writes it. It is read in each run that
                makes machines, and what it says later rebuilds none.
              - With a checksum, a change of the source alone rebuilds nothing.
            type: str
          format:
            description:
              - What the image is. It is never guessed, and an image that is something else is refused.
              - V(vmdk) and V(ova) are for O(provider=vsphere), and there the default where the source's name ends so. Otherwise the default
                is V(qcow2).
            type: str
            choices: [qcow2, raw, vmdk, ova]
          disk_type:
            description:
              - How the bits lie in a V(vmdk) or V(raw) image. The default goes by its header.
              - With V(preallocated), V(thin), V(thick) and V(eagerZeroedThick), it is the disk byte by byte.
              - Used with O(provider=vsphere), like O(pools[].image.adapter_type).
            type: str
            choices: [sparse, preallocated, thin, thick, eagerZeroedThick, streamOptimized]
          adapter_type:
            description:
              - The controller of the machines' root disk. The default goes by an OVA's descriptor, otherwise it is V(lsiLogic).
            type: str
            choices: [lsiLogic, lsiLogicsas, busLogic, paraVirtual, ide]
      template:
        description:
          - The template, or the machine, that machines are cloned from, by its name or its inventory path such as C(templates/debian-13).
          - Used with O(provider=vsphere), where it or O(pools[].image) is required unless O(pools[].size=0). Mutually exclusive with that.
        type: str
      clone:
        description:
          - How machines come from O(pools[].template), or from the machine that has a copy of O(pools[].image). The default is V(linked).
          - Used with O(provider=vsphere).
          - With V(linked), their disks hold only what differs from the template's, and stand on its snapshot C(poolwright-base), which is
            made once and stays. vCenter may refuse a snapshot of what is a template already. Take it before, under this name.
          - With V(full), their disks are copies.
          - With V(instant), they are forked from O(pools[].template), which has to run, and have its CPUs and memory.
        type: str
        choices: [linked, full, instant]
      folder:
        description:
          - The folder of the pool's machines, below the datacenter's folder of machines, such as C(pools/ci). It is made as needed.
            The default is the datacenter's own.
          - The pool's machines are looked for in this folder. When it is missing while machines of the pool are elsewhere, the run fails
            and says where they are.
          - Used with O(provider=vsphere), like the options after it.
        type: str
      cluster:
        description:
          - The cluster that the machines run on. The default is the one that O(pools[].template) is on, and with O(pools[].image) the only
            one there is.
          - Where the cluster has DRS, that chooses the host. Elsewhere the least used host that can take the machine is chosen.
        type: str
      host:
        description:
          - The host that the machines are made on.
        type: str
      resource_pool:
        description:
          - The resource pool of the cluster that the machines are in. The default is the cluster's own.
        type: str
      datastore:
        description:
          - The datastore of the machines' disks, or a datastore cluster, of which the member with most free space is taken.
          - The default is the datastore of O(pools[].template). A full clone goes to another one where that has no room.
          - With O(pools[].image), the default is the one where the image is already, or has most free space.
        type: str
      cpus:
        description:
          - The number of virtual CPUs.
        type: int
        default: 1
      memory_mb:
        description:
          - Memory in MiB.
        type: int
        default: 1024
      disk:
        description:
          - The root disk. With O(provider=vsphere), only O(pools[].disk.size_gb) is used.
        type: dict
        suboptions:
          backend:
            description:
              - V(qcow2) makes an overlay on the cached image. V(flat) makes a raw copy of it, sparse or by reflink. V(lvm) and V(rbd) make
                volumes and Ceph images. V(ploop) makes a copy in the format of Virtuozzo.
              - The default is V(qcow2).
            type: str
            choices: [flat, lvm, ploop, qcow2, rbd]
          size_gb:
            description:
              - The size in GiB, at least that of the image. The default is the image's own size.
            type: float
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
              - The file with that user's key. libvirt gets the key from it as a private secret, when machines are made.
            type: path
          secret: &secret
            description:
              - UUID of a libvirt secret of your own that holds that user's key.
            type: str
      disks:
        description:
          - Disks beside the root disk, in order. They are made, reset and removed with the machine. For O(provider=libvirt) and O(provider=dummy).
          - A change takes a rebuild.
        type: list
        elements: dict
        default: []
        suboptions:
          size_gb:
            description:
              - The size in GiB. The default is that of O(pools[].disks[].image), or what a C(directory) takes. Required for all others.
            type: float
          content:
            description:
              - What is on the disk. The default is V(blank), nothing.
              - "C({ephemeral: ext4}) for an empty file system: C(ext2), C(ext3), C(ext4), C(vfat) or C(xfs). C({swap: true}) for a swap space."
              - "C({directory: /path, as: iso9660}) for a copy of a tree on the host as an ISO image, or as C(ext2), C(ext3) or C(ext4). It is known by its
                path: another tree behind it makes no machine outdated."
              - Each takes C(label) as well, by which the guest finds it.
            type: raw
          image:
            description:
              - The image that the disk is made from. Mutually exclusive with O(pools[].disks[].content).
            type: dict
            suboptions:
              source:
                description:
                  - An C(http), C(https) or C(file) URL, or an absolute path on the target host.
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
              - The default is that of the root disk. See O(pools[].disk.backend).
            type: str
            choices: [flat, lvm, ploop, qcow2, rbd]
          location:
            description:
              - See O(pools[].disk.location). On the backend of the root disk the default is where that is, and the options from
                O(pools[].disks[].clear) on are its too.
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
      networks:
        description:
          - The network cards, in order. Their MAC addresses stay the same when a machine is rebuilt, but for O(provider=vsphere).
          - With O(provider=vsphere), the default is the cards of O(pools[].template), and none with O(pools[].image).
        type: list
        elements: dict
        default: []
        suboptions:
          network:
            description:
              - A network of the hypervisor. Mutually exclusive with O(pools[].networks[].bridge).
            type: str
          bridge:
            description:
              - A bridge of the host. Mutually exclusive with O(pools[].networks[].network).
            type: str
          model:
            description:
              - The card's model. The default is V(virtio), and V(vmxnet3) with O(provider=vsphere).
              - V(virtio) and V(rtl8139) are not for O(provider=vsphere), V(vmxnet3) is for that alone.
            type: str
            choices: [virtio, vmxnet3, e1000, e1000e, rtl8139]
      user_data:
        description:
          - cloud-init's user data, given to the machines on a NoCloud seed disk.
          - With O(provider=vsphere) it is given as C(guestinfo.userdata), from where cloud-init's VMware datasource reads it. The same goes
            for the three options after it.
        type: str
      network_config:
        description:
          - cloud-init's network configuration, given to the machines on a NoCloud seed disk.
        type: str
      ssh_keys:
        description:
          - Public keys for the image's default user, given to the machines on a NoCloud seed disk.
        type: list
        elements: str
        default: []
      hostname:
        description:
          - The host name, given to the machines on a NoCloud seed disk. C({name}) stands for the machine's name.
        type: str
      power:
        description:
          - Whether the machines are kept running. With V(off) they are complete, but not started.
        type: str
        choices: ['on', 'off']
        default: 'on'
      ready:
        description:
          - When a machine counts as ready.
        type: dict
        suboptions:
          check:
            description:
              - V(running) is met by a running machine, V(ip) by one that has an address, V(tcp) by one that takes connections on
                O(pools[].ready.port).
              - The default is V(running), and V(none) with O(pools[].power=off).
            type: str
            choices: [none, running, ip, tcp]
          port:
            description:
              - The TCP port for O(pools[].ready.check=tcp).
            type: int
            default: 22
          timeout:
            description:
              - Seconds in which a new or started machine has to become ready. One that does not is removed again, unless
                O(poolwright.virt.vm_pool#module:keep_failed).
            type: float
            default: 300
          grace:
            description:
              - Seconds for which a machine that was ready before may fail its check, as it does while it reboots, until it counts as
                unhealthy.
            type: float
            default: 10
          interval:
            description:
              - Seconds between two checks. One check asks all waiting machines together.
            type: float
            default: 0.5
      on_unhealthy:
        description:
          - What happens to a machine that was ready and is found off, paused, without its disk, or failing its check.
          - V(replace) makes it new, see O(pools[].reset). V(start) starts, resumes or resets it, and reports what that cannot mend. V(report)
            only tells.
        type: str
        choices: [replace, start, report]
        default: replace
      on_outdated:
        description:
          - What happens to a machine that was made from another image, size or seed than the pool now has.
          - V(replace) rebuilds it, O(pools[].max_unavailable) at a time. V(report) only tells.
        type: str
        choices: [replace, report]
        default: replace
      reset:
        description:
          - How a machine is made new whose lease has ended, or which O(pools[].on_unhealthy=replace) would rebuild.
          - V(rebuild) removes it and makes another.
          - V(snapshot) gives all its disks the contents back that they had when it was made, and starts it for what its guest takes for the
            first time. It stays the same machine, with its identifier, its cards and their addresses. For that, a snapshot
            C(poolwright-clean) is taken of each machine when it is made, before its first start.
          - A machine without that snapshot, one that was made from another description than the pool's present one, and one that
            has lost a disk or was never finished are rebuilt all the same. So is one that is outdated.
          - Not with O(pools[].clone=instant), whose machines run from their first moment.
        type: str
        choices: [rebuild, snapshot]
        default: rebuild
      max_unavailable:
        description:
          - How many machines may be unavailable while outdated ones are rebuilt, as a number or a percentage of O(pools[].size), at least one.
          - A leased machine is unavailable, and so is an unhealthy one that is not repaired. Where they are as many already, no ready machine is
            taken away, and a warning says so.
        type: str
        default: 25%
"""
