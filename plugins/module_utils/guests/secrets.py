# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The secrets that a guest's disks need before it can be defined with them."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.poolwright.virt.plugins.module_utils.errors import telling_where
from ansible_collections.poolwright.virt.plugins.module_utils.guests.wish import Disk, Wish
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.ceph_disks import CephSecret, check_location, with_secret
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host


def gives_keys(wish: Wish) -> bool:
    """Whether secrets get their values from it, also where nothing else changes."""
    return any(disk.on is not None and disk.on.options.keyring for disk in wish.disks or ())


def with_secrets(host: Host, wish: Wish) -> tuple[Wish, tuple[CephSecret, ...]]:
    """The wish with each disk's secret in its options, and the secrets that are ours to look after, each once. Changes nothing.

    :raises VirtError: see ``check_location`` and ``with_secret``.
    """
    disks: list[Disk] = []
    secrets: dict[str, CephSecret] = {}
    for number, disk in enumerate(wish.disks or ()):
        if disk.on is None:
            disks.append(disk)
            continue
        with telling_where(f"disks[{number}]"):
            check_location(host, disk.on.backend, disk.on.location)
            options, secret = with_secret(host, disk.on.options)
        disks.append(replace(disk, on=replace(disk.on, options=options)))
        secrets.update({} if secret is None else {secret.uuid: secret})
    return replace(wish, disks=None if wish.disks is None else tuple(disks)), tuple(secrets.values())
