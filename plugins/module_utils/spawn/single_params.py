# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""From the parameters of ``vm_spawn`` to a machine of a provider that pools use: a pool of one, whose machine has the pool's own name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.pool.spec import PoolSpec
from ansible_collections.poolwright.virt.plugins.module_utils.pool.spec_parse import parse_pools
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import single
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import MachineSpec, PoolTemplate

Params = Mapping[str, Any]

ELSEWHERE = (
    "annotation",
    "clone",
    "cloud_init",
    "cluster",
    "cores_per_socket",
    "cpu_limits",
    "customization",
    "datastore",
    "extra_config",
    "firmware",
    "folder",
    "guest_id",
    "host",
    "memory_limits",
    "resource_pool",
    "restart",
    "secure_boot",
    "snapshot",
    "storage_policy",
    "template",
)
"""Options that only a vCenter has."""

_HOST_NAMES = ("local-hostname", "hostname")


@dataclass(frozen=True)
class SingleTemplate(PoolTemplate):
    """A pool of one machine, which is named as the prefix is."""

    def vm_name(self, slot: int) -> str:
        return self.prefix

    def slot_of(self, name: str) -> int | None:
        return 1 if name == self.prefix else None


def parse_single(params: Params, *, needs_image: bool) -> SingleTemplate:
    """:raises InvalidSpec: with every fault."""
    provider, name = params["provider"], str(params["name"])
    problems = [f"{key}: is for provider: vsphere, and {provider} has no such thing; leave it out" for key in ELSEWHERE if params.get(key)]
    image = dict(params.get("image") or {})
    problems += [f"image.{key}: is for provider: vsphere; leave it out" for key in ("disk_type", "adapter_type") if image.pop(key, None)]
    for number, card in enumerate(params.get("networks") or ()):
        if card.get("mac"):
            problems.append(f"networks[{number}].mac: is for provider: vsphere; here a machine's address follows from its name, leave it out")
    for number, disk in enumerate(params.get("disks") or ()):
        said = [key for key, usual in (("datastore", None), ("thin", True), ("ephemeral", False)) if disk.get(key, usual) not in (usual, "")]
        problems += [f"disks[{number}].{key}: is for provider: vsphere; leave it out" for key in said]
    if params.get("wait_for_address") and params["state"] != "poweredon":
        problems.append("wait_for_address: goes with state: poweredon only")
    seed = _seed(params.get("config_drive") or {}, problems)
    raw = {
        "name": name,
        "size": 1,
        "image": {**image, "format": image.get("format") or "qcow2"} if image else None,
        "cpus": params.get("cpus"),
        "memory_mb": params.get("memory_mb"),
        "disk": params.get("disk"),
        "disks": params.get("disks") or [],
        "networks": params.get("networks") or [],
        "power": "on" if params["state"] == "poweredon" else "off",
        **seed,
    }
    spec = PoolSpec(name, name)
    absent = params["state"] == "absent"
    try:
        (spec,) = parse_pools([raw], state="absent" if absent else "present", needs_image=needs_image)
    except InvalidSpec as exc:
        # They know the machine as a pool.
        problems += [text.partition("': ")[2] or text for text in exc.problems]
    if problems:
        raise InvalidSpec(problems)
    return SingleTemplate(single(name), name, MachineSpec() if absent else spec.machine)


def _seed(raw: Params, problems: list[str]) -> dict[str, Any]:
    meta = dict(raw.get("meta_data") or {})
    names = [str(meta.pop(key)) for key in _HOST_NAMES if key in meta]
    keys = meta.pop("public-keys", None) or []
    if isinstance(keys, str):
        keys = [keys]
    problems += [f"config_drive.meta_data.{key}: cannot be set here; give local-hostname and public-keys only" for key in meta]
    return {"user_data": raw.get("user_data"), "network_config": raw.get("network_config"), "hostname": names[0] if names else None, "ssh_keys": keys}
