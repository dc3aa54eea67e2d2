#!/usr/bin/python
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: libvirt_guest
short_description: Define, change, start, stop and remove one guest on a KVM host
version_added: 0.1.0
description:
  - Keeps one libvirt domain as described by typed options, or by XML of your own.
  - Options that are not given are left as they are, whoever set them. Only what differs is edited, in the domain's own XML, so what this
    module does not know of stays as it was. A second run changes nothing.
  - A guest that runs is changed while it runs where that can be done. What waits for its restart is told in RV(pending_restart).
  - Disks that are made for a guest are named in its definition before they exist, and go before it does. So nothing is left behind by a run
    that was killed, and the next one finishes it. Other disks of a guest are never removed.
  - It has to run on the KVM host itself if the guest has disks.
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
      - Predicts the definition, the disks and the actions of a run. What libvirt adds to a definition by itself is no part of it.
  diff_mode:
    support: full
    details:
      - Shows the guest's definition with passwords masked. What libvirt adds by itself is shown once it is there.
  idempotent:
    support: partial
    details:
      - O(state=rebooted) restarts the guest each time, and O(snapshot.state=reverted) takes its disks back each time.
options:
  uri:
    description:
      - The libvirt connection.
    type: str
    default: qemu:///system
  location:
    description:
      - The directory for cached images and locks. The default is C(/var/lib/poolwright) for C(qemu:///system), and C(poolwright) below the
        user's data directory otherwise.
    type: path
  virt_type:
    description:
      - How a new guest is executed. V(auto) uses KVM where a guest really runs with it, and emulation with a warning elsewhere.
    type: str
    choices: [auto, kvm, qemu]
    default: auto
  name:
    description:
      - The guest's name. Either it or O(guests) is given.
    type: str
  state: &state
    description:
      - V(present) has it defined, and leaves what it is doing alone.
      - V(running) and V(paused) start or resume it as needed.
      - V(shutoff) presses its power button and waits for O(shutdown_timeout).
      - V(rebooted) shuts it down like that and starts it again, so all of RV(pending_restart) takes effect.
      - V(absent) removes it with the disks that were made for it, its NVRAM, TPM state, saved state and the records of its snapshots. It is
        switched off for that, or shut down like V(shutoff) where disks stay.
    type: str
    choices: [present, running, paused, shutoff, rebooted, absent]
    default: present
  shutdown_timeout:
    description:
      - Seconds that a guest has to shut down.
    type: float
    default: 60
  force:
    description:
      - Switch a guest off that did not shut down in that time.
    type: bool
    default: false
  keep:
    description:
      - What stays when the guest is removed. A guest of the same name finds its NVRAM and TPM state again.
    type: list
    elements: str
    choices: [disks, nvram, tpm]
    default: []
  unplug_timeout:
    description:
      - Seconds that a running guest has to give a device back. After them it waits for a restart.
    type: float
    default: 20
  timeout:
    description:
      - Seconds for fetching images, making disks, and waiting for another run that changes the guest.
    type: float
    default: 3600
  uuid: &uuid
    description:
      - The UUID of a new guest. The default follows from the host and the name.
    type: str
  xml: &xml
    description:
      - The whole domain as XML, in place of all options below but O(autostart). Its UUID and the addresses of its cards may be left out. They
        are then kept, or made from the name.
      - The guest is defined anew when this XML has changed, and when somebody changed the definition.
    type: str
  title: &title
    description:
      - A short description without line breaks. An empty one removes it.
    type: str
  description: &description
    description:
      - A longer description. An empty one removes it.
    type: str
  metadata: &metadata
    description:
      - Keys and values of your own, kept in the domain's metadata in the collection's own namespace. All of them are given.
    type: dict
  machine: &machine
    description:
      - The machine type, such as V(q35). A guest keeps the version that it was made with.
    type: str
  cpus: &cpus
    description:
      - The number of virtual CPUs. The default for a new guest is 1.
    type: int
  max_cpus: &max_cpus
    description:
      - The number up to which they can be plugged in while the guest runs.
    type: int
  cpu: &cpu
    description:
      - The model and the topology of the CPUs.
    type: dict
    suboptions:
      mode:
        description:
          - Whose model it is. The default for a new guest is V(host-passthrough) with KVM and V(maximum) with emulation.
        type: str
        choices: [host-passthrough, host-model, maximum, custom]
      model:
        description:
          - The model's name, with O(cpu.mode=custom).
        type: str
      sockets:
        description:
          - The number of sockets. Sockets, dies, cores and threads multiply to the number of CPUs.
        type: int
      dies:
        description:
          - Dies in each socket.
        type: int
      cores:
        description:
          - Cores in each die.
        type: int
      threads:
        description:
          - Threads of each core.
        type: int
      features:
        description:
          - Features that are added to the model or taken from it. All of them are given.
        type: list
        elements: dict
        suboptions:
          name:
            description:
              - The feature's name.
            type: str
            required: true
          policy:
            description:
              - What is done with it.
            type: str
            choices: [force, require, optional, disable, forbid]
            default: require
  memory_mb: &memory_mb
    description:
      - Memory in MiB. The default for a new guest is 1024.
    type: int
  max_memory_mb: &max_memory_mb
    description:
      - The most that the guest can be given by its balloon while it runs, in MiB.
    type: int
  ballooning: &ballooning
    description:
      - The device by which a running guest gives memory back.
    type: dict
    suboptions:
      model:
        description:
          - V(none) for no balloon.
        type: str
        choices: [virtio, none]
      autodeflate:
        description:
          - Let a guest that is out of memory have it back.
        type: bool
      free_page_reporting:
        description:
          - Let the guest tell which pages it does not use.
        type: bool
      stats_period:
        description:
          - Seconds between statistics from inside the guest. V(0) for none.
        type: int
  numa: &numa
    description:
      - The guest's memory nodes, and those of the host that its memory comes from.
    type: dict
    suboptions:
      cells:
        description:
          - The guest's nodes. Their memory is that of the guest together.
        type: list
        elements: dict
        suboptions:
          cpus:
            description:
              - The node's CPUs, such as V(0-1).
            type: str
            required: true
          memory_mb:
            description:
              - The node's memory in MiB.
            type: int
            required: true
      mode:
        description:
          - How strictly memory comes from O(numa.nodeset). V(none) lifts that.
        type: str
        choices: [strict, interleave, preferred, none]
      nodeset:
        description:
          - Nodes of the host, such as V(0).
        type: str
  firmware: &firmware
    description:
      - The firmware. The default for a new guest is that of the machine type.
    type: str
    choices: [bios, efi]
  secure_boot: &secure_boot
    description:
      - Whether the firmware starts signed systems only. Wants O(firmware=efi) and a V(q35) machine, which is then the default.
    type: bool
  tpm: &tpm
    description:
      - An emulated TPM 2.0.
    type: dict
    suboptions:
      model:
        description:
          - Its interface. V(none) for no TPM.
        type: str
        choices: [tpm-crb, tpm-tis, none]
        default: tpm-crb
  features: &features
    description:
      - Features of the machine. Those that are not given are left alone.
    type: dict
    suboptions:
      acpi:
        description:
          - ACPI. Without it a guest does not see its power button.
        type: bool
      apic:
        description:
          - APIC.
        type: bool
      pae:
        description:
          - Physical address extension.
        type: bool
      hap:
        description:
          - Hardware assisted paging.
        type: bool
      pmu:
        description:
          - Performance counters.
        type: bool
      ps2:
        description:
          - The PS/2 controller.
        type: bool
      smm:
        description:
          - System management mode.
        type: bool
      vmport:
        description:
          - The port that VMware's tools ask.
        type: bool
  clock: &clock
    description:
      - The guest's clock.
    type: dict
    suboptions:
      offset:
        description:
          - What the clock shows at the start.
        type: str
        choices: [utc, localtime, timezone]
      timezone:
        description:
          - The time zone, with O(clock.offset=timezone).
        type: str
      timers:
        description:
          - Its timers. All of them are given.
        type: list
        elements: dict
        suboptions:
          name:
            description:
              - The timer.
            type: str
            choices: [platform, pit, rtc, hpet, tsc, kvmclock, hypervclock]
            required: true
          present:
            description:
              - Whether the guest has it.
            type: bool
          tickpolicy:
            description:
              - What becomes of ticks that were missed.
            type: str
            choices: [delay, catchup, merge, discard]
          track:
            description:
              - What it follows.
            type: str
            choices: [boot, guest, wall, realtime]
  on_poweroff: &on_poweroff
    description:
      - What happens when the guest switches itself off.
    type: str
    choices: [destroy, restart, preserve]
  on_reboot: &on_reboot
    description:
      - What happens when the guest reboots itself.
    type: str
    choices: [destroy, restart, preserve]
  on_crash: &on_crash
    description:
      - What happens when the guest crashes.
    type: str
    choices: [destroy, restart, preserve, coredump-destroy, coredump-restart]
  boot_order: &boot_order
    description:
      - What the guest boots from, by kind of device. It is either given here or by C(boot_order) of devices.
    type: list
    elements: str
    choices: [disk, cdrom, network]
  disks: &disks
    description:
      - All disks of the guest. One that is not named any more is taken off. What was on it stays, also as the guest's, until the guest is removed.
      - A disk is on a backend (O(disks[].backend), O(disks[].location), O(disks[].name)), or is a file or device that is there (O(disks[].path)).
        On a backend it is made if O(disks[].image) or O(disks[].size_gb) say what from, and has to be there otherwise.
    type: list
    elements: dict
    suboptions:
      backend:
        description:
          - The backend that the disk is on, such as V(qcow2) (an overlay on the cached image) or V(flat) (a raw copy of it).
        type: str
        choices: [flat, lvm, ploop, qcow2, rbd]
      location:
        description:
          - The backend's place. For V(flat), V(qcow2) and V(ploop) it is a directory, for V(lvm) a volume group or C(group/thin-pool),
            for V(rbd) a pool or C(pool/namespace).
        type: str
      name:
        description:
          - The disk's name there.
        type: str
      path:
        description:
          - A file or device that is there. It is never removed.
        type: path
      format:
        description:
          - The format of O(disks[].path), which is never guessed.
        type: str
        choices: [qcow2, raw]
      image:
        description:
          - The image that the disk is made from. It is fetched once into a cache, and inspected before any tool opens it.
        type: dict
        suboptions:
          source:
            description:
              - An C(http), C(https) or C(file) URL, or an absolute path on the host.
            type: str
            required: true
          checksum:
            description:
              - C(sha256:HEX) or C(sha512:HEX) of the file.
              - Also the URL or absolute path of a file with checksums, as C(sha256sum) writes it.
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
      content:
        description:
          - What is on a disk that is made without an image.
          - V(blank) for an empty disk. That is also what O(disks[].size_gb) makes without O(disks[].image).
          - "C({ephemeral: ext4}) for an empty file system: C(ext2), C(ext3), C(ext4), C(vfat) or C(xfs). C({swap: true}) for a swap space."
          - "C({directory: /path, as: iso9660}) for a copy of a tree as an ISO image, or as C(ext2), C(ext3) or C(ext4)."
          - Each takes C(label) as well.
        type: raw
      size_gb:
        description:
          - The size in GiB. A larger one grows the disk, also while the guest runs. A disk never shrinks. The default is that of the image.
        type: float
      full:
        description:
          - Copy the image in place of standing on it.
        type: bool
        default: false
      preallocation:
        description:
          - What is allocated when the disk is made.
        type: str
        choices: ['off', metadata, falloc, full]
      cluster_size:
        description:
          - Bytes of a cluster, a power of two.
        type: int
      extended_l2:
        description:
          - Subclusters for V(qcow2), so that small writes to an overlay copy less of its base.
        type: bool
      compressed:
        description:
          - Store a full copy compressed.
        type: bool
      clear:
        description:
          - What happens to the blocks of a removed volume.
        type: str
        choices: [none, zero, discard]
      conf:
        description:
          - The Ceph cluster's configuration.
        type: path
      user:
        description:
          - The Ceph user without C(client.). The default with O(disks[].keyring) is C(admin).
        type: str
      keyring:
        description:
          - The file with that user's key. libvirt gets the key from it as a private secret, which stays when the guest goes.
        type: path
      secret:
        description:
          - UUID of a libvirt secret of your own that holds that user's key.
        type: str
      target:
        description:
          - The disk's name in the guest, such as V(vda). The default is the next that is free.
        type: str
      bus:
        description:
          - The bus. The default for a new disk is V(virtio).
        type: str
        choices: [virtio, scsi, sata, ide, usb]
      cache:
        description:
          - QEMU's cache mode.
        type: str
        choices: [default, none, writethrough, writeback, directsync, unsafe]
      io:
        description:
          - How QEMU reads and writes.
        type: str
        choices: [default, native, threads, io_uring]
      discard:
        description:
          - Whether what the guest discards is given back to the storage.
        type: str
        choices: [default, unmap, ignore]
      detect_zeroes:
        description:
          - What becomes of zeros that the guest writes.
        type: str
        choices: [default, 'off', 'on', unmap]
      boot_order:
        description:
          - Its number in the order of booting. V(0) takes it out.
        type: int
      readonly:
        description:
          - Whether the guest can only read it.
        type: bool
      shareable:
        description:
          - Whether several guests may have it at once.
        type: bool
      serial:
        description:
          - The serial number that the guest sees. An empty one removes it.
        type: str
  cdroms: &cdroms
    description:
      - All CD-ROM drives of the guest, in order.
    type: list
    elements: dict
    suboptions:
      path:
        description:
          - The image in the drive. Not given, the drive is empty.
        type: path
      bus:
        description:
          - The bus. The default goes by the machine type.
        type: str
        choices: [ide, sata, scsi, usb]
      target:
        description:
          - The drive's name in the guest.
        type: str
      boot_order:
        description:
          - Its number in the order of booting. V(0) takes it out.
        type: int
  networks: &networks
    description:
      - All network cards of the guest, in order. A card keeps its address. A new one gets one that follows from the guest's UUID and the
        card's place.
    type: list
    elements: dict
    suboptions:
      network:
        description:
          - A network of libvirt's. One of O(networks[].network), O(networks[].bridge) and O(networks[].direct) is given.
        type: str
      bridge:
        description:
          - A bridge of the host.
        type: str
      direct:
        description:
          - A device of the host that the card shares (macvtap).
        type: str
      direct_mode:
        description:
          - How it is shared. The default for a new card is V(bridge).
        type: str
        choices: [bridge, vepa, private, passthrough]
      mac:
        description:
          - The card's address.
        type: str
      model:
        description:
          - The card's model. The default for a new card is V(virtio).
        type: str
        choices: [virtio, e1000, e1000e, rtl8139, vmxnet3]
      boot_order:
        description:
          - Its number in the order of booting. V(0) takes it out.
        type: int
      mtu:
        description:
          - The largest packet. V(0) for the network's own.
        type: int
      link:
        description:
          - Whether its cable is plugged in.
        type: str
        choices: [up, down]
      filter:
        description:
          - A network filter of libvirt's. An empty one removes it.
        type: str
  agent: &agent
    description:
      - The channel of the agent in the guest. A new guest has it.
    type: bool
  channels: &channels
    description:
      - All virtio channels of the guest but the agent's.
    type: list
    elements: dict
    suboptions:
      name:
        description:
          - The channel's name in the guest.
        type: str
        required: true
      type:
        description:
          - What is at its other end.
        type: str
        choices: [unix, spicevmc]
        default: unix
  serial: &serial
    description:
      - The first serial port. A new guest has it.
    type: dict
    suboptions:
      log_file:
        description:
          - A file on the host to which all that comes out is written. An empty one ends that.
        type: path
      append:
        description:
          - Whether the file is continued when the guest starts.
        type: bool
  graphics: &graphics
    description:
      - A screen to look at from elsewhere.
    type: dict
    suboptions:
      type:
        description:
          - The protocol. V(none) removes all.
        type: str
        choices: [vnc, spice, none]
        required: true
      listen:
        description:
          - The address of the host on which it is reached. libvirt's default is V(127.0.0.1).
        type: str
      port:
        description:
          - The port. The default leaves it to libvirt.
        type: int
      keymap:
        description:
          - The keyboard's layout. An empty one removes it.
        type: str
      password:
        description:
          - The password. VNC takes 8 characters at most. An empty one removes it.
        type: str
  video: &video
    description:
      - The graphics card.
    type: dict
    suboptions:
      model:
        description:
          - Its model.
        type: str
        choices: [virtio, qxl, vga, bochs, cirrus, none]
        required: true
      vram_mb:
        description:
          - Its memory in MiB.
        type: int
      heads:
        description:
          - The number of screens.
        type: int
  vsock: &vsock
    description:
      - A socket between guest and host.
    type: dict
    suboptions:
      enabled:
        description:
          - Whether there is one.
        type: bool
        default: true
      cid:
        description:
          - The guest's number, 3 or above. The default leaves it to libvirt.
        type: int
  rng: &rng
    description:
      - Random numbers of the host for the guest. A new guest has them.
    type: dict
    suboptions:
      enabled:
        description:
          - Whether it gets any.
        type: bool
        default: true
      source:
        description:
          - The device that they come from. The default for a new guest is C(/dev/urandom).
        type: str
      rate_bytes:
        description:
          - The most in each period, in bytes. V(0) for no limit.
        type: int
      rate_period_ms:
        description:
          - The period in milliseconds.
        type: int
  watchdog: &watchdog
    description:
      - A device that acts when the guest hangs.
    type: dict
    suboptions:
      model:
        description:
          - Its model. V(none) for none.
        type: str
        choices: [i6300esb, ib700, itco, none]
        required: true
      action:
        description:
          - What it does. The default for a new one is V(reset).
        type: str
        choices: [reset, shutdown, poweroff, pause, none]
  hostdevs: &hostdevs
    description:
      - All PCI and USB devices of the host that the guest has.
    type: list
    elements: dict
    suboptions:
      type:
        description:
          - The kind of device.
        type: str
        choices: [pci, usb]
        required: true
      address:
        description:
          - C(0000:01:00.0) for PCI, C(vendor:product) in hex for USB.
        type: str
        required: true
  autostart: &autostart
    description:
      - Whether the guest starts with the host.
    type: bool
  snapshot: &snapshot
    description:
      - A snapshot of all disks that were made for the guest, taken at one moment and kept by their backends. Memory, NVRAM and TPM state are
        no part of it.
    type: dict
    suboptions:
      name:
        description:
          - Its name, of up to 40 letters, digits, C(_), C(.) and C(-).
        type: str
        required: true
      state:
        description:
          - V(present) takes it if there is none of that name. It is taken while the guest is off where O(state) brings it there or starts it.
            A guest that runs on is paused meanwhile. What it has not written yet is then missing, as after a power failure.
          - V(absent) deletes it.
          - V(reverted) gives the disks the contents that they had, each time. A guest that runs is switched off for that, and started again
            unless O(state) says otherwise.
        type: str
        choices: [present, absent, reverted]
        default: present
  guests:
    description:
      - Several guests in one call, in place of O(name) and all options of one guest. One that fails does not stop the others.
    type: list
    elements: dict
    suboptions:
      name:
        description:
          - The guest's name.
        type: str
        required: true
      state: *state
      uuid: *uuid
      xml: *xml
      title: *title
      description: *description
      metadata: *metadata
      machine: *machine
      cpus: *cpus
      max_cpus: *max_cpus
      cpu: *cpu
      memory_mb: *memory_mb
      max_memory_mb: *max_memory_mb
      ballooning: *ballooning
      numa: *numa
      firmware: *firmware
      secure_boot: *secure_boot
      tpm: *tpm
      features: *features
      clock: *clock
      on_poweroff: *on_poweroff
      on_reboot: *on_reboot
      on_crash: *on_crash
      boot_order: *boot_order
      disks: *disks
      cdroms: *cdroms
      networks: *networks
      agent: *agent
      channels: *channels
      serial: *serial
      graphics: *graphics
      video: *video
      vsock: *vsock
      rng: *rng
      watchdog: *watchdog
      hostdevs: *hostdevs
      autostart: *autostart
      snapshot: *snapshot
requirements:
  - Python 3.9 or newer on the target host
  - libvirt-python
  - oslo.utils 7.4 or newer, below 10.1 (for disks)
  - qemu-img (for disks)
  - lvm2 (for V(lvm)), ceph-common and QEMU's driver for RBD (for V(rbd))
  - e2fsprogs, xfsprogs 5.12 or newer, dosfstools, util-linux or xorriso for the contents that they make
  - OVMF (for O(firmware=efi)) and swtpm (for O(tpm)), as libvirt finds them
seealso:
  - module: poolwright.virt.libvirt_guest_info
  - module: poolwright.virt.vm_pool
author:
  - poolwright.virt contributors (@poolwright)
"""

EXAMPLES = r"""
- name: A guest with a system disk and a data disk
  poolwright.virt.libvirt_guest:
    name: web-1
    state: running
    cpus: 2
    memory_mb: 1024
    disks:
      - backend: qcow2
        location: /var/lib/poolwright/disks
        name: web-1_root
        image:
          source: /var/lib/images/debian-13.qcow2
      - backend: qcow2
        location: /var/lib/poolwright/disks
        name: web-1_data
        size_gb: 10
    networks:
      - network: default
    autostart: true

- name: Give it a third CPU and a second card while it runs
  poolwright.virt.libvirt_guest:
    name: web-1
    cpus: 3
    networks:
      - network: default
      - bridge: br0
  register: web

- name: Restart it if something waits for that
  poolwright.virt.libvirt_guest:
    name: web-1
    state: rebooted
    shutdown_timeout: 120
    force: true
  when: web.pending_restart

- name: A guest with secure boot and a TPM
  poolwright.virt.libvirt_guest:
    name: desk-1
    machine: q35
    firmware: efi
    secure_boot: true
    tpm:
      model: tpm-crb
    memory_mb: 4096
    graphics:
      type: vnc
      listen: 127.0.0.1
      password: "{{ vnc_password }}"
    video:
      model: virtio

- name: A guest from XML
  poolwright.virt.libvirt_guest:
    name: old-1
    xml: "{{ lookup('ansible.builtin.template', 'old-1.xml.j2') }}"
    state: running

- name: Shut a guest down, and switch it off if it does not go
  poolwright.virt.libvirt_guest:
    name: web-1
    state: shutoff
    shutdown_timeout: 120
    force: true

- name: A guest on Ceph with a seed for cloud-init and swap of its own
  poolwright.virt.libvirt_guest:
    name: web-2
    state: running
    memory_mb: 2048
    disks:
      - backend: rbd
        location: vms
        name: web-2_root
        image:
          source: https://images.example.org/debian-13.qcow2
          checksum: https://images.example.org/SHA256SUMS
        size_gb: 20
        user: guests
        keyring: /etc/ceph/ceph.client.guests.keyring
      - backend: flat
        location: /var/lib/poolwright/disks
        name: web-2_seed
        content: {directory: /etc/seeds/web-2, as: iso9660, label: cidata}
        readonly: true
      - backend: flat
        location: /var/lib/poolwright/disks
        name: web-2_swap
        content: {swap: true}
        size_gb: 2
    networks:
      - network: default

- name: Keep its disks as they are before its first start
  poolwright.virt.libvirt_guest:
    name: web-1
    state: running
    snapshot:
      name: clean

- name: Return to that
  poolwright.virt.libvirt_guest:
    name: web-1
    snapshot:
      name: clean
      state: reverted

- name: Several guests in one call
  poolwright.virt.libvirt_guest:
    guests:
      - name: web-1
        state: running
        memory_mb: 2048
      - name: web-2
        state: shutoff

- name: Remove it with its disks
  poolwright.virt.libvirt_guest:
    name: web-1
    state: absent
"""

RETURN = r"""
name:
  description: The guest's name.
  returned: success
  type: str
  sample: web-1
uuid:
  description: Its UUID, empty for a guest that was not there.
  returned: success
  type: str
  sample: 2f1d9d5c-6f0e-5c69-9f52-9d6e4cb5e0a1
state:
  description: V(running), V(paused), V(shutoff), V(crashed), V(asleep) or V(absent). In check mode it is what a run would lead to.
  returned: success
  type: str
  sample: running
autostart:
  description: Whether it starts with the host.
  returned: success
  type: bool
  sample: true
addresses:
  description: Addresses of a guest that runs, by lease and from the host's neighbour table.
  returned: success
  type: list
  elements: str
  sample: [192.168.122.17]
disks:
  description: Its disks and drives. C(made) are those that were made for it.
  returned: success
  type: list
  elements: dict
  sample:
    - {target: vda, device: disk, bus: virtio, type: file, source: /var/lib/poolwright/disks/web-1_root.qcow2, format: qcow2,
       readonly: false, serial: '', made: true, backend: qcow2, size: 3221225472}
networks:
  description: Its network cards.
  returned: success
  type: list
  elements: dict
  sample:
    - {mac: '52:54:9a:1f:00:3c', type: network, source: default, model: virtio, link: up, addresses: [192.168.122.17]}
pending_restart:
  description:
    - Options that a guest that runs gets at its next start only.
    - A disk is named by its target and a card by its address, such as C(disks[vda]).
  returned: success
  type: list
  elements: str
  sample: [machine]
snapshots:
  description: The names of its snapshots.
  returned: success, with O(snapshot)
  type: list
  elements: str
  sample: [clean]
changes:
  description: The options that differed. V(definition) stands for a guest that was not defined.
  returned: success
  type: list
  elements: str
  sample: [cpus, networks]
actions:
  description: What was done, in order. In check mode it is what a run would do.
  returned: success
  type: list
  elements: str
  sample: [define, set cpus]
removed:
  description: Disks that were removed.
  returned: success, with O(state=absent)
  type: list
  elements: str
  sample: [/var/lib/poolwright/disks/web-1_root.qcow2]
kept:
  description: Disks that stay, because they were not made for the guest or because of O(keep).
  returned: success, with O(state=absent)
  type: list
  elements: str
  sample: []
guests:
  description: What is returned of each guest, without the diff, in place of all that.
  returned: with O(guests)
  type: list
  elements: dict
  sample: []
stats:
  description: What the run cost. C(calls) to libvirt by name, C(logins), and C(seconds) by phase.
  returned: success
  type: dict
  sample:
    calls: {virDomainDefineXML: 1}
    logins: 1
    seconds: {}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.poolwright.virt.plugins.module_utils.guests.request import guest_with
from ansible_collections.poolwright.virt.plugins.module_utils.guests.spec import module_options, module_rules
from ansible_collections.poolwright.virt.plugins.module_utils.runner import run_module


def main() -> None:
    module = AnsibleModule(argument_spec=module_options(), supports_check_mode=True, **module_rules())
    run_module(module, lambda cancel: guest_with(module.params, module.check_mode, cancel))


if __name__ == "__main__":
    main()
