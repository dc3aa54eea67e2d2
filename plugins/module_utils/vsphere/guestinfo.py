# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""cloud-init's data as its VMware datasource reads it from a guest's configuration. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping


def guest_info(meta_data: Mapping[str, object], *, user_data: str, network_config: str) -> dict[str, str]:
    """The ``guestinfo.*`` values of a machine."""
    meta = dict(meta_data)
    if network_config:
        meta |= {"network": _packed(network_config), "network.encoding": "base64"}
    told = {"guestinfo.metadata": _packed(json.dumps(meta)), "guestinfo.metadata.encoding": "base64"}
    if user_data:
        told |= {"guestinfo.userdata": _packed(user_data), "guestinfo.userdata.encoding": "base64"}
    return told


def _packed(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")
