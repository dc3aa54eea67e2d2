# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Asking a Ceph cluster: by a program that keeps its connection from one question to the next, and for data by ``rbd``.

A tool of Ceph's takes 0.1 s to start and to connect, whatever it then does; an operation on a disk has several steps.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import inspect
import json
import os
import select
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import asdict
from typing import IO, Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import (
    AuthenticationFailed,
    Busy,
    ConnectionFailed,
    DeadlineExceeded,
    InsufficientResources,
    MissingDependency,
    NotFound,
    ToolFailed,
    VirtError,
)
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend import ceph_worker
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.ceph import Access
from ansible_collections.poolwright.virt.plugins.module_utils.process import find_tool, plain_environment, reading_from_tool, writing_to_tool

_PACKAGE = "ceph-common"
_PYTHON = "/usr/bin/python3"
_EPERM, _ENOENT, _EACCES, _EBUSY, _EEXIST, _ENOSPC, _ENOTEMPTY, _ETIMEDOUT, _EDQUOT = 1, 2, 13, 16, 17, 28, 39, 110, 122


class Rados:
    """One cluster, as one user."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def ask(self, what: str, obj: str, deadline: Deadline, phase: str = "disk", **arguments: Any) -> Any:
        """What the method ``what`` of ``ceph_worker.Cluster`` returns; its errors by kind.

        Audit hooks are told of each question, as they are of each tool that is started.

        :raises DeadlineExceeded: there was no answer by then; the program that was asked is killed.
        """
        deadline.check("Ceph's answer", obj=obj, phase=phase)
        sys.audit("poolwright.rados", what)
        worker = _idle_worker(self._access) or _Worker(self._access)
        try:
            answer = worker.ask({"do": what, **arguments}, deadline.remaining)
        except BaseException as exc:
            said = worker.stop()
            if isinstance(exc, TimeoutError):
                raise DeadlineExceeded(f"Ceph did not answer in time ({what})", obj=obj, phase=phase) from exc
            if isinstance(exc, (BrokenPipeError, EOFError)):
                raise ToolFailed(f"the helper for Ceph ended: {said}", status=0, obj=obj, phase=phase) from exc
            raise
        _IDLE.setdefault(self._access, []).append(worker)
        if "is" not in answer:
            raise by_kind(str(answer["said"]), int(answer["errno"]), str(answer["at"]), obj, phase)
        return answer["is"]

    def free_bytes(self, pool: str, deadline: Deadline) -> int:
        """What the pool still takes: by the cluster's room, and by the pool's quota. :raises NotFound: there is no such pool."""
        stats = self.ask("free", pool, deadline, "check", pool=pool)
        if stats is None:
            raise NotFound("there is no such pool", obj=pool, phase="check", hint="look what there is: ceph osd pool ls")
        free = int(stats["max_avail"])
        return min(free, max(0, int(stats["quota_bytes"]) - int(stats["stored"]))) if stats["quota_bytes"] else free

    def get(self, location: str, name: str, deadline: Deadline) -> bytes | None:
        """The bytes of a small object; None where there is none. :param location: ``pool`` or ``pool/namespace``."""
        found = self.ask("get", f"{location}: {name}", deadline, "record", place=location, name=name)
        return None if found is None else base64.b64decode(found)

    def put(self, location: str, name: str, data: bytes, deadline: Deadline) -> None:
        """Replace a small object as a whole."""
        self.ask("put", f"{location}: {name}", deadline, "record", place=location, name=name, data=base64.b64encode(data).decode())

    def delete(self, location: str, name: str, deadline: Deadline) -> None:
        """No such object is no error."""
        self.ask("delete", f"{location}: {name}", deadline, "record", place=location, name=name)

    @contextlib.contextmanager
    def reading(self, image: str, deadline: Deadline) -> Iterator[IO[bytes]]:
        """An image's bytes; the block reads them to their end."""
        command = self._command(["export", "--no-progress", image, "-"], image, deadline)
        with _telling_kinds(), reading_from_tool(command, timeout=deadline.remaining, phase="copy", obj=image) as stream:
            yield stream

    @contextlib.contextmanager
    def writing(self, image: str, features: tuple[str, ...], obj: str, deadline: Deadline) -> Iterator[IO[bytes]]:
        """A new image of what the block writes, as large as that; zeros are left out."""
        wanted = [part for feature in features for part in ("--image-feature", feature)]
        command = self._command(["import", "--no-progress", *wanted, "-", image], obj, deadline)
        with _telling_kinds(), writing_to_tool(command, timeout=deadline.remaining, phase="disk", obj=obj) as stream:
            yield stream

    def _command(self, arguments: list[str], obj: str, deadline: Deadline) -> list[str]:
        path = find_tool("rbd", _PACKAGE)
        deadline.check("Ceph's command", obj=obj, phase="disk")
        return [path, *self._access.arguments, *arguments]


class _Worker:
    """The program, and the pipes to it."""

    def __init__(self, access: Access) -> None:
        command = [_interpreter(), "-I", "-S", "-c", inspect.getsource(ceph_worker), json.dumps(asdict(access))]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by stop)
        # It outlives the thread that starts it, so it cannot be killed with that; it ends with its input.
        try:
            self._process = subprocess.Popen(  # pylint: disable=ansible-bad-function,consider-using-with
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, env=plain_environment(), bufsize=0
            )
        except OSError as exc:
            self._errors.close()
            raise MissingDependency(f"the helper for Ceph cannot be started: {exc}", obj=command[0], hint=f"install {_PACKAGE} with python3-rbd") from exc
        _ALL.add(self)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, question: dict[str, Any], seconds: float) -> dict[str, Any]:
        """:raises TimeoutError: no answer in so many seconds.   :raises EOFError, BrokenPipeError: the program has ended."""
        given, taken = self._process.stdin, self._process.stdout
        if given is None or taken is None:
            raise EOFError
        given.write(json.dumps(question).encode() + b"\n")
        ready = select.poll()
        ready.register(taken, select.POLLIN)
        line = b""
        while not line.endswith(b"\n"):
            # Once an answer begins, the rest of it follows.
            if not ready.poll(seconds * 1000):
                raise TimeoutError
            part = os.read(taken.fileno(), 65536)
            if not part:
                raise EOFError
            line += part
        answer: dict[str, Any] = json.loads(line)
        return answer

    def leave(self) -> None:
        """In a forked process: let go of the program, which is the parent's."""
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()
        # Else it is taken for a child of ours that nobody has waited for.
        self._process.returncode = 0

    def stop(self) -> str:
        """End it, and return what it said last on its standard error."""
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()
        try:
            # Without its input it ends at once, unless a call holds it up.
            self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with self._errors:
            self._errors.seek(0)
            return self._errors.read().decode("utf-8", "replace").strip()[-500:]


# By who is asked as whom.
_IDLE: dict[Access, list[_Worker]] = {}
_ALL: weakref.WeakSet[_Worker] = weakref.WeakSet()


def _idle_worker(access: Access) -> _Worker | None:
    idle = _IDLE.get(access, [])
    while idle:
        with contextlib.suppress(IndexError):  # another thread was faster
            worker = idle.pop()
            if worker.alive:
                return worker
            worker.stop()
    return None


@atexit.register
def stop_idle() -> None:
    """End the programs that nobody is asking."""
    for idle in _IDLE.values():
        while idle:
            idle.pop().stop()


def _leave_to_parent() -> None:
    for worker in list(_ALL):
        worker.leave()
    _IDLE.clear()


# A process that was forked must neither talk to its parent's, nor keep them alive by their pipes.
os.register_at_fork(after_in_child=_leave_to_parent)


def _interpreter() -> str:
    """The Python that Ceph's libraries were built for: the one that its own tool ``ceph`` is run by."""
    with open(find_tool("ceph", _PACKAGE), "rb") as stream:
        first = stream.readline(200).decode("utf-8", "replace")
    words = first[2:].split()
    return words[0] if first.startswith("#!") and words and "python" in os.path.basename(words[0]) else _PYTHON


@contextlib.contextmanager
def _telling_kinds() -> Iterator[None]:
    try:
        yield
    except ToolFailed as exc:
        at = "place" if "opening pool" in exc.message else "image"
        raise by_kind(exc.message, exc.status, at, exc.obj, exc.phase) from exc


def by_kind(said: str, number: int, at: str, obj: str, phase: str) -> VirtError:
    """:param number: as in ``errno``.   :param at: what it went wrong with: ``library``, ``cluster``, ``place`` or ``image``."""
    message = f"Ceph says: {said}"
    if at == "library":
        return MissingDependency(f"Python's libraries for Ceph are not there: {said}", obj=obj, phase=phase, hint=f"install {_PACKAGE} with python3-rbd")
    if number in (_EPERM, _EACCES) or (at == "cluster" and "keyring" in said):
        hint = "check the user, its keyring and its capabilities: ceph auth get client.USER"
        return AuthenticationFailed(message, obj=obj, phase=phase, hint=hint)
    if at == "cluster":
        hint = "check the configuration, the keyring, and that the monitors answer: ceph -s"
        return ConnectionFailed(message, obj=obj, phase=phase, hint=hint)
    if at == "place" and number == _ENOENT:
        return NotFound(f"there is no such pool or namespace: {said}", obj=obj, phase=phase, hint="look what there is: ceph osd pool ls, rbd namespace ls POOL")
    if number == _ENOENT:
        return NotFound(message, obj=obj, phase=phase)
    if number == _EEXIST:
        return Busy(message, obj=obj, phase=phase, hint="remove it first, or choose another name")
    if number in (_EBUSY, _ENOTEMPTY):
        return Busy(message, obj=obj, phase=phase, hint="shut the guest that uses it off, and remove what stands on it")
    if number in (_ENOSPC, _EDQUOT):
        return InsufficientResources(message, obj=obj, phase=phase, hint="free some space, or raise the pool's quota")
    if number == _ETIMEDOUT:
        return ConnectionFailed(message, obj=obj, phase=phase, hint="check that the cluster's daemons answer: ceph -s")
    return ToolFailed(message, status=number, obj=obj, phase=phase)
