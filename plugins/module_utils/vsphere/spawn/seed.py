# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""cloud-init's data for one machine: as an ISO image in its directory, or as values of its configuration."""

from __future__ import annotations

import json
import os
import tempfile

from ansible_collections.poolwright.virt.plugins.module_utils.images.iso import NOCLOUD_LABEL, write_iso
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.guestinfo import guest_info
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.description import Seed
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.mark import ISO_NAME
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.work import Work
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.transfer import Transfer

ISO, GUESTINFO = "config_drive", "guestinfo"


def iso_path(home: str) -> DatastorePath:
    """Where the image goes: beside the machine's configuration file."""
    return DatastorePath.parse(home).parent.join(ISO_NAME)


def upload(work: Work, seed: Seed, name: str, instance_id: str, target: DatastorePath) -> None:
    """Write the image here, send it, and forget it here."""
    with tempfile.TemporaryDirectory(prefix="poolwright-seed-") as directory:
        path = os.path.join(directory, ISO_NAME)
        write_iso(path, files(seed, name, instance_id), NOCLOUD_LABEL, work.deadline)
        Transfer(work.site, cancel=work.cancel).upload(target, path, work.deadline)


def files(seed: Seed, name: str, instance_id: str) -> dict[str, bytes]:
    """The files of a NoCloud seed. What ``meta_data`` says goes before what is said for it."""
    meta = {"instance-id": instance_id, "local-hostname": name, **seed.meta_data}
    # One key per line, unindented: small guests read them with sed.
    said = {"meta-data": json.dumps(meta, indent=0) + "\n", "user-data": seed.user_data or "#cloud-config\n{}\n"}
    if seed.network_config:
        said["network-config"] = seed.network_config
    return {file: text.encode() for file, text in said.items()}


def guestinfo(seed: Seed, name: str, instance_id: str) -> dict[str, str]:
    """The ``guestinfo.*`` values that cloud-init's VMware datasource reads."""
    meta = {"instance-id": instance_id, "local-hostname": name, **seed.meta_data}
    return guest_info(meta, user_data=seed.user_data, network_config=seed.network_config)
