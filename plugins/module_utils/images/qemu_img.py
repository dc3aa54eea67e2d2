# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""``qemu-img``, one typed function per subcommand; each names the format, so the tool never guesses one.

What reads a file that came from outside runs under ``Limits``. Creating an overlay only opens a base that was inspected
when it entered the cache, so it is the tool alone: one fork, nothing before it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, DeadlineExceeded, InsufficientResources, ToolFailed
from ansible_collections.poolwright.virt.plugins.module_utils.process import Limits, find_tool, run_tool

READING = Limits()
# A conversion works for as long as the image is large: only the deadline and the memory are bounded tightly.
CONVERTING = Limits(cpu_seconds=3600)
_HINTS = {
    "Permission denied": "run it as a user who may (become: true)",
    "Read-only file system": "mount the file system writable, or use another directory",
    "Image is corrupt": "with the guest off, run qemu-img check -r all on it",
    "Could not open backing file": "the disk's base is gone: put the image into the cache again, under the name that the message has",
    "Cannot allocate memory": "the image's tables are larger than what the tool may use: check where the image comes from",
    "Input/output error": "look at the storage below: dmesg, smartctl",
}
_LEAKS_ONLY = 3  # the status of qemu-img check


@dataclass(frozen=True)
class ImageInfo:
    """What ``qemu-img info`` says, sizes in bytes; the names are empty where there is none. ``extents`` are a VMDK's files, itself included."""

    format: str
    virtual_size: int
    backing: str = ""
    data_file: str = ""
    encrypted: bool = False
    corrupt: bool = False
    extents: tuple[str, ...] = ()


def info(path: str, format: str, deadline: Deadline) -> ImageInfo:
    """Read an image's header as ``format``.

    :raises ToolFailed: it is not one, or damaged.
    """
    said = _json(_run(["info", "--output=json", "-f", format, path], deadline, "inspect", path, READING), path)
    specific = said.get("format-specific", {}).get("data", {})
    return ImageInfo(
        format=str(said.get("format", "")),
        virtual_size=int(said.get("virtual-size", 0)),
        backing=str(said.get("full-backing-filename") or said.get("backing-filename") or ""),
        data_file=str(specific.get("data-file") or ""),
        encrypted=bool(said.get("encrypted", False)),
        corrupt=bool(specific.get("corrupt", False)),
        extents=tuple(str(extent.get("filename", "")) for extent in specific.get("extents", [])),
    )


def check(path: str, format: str, deadline: Deadline) -> int | None:
    """Walk all of an image's tables; return its allocated clusters, None where the tool does not say.

    Clusters that are allocated and not used ("leaks") are harmless and no error.

    :raises ToolFailed: tables disagree, or point outside the file.
    """
    try:
        said = _json(_run(["check", "--output=json", "-f", format, path], deadline, "inspect", path, READING), path)
    except ToolFailed as exc:
        if exc.status == _LEAKS_ONLY:
            return None
        raise
    clusters = said.get("allocated-clusters")
    return None if clusters is None else int(clusters)


def create(path: str, format: str, size: int, deadline: Deadline, *, backing: tuple[str, str] | None = None, options: Mapping[str, str] | None = None) -> None:
    """Make an empty image, or an overlay, of ``size`` bytes.

    :param backing: path and format of a trusted base. The tool accepts an overlay smaller than its base without a word:
        the caller compares sizes first.
    :param options: ``-o`` options of the format.
    """
    argv = ["create", "-q", "-f", format]
    if options:
        argv += ["-o", ",".join(f"{key}={value}" for key, value in sorted(options.items()))]
    if backing is not None:
        argv += ["-b", backing[0], "-F", backing[1]]
    _run([*argv, path, str(size)], deadline, "create", path, None)


def convert(
    source: str,
    source_format: str,
    target: str,
    target_format: str,
    deadline: Deadline,
    *,
    options: Mapping[str, str] | None = None,
    compressed: bool = False,
    into_zeros: bool | None = None,
) -> None:
    """Copy an image into another format; holes stay holes. The target is not flushed: the caller syncs it.

    :param into_zeros: None makes the target. Else it is there, and either reads as zeros all over, or holds anything.
    """
    argv = ["convert", "-q", "-f", source_format, "-O", target_format]
    if compressed:
        argv.append("-c")
    if into_zeros is not None:
        argv += ["-n", "--target-is-zero"] if into_zeros else ["-n"]
    if options:
        argv += ["-o", ",".join(f"{key}={value}" for key, value in sorted(options.items()))]
    _run([*argv, source, target], deadline, "convert", target, CONVERTING)


def fill(source: str, source_format: str, target: str, target_format: str, deadline: Deadline, *, opened: Mapping[str, str]) -> None:
    """Copy an image into a file of another format that is there and reads as zeros all over.

    :param opened: options of that format's driver, for as long as the copy takes.
    """
    options = {"driver": target_format, **opened, "file.driver": "file", "file.filename": target}
    said = ",".join(f"{key}={value.replace(',', ',,')}" for key, value in options.items())
    argv = ["convert", "-q", "-n", "--target-is-zero", "-f", source_format, "--target-image-opts", source, said]
    _run(argv, deadline, "convert", target, CONVERTING)


def compare(path: str, format: str, other: str, other_format: str, deadline: Deadline) -> None:
    """:raises ToolFailed: a guest would see other bytes in them."""
    _run(["compare", "-q", "-f", format, "-F", other_format, path, other], deadline, "compare", other, CONVERTING)


def resize(path: str, format: str, size: int, deadline: Deadline, *, preallocation: str = "off") -> None:
    """Grow an image to ``size`` bytes; the tool itself refuses to shrink one. :raises Busy: a guest has it open."""
    how = [] if preallocation == "off" else [f"--preallocation={preallocation}"]
    _run(["resize", "-q", "-f", format, *how, path, str(size)], deadline, "resize", path, None)


def _run(arguments: list[str], deadline: Deadline, phase: str, obj: str, limits: Limits | None) -> str:
    tool = find_tool("qemu-img", "qemu-utils (Debian) or qemu-img (RHEL)")
    if deadline.passed:
        raise DeadlineExceeded(f"there was no time left for qemu-img {arguments[0]}", obj=obj, phase=phase)
    try:
        return run_tool([tool, *arguments], timeout=deadline.remaining, phase=phase, obj=obj, limits=limits)
    except ToolFailed as exc:
        if 'Failed to get "' in exc.message and "lock" in exc.message:
            raise Busy(exc.message, obj=obj, phase=phase, hint="shut the guest that uses it off") from exc
        if "No space left on device" not in exc.message:
            exc.hint = exc.hint or next((hint for words, hint in _HINTS.items() if words in exc.message), "")
            raise
        raise InsufficientResources(exc.message, obj=obj, phase=phase, hint="free some space, or use another directory") from exc


def _json(text: str, path: str) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except ValueError as exc:
        raise ToolFailed("qemu-img did not answer in JSON", status=0, obj=path, phase="inspect") from exc
    return said if isinstance(said, dict) else {}
