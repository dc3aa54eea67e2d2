# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""A copy of a machine's record in its own directory, for the day when somebody undefines its domain and its disks lie elsewhere.

Nothing else ever reads it: what a machine is stands in its domain.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET

from ansible_collections.poolwright.virt.plugins.module_utils.images.scratch import publish, scratch_directory
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.layout import tail_of
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.record import MachineRecord, from_element, to_element

RECORD_NAME = "machine.xml"
_MODE = 0o600


def write_record(record: MachineRecord) -> None:
    """Before the first disk is made, and whenever there is another."""
    with scratch_directory(record.directory, RECORD_NAME) as scratch:
        path = os.path.join(scratch, RECORD_NAME)
        ET.ElementTree(to_element(record)).write(path, encoding="utf-8")
        publish(path, os.path.join(record.directory, RECORD_NAME), _MODE)


def read_record(directory: str) -> MachineRecord | None:
    """None where there is none, or one that was not written for this directory."""
    try:
        element = ET.parse(os.path.join(directory, RECORD_NAME)).getroot()  # noqa: S314 (the directory is its writer's alone)
    except (OSError, ET.ParseError):
        return None
    record = from_element(element)
    own = record is not None and record.directory == directory and directory.endswith(f".{tail_of(record.mark.id)}")
    return record if own else None
