# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""cloud-init's NoCloud seed: the files of a machine's first boot. Pure.

Structure is written as JSON, which every YAML parser reads, so no YAML library is needed on the host.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

_EMPTY_CONFIG = "#cloud-config\n{}\n"


def local_hostname(pattern: str, name: str) -> str:
    """A machine's host name: its own name, or a pattern in which ``{name}`` stands for it."""
    return pattern.replace("{name}", name) if pattern else name


def seed_files(
    name: str, instance_id: str, *, user_data: str = "", network_config: str = "", ssh_keys: Sequence[str] = (), hostname: str = ""
) -> dict[str, bytes]:
    """The files of a NoCloud seed by name.

    :param instance_id: new for each machine: cloud-init does the work of a first boot when it sees one it does not know.
    :param user_data: as the user wrote it, whatever its kind (``#cloud-config``, a script, MIME parts); never parsed.
    :param network_config: version 1 or 2 as YAML; "" leaves it to DHCP.
    :param ssh_keys: go into the meta-data as ``public-keys``, which cloud-init adds to the default user's keys beside those
        that user-data may name: nothing has to be merged into a user's text.
    :param hostname: see ``local_hostname``. A ``hostname`` in user-data wins in cloud-init.
    """
    meta_data: dict[str, object] = {"instance-id": instance_id, "local-hostname": local_hostname(hostname, name)}
    if ssh_keys:
        meta_data["public-keys"] = list(ssh_keys)
    # One key per line, unindented: small guests read them with sed.
    files = {"meta-data": json.dumps(meta_data, indent=0) + "\n", "user-data": user_data or _EMPTY_CONFIG}
    if network_config:
        files["network-config"] = network_config
    return {file: text.encode() for file, text in files.items()}
