# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The labs by the names they have on the command line. A lab's libraries are only imported when it is asked for."""

from __future__ import annotations

import importlib

from ansible_collections.poolwright.virt.tests.contract.labs.base import Lab

LABS = {
    "dummy": ("dummy", "DummyLab"),
    "libvirt_test": ("libvirt_test", "LibvirtTestLab"),
    "libvirt_qemu": ("libvirt_qemu", "LibvirtQemuLab"),
    "libvirt_pair": ("libvirt_pair", "LibvirtPairLab"),
    "vsphere": ("vsphere", "VsphereLab"),
}
PACKAGE = "ansible_collections.poolwright.virt.tests.contract.labs"


class UnknownLab(ValueError):
    """There is no lab of this name, or it cannot be used on this machine."""


def lab_class(name: str) -> type[Lab]:
    """:raises UnknownLab: see there."""
    if name not in LABS:
        raise UnknownLab(f"there is no lab {name!r}; known are {', '.join(LABS)}")
    module, class_name = LABS[name]
    try:
        found = getattr(importlib.import_module(f"{PACKAGE}.{module}"), class_name)
    except (ImportError, AttributeError) as exc:
        raise UnknownLab(f"the lab {name} cannot be used here: {exc}") from exc
    if not (isinstance(found, type) and issubclass(found, Lab)):
        raise UnknownLab(f"{PACKAGE}.{module}.{class_name} is no lab")
    return found
