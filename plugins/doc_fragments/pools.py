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
              - V(qcow2) makes an overlay on the cached image. V(flat) makes a raw copy of it, sparse or by reflink.
              - The default is V(qcow2).
            type: str
            choices: [qcow2, flat]
          size_gb:
            description:
              - The size in GiB, at least that of the image. The default is the image's own size.
            type: float
          location:
            description:
              - The directory for disks. The default is below O(location).
            type: path
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
          - V(replace) rebuilds it. V(start) starts, resumes or resets it, and reports what that cannot mend. V(report) only tells.
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
      max_unavailable:
        description:
          - How many ready machines may be taken away at a time to rebuild them, as a number or a percentage of O(pools[].size).
          - At least one is.
        type: str
        default: 25%
"""
