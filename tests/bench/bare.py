# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the same machines cost without us: ``qemu-img``, ``virsh define`` and ``virsh start``, and a playbook that loops."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import ImageCache
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.domain_xml import build_domain
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.kvm_probe import kvm_works
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.layout import Layout
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.virt_type import choose_platform
from ansible_collections.poolwright.virt.plugins.module_utils.pool.spec_parse import parse_pools
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.create import Site, plan_machine
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Mark, new_machine_id
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.tests.bench.packed import play
from ansible_collections.poolwright.virt.tests.bench.places import TINY
from ansible_collections.poolwright.virt.tests.bench.stage import URI, Stage


@dataclass(frozen=True)
class BareMachine:
    """A domain as ours are, without our mark: ``xml`` is a file, ``disk`` its root disk on ``base``."""

    name: str
    xml: Path
    disk: Path
    base: Path

    def create_disk(self) -> list[str]:
        return ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(self.base), "-F", "qcow2", str(self.disk)]


def machines_like(stage: Stage, pool: dict[str, Any]) -> list[BareMachine]:
    """The pool's machines, their XML written to files beforehand."""
    spec = parse_pools([pool], state="present", needs_image=True)[0]
    folder, clock = stage.folder / "bare", Clock()
    folder.mkdir()
    host = Host(URI, clock, Stats(clock))
    image = ImageCache(str(folder / "images"), clock).ensure(ImageSource(str(TINY)), Deadline.after(clock, 60))
    platform, _warning = choose_platform(host, "auto", kvm_works)
    site = Site(Layout(str(folder)), platform, host.capabilities().uuid, (image,))
    host.close()
    machines = []
    for slot in range(1, spec.size + 1):
        name, disk = spec.vm_name(slot), folder / f"{spec.vm_name(slot)}.qcow2"
        mark = Mark(spec.name, slot, new_machine_id(spec.name), "", "", 0.0)
        domain = plan_machine(spec.template, name, mark, site, lambda _network, _mac: 0, Deadline.after(clock, 60)).domain
        root = replace(domain.disks[0], source=str(disk))
        element = build_domain(replace(domain, disks=(root,), metadata=()))
        path = folder / f"{name}.xml"
        path.write_text(ET.tostring(element, encoding="unicode"), encoding="utf-8")
        machines.append(BareMachine(name, path, disk, Path(image.path)))
    return machines


def clear(machines: Sequence[BareMachine]) -> None:
    for machine in machines:
        machine.disk.unlink(missing_ok=True)


def loop_script(machines: Sequence[BareMachine]) -> str:
    """One line of shell for each machine."""
    virsh = f"virsh --quiet --connect {URI}"
    return "".join(f"{' '.join(machine.create_disk())} && {virsh} define {machine.xml} && {virsh} start {machine.name}\n" for machine in machines)


def loop_playbook(machines: Sequence[BareMachine], folder: Path) -> Path:
    """The same with community.libvirt, as its documentation has it: one task for each step, looped over the machines."""
    loop = [{"name": machine.name, "xml": str(machine.xml), "create": machine.create_disk()} for machine in machines]
    tasks: list[dict[str, Any]] = [
        {"name": "Disks", "ansible.builtin.command": {"argv": "{{ item.create }}"}},
        {"name": "Definitions", "community.libvirt.virt": {"command": "define", "uri": URI, "xml": "{{ lookup('ansible.builtin.file', item.xml) }}"}},
        {"name": "Start", "community.libvirt.virt": {"name": "{{ item.name }}", "state": "running", "uri": URI}},
    ]
    path = folder / "loop.json"
    path.write_text(json.dumps(play(*({**task, "loop": loop, "loop_control": {"label": "{{ item.name }}"}} for task in tasks))), encoding="utf-8")
    return path
