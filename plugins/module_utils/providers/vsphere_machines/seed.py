# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What a machine of a pool is told through its configuration. Pure."""

from __future__ import annotations

from ansible_collections.poolwright.virt.plugins.module_utils.cloudinit import local_hostname
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import SeedSpec
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import guestinfo


def guest_info(seed: SeedSpec, name: str, instance_id: str) -> dict[str, str]:
    """The ``guestinfo.*`` values of a machine, none where nothing is to be told to it.

    :param instance_id: new for each machine: cloud-init does the work of a first boot when it sees one it does not know.
    """
    if not seed.wanted:
        return {}
    metadata: dict[str, object] = {"instance-id": instance_id, "local-hostname": local_hostname(seed.hostname, name)}
    if seed.ssh_keys:
        # The datasource's own name for them, one line each.
        metadata["public-keys-data"] = "\n".join(seed.ssh_keys)
    return guestinfo.guest_info(metadata, user_data=seed.user_data, network_config=seed.network_config)
