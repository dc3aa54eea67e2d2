# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The side of a transfer that the module runs on: local files, whose errors are told from those of the connection."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Union

from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, TransferFailed
from ansible_collections.poolwright.virt.plugins.module_utils.locks import try_flock

Source = Union[str, "os.PathLike[str]", IO[bytes]]

PHASE = "transfer"
BLOCK = 1024 * 1024


class LocalFailure(Exception):
    """This side's own file cannot be read or written."""


@contextmanager
def opened(source: Source) -> Iterator[IO[bytes]]:
    if isinstance(source, (str, os.PathLike)):
        try:
            stream = open(source, "rb", buffering=0)  # noqa: SIM115 (closed below; only its opening is caught here)
        except OSError as exc:
            raise TransferFailed(
                f"it cannot be read: {exc.strerror}", obj=os.fspath(source), phase=PHASE, hint="the file is looked for where the module runs"
            ) from None
        with stream:
            yield stream
    else:
        yield source


@contextmanager
def at_home() -> Iterator[None]:
    """Tell an error of this side's disk from one of the connection."""
    try:
        yield
    except OSError as exc:
        raise LocalFailure(exc.strerror or str(exc)) from None


def not_at_home(exc: Exception, what: object) -> TransferFailed:
    failed = TransferFailed(f"the file on this side cannot be read or written: {getattr(exc, 'strerror', None) or exc}", obj=str(what), phase=PHASE)
    failed.transient = False
    return failed


@contextmanager
def part_file(part: str, target: str) -> Iterator[IO[bytes]]:
    """The partial file, opened and locked, its position at the start."""
    try:
        fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as exc:
        raise not_at_home(exc, target) from None
    with open(fd, "r+b") as stream:
        if not try_flock(fd):
            raise Busy("another process fetches it", obj=target, phase=PHASE)
        yield stream


def hash_of(stream: IO[bytes], size: int) -> Any:
    digest = hashlib.sha256()
    stream.seek(0)
    while size > 0:
        block = stream.read(min(BLOCK, size))
        if not block:
            break
        digest.update(block)
        size -= len(block)
    return digest
