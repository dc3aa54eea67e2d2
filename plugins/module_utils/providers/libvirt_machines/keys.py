# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What libvirt needs to reach the disks of a pool's machines: for a cluster that asks for a key, a secret that holds it."""

from __future__ import annotations

import threading
from dataclasses import replace

from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.ceph_disks import CephSecret, check_location, with_secret
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.create import where
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import DiskSpec, PoolTemplate


class Keys:
    """The templates of pools with the secrets of their disks, each looked for once in a run."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._lock = threading.Lock()
        self._given: dict[str, tuple[PoolTemplate, PoolTemplate]] = {}

    def check(self, template: PoolTemplate) -> None:
        """Changes nothing. :raises VirtError: libvirt could not reach the disks; see ``check_location`` and ``with_secret``."""
        self._found(template)

    def give(self, template: PoolTemplate) -> PoolTemplate:
        """The template as machines are made from it; the secrets are there once this returns."""
        with self._lock:
            before, after = self._given.get(template.name, (None, template))
            if before is not template:
                after, secrets = self._found(template)
                for secret in secrets:
                    secret.put(self._host)
                self._given[template.name] = (template, after)
            return after

    def _found(self, template: PoolTemplate) -> tuple[PoolTemplate, list[CephSecret]]:
        spec = template.machine
        disks: list[DiskSpec] = []
        secrets: dict[str, CephSecret] = {}
        for number, disk in enumerate((spec.disk, *spec.disks)):
            with where(number):
                check_location(self._host, disk.backend, disk.location)
                options, secret = with_secret(self._host, disk.options)
            disks.append(disk if options == disk.options else replace(disk, options=options))
            secrets.update({} if secret is None else {secret.uuid: secret})
        return replace(template, machine=replace(spec, disk=disks[0], disks=tuple(disks[1:]))), list(secrets.values())
