# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""One request of the module ``image_cache``: from its options to its result."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.durations import seconds_of
from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec, NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.connection import connect
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import Site
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.cache import DatastoreImageCache
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.image import VMwareImage, check_fits, size_problems
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.listed import Listed
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Entry, Inventory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.transfer import Transfer

Result = dict[str, Any]

_NOT_HERE = ("convert_to", "compression", "disk_directories", "uri")


def keep_images(params: Mapping[str, Any], check_mode: bool, cancel: threading.Event, *, clock: Clock | None = None) -> Result:
    """Bring the cache to what the options say; with ``check_mode`` only tell what that would change.

    :raises InvalidSpec: with every fault of the options, before anything is asked or touched.   :raises VirtError: see ``DatastoreImageCache``.
    """
    clock = clock or Clock()
    stats = Stats(clock)
    image, max_unused = _parse(params)
    deadline = Deadline.after(clock, params["timeout"])
    with connect(params, clock, stats) as vim:
        inventory = Inventory(vim, params["datacenter"] or "")
        with stats.phase("look up"):
            datastore = inventory.datastore(params["datastore"])
        cache = DatastoreImageCache(vim, inventory, Transfer(Site(vim, inventory), stats=stats, cancel=cancel), clock, stats, cancel=cancel)
        if image is None:
            result = _age(cache, datastore, max_unused, check_mode, deadline)
        elif params["state"] == "absent":
            result = _absent(cache, image, datastore, params["force"], check_mode, deadline)
        else:
            result = _present(cache, image, datastore, params, check_mode, deadline, clock)
    return {**result, "datastore": datastore.name, "stats": stats.as_dict()}


def list_images(params: Mapping[str, Any], cancel: threading.Event, *, clock: Clock | None = None) -> Result:
    """What is in the cache of a datastore.

    :raises VirtError: see ``DatastoreImageCache.entries``.
    """
    clock = clock or Clock()
    stats = Stats(clock)
    if params["timeout"] <= 0:
        raise InvalidSpec([f"timeout: {params['timeout']} is not above 0"])
    deadline = Deadline.after(clock, params["timeout"])
    with connect(params, clock, stats) as vim:
        inventory = Inventory(vim, params["datacenter"] or "")
        with stats.phase("look up"):
            datastore = inventory.datastore(params["datastore"])
            cache = DatastoreImageCache(vim, inventory, Transfer(Site(vim, inventory), stats=stats, cancel=cancel), clock, stats, cancel=cancel)
            found = cache.entries(datastore, deadline)
    images = [_facts(listed, None, listed.entry.pinned, listed.entry.last_used) for listed in found]
    return {"changed": False, "datastore": datastore.name, "images": images, "stats": stats.as_dict()}


def _parse(params: Mapping[str, Any]) -> tuple[VMwareImage | None, float]:
    problems = []
    max_unused = seconds_of(params["max_unused"])
    if max_unused is None:
        problems.append(f"max_unused: {params['max_unused']!r} is no time such as 7d, 12h or 30m")
    if params["timeout"] <= 0:
        problems.append(f"timeout: {params['timeout']} is not above 0")
    problems += [f"{name}: is for a cache in a directory; give path in place of datastore" for name in _NOT_HERE if params.get(name)]
    image = None
    if params["state"] != "aged":
        try:
            image = VMwareImage(
                params["source"] or "",
                params["checksum"],
                params["format"] or "",
                params["disk_type"] or "",
                params["adapter_type"] or "",
            )
            problems += size_problems(params["size_gb"], image)
        except InvalidSpec as exc:
            problems += exc.problems
    if problems:
        raise InvalidSpec([problem.replace("image.", "", 1) if problem.startswith("image.") else problem for problem in problems])
    return image, max_unused or 0.0


def _present(
    cache: DatastoreImageCache, image: VMwareImage, datastore: Entry, params: Mapping[str, Any], check_mode: bool, deadline: Deadline, clock: Clock
) -> Result:
    wanted_pin, size_gb = params["state"] == "pinned", params["size_gb"]
    if check_mode:
        found = cache.lookup(image, datastore, deadline)
        if found is not None:
            check_fits(image, found.facts.virtual_size, size_gb)
    else:
        found = cache.ensure_listed(image, datastore, deadline, size_gb=size_gb)
    was_there = found is not None and not found.made
    pinned = found is not None and was_there and found.entry.pinned
    missing_size = found is not None and (found.resized or (check_mode and not found.has(size_gb)))
    if not check_mode and found is not None and pinned != wanted_pin:
        (cache.pin if wanted_pin else cache.unpin)(found, deadline)
    before = _state(image, pinned, bool(size_gb) and not missing_size, size_gb) if was_there else {"state": "absent"}
    after = _state(image, wanted_pin, bool(size_gb), size_gb)
    facts = {} if found is None else _facts(found, size_gb, wanted_pin, found.entry.last_used if check_mode else clock.now())
    return {"changed": before != after, "diff": {"before": before, "after": after}, **facts}


def _absent(cache: DatastoreImageCache, image: VMwareImage, datastore: Entry, force: bool, check_mode: bool, deadline: Deadline) -> Result:
    try:
        found = cache.lookup(image, datastore, deadline, ask=False)
    except NotFound:
        # Of what was copied from a datastore, the source is what it is known by.
        found = None
    absent = {"state": "absent"}
    if found is None:
        return {"changed": False, "diff": {"before": absent, "after": absent}}
    if found.entry.pinned and not force:
        raise InvalidSpec([f"force: {found.entry.path} is pinned; unpin it with state: present, or set force: true to remove it nevertheless"])
    if check_mode:
        cache.check_unused(found)
    else:
        cache.remove(found, deadline)
    before = _state(image, found.entry.pinned, False, None)
    return {"changed": True, "diff": {"before": before, "after": absent}, **_facts(found, None, found.entry.pinned, found.entry.last_used)}


def _age(cache: DatastoreImageCache, datastore: Entry, max_unused: float, check_mode: bool, deadline: Deadline) -> Result:
    steps = (cache.plan_age if check_mode else cache.age)(datastore, max_unused, deadline)
    lists = {name: [str(step.entry.path) for step in steps if step.action == action] for name, action in _ACTIONS.items()}
    before = {str(step.entry.path): _AGED[step.action][0] for step in steps}
    after = {str(step.entry.path): _AGED[step.action][1] for step in steps}
    return {"changed": bool(steps), "diff": {"before": before, "after": after}, **lists}


_ACTIONS = {"removed": "remove", "marked": "mark", "cleared": "clear"}
_AGED = {"remove": ("marked as unused", "absent"), "mark": ("present", "marked as unused"), "clear": ("marked as unused", "present")}


def _state(image: VMwareImage, pinned: bool, has_size: bool, size_gb: float | None) -> dict[str, Any]:
    return {"state": "pinned" if pinned else "present", "source": str(image), **({"size_gb": size_gb} if has_size else {})}


def _facts(found: Listed, size_gb: float | None, pinned: bool, last_used: float) -> Result:
    facts = found.facts
    disk = found.disk(size_gb)
    return {
        "path": str(disk.path),
        "datastore_path": str(disk.path),
        "digest": facts.digest,
        "format": facts.format,
        "disk_type": facts.disk_type,
        "adapter_type": facts.adapter_type,
        "size": facts.size,
        "virtual_size": disk.capacity_bytes,
        "source": facts.source,
        "pinned": pinned,
        "last_used": datetime.fromtimestamp(last_used, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ") if last_used else None,
    }
