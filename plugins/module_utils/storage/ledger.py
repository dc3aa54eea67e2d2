# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What is recorded of a disk that is nobody's but its own, kept in the note beside it."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec, OperationFailed
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend import makers
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import Image
from ansible_collections.poolwright.virt.plugins.module_utils.locks import FileLock
from ansible_collections.poolwright.virt.plugins.module_utils.storage.record import OwnDisk

_VERSION = 1


def read(place: Image, deadline: Deadline) -> OwnDisk | None:
    """The record of the disk of this place, None where there is none. A directory or group may have been moved since: the place counts.

    :raises OperationFailed: it is damaged.
    """
    text = place.note().read(deadline)
    if text is None:
        return None
    try:
        data = json.loads(text)
        if data["version"] != _VERSION:
            raise OperationFailed(
                f"what is recorded of the disk has the form {data['version']}, which this version does not know",
                obj=place.name,
                phase="record",
                hint="use a newer version of this collection",
            )
        own = OwnDisk.from_dict(data["disk"])
    except (ValueError, KeyError, TypeError, InvalidSpec) as exc:
        hint = "look what it says, and take it away if the disk is nobody's"
        raise OperationFailed("what is recorded of the disk is damaged", obj=place.name, phase="record", hint=hint) from exc
    path = place.plan_from_func(max(own.record.size, 1)).path
    return replace(own, location=place.location, name=place.name, record=replace(own.record, path=path))


def write(place: Image, own: OwnDisk, deadline: Deadline) -> None:
    place.note().write(json.dumps({"version": _VERSION, "disk": own.to_dict()}, sort_keys=True), deadline)


def forget(place: Image, deadline: Deadline) -> None:
    place.note().remove(deadline)


def lock(place: Image, deadline: Deadline) -> FileLock:
    """Held while a disk and its record are changed, against other runs on this host."""
    name = hashlib.sha256("\0".join((place.backend, place.location.partition("/")[0] or place.location, place.name)).encode()).hexdigest()
    return FileLock(os.path.join(makers.home(), f"disk-{name[:32]}.lock"), deadline.clock, deadline)
