# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""cloud-init's data as its VMware datasource reads it from a guest's configuration. Pure."""

from __future__ import annotations

import base64
import json

from ansible_collections.poolwright.virt.plugins.module_utils.cloudinit import local_hostname
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import SeedSpec


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
    if seed.network_config:
        metadata |= {"network": _packed(seed.network_config), "network.encoding": "base64"}
    told = {"guestinfo.metadata": _packed(json.dumps(metadata)), "guestinfo.metadata.encoding": "base64"}
    if seed.user_data:
        told |= {"guestinfo.userdata": _packed(seed.user_data), "guestinfo.userdata.encoding": "base64"}
    return told


def _packed(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")
