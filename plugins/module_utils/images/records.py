# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What the cache remembers in small JSON files: about each image, and about each source that came without a checksum."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.images.fetch import FileIdentity
from ansible_collections.poolwright.virt.plugins.module_utils.images.web import Validators


@dataclass(frozen=True)
class ImageRecord:
    """Facts about a cached image, sizes in bytes, ``fetched_at`` in seconds since the epoch, ``source`` without credentials.

    ``rules`` is the version of the inspection it has passed; ``converted_from`` the format it had, "" where it is as it came; ``compression``
    what was undone when it came. ``digest`` is always of the file as it came. When it was last used is the record file's own mtime.
    """

    digest: str
    format: str
    size: int
    virtual_size: int
    allocated: int
    source: str
    checked: bool
    fetched_at: float
    rules: int
    converted_from: str = ""
    compression: str = ""

    def dump(self) -> bytes:
        return _dump(asdict(self))

    @classmethod
    def load(cls, data: bytes) -> ImageRecord | None:
        """The record, or None where it is damaged: the image is then fetched again."""
        try:
            said = _load(data)
            return cls(
                digest=str(said["digest"]),
                format=str(said["format"]),
                size=int(said["size"]),
                virtual_size=int(said["virtual_size"]),
                allocated=int(said["allocated"]),
                source=str(said["source"]),
                checked=bool(said["checked"]),
                fetched_at=float(said["fetched_at"]),
                rules=int(said["rules"]),
                converted_from=str(said.get("converted_from", "")),
                compression=str(said.get("compression", "")),
            )
        except (ValueError, KeyError, TypeError):
            return None


@dataclass(frozen=True)
class SourceRecord:
    """Which digest a source without a checksum had when it was last looked at (``checked_at``, seconds since the epoch).

    ``identity`` for a local file, ``validators`` for a remote one, say whether it still has.
    """

    source: str
    digest: str
    checked_at: float
    validators: Validators = Validators()
    identity: FileIdentity | None = None

    def dump(self) -> bytes:
        return _dump(asdict(self))

    @classmethod
    def load(cls, data: bytes) -> SourceRecord | None:
        """The record, or None where it is damaged: the source is then looked at again."""
        try:
            said = _load(data)
            identity = said["identity"]
            return cls(
                source=str(said["source"]),
                digest=str(said["digest"]),
                checked_at=float(said["checked_at"]),
                validators=Validators(**{key: str(value) for key, value in said["validators"].items()}),
                identity=None if identity is None else FileIdentity(**{key: int(value) for key, value in identity.items()}),
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


def _dump(facts: Mapping[str, Any]) -> bytes:
    return json.dumps(facts, indent=1, sort_keys=True).encode() + b"\n"


def _load(data: bytes) -> dict[str, Any]:
    said = json.loads(data)
    if not isinstance(said, dict):
        raise ValueError("not an object")
    return said
