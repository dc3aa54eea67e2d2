# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What is said about disks: to the next task as facts, and to a person as a difference in plain words."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import DiskRecord
from ansible_collections.poolwright.virt.plugins.module_utils.storage.plan import Plan, Step
from ansible_collections.poolwright.virt.plugins.module_utils.storage.record import OwnDisk
from ansible_collections.poolwright.virt.plugins.module_utils.storage.request import State

Result = dict[str, Any]

_GIB = 1024**3


def result(plan: Plan, own: OwnDisk | None, deadline: Deadline, *, check_mode: bool) -> Result:
    """:param own: as it is recorded now, or will be."""
    before = _words(plan.before, plan.exists)
    after = _words(own, True)
    found: Result = {
        "changed": plan.changed,
        "backend": plan.place.backend,
        "location": plan.place.location,
        "name": plan.place.name,
        "state": "absent" if own is None else "present",
        "actions": [_action(plan, step) for step in plan.steps],
        "diff": {"before_header": plan.place.name, "after_header": plan.place.name, "before": before, "after": after if plan.changed else before},
    }
    if own is None:
        return found
    there = plan.exists and Step.REMOVE not in plan.steps
    digest = {"digest": own.origin.digest or None} if plan.request.state is State.IDENTICAL else {}
    return {
        **found,
        **facts(own),
        "size": plan.place.used_bytes(deadline) if there or not check_mode else None,
        **digest,
    }


def facts(own: OwnDisk) -> Result:
    """Of one disk, from its record alone."""
    record = own.record
    return {
        "uri": uri_of(record),
        "path": record.path,
        "format": record.format,
        "virtual_size": record.size or None,
        "backing": None if record.backing is None else asdict(record.backing),
        "recorded": own.to_dict(),
    }


def uri_of(record: DiskRecord) -> str:
    """``file:///path`` of a file or a device; else ``<backend>:<path>``, as QEMU takes it."""
    return f"file://{quote(record.path)}" if record.path.startswith("/") else f"{record.backend}:{record.path}"


def state_of(own: OwnDisk | None, exists: bool) -> str:
    """In one word."""
    if own is None:
        return "unrecorded" if exists else "absent"
    return "lost" if own.made and not exists else "present" if own.made else "unfinished"


def _words(own: OwnDisk | None, exists: bool) -> dict[str, str]:
    if own is None:
        return {"state": state_of(own, exists)}
    record, origin = own.record, own.origin
    said = {
        "state": state_of(own, exists),
        "path": record.path,
        "size": amount(record.size) if record.size else "the image's own",
        "made from": f"{origin} ({record.image})" if record.image else str(origin),
        "stands on": "" if record.backing is None else record.backing.path,
        "options": ", ".join(f"{key}={value}" for key, value in own.to_dict().get("options", {}).items()),
    }
    return {key: value for key, value in said.items() if value}


def _action(plan: Plan, step: Step) -> str:
    path = plan.place.name if plan.after is None else plan.after.record.path
    if step is Step.MAKE and plan.after is not None:
        size = plan.after.record.size
        return f"make {path} from {plan.after.origin}, {amount(size) if size else 'of the size of the image'}"
    if step is Step.GROW and plan.before is not None and plan.after is not None:
        return f"grow {path} from {amount(plan.before.record.size)} to {amount(plan.after.record.size)}"
    words = {
        Step.REMOVE: f"remove {path if plan.before is None else plan.before.record.path} with its snapshots",
        Step.FORGET: "forget what is recorded of it",
        Step.FINISH: f"note that {path} is whole: a killed run made it",
        Step.RENEW: "note how it is reached now",
    }
    return words.get(step, step.value)


def amount(size: int) -> str:
    """``20 GiB``, or with two digits and the exact bytes where it is no round number."""
    if size % _GIB == 0:
        return f"{size // _GIB} GiB"
    return f"{size / _GIB:.2f} GiB ({size} bytes)"
