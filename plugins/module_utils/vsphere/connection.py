# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""From a module's connection options to a session with a vCenter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.endpoint import Credentials, Endpoint, Secret
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM


def connect(params: Mapping[str, Any], clock: Clock, stats: Stats) -> VIM:
    """The session that the options describe; nothing is sent yet. Whoever gets it closes it.

    :raises InvalidSpec: the options do not go together.
    """
    endpoint = Endpoint(
        host=params["hostname"] or "",
        port=params["port"],
        validate_certs=params["validate_certs"],
        ca_path=params["ca_path"] or "",
        thumbprint=params["thumbprint"] or "",
        proxy_host=params["proxy_host"] or "",
        proxy_port=params["proxy_port"],
    )
    credentials = Credentials(params["username"] or "", Secret(params["password"] or ""), Secret(params["token"] or ""))
    return VIM(endpoint, credentials, clock, stats)
