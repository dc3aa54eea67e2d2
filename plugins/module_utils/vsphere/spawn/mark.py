# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The mark of a machine that ``vm_spawn`` made: written in the call that makes it, so none is ever without one."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.description import Description

KEY = "poolwright.spawn"
CREATING, READY, DESTROYING = "creating", "ready", "destroying"
ROOT_NAME, ISO_NAME = "root.vmdk", "poolwright-seed.iso"
"""What a machine's second step puts into its directory."""
_VERSION = 1
_TAIL = 12


@dataclass(frozen=True)
class SpawnMark:
    """What has to be known of a machine later on and cannot be seen of it.

    ``id`` is its instance UUID; "" for an instant clone, which gets one from vCenter and is known by ``name``. ``origin`` is the image's,
    ``template`` the inventory path. ``child`` says that its root disk is a child of a cached image's. ``disks`` are the places of the disks
    that were added to it, such as ``scsi0:1``, in the order of the description; ``seed`` the digest of cloud-init's data, ``iso`` the file
    it is in. ``policy`` and ``policy_name`` are the storage policy that it was given last, by the name it had then. ``doomed`` are disks that are being
    removed with it. ``maker`` is the process that makes it until ``until`` (seconds since the epoch).
    ``revision`` grows with each change, so that one whose answer was lost can be told from one that was not made.
    """

    id: str
    name: str
    origin: str = ""
    template: str = ""
    clone: str = ""
    child: bool = False
    disks: tuple[str, ...] = ()
    seed: str = ""
    iso: str = ""
    policy: str = ""
    policy_name: str = ""
    doomed: tuple[str, ...] = ()
    state: str = READY
    maker: str = ""
    until: float = 0.0
    revision: int = 0

    def to_text(self) -> str:
        return json.dumps({"version": _VERSION, **{key: value for key, value in asdict(self).items() if value or key in ("id", "name")}}, sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> SpawnMark | None:
        """None for what is none."""
        try:
            data = json.loads(text)
            known = {field.name for field in fields(cls)}
            said: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items() if key in known}
            return cls(**said) if data.get("version") == _VERSION else None
        except (ValueError, TypeError, AttributeError):
            return None

    @property
    def entry(self) -> dict[str, str]:
        """For ``extraConfig``."""
        return {KEY: self.to_text()}

    @property
    def directory_end(self) -> str:
        """How the names of the machine's own directories end, beside the one that vCenter gave it."""
        return f".{self.id[-_TAIL:]}"

    def is_from(self, wanted: Description) -> bool:
        """Whether the machine was made from the source that is wanted."""
        if wanted.image is not None:
            return self.origin == wanted.origin
        path = wanted.template.strip("/")
        return self.template == path or self.template.endswith(f"/{path}")

    def has_policy(self, wanted: str) -> bool:
        """Whether it was given the storage policy of this name or id last."""
        return bool(self.policy) and (wanted.lower() == self.policy.lower() or wanted == self.policy_name)

    def owns(self, path: str, home: str) -> bool:
        """Whether a file is in one of the machine's own directories; ``home`` is the path of its configuration file."""
        try:
            parent, own = DatastorePath.parse(path).parent, DatastorePath.parse(home).parent
        except ValueError:
            return False
        if parent.is_root:
            return False
        return (parent == own and not own.is_root) or (bool(self.id) and parent.basename.endswith(self.directory_end))

    def is_being_made(self, now: float) -> bool:
        """Whether somebody else is at work on it, as far as can be told: not where that process has ended, or should have long ago."""
        if self.state != CREATING or now > self.until:
            return False
        host, _colon, process = self.maker.rpartition(":")
        if host != socket.gethostname():
            return True
        return process != str(os.getpid()) and _runs(int(process))


def this_process() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def read_mark(extra_config: Mapping[str, str], instance_uuid: str, name: str) -> SpawnMark | None:
    """The mark of a machine, None where it is not ours: a clone of one of ours carries a copy of its mark too."""
    mark = SpawnMark.from_text(extra_config.get(KEY, ""))
    if mark is None:
        return None
    return mark if (mark.id == instance_uuid if mark.id else mark.name == name) else None


def extra_config_of(values: Any) -> dict[str, str]:
    """``extraConfig`` as it is read."""
    return {str(option.key): str(option.value) for option in values or ()}


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
