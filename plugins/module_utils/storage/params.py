# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""From the parameters of a disk to a wish: every fault is told with its place and remedy. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import whole_sectors
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DiskOptions
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import SUFFIXES, TARGETS, ImageSource
from ansible_collections.poolwright.virt.plugins.module_utils.storage.wish import BLANK, DIRECTORY, EPHEMERAL, FILE_SYSTEMS, SWAP, TREES, Content, DiskWish

Params = Mapping[str, Any]
Problem = Callable[[str, str], None]
"""Takes the place in the request, and what is wrong there."""

PLACE = ("backend", "location", "name")
_GIB = 1024**3
_MOST_GB = 64 * 1024
_LABEL_BYTES = {"ext2": 16, "ext3": 16, "ext4": 16, "xfs": 12, "vfat": 11, "iso9660": 32, "": 15}
_LABEL = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*")


def parse_disk(where: str, raw: Params, problem: Problem) -> DiskWish:
    """:param where: the disk's place in the request, such as ``disks[0]``; "" where the request is the disk.

    What cannot be parsed is told through ``problem``, and the wish is then of no use.
    """
    at = f"{where}." if where else ""
    missing = [key for key in PLACE if not raw.get(key)]
    if missing:
        problem(where or missing[0], f"lacks {', '.join(missing)}" if where else "is missing")
    image = parse_image(f"{at}image", raw.get("image"), problem)
    content = parse_content(f"{at}content", raw.get("content"), problem)
    size = parse_size(f"{at}size_gb", raw.get("size_gb"), problem)
    if image is not None and content is not None:
        problem(f"{at}content", "give either image or content")
    if content is not None and content.kind != DIRECTORY and raw.get("size_gb") is None:
        problem(f"{at}size_gb", "is missing: a blank disk has no size of its own" if content.kind == BLANK else f"is missing: {content} has no size of its own")
    backend, location, name = (str(raw.get(key) or "") for key in PLACE)
    wish = DiskWish(backend, location, name, image, content, size, parse_options(raw))
    if not missing:
        try:
            wish.place()
        except InvalidSpec as exc:
            for fault in exc.problems:
                problem(where or "disk", fault)
    return wish


def parse_options(raw: Params) -> DiskOptions:
    """What is not given is the backend's own; the backend itself says what is wrong with the rest."""
    return DiskOptions(**{one.name: raw[one.name] for one in fields(DiskOptions) if raw.get(one.name) is not None})


def parse_size(where: str, size_gb: float | None, problem: Problem) -> int | None:
    """Bytes, whole sectors."""
    if size_gb is None:
        return None
    if not 0 < size_gb <= _MOST_GB:
        problem(where, f"{size_gb:g} is not above 0 and at most {_MOST_GB}")
        return None
    return whole_sectors(int(size_gb * _GIB))


def parse_image(where: str, raw: Params | None, problem: Problem) -> ImageSource | None:
    """The image as disks are made from it: formats that QEMU does not stand on are converted once, in the cache."""
    if not raw:
        return None
    bare, format = ImageSource(str(raw["source"]), raw.get("checksum") or None), str(raw.get("format") or "qcow2")
    compression = raw.get("compression")
    if compression is None:
        compression = next((one for one, suffix in SUFFIXES.items() if _name(bare).endswith(f".{suffix}")), "none")
    image = ImageSource(bare.source, bare.checksum, format, "" if compression == "none" else str(compression), "" if format in TARGETS else "qcow2")
    for fault in image.problems(where):
        key, _colon, what = fault.partition(": ")
        problem(key, what)
    return image


def _name(image: ImageSource) -> str:
    try:
        return image.name.lower()
    except ValueError:
        return ""


def parse_content(where: str, raw: object, problem: Problem) -> Content | None:
    """``blank``, or a mapping with one of ``ephemeral``, ``swap`` and ``directory``."""
    if raw is None or raw == {}:
        return None
    if raw == BLANK:
        return Content(BLANK)
    if not isinstance(raw, Mapping):
        problem(where, f"{raw!r} is neither blank nor a mapping with one of ephemeral, swap and directory")
        return None
    given = {str(key): value for key, value in raw.items() if value is not None}
    kinds = [kind for kind in (BLANK, EPHEMERAL, SWAP, DIRECTORY) if _is_said(given.get(kind))]
    for key in sorted(set(given) - {BLANK, EPHEMERAL, SWAP, DIRECTORY, "as", "label"}):
        problem(f"{where}.{key}", "is not known; there are ephemeral, swap, directory with as, and label")
    if len(kinds) != 1:
        problem(where, f"has {' and '.join(kinds) or 'nothing to be on the disk'}; give one of ephemeral, swap and directory")
        return None
    kind = kinds[0]
    if "as" in given and kind != DIRECTORY:
        problem(f"{where}.as", "goes with directory")
    label = str(given.get("label", ""))
    if kind == EPHEMERAL:
        content = Content(kind, _choice(f"{where}.ephemeral", given[kind], FILE_SYSTEMS, problem), label=label)
    elif kind == DIRECTORY:
        path = str(given[kind])
        if not path.startswith("/") or "\0" in path:
            problem(f"{where}.directory", f"{path!r} is no absolute path")
        content = Content(kind, _choice(f"{where}.as", given.get("as", "iso9660"), TREES, problem), path.rstrip("/") or "/", label)
    else:
        content = Content(kind, label=label)
    _check_label(f"{where}.label", content, problem)
    return content


def _check_label(where: str, content: Content, problem: Problem) -> None:
    most = _LABEL_BYTES.get(content.file_system, 16)
    if content.label and content.kind == BLANK:
        problem(where, "a blank disk has none")
    elif content.label and (not _LABEL.fullmatch(content.label) or len(content.label) > most):
        problem(where, f"{content.label!r} is not 1 to {most} letters, digits, or any of _ . - (not first)")


def _is_said(value: object) -> bool:
    return value is not None and str(value).lower() not in ("", "false", "no", "off", "0")


def _choice(where: str, value: object, choices: tuple[str, ...], problem: Problem) -> str:
    if value not in choices:
        problem(where, f"{value!r} is not one of {', '.join(choices)}")
    return str(value)
