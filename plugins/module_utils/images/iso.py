# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Small ISO 9660 images, for seeds that a guest reads at its first boot."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import DeadlineExceeded, InvalidSpec, MissingDependency
from ansible_collections.poolwright.virt.plugins.module_utils.images import scratch
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import naming_storage_errors
from ansible_collections.poolwright.virt.plugins.module_utils.process import run_tool

NOCLOUD_LABEL = "cidata"
_MAX_LABEL = 32
_TOOLS = (("xorriso", ("-as", "mkisofs")), ("genisoimage", ()), ("mkisofs", ()))


def write_iso(path: str, files: Mapping[str, bytes], label: str, deadline: Deadline) -> None:
    """Write ``files`` (relative path -> contents) as an ISO image with Rock Ridge and Joliet names, in place of any at ``path``.

    It appears under its name only when it is whole, mode 0600: seeds hold secrets. So does what it is made from, and it
    is gone before this returns; a killed run's goes with the next call for the same path.

    :raises InvalidSpec: a file's name leads outside, or the label does not fit.
    :raises MissingDependency: none of xorriso, genisoimage and mkisofs is there.
    """
    problems = _problems(files, label)
    if problems:
        raise InvalidSpec(problems)
    parent, name = os.path.split(os.path.abspath(path))
    scratch.sweep(parent, name)
    with naming_storage_errors(path, "seed"), scratch.scratch_directory(parent, name) as directory:
        tree = os.path.join(directory, "tree")
        for relative, contents in files.items():
            place = os.path.join(tree, relative)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(place, "wb") as stream:
                stream.write(contents)
        image = os.path.join(directory, "image.iso")
        if deadline.passed:
            raise DeadlineExceeded("there was no time left for the seed image", obj=path, phase="seed")
        argv = [*_tool(), "-quiet", "-J", "-r", "-V", label, "-o", image, tree]
        run_tool(argv, timeout=deadline.remaining, phase="seed", obj=path)
        scratch.publish(image, path, 0o600)


def _problems(files: Mapping[str, bytes], label: str) -> list[str]:
    found = [] if files else ["an ISO image needs at least one file"]
    for name in files:
        if name.startswith("/") or any(part in ("", ".", "..") for part in name.split("/")) or "\0" in name:
            found.append(f"{name!r} is no plain relative path inside an ISO image")
    if not label or len(label.encode()) > _MAX_LABEL or label.startswith("-"):
        found.append(f"the ISO label {label!r} does not have 1 to {_MAX_LABEL} characters")
    return found


def _tool() -> list[str]:
    for name, arguments in _TOOLS:
        path = shutil.which(name)
        if path is not None:
            return [path, *arguments]
    raise MissingDependency("no tool that writes ISO images is installed", obj="xorriso", phase="seed", hint="install the package xorriso on the target host")
