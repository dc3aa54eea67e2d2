# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Where an image comes from, what it is said to be, and what is wrong with such a description."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field, replace
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

FORMATS = ("qcow2", "raw", "vmdk", "vhdx", "vdi")
TARGETS = ("qcow2", "raw")
# The compressions that are undone on the way, and how the names of such files end.
SUFFIXES = {"gzip": "gz", "xz": "xz", "zstd": "zst"}
DEFAULT_ALGORITHM = "sha256"
_HEX_LENGTH = {"sha256": 64, "sha512": 128}
_BROKEN = ("md5", "sha1")
_REMOTE = ("http", "https")
_BEFORE_A_PLACE = re.compile(r"^sha(256|512):(?=[a-z]+://|/)", re.IGNORECASE)


@dataclass(frozen=True)
class ImageSource:
    """An image as a user names it.

    :ivar source: ``http(s)://`` or ``file://`` URL, or an absolute path on the host that the disks are on. May hold
        credentials: it is left out of ``repr``, and ``str()`` hides them.
    :ivar checksum: ``sha256:<hex>`` or ``sha512:<hex>`` of the file as it is fetched, or the URL or absolute path of a file that has it, as
        ``sha256sum`` writes one; None where nobody vouches for it.
    :ivar format: what the file is said to be, one of ``FORMATS``; never guessed. Of a compressed file, what is in it.
    :ivar compression: one of ``SUFFIXES``, "" where it is not compressed. The checksum is of the file as it is fetched.
    :ivar convert_to: one of ``TARGETS``: what machines get in place of the file, "" for the file itself.

    The properties expect a source without ``problems()``.
    """

    source: str = field(repr=False)
    checksum: str | None = field(default=None, repr=False)
    format: str = "qcow2"
    compression: str = ""
    convert_to: str = ""

    def __str__(self) -> str:
        return redact(self.source)

    def beside(self, name: str) -> ImageSource:
        """A file in the directory that this source is; its checksum stays."""
        if _scheme(self.source):
            parts = urlsplit(self.source)
            return replace(self, source=urlunsplit(parts._replace(path=parts.path + quote(name))))
        return replace(self, source=self.source + name)

    def sibling(self, name: str) -> ImageSource:
        """A file in the directory that this file is in, as it is, and of which nobody vouches for by itself."""
        if _scheme(self.source):
            parts = urlsplit(self.source)
            return ImageSource(urlunsplit(parts._replace(path=parts.path.rpartition("/")[0] + "/" + quote(name))), None, "raw")
        return ImageSource(os.path.join(os.path.dirname(self.source), name), None, "raw")

    def problems(self, where: str = "image", *, referring: bool = True) -> list[str]:
        """Every fault of the description, each with its place and remedy; touches nothing.

        :param referring: whether the checksum may be in a file that it names.
        """
        faults = _source_faults(self.source)
        vague = not faults and self.is_directory
        place = self.checksum_file if referring else None
        said = _checksum_faults(self.checksum) if place is None else _place_faults(place)
        if vague and self.checksum is None:
            said = [f"is missing; {self} is a directory, and the checksum says which image of it"]
        if vague and place is not None:
            said = [f"names a file with checksums; {self} is a directory, and only the checksum itself says which image of it"]
        return [
            *(f"{where}.source: {fault}" for fault in faults),
            *(f"{where}.checksum: {fault}" for fault in said),
            *(f"{where}.format: {fault}" for fault in _faults_of_choice(self.format, FORMATS)),
            *(f"{where}.compression: {fault}" for fault in _faults_of_choice(self.compression, ("", *SUFFIXES))),
            *(f"{where}.convert_to: {fault}" for fault in _faults_of_choice(self.convert_to, ("", *TARGETS))),
        ]

    @property
    def is_remote(self) -> bool:
        return _scheme(self.source) in _REMOTE

    @property
    def path(self) -> str:
        """The path of a local source."""
        return unquote(urlsplit(self.source).path) if _scheme(self.source) == "file" else self.source

    @property
    def checksum_file(self) -> ImageSource | None:
        """The file that the checksum is in, where it names one; ``sha256:`` before a URL or a path is no part of it."""
        named = _BEFORE_A_PLACE.sub("", self.checksum or "")
        return ImageSource(named, None, "raw") if "://" in named or named.startswith("/") else None

    @property
    def digest(self) -> str | None:
        """The checksum as the cache spells it, lower case, with its algorithm; None while it is only known which file it is in."""
        return None if self.checksum is None or self.checksum_file is not None else self.checksum.lower()

    @property
    def algorithm(self) -> str:
        """The hash to compute while fetching."""
        return DEFAULT_ALGORITHM if self.digest is None else self.digest.partition(":")[0]

    @property
    def variant(self) -> str:
        """How the names of the image's files end: what is in it, after what was undone to get there, such as ``xz.qcow2``."""
        return f"{SUFFIXES[self.compression]}.{self.format}" if self.compression else self.format

    @property
    def used_variant(self) -> str:
        """The same of the file that machines get: with what it was converted to, such as ``vmdk.raw``."""
        return f"{self.variant}.{self.convert_to}" if self.convert_to and self.convert_to != self.format else self.variant

    @property
    def name(self) -> str:
        """The last part of a URL's or a file's path, "" where it ends in a slash."""
        return (unquote(urlsplit(self.source).path) if _scheme(self.source) else self.source).rpartition("/")[2]

    @property
    def is_directory(self) -> bool:
        """Whether it names a place with images, another cache perhaps, out of which the checksum chooses one."""
        return not self.name

    @property
    def key(self) -> str:
        """A name for the source itself, for what is remembered about sources without a checksum."""
        return hashlib.sha256(self.source.encode()).hexdigest()


def redact(source: str) -> str:
    """The source without user, password and query, which may hold tokens."""
    if "://" not in source:
        return source
    try:
        parts = urlsplit(source)
        _user, at, host = parts.netloc.rpartition("@")
        return urlunsplit(SplitResult(parts.scheme, f"***{at}{host}" if at else host, parts.path, "***" if parts.query else "", ""))
    except ValueError:
        return "a URL that cannot be read"


def _scheme(source: str) -> str:
    return source.partition("://")[0].lower() if "://" in source else ""


def _source_faults(source: str) -> list[str]:
    if not source:
        return ["is empty: give a URL or an absolute path"]
    if re.search(r"[\x00-\x1f\x7f]", source):
        return ["holds control characters"]
    scheme = _scheme(source)
    if not scheme or source.startswith("/"):
        return [] if source.startswith("/") else [f"{source!r} is neither a URL nor an absolute path"]
    try:
        parts = urlsplit(source)
        host, _port = parts.hostname, parts.port
    except ValueError as exc:
        return [f"{redact(source)} is not a valid URL: {exc}"]
    if scheme in _REMOTE:
        faults = [] if host else [f"{redact(source)} names no host"]
        return [*faults, *([f"{redact(source)} holds spaces: write them as %20"] if " " in source else [])]
    if scheme == "file":
        if host not in (None, "localhost"):
            return [f"{redact(source)} names another host: file:// reads from the host that the disks are on"]
        if parts.query or parts.fragment:
            return [f"{redact(source)} has a query or fragment: write ? as %3F and # as %23"]
        return [] if parts.path.startswith("/") else [f"{redact(source)} holds no absolute path"]
    return [f"{redact(source)} has the scheme {scheme}: use http, https, file, or an absolute path"]


def _checksum_faults(checksum: str | None) -> list[str]:
    if checksum is None:
        return []
    algorithm, colon, digits = checksum.lower().partition(":")
    known = " or ".join(f"{name}:<{length} hex digits>" for name, length in _HEX_LENGTH.items())
    if colon and algorithm in _BROKEN:
        return [f"{algorithm} can be forged: give {known}"]
    if not colon or algorithm not in _HEX_LENGTH:
        return [f"{checksum!r} is not {known}"]
    if len(digits) != _HEX_LENGTH[algorithm] or set(digits) - set("0123456789abcdef"):
        return [f"{checksum!r} does not have {_HEX_LENGTH[algorithm]} hex digits"]
    return []


def _place_faults(place: ImageSource) -> list[str]:
    return _source_faults(place.source) or ([] if place.name else [f"{place} names no file"])


def _faults_of_choice(name: str, choices: tuple[str, ...]) -> list[str]:
    return [] if name in choices else [f"{name!r} is not one of {', '.join(choice for choice in choices if choice)}"]
