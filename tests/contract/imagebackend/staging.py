# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What the cases share: known images, short words for their steps, and processes that work beside or are killed."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import io
import os
import random
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import Image
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import DiskRecord
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage
from ansible_collections.poolwright.virt.tests.contract.imagebackend.labs.base import DiskLab, run

MIB = 1024 * 1024
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
LONG = 300.0  # seconds: more than anything takes here, in the guest too
# Into a step, so that a tool is at work: in the guest one takes longer to start.
INSTANT = 0.1 if os.environ.get("POOLWRIGHT_IN_GUEST") == "1" else 0.008
# Where a process can be killed with a difference: before it starts a tool or asks Ceph for something, and at what gives or takes a name.
_TOOLS = ("subprocess.Popen", "poolwright.rados")
# What these leave is what there was before them, so a process that is killed at one of them is as if killed at the next step.
_LOOKS = {"lvs", "vgs", "free", "get", "names", "look", "holder", "used", "watchers", "standing", "snapshots", "discarded"}
# These write to a directory of their maker, in whatever backend's service; each costs a while in the guest, and is a step elsewhere.
_LOOKS |= {"mke2fs", "debugfs", "mkswap", "mkfs.vfat", "mkfs.xfs", "xorriso"} if os.environ.get("POOLWRIGHT_IN_GUEST") == "1" else set()
_STEPS = (*_TOOLS, "os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.truncate", "fcntl.flock")


@dataclass(frozen=True)
class Supplies:
    """A disk of 8 MiB with 5 MiB of data: its bytes, and the images that hold it."""

    data: bytes
    image: CachedImage
    raw: CachedImage


def make_supplies(folder: Path) -> Supplies:
    chance = random.Random(11)
    data = chance.randbytes(3 * MIB) + bytes(2 * MIB) + chance.randbytes(2 * MIB) + bytes(MIB)
    raw, qcow2 = folder / "disk.raw", folder / "disk.qcow2"
    raw.write_bytes(data)
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, qcow2)
    return Supplies(data, cached(qcow2, "qcow2"), cached(raw, "raw"))


def cached(path: Path, format: str) -> CachedImage:
    """An image as the cache would hand it out."""
    digest = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    return CachedImage(str(path), digest, format, 8 * MIB, path.stat().st_size, 6 * MIB)


class Site:
    """A lab with an empty location, for one case."""

    def __init__(self, lab: DiskLab, supplies: Supplies, folder: Path) -> None:
        self.lab = lab
        self.data = supplies.data
        self.image = supplies.image
        self.raw_image = supplies.raw
        self.folder = folder
        self.disk = lab.disk()

    @property
    def soon(self) -> Deadline:
        return Deadline.after(Clock(), LONG)

    def make(self, size: int | None = None, disk: Image | None = None) -> DiskRecord:
        """The disk, from the known image."""
        return (disk or self.disk).create_from_image(self.image, size, self.soon)

    def read(self, record: DiskRecord, disk: Image | None = None) -> bytes:
        """What a guest would find on the disk."""
        found = io.BytesIO()
        (disk or self.disk).read_to(record, found, self.soon)
        return found.getvalue()

    def holds(self, record: DiskRecord, expected: bytes, disk: Image | None = None) -> bool:
        """Whether the disk has these bytes, and zeros after them; compared by their hashes."""
        whole = expected.ljust(record.size, b"\0")
        return hashlib.sha256(self.read(record, disk)).digest() == hashlib.sha256(whole).digest()

    def write(self, disk: Image, data: bytes) -> DiskRecord:
        """A new disk with these bytes."""
        path = self.folder / "written"
        path.write_bytes(data)
        with open(path, "rb") as stream:
            return disk.create_from_stream(stream, len(data), self.soon)

    def volumes(self, location: str = "") -> list[str]:
        return self.lab.volumes(location)

    # -- other processes

    def begin(self, task: Callable[[], Any], step: int = 0, within: float = 0.0) -> Another:
        return Another(task, step, within, self.lab.kept_in_files and not within)


class Another:
    """A process like this one that does a task. ``said`` is the name of the error that it ended with, "" for none.

    :param step: it is killed at its n-th step, 0 for never; ``killed`` tells whether it came so far.
    :param within: not before the step but so many seconds into it.
    :param files: what is done to files counts as a step too, not the start of a tool alone.
    """

    def __init__(self, task: Callable[[], Any], step: int, within: float, files: bool) -> None:
        # What a killed process had started becomes ours, so that it can be waited for.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        reading, writing = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.setpgid(0, 0)
            os.close(reading)
            said = "NothingSaid"
            try:
                reached = _kill_at(step, within, _STEPS if files else _TOOLS)
                task()
                said = "" if step == 0 or reached() < step else "Late"
            except BaseException as exc:
                said = type(exc).__name__
            finally:
                os.write(writing, said.encode() + b".")
                os._exit(0)
        os.close(writing)
        self._reading = reading
        self.killed = False

    def end(self) -> str:
        with os.fdopen(self._reading, "rb") as stream:
            said = stream.read().decode()
        _pid, status = os.waitpid(self._pid, 0)
        # A tool that was just being started may not have heard of its parent's death, and then goes on to its end.
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-self._pid, 0)
        self.killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        assert self.killed or said.endswith("."), f"the other process ended with status {status}"
        return "Killed" if self.killed else said.rstrip(".")


def _started(arguments: tuple[Any, ...]) -> str:
    """The tool, or the question to Ceph, that an audit event is about."""
    words = arguments[1] if len(arguments) > 1 else arguments
    names = [os.path.basename(str(word)) for word in words if not str(word).startswith("-")]
    return next((name for name in names if name not in ("prlimit", "setpriv", "KILL")), "")


def _kill_at(step: int, within: float, steps: tuple[str, ...]) -> Callable[[], int]:
    """From now on, have this process die at a step; the function tells how many it has come to."""
    seen = 0
    if step == 0:
        return lambda: seen

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event not in steps or (event in _TOOLS and _started(arguments) in _LOOKS):
            return
        seen += 1
        if seen != step:
            return
        if within:
            threading.Timer(within, os.kill, (os.getpid(), signal.SIGKILL)).start()
        else:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    return lambda: seen
