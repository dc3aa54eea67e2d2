# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Checksums that are in a file of their own, as ``sha256sum`` writes it, and which of its lines is an image's."""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import replace
from urllib.parse import unquote, urlsplit

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec, NotFound, TransferFailed
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource, redact
from ansible_collections.poolwright.virt.plugins.module_utils.images.web import open_url

MOST_BYTES = 4 * 1024**2
_ALGORITHMS = {64: "sha256", 128: "sha512"}
_GNU = re.compile(r"\\?([0-9a-fA-F]{64}|[0-9a-fA-F]{128})[ \t]+\*?(\S.*)")
_BSD = re.compile(r"(SHA256|SHA512) \((.+)\) ?= ?([0-9a-fA-F]+)")
_BARE = re.compile(r"[0-9a-fA-F]{64}|[0-9a-fA-F]{128}")
_SHOWN = 5


def resolved(image: ImageSource, deadline: Deadline, *, validate_certs: bool = True) -> ImageSource:
    """The image with its checksum, read from the file that ``checksum`` names; as it is where it has one already, or none.

    :raises NotFound: there is no such file, or no line of it is the image's.
    :raises InvalidSpec: it cannot be said which line is.   :raises TransferFailed, AuthenticationFailed: the file cannot be read.
    """
    place = image.checksum_file
    if place is None:
        return image
    return replace(image, checksum=choose(read(place, deadline, validate_certs=validate_certs), image.name, str(place)))


def read(place: ImageSource, deadline: Deadline, *, validate_certs: bool = True) -> str:
    """The text of a small file."""
    if place.is_remote:
        answer = open_url(place.source, deadline.remaining, validate_certs=validate_certs)
        if answer is None:
            raise TransferFailed("the server says that the file has not changed, though nothing was asked about that", obj=str(place), phase="checksum")
        with answer.stream as stream:
            try:
                data = stream.read(MOST_BYTES + 1)
            except OSError as exc:
                raise TransferFailed(f"the connection broke: {type(exc).__name__}", obj=str(place), phase="checksum") from exc
    else:
        try:
            # Not blocking: a FIFO would wait for its writer.
            with os.fdopen(os.open(place.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as stream:
                data = stream.read(MOST_BYTES + 1) or b""
        except FileNotFoundError:
            raise NotFound("there is no such file with checksums", obj=str(place), phase="checksum", hint="correct checksum") from None
        except OSError as exc:
            raise TransferFailed(f"it cannot be read: {exc.strerror}", obj=str(place), phase="checksum") from exc
    if len(data) > MOST_BYTES:
        raise TransferFailed(f"a file with checksums has at most {MOST_BYTES} bytes, and it has more", obj=str(place), phase="checksum")
    return data.decode("utf-8", "replace")


def choose(text: str, name: str, where: str) -> str:
    """The checksum of the file ``name``, by the last part of the names in ``text``.

    :param where: what to call the text in errors.
    """
    lines = parse(text)
    fitting = {digest for digest, named in lines if posixpath.basename(named) == name}
    if not fitting and len(lines) == 1 and not lines[0][1]:
        fitting = {lines[0][0]}
    strongest = {digest for digest in fitting if digest.startswith("sha512:")} or fitting
    if len(strongest) == 1:
        return strongest.pop()
    if strongest:
        raise InvalidSpec([f"image.checksum: {where} has several different lines for {name}: give the checksum itself"])
    known = sorted({posixpath.basename(named) for _digest, named in lines if named})
    has = f"it has {', '.join(known[:_SHOWN])}{' and others' if len(known) > _SHOWN else ''}" if known else "no line of it is a SHA-256 or SHA-512 checksum"
    raise NotFound(f"it has no checksum of {name}: {has}", obj=where, phase="checksum", hint="correct the source or checksum")


def parse(text: str) -> list[tuple[str, str]]:
    """All checksums with the names of their files, "" for one that stands alone. What is none, such as a signature around them, is left out."""
    found = []
    for line in (line.strip() for line in text.splitlines()):
        gnu, bsd = _GNU.fullmatch(line), _BSD.fullmatch(line)
        if gnu is not None:
            found.append((_digest(gnu.group(1)), gnu.group(2)))
        elif bsd is not None and _ALGORITHMS.get(len(bsd.group(3))) == bsd.group(1).lower():
            found.append((_digest(bsd.group(3)), bsd.group(2)))
        elif _BARE.fullmatch(line):
            found.append((_digest(line), ""))
    return found


def located(image: ImageSource, deadline: Deadline, *, validate_certs: bool = True) -> ImageSource:
    """The file of a directory, or of another cache, that has the image's checksum: by its place in a cache, else by ``SHA256SUMS``.

    :raises NotFound: there is none.
    """
    digest = image.digest
    if not image.is_directory or digest is None:
        return image
    algorithm, _colon, digits = digest.partition(":")
    # What is in another cache is unpacked already, so only what never was packed has this checksum there.
    cached = image.beside(f"{algorithm}/{digits}.{image.variant}")
    if not image.compression and _is_there(cached, deadline, validate_certs):
        return cached
    sums = replace(image.beside(f"{algorithm.upper()}SUMS"), checksum=None)
    try:
        names = {posixpath.normpath(name) for found, name in parse(read(sums, deadline, validate_certs=validate_certs)) if found == digest and name}
    except NotFound:
        names = set()
    # Names lead nowhere but into the directory.
    inside = sorted(name for name in names if not name.startswith(("/", "../")) and name not in ("", ".", ".."))
    if inside:
        return image.beside(inside[0])
    said = f"it has no image {digest}: neither as a cache has it, nor in {algorithm.upper()}SUMS"
    raise NotFound(said, obj=redact(image.source), phase="fetch", hint="correct source or checksum, or give the image's own URL or path")


def _is_there(image: ImageSource, deadline: Deadline, validate_certs: bool) -> bool:
    if not image.is_remote:
        return os.path.isfile(unquote(urlsplit(image.source).path) if "://" in image.source else image.source)
    try:
        answer = open_url(image.source, deadline.remaining, validate_certs=validate_certs)
    except NotFound:
        return False
    if answer is not None:
        answer.stream.close()
    return True


def _digest(digits: str) -> str:
    return f"{_ALGORITHMS[len(digits)]}:{digits.lower()}"
