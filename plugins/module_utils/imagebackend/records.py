# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What is known about a machine's disk: as it was made, and as libvirt is told about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec


@dataclass(frozen=True)
class Backing:
    """The image an overlay or clone stands on: where it is, its format, and its digest as the cache names it."""

    path: str
    format: str
    digest: str


@dataclass(frozen=True)
class DiskRecord:
    """A disk as it was asked for and made. The guest can write anything into it, so none of this is ever probed again.

    :ivar backend: the backend's name in the registry.
    :ivar format: what libvirt and qemu-img are told.
    :ivar path: absolute path, device, or ``pool/image``.
    :ivar size: bytes the guest sees.
    :ivar image: digest of the image its contents were made from, empty for none; of an overlay also ``backing``'s.
    """

    backend: str
    format: str
    path: str
    size: int
    image: str = ""
    backing: Backing | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and a machine's mark; ``from_dict`` reads them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DiskRecord:
        """:raises InvalidSpec: a key is missing or no value of its kind."""
        try:
            backing = data.get("backing")
            return cls(
                backend=_text(data["backend"]),
                format=_text(data["format"]),
                path=_text(data["path"]),
                size=int(data["size"]),
                image=_text(data.get("image", "")),
                backing=None if backing is None else Backing(_text(backing["path"]), _text(backing["format"]), _text(backing["digest"])),
            )
        except (KeyError, TypeError, ValueError) as exc:
            raise InvalidSpec([f"a disk's record is damaged: {type(exc).__name__} {exc}"]) from exc


@dataclass(frozen=True)
class Base:
    """What a backend keeps of an image at one location, to make disks from.

    :ivar digest: the image's, as the cache names it.
    :ivar users: why it has to stay, sorted: disks by their names, ``disk@snapshot``, clones elsewhere by ``pool/name``, ``client <address>``
        that has it open.
    """

    digest: str
    users: tuple[str, ...] = ()


@dataclass(frozen=True)
class DiskInfo:
    """A disk for the domain XML: ``<disk type=>``, ``<driver type=>`` and ``<source>``.

    :ivar type: ``file``, ``block`` or ``network``.
    :ivar source: path, device, or the name a network disk has on its ``hosts``.
    :ivar protocol: of a network disk, such as ``rbd``.
    :ivar hosts: of a network disk: name and port of each server.
    :ivar secret: of a network disk: user and the UUID of libvirt's secret.
    """

    type: str
    format: str
    source: str
    protocol: str = ""
    hosts: tuple[tuple[str, int], ...] = ()
    secret: tuple[str, str] | None = None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value
