# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What a virtual disk's descriptor says: the small text beside its extents."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SECTOR = 512
_EXTENT = re.compile(r'^\s*(?:RW|RDONLY|NOACCESS)\s+(\d+)\s+([A-Z0-9]+)(?:\s+"([^"]*)")?', re.MULTILINE)
_ENTRY = re.compile(r'^\s*([A-Za-z.]+)\s*=\s*"?([^"\n]*)"?\s*$', re.MULTILINE)


@dataclass(frozen=True)
class Descriptor:
    """``capacity`` in bytes over all extents; ``create_type`` such as vmfs or vmfsSparse; ``thin`` is None where it is not said."""

    capacity: int = 0
    create_type: str = ""
    adapter: str = ""
    thin: bool | None = None
    extents: tuple[str, ...] = ()
    parent: str = ""


def read_descriptor(text: bytes) -> Descriptor:
    """What can be read of it; an empty one of what is no descriptor."""
    said = text.decode("utf-8", errors="replace")
    extents = [found.groups() for found in _EXTENT.finditer(said)]
    entries = {name.lower(): value.strip() for name, value in _ENTRY.findall(said)}
    thin = entries.get("ddb.thinprovisioned")
    return Descriptor(
        sum(int(sectors) for sectors, _kind, _name in extents) * _SECTOR,
        entries.get("createtype", ""),
        entries.get("ddb.adaptertype", ""),
        None if thin is None else thin == "1",
        tuple(name for _sectors, _kind, name in extents if name),
        entries.get("parentfilenamehint", ""),
    )
