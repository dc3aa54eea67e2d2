# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""How a machine is made from its pool's template: the specification of one clone. Builders only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Mark
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Clone, MachineSpec
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines.base_mark import KEY
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines.placement import Site
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines.record import mark_options
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines.seed import guest_info
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines.templates import Template
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import library
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.devices import disks_of, grown_disk, size_of
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.hardware import Card, config_spec, option_values, replace_cards

LINKED = "createNewChildDiskBacking"
FULL = "moveAllDiskBackingsAndDisallowSharing"
_GIB = 1024**3


@dataclass(frozen=True)
class Blueprint:
    """All that a pool's machines have in common. ``cards`` empty: those of the template."""

    template: Template
    site: Site
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class Spot:
    """Where one machine goes; None leaves it to vCenter."""

    folder: Any
    host: Any = None
    datastore: Any = None


def clone_spec(blueprint: Blueprint, machine: MachineSpec, name: str, mark: Mark, spot: Spot, snapshot: Any) -> Any:
    """For ``CloneVM_Task``. The mark is in it, so there is no moment at which the machine exists without.

    :param snapshot: of the template, which a linked clone stands on; None for a full clone.
    """
    vim = library().vim
    linked = machine.clone is Clone.LINKED
    # Its snapshot is taken before it runs for the first time.
    power_on = machine.power_on and not mark.snapshot
    said = {
        "pool": blueprint.site.resource_pool.obj,
        "host": spot.host,
        "datastore": spot.datastore,
        "diskMoveType": LINKED if linked else FULL,
    }
    config = config_spec(
        cpus=machine.cpus,
        memory_mb=machine.memory_mb,
        extra_config=_options(machine, name, mark),
        instance_uuid=mark.id,
        device_changes=_device_changes(blueprint, machine),
    )
    spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(**_given(said)), config=config, powerOn=power_on, template=False)
    if linked:
        spec.snapshot = snapshot
    return spec


def instant_clone_spec(blueprint: Blueprint, machine: MachineSpec, name: str, mark: Mark, spot: Spot) -> Any:
    """For ``InstantClone_Task``, which gives a machine no id of our choice but the one in its BIOS."""
    vim = library().vim
    said = {"pool": blueprint.site.resource_pool.obj, "host": spot.host, "datastore": spot.datastore, "folder": spot.folder}
    location = vim.vm.RelocateSpec(**_given(said))
    changes = replace_cards(blueprint.template.devices, blueprint.cards, cloning=True) if blueprint.cards else []
    if changes:
        location.deviceChange = changes
    return vim.vm.InstantCloneSpec(name=name, location=location, config=option_values(_options(machine, name, mark)), biosUuid=mark.id)


def _options(machine: MachineSpec, name: str, mark: Mark) -> dict[str, str]:
    # Of a base machine's own, nothing is to come along.
    inherited = {KEY: ""} if machine.vmware_image is not None else {}
    return {**inherited, **mark_options(mark), **guest_info(machine.seed, name, mark.id)}


def _device_changes(blueprint: Blueprint, machine: MachineSpec) -> list[Any]:
    devices = blueprint.template.devices
    changes = replace_cards(devices, blueprint.cards, cloning=True) if blueprint.cards else []
    if machine.disk.size_gb is not None:
        root, size = disks_of(devices)[0], int(machine.disk.size_gb * _GIB)
        changes += [grown_disk(root, size)] if size > size_of(root) else []
    return changes


def _given(said: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in said.items() if value is not None}
