# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""One request of the modules ``image_cache`` and ``image_cache_info`` on a host's own cache: from their options to their results."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline, Interruptible
from ansible_collections.poolwright.virt.plugins.module_utils.durations import seconds_of
from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.images import upkeep
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage, ImageCache
from ansible_collections.poolwright.virt.plugins.module_utils.images.sizes import MAX_VIRTUAL_SIZE
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import FORMATS, SUFFIXES, ImageSource
from ansible_collections.poolwright.virt.plugins.module_utils.images.store import Entry
from ansible_collections.poolwright.virt.plugins.module_utils.images.users import Users, find_users
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.domain_files import default_uri, disk_files
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats

Result = dict[str, Any]

_GIB = 1024**3
_NOT_HERE = ("disk_type", "adapter_type", "size_gb")


@dataclass(frozen=True)
class _Request:
    root: str
    image: ImageSource | None
    max_unused: float
    directories: tuple[str, ...]
    uri: str
    max_size: int
    force: bool = False


def keep_files(params: Mapping[str, Any], check_mode: bool, cancel: threading.Event, *, clock: Clock | None = None) -> Result:
    """Bring the cache below ``path`` to what the options say; with ``check_mode`` only tell what that would change.

    :raises InvalidSpec: with every fault of the options, before anything is asked or touched.
    :raises VirtError: see ``ImageCache``, ``upkeep`` and ``users``.
    """
    clock = clock or Clock()
    stats = Stats(clock)
    request = _parse(params)
    deadline = Interruptible(clock, clock.monotonic() + params["timeout"], cancel)
    cache = ImageCache(request.root, clock, max_virtual_size=request.max_size, max_unpacked_size=min(request.max_size, MAX_VIRTUAL_SIZE))
    if request.image is None:
        result = _age(cache, request, check_mode, deadline, stats)
    else:
        with stats.phase("checksum"):
            image = cache.resolved(request.image, deadline)
        if params["state"] == "absent":
            result = _absent(cache, request, image, check_mode, deadline, stats)
        else:
            result = _present(cache, image, params["state"] == "pinned", check_mode, deadline, stats)
    return {**result, "cache": cache.root, "stats": stats.as_dict()}


def list_files(params: Mapping[str, Any], cancel: threading.Event, *, clock: Clock | None = None) -> Result:
    """What is in the cache below ``path``, and who stands on it."""
    clock = clock or Clock()
    stats = Stats(clock)
    root, problems = _root(params)
    if problems:
        raise InvalidSpec(problems)
    cache = ImageCache(root, clock)
    request = _Request(root, None, 0.0, *_where_users_are(params, root), MAX_VIRTUAL_SIZE)
    entries = cache.store.entries()
    users = _users(cache, request, stats)
    listed = [{**_entry_facts(entry), "used_by": list(users.of(entry.path))} for entry in entries if entry.record is not None]
    return {"changed": False, "cache": root, "images": listed, "stats": stats.as_dict()}


def _parse(params: Mapping[str, Any]) -> _Request:
    root, problems = _root(params)
    max_unused = seconds_of(params["max_unused"])
    if max_unused is None:
        problems.append(f"max_unused: {params['max_unused']!r} is no time such as 7d, 12h or 30m")
    if params["timeout"] <= 0:
        problems.append(f"timeout: {params['timeout']} is not above 0")
    problems += [f"{name}: is for datastores; what a machine needs of a disk is said where the machine is made" for name in _NOT_HERE if params.get(name)]
    directories, uri = _where_users_are(params, root)
    problems += [f"disk_directories: {path}: there is no such directory" for path in params.get("disk_directories") or () if not os.path.isdir(path)]
    if params["max_size_gb"] <= 0:
        problems.append(f"max_size_gb: {params['max_size_gb']:g} is not above 0")
    image = None
    if params["state"] != "aged":
        image = _image(params)
        problems += _image_problems(image)
    if problems:
        raise InvalidSpec([problem.replace("image.", "", 1) if problem.startswith("image.") else problem for problem in problems])
    return _Request(root, image, max_unused or 0.0, directories, uri, min(int(params["max_size_gb"] * _GIB), MAX_VIRTUAL_SIZE), params["force"])


def _root(params: Mapping[str, Any]) -> tuple[str, list[str]]:
    path = str(params["path"] or "")
    root = os.path.normpath(path) if path else ""
    return root, [] if root.startswith("/") and root != "/" else [f"path: {path!r} is no absolute path of a directory for images"]


def _where_users_are(params: Mapping[str, Any], root: str) -> tuple[tuple[str, ...], str]:
    """Where machines' disks may be: by default beside the cache, and wherever the domains of this host have them."""
    named = params.get("disk_directories")
    beside = os.path.dirname(root)
    directories = tuple(os.path.normpath(path) for path in named) if named is not None else ((beside,) if beside != "/" else ())
    uri = params.get("uri")
    return directories, default_uri() if uri is None else str(uri)


def _image(params: Mapping[str, Any]) -> ImageSource:
    """The image as it is described; what is not said goes by the end of the source's name."""
    bare = ImageSource(params["source"] or "", params["checksum"] or None)
    try:
        name = bare.name.lower()
    except ValueError:
        name = ""
    compression = params.get("compression")
    if compression is None:
        compression = next((one for one, suffix in SUFFIXES.items() if name.endswith(f".{suffix}")), "none")
    if compression != "none" and name.endswith(f".{SUFFIXES[compression]}"):
        name = name[: -len(SUFFIXES[compression]) - 1]
    named = next((one for one in FORMATS if name.endswith(f".{one}")), "")
    return replace(bare, format=params["format"] or named, compression="" if compression == "none" else compression, convert_to=params.get("convert_to") or "")


def _image_problems(image: ImageSource) -> list[str]:
    problems = image.problems()
    if not image.format:
        problems = [problem for problem in problems if not problem.startswith("image.format")]
        problems.append(f"image.format: is missing, and the source's name does not end in one of {', '.join(FORMATS)}")
    return problems


def _present(cache: ImageCache, image: ImageSource, wanted_pin: bool, check_mode: bool, deadline: Deadline, stats: Stats) -> Result:
    if check_mode:
        with stats.phase("look up"):
            found = cache.foresee(image, deadline)
        was_there = found is not None
    else:
        with stats.phase("ensure"):
            found = cache.ensure(image, deadline)
        was_there = not found.made
    pinned = found is not None and cache.store.is_pinned(found.digest, image.variant)
    if not check_mode and found is not None and pinned != wanted_pin:
        upkeep.pin(cache, found.digest, image.variant, wanted_pin, deadline)
    # Something of it may be there, pinned, and what is wanted not.
    before = _state(image, pinned) if was_there else {"state": "absent"}
    after = _state(image, wanted_pin)
    facts = {} if found is None else _facts(cache, found, image, wanted_pin)
    return {"changed": before != after, "diff": {"before": before, "after": after}, **facts}


def _absent(cache: ImageCache, request: _Request, image: ImageSource, check_mode: bool, deadline: Deadline, stats: Stats) -> Result:
    digest = image.digest
    if digest is None:
        # Of a source without a checksum, what it was when it was seen last.
        seen = cache.store.source(image.key)
        digest = None if seen is None else seen.digest
    found = [] if digest is None else upkeep.entries_of(cache, digest, image.variant)
    absent = {"state": "absent"}
    if digest is None or not found:
        return {"changed": False, "diff": {"before": absent, "after": absent}, "removed": []}
    users = _users(cache, request, stats)
    if check_mode:
        upkeep.check_removable(found, users, force=request.force)
    else:
        upkeep.remove(cache, digest, image.variant, users, deadline, force=request.force)
    return {
        "changed": True,
        "diff": {"before": _state(replace(image, convert_to=""), found[0].pinned), "after": absent},
        "removed": [entry.path for entry in found],
        **_entry_facts(found[0]),
    }


def _age(cache: ImageCache, request: _Request, check_mode: bool, deadline: Deadline, stats: Stats) -> Result:
    users = _users(cache, request, stats)
    with stats.phase("age"):
        steps = upkeep.plan_age(cache, users, request.max_unused) if check_mode else upkeep.age(cache, users, request.max_unused, deadline)
    gone = [step for step in steps if step.removed]
    return {
        "changed": bool(gone),
        "diff": {
            "before": {step.entry.path: f"{step.reason}, last used {_time(step.entry.last_used)}" for step in gone},
            "after": {step.entry.path: "absent" for step in gone},
        },
        "removed": [step.entry.path for step in gone],
        "kept": {step.entry.path: step.reason for step in steps if not step.removed},
    }


def _users(cache: ImageCache, request: _Request, stats: Stats) -> Users:
    images = [entry.path for entry in cache.store.entries()]
    if not images:
        return Users({})
    with stats.phase("look up users"):
        domains = disk_files(request.uri, cache.clock, stats) if request.uri else []
        directories = dict.fromkeys([*request.directories, *cache.store.noted_directories()])
        return find_users(images, directories, domains, skip=cache.root)


def _state(image: ImageSource, pinned: bool) -> dict[str, str]:
    converted = {"converted_to": image.convert_to} if image.used_variant != image.variant else {}
    return {"state": "pinned" if pinned else "present", "source": str(image), **converted}


def _facts(cache: ImageCache, found: CachedImage, image: ImageSource, pinned: bool) -> Result:
    entries = upkeep.entries_of(cache, found.digest, image.variant)
    entry = next((one for one in entries if one.path == found.path), None)
    known = {} if entry is None or entry.record is None else _entry_facts(entry)
    return {
        **known,
        "path": found.path,
        "digest": found.digest,
        "format": found.format,
        "size": found.size,
        "virtual_size": found.virtual_size,
        "pinned": pinned,
    }


def _entry_facts(entry: Entry) -> Result:
    record = entry.record
    facts: Result = {"path": entry.path, "digest": entry.digest, "pinned": entry.pinned, "last_used": _time(entry.last_used)}
    if record is not None:
        facts |= {
            "format": record.format,
            "converted_from": record.converted_from or None,
            "compression": record.compression or "none",
            "size": record.size,
            "virtual_size": record.virtual_size,
            "source": record.source,
            "fetched": _time(record.fetched_at),
        }
    return facts


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
