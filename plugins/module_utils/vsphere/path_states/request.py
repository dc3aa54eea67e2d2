# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What the module ``datastore_path`` is asked for, checked as a whole before anything is touched."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states.temporary import is_temporary

_CHECKSUM = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})\Z")
_NEEDS_SRC = ("file", "copied", "moved", "downloaded")
_WRITES = ("file", "directory", "absent", "copied", "moved")


@dataclass(frozen=True)
class Request:
    """``local`` is the file on this side (states file and downloaded), ``source`` the other datastore path (copied and moved)."""

    path: DatastorePath
    state: str
    local: str = ""
    source: DatastorePath | None = None
    source_datacenter: str = ""
    checksum: str = ""
    compare: str = "content"
    force: bool = False
    recurse: bool = False
    mode: int = 0o644
    timeout: float = 3600.0

    @property
    def writes(self) -> bool:
        """Whether something on the datastore of ``path`` may change."""
        return self.state in _WRITES


def parse(params: Mapping[str, Any]) -> Request:
    """:raises InvalidSpec: all that is wrong with the options."""
    problems: list[str] = []
    state = params["state"]
    path = _path("path", params["path"], problems)
    source = _path("src", params["src"], problems) if state in ("copied", "moved") and params["src"] else None
    if state in _NEEDS_SRC and not params["src"]:
        problems.append(f"src: needed with state: {state}")
    if state not in _NEEDS_SRC and params["src"]:
        problems.append(f"src: goes with state: {', '.join(_NEEDS_SRC)}; not with {state}")
    if params["src_datacenter"] and state not in ("copied", "moved"):
        problems.append("src_datacenter: goes with state: copied or moved")
    checksum = _CHECKSUM.match(params["checksum"] or "")
    if params["checksum"] and not checksum:
        problems.append("checksum: give sha256: and 64 hexadecimal digits")
    if params["checksum"] and state not in ("file", "downloaded"):
        problems.append("checksum: goes with state: file or downloaded")
    if params["timeout"] <= 0:
        problems.append(f"timeout: {params['timeout']:g} is not above 0")
    if path is not None and path.is_root and state not in ("directory", "stat"):
        problems.append(f"path: {path} is the root of a datastore; state: {state} needs a path below it")
    if source is not None and source.is_root:
        problems.append(f"src: {source} is the root of a datastore")
    if path is not None and is_temporary(path):
        problems.append(f"path: {path} is a name that this collection keeps for unfinished files")
    if problems or path is None:
        raise InvalidSpec(problems)
    local = os.path.expanduser(params["src"]) if state in ("file", "downloaded") else ""
    return Request(
        path=path,
        state=state,
        local=local,
        source=source,
        source_datacenter=params["src_datacenter"] or "",
        checksum=checksum.group(1).lower() if checksum else "",
        compare=params["compare"],
        force=params["force"],
        recurse=params["recurse"],
        mode=_mode(params["mode"]),
        timeout=params["timeout"],
    )


def _path(option: str, text: str, problems: list[str]) -> DatastorePath | None:
    try:
        return DatastorePath.parse(text)
    except ValueError as exc:
        problems.append(f"{option}: {exc}")
        return None


def _mode(text: str) -> int:
    if not re.fullmatch("[0-7]{3,4}", text):
        raise InvalidSpec([f"mode: {text!r} is no mode in octal digits, such as '0644'"])
    return int(text, 8)
