# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""From the options ``disk`` and ``disks`` of a pool to its machines' disks. Pure.

What disks are described with is loaded for those who describe some: most pools have one disk and say no more than its size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DEFAULT_OPTIONS, DiskOptions
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import DiskSpec

Params = Mapping[str, Any]
Problem = Callable[[str, str], None]

MOST_DISKS = 20
_MOST_GB = 64 * 1024
_DIRECTORIES = ("flat", "qcow2", "ploop")
_OPTIONS = tuple(item.name for item in fields(DiskOptions))
_ACCESS = ("clear", "conf", "user", "keyring", "secret")
"""What a disk shares with the root disk of the same backend unless it says otherwise."""


def parse_root(raw: Params, templates: bool, problem: Problem) -> DiskSpec:
    """:param templates: the disk comes from a template, in a vCenter."""
    size_gb, location, backend = raw.get("size_gb"), str(raw.get("location") or ""), str(raw.get("backend") or "qcow2")
    if size_gb is not None and not 0 < size_gb <= _MOST_GB:
        problem("disk.size_gb", f"{size_gb:g} is not above 0 and at most {_MOST_GB}")
    options = _options(raw)
    if templates:
        for key in ("backend", "location"):
            if raw.get(key):
                problem(f"disk.{key}", "is for KVM hosts; a disk goes to the datastore that the pool's datastore names")
        for key in _OPTIONS:
            if getattr(options, key) != getattr(DEFAULT_OPTIONS, key):
                problem(f"disk.{key}", "is for KVM hosts; leave it out")
        return DiskSpec(size_gb=size_gb)
    disk = DiskSpec(backend, size_gb, location, options)
    _check_place("disk", disk, problem)
    return disk


def parse_further(raw: Sequence[Params], root: DiskSpec, templates: bool, problem: Problem) -> tuple[DiskSpec, ...]:
    """The disks beside the root disk, which are where that is unless they say otherwise."""
    if templates and raw:
        problem("disks", "is for KVM hosts; here a machine has the disks of its template or image")
        return ()
    if len(raw) > MOST_DISKS:
        problem("disks", f"a machine has at most {MOST_DISKS} disks beside its root disk")
    return tuple(_further(f"disks[{number}]", one, root, problem) for number, one in enumerate(raw))


def _further(where: str, raw: Params, root: DiskSpec, problem: Problem) -> DiskSpec:
    from ansible_collections.poolwright.virt.plugins.module_utils.storage.params import parse_content, parse_image, parse_size
    from ansible_collections.poolwright.virt.plugins.module_utils.storage.wish import DIRECTORY

    content = parse_content(f"{where}.content", raw.get("content"), problem)
    image = parse_image(f"{where}.image", raw.get("image"), problem)
    size_gb = raw.get("size_gb")
    parse_size(f"{where}.size_gb", size_gb, problem)
    if content is not None and image is not None:
        problem(f"{where}.content", "give either image or content")
    if size_gb is None and image is None and (content is None or content.kind != DIRECTORY):
        problem(f"{where}.size_gb", f"is missing: {'a blank disk' if content is None else content} has no size of its own")
    disk = replace(_beside(raw, root), size_gb=size_gb, image=image, content=content)
    _check_place(where, disk, problem)
    return disk


def _beside(raw: Params, root: DiskSpec) -> DiskSpec:
    """Where a disk is and how it is reached: as the root disk, as far as it does not say otherwise."""
    backend, own = str(raw.get("backend") or root.backend), _options(raw)
    if backend != root.backend:
        return DiskSpec(backend, location=str(raw.get("location") or ""), options=own)
    taken = {key: getattr(root.options, key) for key in _ACCESS if raw.get(key) is None}
    return DiskSpec(backend, location=str(raw.get("location") or root.location), options=replace(own, **taken))


def _options(raw: Params) -> DiskOptions:
    return DiskOptions(**{key: raw[key] for key in _OPTIONS if raw.get(key) is not None})


def _check_place(where: str, disk: DiskSpec, problem: Problem) -> None:
    location = disk.location
    if disk.backend in _DIRECTORIES and location and (not location.startswith("/") or ".." in location.split("/") or "\0" in location):
        problem(f"{where}.location", f"{location!r} is no absolute path without '..'")
    elif disk.backend not in _DIRECTORIES and not location:
        problem(f"{where}.location", f"is missing: give the {'pool' if disk.backend == 'rbd' else 'volume group'} for disks of the backend {disk.backend}")
    elif disk.backend not in _DIRECTORIES or disk.options != DEFAULT_OPTIONS:
        from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.registry import disk_image

        try:
            disk_image(disk.backend, location or "/", "root", disk.options)
        except InvalidSpec as exc:
            for fault in exc.problems:
                problem(where, fault)
