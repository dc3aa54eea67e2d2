# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Removing a machine with all that is its own, and nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Power
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.devices import disks_of, path_of
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import InvalidState
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.hardware import config_spec, device_change
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM

DISK_PATHS = ("config.hardware.device", "config.files.vmPathName")


def guests_disks(devices: Iterable[Any], home: str) -> list[Any]:
    """The disks that are not the machine's own: their files are in another directory than its own, whatever the datastore.

    :param home: the path of the machine's configuration file.
    """
    own = _directory(home)
    return [disk for disk in disks_of(devices) if path_of(disk) and _directory(path_of(disk)) != own]


def remove(vim: VIM, machine: Any, power: Power, foreign: Iterable[Any], deadline: Deadline, about: str) -> None:
    """Switch it off, take away the disks that are not its own, and have vCenter delete the rest. :raises ObjectGone: it is gone."""
    if power is not Power.OFF:
        # Somebody may have switched it off meanwhile.
        with contextlib.suppress(InvalidState):
            vim.run(machine, "PowerOffVM_Task", deadline=deadline, about=about, phase="destroy")
    changes = [device_change("remove", disk) for disk in foreign]
    if changes:
        vim.run(machine, "ReconfigVM_Task", spec=config_spec(device_changes=changes), deadline=deadline, about=about, phase="destroy")
    vim.run(machine, "Destroy_Task", deadline=deadline, about=about, phase="destroy")


def _directory(path: str) -> str:
    try:
        return DatastorePath.parse(path).parent.relative
    except ValueError:
        return path
