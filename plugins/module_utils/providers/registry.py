# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""From a module's connection options to a provider. The only file that knows all of them by name.

Each is imported where it is chosen: a run that simulates does not load what talks to libvirt, nor the reverse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock
from ansible_collections.poolwright.virt.plugins.module_utils.providers.base import Provider
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import PoolTemplate
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats

Params = Mapping[str, Any]


def needs_image(params: Params) -> bool:
    """Whether the chosen provider makes machines from something: an image, or a template."""
    return bool(params["provider"] != "dummy")


def clones_templates(params: Params) -> bool:
    """Whether the chosen provider makes machines from templates too, and places them by name."""
    return bool(params["provider"] == "vsphere")


def choose_clock(params: Params) -> Clock:
    """The real clock, unless a simulation asks for another.

    :raises InvalidSpec: the simulation's options are wrong.
    """
    if params["provider"] == "dummy":
        from ansible_collections.poolwright.virt.plugins.module_utils.dummy.config import DummyOptions
        from ansible_collections.poolwright.virt.plugins.module_utils.providers.dummy import make_clock

        return make_clock(DummyOptions.from_dict(params["dummy"]), params["path"])
    return Clock()


def make_provider(params: Params, pools: Sequence[PoolTemplate], clock: Clock, stats: Stats) -> Provider:
    """The provider that the parameters name, serving these pools. Whoever gets it closes it."""
    if params["provider"] == "dummy":
        from ansible_collections.poolwright.virt.plugins.module_utils.dummy.config import DummyOptions
        from ansible_collections.poolwright.virt.plugins.module_utils.providers.dummy import DummyProvider

        return DummyProvider(pools, clock, stats, path=params["path"], options=DummyOptions.from_dict(params["dummy"]))
    if params["provider"] == "vsphere":
        from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere import VsphereProvider
        from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.connection import connect

        return VsphereProvider(pools, clock, stats, vim=connect(params, clock, stats), datacenter=params["datacenter"] or "")
    from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt import LibvirtProvider

    return LibvirtProvider(pools, clock, stats, uri=params["uri"], location=params["location"], virt_type=params["virt_type"])
