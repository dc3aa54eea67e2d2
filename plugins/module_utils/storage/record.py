# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What is kept of a disk that was made: enough to find it again, and to make the same disk elsewhere. Pure.

It is written down before the disk is made, by whoever owns the disk: a guest in its domain's metadata, a disk of its own beside itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import Image
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DEFAULT_OPTIONS, DiskOptions
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import DiskRecord
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.registry import disk_image
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource
from ansible_collections.poolwright.virt.plugins.module_utils.storage.wish import NOTHING, Content, DiskWish

Data = Mapping[str, Any]
_LISTED = frozenset({"made", "options", "origin"})


@dataclass(frozen=True)
class Origin:
    """What a disk was made from. Of an image all but its credentials, so a source that needs some has to be given again.

    :ivar source: URL or path of the image, "" for contents.
    :ivar checksum: ``<algorithm>:<hex>`` of the image's file; "" for contents.
    :ivar reference: the file of checksums that the checksum was found in, "" where it was given itself.
    :ivar seed: what the ids inside the contents were derived from: the name of the first disk of this description.
    :ivar tree: digest of the directory that was copied, "" for other contents.
    :ivar digest: of the disk's bytes when it was made (``digests.py``), "" where nobody took it.
    """

    source: str = ""
    checksum: str = ""
    format: str = ""
    compression: str = ""
    convert_to: str = ""
    reference: str = ""
    content: Content | None = None
    seed: str = ""
    tree: str = ""
    digest: str = ""

    @classmethod
    def of(cls, wish: DiskWish, *, tree: str = "") -> Origin:
        """What a wish asks for, before the image was looked at."""
        if wish.image is None:
            return cls(content=wish.content or NOTHING, seed=wish.name, tree=tree)
        image = wish.image
        return cls(str(image), image.digest or "", image.format, image.compression, image.convert_to)

    @property
    def image(self) -> ImageSource | None:
        """The image to make the same disk from; None for contents."""
        if not self.source:
            return None
        return ImageSource(self.source, self.checksum or None, self.format, self.compression, self.convert_to)

    def __str__(self) -> str:
        return self.source or str(self.content or NOTHING)


@dataclass(frozen=True)
class OwnDisk:
    """A disk that this collection made, or is about to make: its place on its backend, how it is reached, and what it is.

    ``made`` is noted once it is there: one that is not there later was lost, and is not made anew behind its owner's back.
    """

    location: str
    name: str
    record: DiskRecord
    made: bool = False
    options: DiskOptions = DEFAULT_OPTIONS
    origin: Origin = field(default_factory=Origin)

    @property
    def key(self) -> tuple[str, str, str]:
        """As a wish has it."""
        return (self.record.backend, self.location, self.name)

    def place(self) -> Image:
        """:raises InvalidSpec: its backend is not there any more."""
        return disk_image(self.record.backend, self.location, self.name, self.options)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without those that say nothing; ``from_dict`` reads them back, also where all of them became texts."""
        origin = _said(self.origin)
        if self.origin.content is not None:
            origin["content"] = _said(self.origin.content)
        found = {"location": self.location, "name": self.name, **self.record.to_dict(), "options": _said(self.options), "origin": origin}
        return {key: value for key, value in {**found, **({"made": True} if self.made else {})}.items() if value not in ("", None, {})}

    @classmethod
    def from_dict(cls, data: Data) -> OwnDisk:
        """:raises InvalidSpec: it is damaged, so nobody can tell what the disk was."""
        try:
            origin = dict(data.get("origin") or {})
            content = origin.pop("content", None)
            return cls(
                location=str(data["location"]),
                name=str(data["name"]),
                record=DiskRecord.from_dict({key: value for key, value in data.items() if key not in _LISTED}),
                made=_flag(data.get("made", False)),
                options=_options(data.get("options") or {}),
                origin=Origin(**_texts(origin), content=None if content is None else Content(**_texts(content))),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise InvalidSpec([f"a disk's record is damaged: {type(exc).__name__} {exc}"]) from exc


def _said(one: Any) -> dict[str, Any]:
    """The fields of a dataclass that are not as they are by default."""
    return {item.name: getattr(one, item.name) for item in fields(one) if getattr(one, item.name) not in (item.default, None)}


def _options(data: Data) -> DiskOptions:
    found: dict[str, Any] = {}
    for item in fields(DiskOptions):
        if item.name in data:
            value = data[item.name]
            found[item.name] = _flag(value) if isinstance(item.default, bool) else int(value) if isinstance(item.default, int) else str(value)
    return replace(DEFAULT_OPTIONS, **found)


def _texts(data: Data) -> dict[str, str]:
    return {str(key): str(value) for key, value in data.items()}


def _flag(value: object) -> bool:
    return str(value).lower() in ("true", "yes")
