# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""An image for vSphere, as a user describes it: everything that can be wrong with that is found before anything is touched."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

from ansible_collections.poolwright.virt.plugins.module_utils.errors import ImageRefused, InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath

FORMATS = ("vmdk", "ova", "ovf", "iso", "qcow2", "raw", "vhdx")
FLAT = ("preallocated", "thin", "thick", "eagerZeroedThick")
DISK_TYPES = ("sparse", *FLAT, "streamOptimized")
ADAPTER_TYPES = ("lsiLogic", "lsiLogicsas", "busLogic", "paraVirtual", "ide")
DEFAULT_ADAPTER = "lsiLogic"
GIB = 1024**3
KIB = 1024
_SUFFIXES = {".img": "raw", **{f".{name}": name for name in FORMATS}}
# The tool that makes disks on a datastore knows fewer adapters than machines have.
_DISK_MANAGER = {"busLogic": "busLogic", "ide": "ide"}
_STREAMED = ("ova", "ovf", "qcow2", "vhdx")


@dataclass(frozen=True)
class VMwareImage:
    """
    :ivar source: ``http(s)://`` or ``file://`` URL, an absolute path on the controller, or ``[datastore] path`` of what vSphere has already.
    :ivar checksum: as of ``ImageSource``: of the file as it is fetched. None for what is on a datastore: it is not read.
    :ivar format: one of ``FORMATS``; "" goes by the source's suffix.
    :ivar disk_type: one of ``DISK_TYPES``, how the bits lie in the file; "" goes by the file's own header. A VMDK or raw file of one of the
        ``FLAT`` types is the disk byte by byte, without a header.
    :ivar adapter_type: one of ``ADAPTER_TYPES``; "" goes by an OVF descriptor or a disk of vSphere's own, else it is ``DEFAULT_ADAPTER``.
    :ivar linked_clone: whether machines shall be child disks of it; None where the image does not say.
    :ivar os_type: vSphere's id of the guest's system. Not held against a list: none is complete.
    :raises InvalidSpec: with every fault found.
    """

    source: str = field(repr=False)
    checksum: str | None = None
    format: str = ""
    disk_type: str = ""
    adapter_type: str = ""
    linked_clone: bool | None = None
    os_type: str = "otherGuest"

    def __post_init__(self) -> None:
        if not self.format:
            object.__setattr__(self, "format", _format_of(self.source))
        problems = self._problems()
        if problems:
            raise InvalidSpec(problems)

    def __str__(self) -> str:
        return str(self.fetched)

    @property
    def fetched(self) -> ImageSource:
        """What is fetched by the controller; its format says nothing."""
        return ImageSource(self.source, self.checksum, "raw")

    @property
    def on_datastore(self) -> DatastorePath | None:
        """Where it is, unless the controller has to fetch it."""
        return DatastorePath.parse(self.source) if self.source.startswith("[") else None

    @property
    def is_iso(self) -> bool:
        return self.format == "iso"

    @property
    def digest(self) -> str | None:
        """What its bytes are known by before they are fetched; None where only fetching tells."""
        return None if self.format == "ovf" else self.fetched.digest

    @property
    def is_flat(self) -> bool:
        return self.disk_type in FLAT

    @property
    def key(self) -> str:
        """A name for the source itself and what is made of it; the same source said to be something else is another."""
        # Of an OVF the checksum tells the descriptor only, so such an image is known by its source.
        checksum = self.checksum or "" if self.format == "ovf" else ""
        said = f"{self.source}\n{checksum}\n{self.variant()}"
        return hashlib.sha256(said.encode()).hexdigest()

    def variant(self) -> str:
        """What else than its bytes tells one cached image from another: what they were taken for, and the adapter they were made for."""
        flat = "-flat" if self.is_flat else ""
        adapter = disk_manager_adapter(self.adapter_type)
        return f"{self.format}{flat}" + ("" if adapter == DEFAULT_ADAPTER else f"-{adapter}")

    def _problems(self) -> list[str]:
        return [*self._source_problems(), *self._kind_problems()]

    def _source_problems(self) -> list[str]:
        if not self.source.startswith("["):
            return ImageSource(self.source, self.checksum, "raw").problems(referring=False)
        try:
            path = DatastorePath.parse(self.source)
        except ValueError as exc:
            return [f"image.source: {exc}"]
        problems = [] if not path.is_root else [f"image.source: {path} is a datastore, not a file on one"]
        if self.checksum is not None:
            problems.append("image.checksum: what is on a datastore is copied there and not read; leave the checksum out")
        return problems

    def _kind_problems(self) -> list[str]:
        problems = []
        if not self.format:
            problems.append(f"image.format: missing, and the source's name does not end in one of {', '.join(sorted(_SUFFIXES))}")
        elif self.format not in FORMATS:
            problems.append(f"image.format: {self.format!r} is not one of {', '.join(FORMATS)}")
        if self.disk_type and self.disk_type not in DISK_TYPES:
            problems.append(f"image.disk_type: {self.disk_type!r} is not one of {', '.join(DISK_TYPES)}")
        elif self.disk_type and self.format == "iso":
            problems.append(f"image.disk_type: an ISO image has none, and {self.disk_type} was given")
        elif self.format in _STREAMED and self.disk_type not in ("", "streamOptimized"):
            problems.append(f"image.disk_type: {self.format} reaches a datastore as streamOptimized, not as {self.disk_type}")
        elif self.format == "ovf" and self.source.startswith("["):
            problems.append("image.source: of an OVF package on a datastore, name the disk itself, or give an OVA")
        elif self.format == "raw" and self.disk_type == "sparse":
            problems.append("image.disk_type: a raw file has no sparse form; leave it out, or name one of " + ", ".join(FLAT))
        if self.adapter_type and self.adapter_type not in ADAPTER_TYPES:
            problems.append(f"image.adapter_type: {self.adapter_type!r} is not one of {', '.join(ADAPTER_TYPES)}")
        elif self.adapter_type and self.format == "iso":
            problems.append("image.adapter_type: an ISO image has none")
        if self.linked_clone and self.format == "iso":
            problems.append("image.linked_clone: an ISO image has no child disks")
        if not re.fullmatch(r"[A-Za-z0-9_]+", self.os_type):
            problems.append(f"image.os_type: {self.os_type!r} is no id of a guest's system, such as debian12_64Guest")
        return problems


def disk_manager_adapter(adapter_type: str) -> str:
    """The adapter as vSphere's disk manager knows it."""
    return _DISK_MANAGER.get(adapter_type, DEFAULT_ADAPTER)


def size_problems(size_gb: float | None, image: VMwareImage, where: str = "image") -> list[str]:
    """What is wrong with the size of the disk that an image is for, whatever the image."""
    if size_gb is None:
        return []
    if image.is_iso:
        return [f"{where}.size_gb: an ISO image is used as it is"]
    if not 0 < size_gb <= 62 * 1024:
        return [f"{where}.size_gb: {size_gb:g} is not above 0 and at most 63488, the most that vSphere knows"]
    if size_gb * GIB % KIB:
        return [f"{where}.size_gb: {size_gb!r} is no whole number of KiB"]
    return []


def bytes_of(size_gb: float) -> int:
    return int(size_gb * GIB)


def check_fits(image: VMwareImage, virtual_size: int, size_gb: float | None) -> None:
    """:raises ImageRefused: the disk is smaller than the image's own, or one that vSphere cannot make."""
    if image.is_iso:
        return
    if virtual_size % KIB:
        said = f"its disk has {virtual_size} bytes, and vSphere counts in KiB"
        raise ImageRefused(said, obj=str(image), phase="inspect", hint="enlarge the image: qemu-img resize IMAGE SIZE")
    if size_gb is not None and bytes_of(size_gb) < virtual_size:
        needed = -(-virtual_size // GIB)
        said = f"its disk has {virtual_size} bytes, more than the {bytes_of(size_gb)} of size_gb={size_gb:g}"
        raise ImageRefused(said, obj=str(image), phase="inspect", hint=f"give size_gb at least {needed}; disks are never shrunk")


def _format_of(source: str) -> str:
    name = source.lower()
    if "://" in name:
        name = name.partition("?")[0].partition("#")[0]
    return next((known for suffix, known in _SUFFIXES.items() if name.endswith(suffix)), "")
