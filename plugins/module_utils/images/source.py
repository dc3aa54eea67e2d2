# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Where an image comes from, what it is said to be, and what is wrong with such a description."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

FORMATS = ("qcow2", "raw")
DEFAULT_ALGORITHM = "sha256"
_HEX_LENGTH = {"sha256": 64, "sha512": 128}
_BROKEN = ("md5", "sha1")
_REMOTE = ("http", "https")


@dataclass(frozen=True)
class ImageSource:
    """An image as a user names it.

    :ivar source: ``http(s)://`` or ``file://`` URL, or an absolute path on the host that the disks are on. May hold
        credentials: it is left out of ``repr``, and ``str()`` hides them.
    :ivar checksum: ``sha256:<hex>`` or ``sha512:<hex>`` of the file as it is fetched; None where nobody vouches for it.
    :ivar format: what the file is said to be, one of ``FORMATS``; never guessed.

    The properties expect a source without ``problems()``.
    """

    source: str = field(repr=False)
    checksum: str | None = None
    format: str = "qcow2"

    def __str__(self) -> str:
        return redact(self.source)

    def problems(self, where: str = "image") -> list[str]:
        """Every fault of the description, each with its place and remedy; touches nothing."""
        return [
            *(f"{where}.source: {fault}" for fault in _source_faults(self.source)),
            *(f"{where}.checksum: {fault}" for fault in _checksum_faults(self.checksum)),
            *(f"{where}.format: {fault}" for fault in _format_faults(self.format)),
        ]

    @property
    def is_remote(self) -> bool:
        return _scheme(self.source) in _REMOTE

    @property
    def path(self) -> str:
        """The path of a local source."""
        return unquote(urlsplit(self.source).path) if _scheme(self.source) == "file" else self.source

    @property
    def digest(self) -> str | None:
        """The checksum as the cache spells it: lower case, with its algorithm."""
        return None if self.checksum is None else self.checksum.lower()

    @property
    def algorithm(self) -> str:
        """The hash to compute while fetching."""
        return DEFAULT_ALGORITHM if self.digest is None else self.digest.partition(":")[0]

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


def _format_faults(name: str) -> list[str]:
    return [] if name in FORMATS else [f"{name!r} is not one of {', '.join(FORMATS)}"]
