# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What libvirt is told of a live migration: its flags and parameters. Pure, but for the names of libvirt's own numbers."""

from __future__ import annotations

from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.binding import library
from ansible_collections.poolwright.virt.plugins.module_utils.migration.moves import COPIED
from ansible_collections.poolwright.virt.plugins.module_utils.migration.plan import Plan
from ansible_collections.poolwright.virt.plugins.module_utils.migration.wish import Wish


def flag_names(plan: Plan, wish: Wish, *, persistent: bool, unsafe: bool, resume: bool = False) -> tuple[str, ...]:
    """The names of libvirt's flags, without their common beginning.

    :param persistent: it has a definition on the source.
    :param unsafe: libvirt does not recognise storage that was seen to be shared.
    """
    tuning = wish.tuning
    chosen = {
        "LIVE": True,
        "PEER2PEER": True,
        "PERSIST_DEST": wish.persist,
        "UNDEFINE_SOURCE": wish.undefine_source and persistent,
        "AUTO_CONVERGE": tuning.auto_converge,
        "COMPRESSED": tuning.compress,
        "POSTCOPY": tuning.post_copy,
        "POSTCOPY_RESUME": resume,
        "TLS": tuning.transport == "tls",
        "TUNNELLED": tuning.transport == "ssh",
        # Without a list of disks beside it, either of these would copy every disk, over shared ones too.
        "NON_SHARED_DISK": bool(plan.of(COPIED)) and plan.whole,
        "NON_SHARED_INC": bool(plan.of(COPIED)) and not plan.whole,
        "UNSAFE": unsafe and plan.proved,
    }
    return tuple(name for name, wanted in chosen.items() if wanted)


def flags_of(names: tuple[str, ...]) -> int:
    found = 0
    for name in names:
        found |= int(getattr(library(), f"VIR_MIGRATE_{name}"))
    return found


def params_of(plan: Plan, wish: Wish, xml: str = "", definition: str = "") -> dict[str, Any]:
    """:param xml: as the target is to run it, and :param definition: to define it; "" for as it is."""
    lib, tuning = library(), wish.tuning
    given: dict[str, Any] = {
        lib.VIR_MIGRATE_PARAM_URI: tuning.migrate_uri,
        lib.VIR_MIGRATE_PARAM_BANDWIDTH: tuning.bandwidth_mib,
        lib.VIR_MIGRATE_PARAM_DEST_XML: xml,
        lib.VIR_MIGRATE_PARAM_PERSIST_XML: definition,
        lib.VIR_MIGRATE_PARAM_MIGRATE_DISKS: [move.disk.device for move in plan.of(COPIED)],
    }
    return {key: value for key, value in given.items() if value}
