# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Ceph's command-line tools and its configuration file.

The tools and not python3-rbd: that is built for the distribution's own Python only, a module may run under another; and a
tool can be killed at its deadline, a call into librbd that waits for a lost cluster cannot.
"""

from __future__ import annotations

import configparser
import contextlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO, Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import (
    AuthenticationFailed,
    Busy,
    InsufficientResources,
    InvalidSpec,
    NotFound,
    OperationFailed,
    ToolFailed,
    VirtError,
)
from ansible_collections.poolwright.virt.plugins.module_utils.process import find_tool, reading_from_tool, run_tool, writing_to_tool

_Start = Callable[..., AbstractContextManager[IO[bytes]]]

DEFAULT_CONF = "/etc/ceph/ceph.conf"
_PACKAGE = "ceph-common"
_EPERM, _ENOENT, _EACCES, _EBUSY, _EEXIST, _ENOSPC, _ENOTEMPTY, _EDQUOT = 1, 2, 13, 16, 17, 28, 39, 122
_ADDRESS = re.compile(r"(?:(v[12]):)?(\[[0-9a-fA-F:]+\]|[^\[\],:\s/]+)(?::(\d+))?(?:/\d+)?")
_PORTS = {"v1": 6789, "v2": 3300}


@dataclass(frozen=True)
class Access:
    """How a cluster is reached: paths of its configuration and keyring, and the user's name; "" for the client's defaults."""

    conf: str = ""
    user: str = ""
    keyring: str = ""

    @property
    def arguments(self) -> list[str]:
        named = (("--conf", self.conf), ("--id", self.user), ("--keyring", self.keyring))
        return [part for option, value in named if value for part in (option, value)]

    def qemu_name(self, image: str) -> str:
        """``pool/image`` as QEMU's rbd driver takes it."""
        named = (("id", self.user), ("conf", self.conf), ("keyring", self.keyring))
        options = "".join(f":{option}={_escaped(value)}" for option, value in named if value)
        return f"rbd:{image}{options}"


class Rados:
    """One cluster."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def run(self, arguments: list[str], obj: str, deadline: Deadline, phase: str = "disk") -> str:
        """``rbd`` with these arguments; its errors by kind."""
        with _telling_kinds():
            return run_tool(self._command("rbd", arguments, obj, deadline), timeout=deadline.remaining, phase=phase, obj=obj)

    def json(self, arguments: list[str], obj: str, deadline: Deadline) -> Any:
        return _json(self.run([*arguments, "--format", "json"], obj, deadline, "check"), "rbd", obj)

    @contextlib.contextmanager
    def reading(self, arguments: list[str], obj: str, deadline: Deadline) -> Iterator[IO[bytes]]:
        with _telling_kinds(), reading_from_tool(self._command("rbd", arguments, obj, deadline), timeout=deadline.remaining, phase="copy", obj=obj) as stream:
            yield stream

    @contextlib.contextmanager
    def writing(self, arguments: list[str], obj: str, deadline: Deadline) -> Iterator[IO[bytes]]:
        with _telling_kinds(), writing_to_tool(self._command("rbd", arguments, obj, deadline), timeout=deadline.remaining, phase="disk", obj=obj) as stream:
            yield stream

    def get(self, location: str, name: str, deadline: Deadline) -> bytes | None:
        """The bytes of a small object; None where there is none. :param location: ``pool`` or ``pool/namespace``."""
        try:
            with _telling_kinds(), self._object(["get", name, "-"], location, name, deadline, reading_from_tool) as stream:
                return stream.read()
        except ToolFailed as exc:
            if "(2)" in exc.message:
                return None
            raise

    def put(self, location: str, name: str, data: bytes, deadline: Deadline) -> None:
        """Replace a small object as a whole."""
        with _telling_kinds(), self._object(["put", name, "-"], location, name, deadline, writing_to_tool) as stream:
            stream.write(data)

    def delete(self, location: str, name: str, deadline: Deadline) -> None:
        """No such object is no error."""
        try:
            with _telling_kinds(), self._object(["rm", name], location, name, deadline, reading_from_tool) as stream:
                stream.read()
        except ToolFailed as exc:
            if "(2)" not in exc.message:
                raise

    def _object(self, arguments: list[str], location: str, name: str, deadline: Deadline, start: _Start) -> AbstractContextManager[IO[bytes]]:
        pool, _slash, namespace = location.partition("/")
        where = ["--pool", pool, *(["--namespace", namespace] if namespace else [])]
        obj = f"{location}: {name}"
        return start(self._command("rados", [*where, *arguments], obj, deadline), timeout=deadline.remaining, phase="record", obj=obj)

    def free_bytes(self, pool: str, deadline: Deadline) -> int:
        """What the pool still takes: by the cluster's room, and by the pool's quota."""
        with _telling_kinds():
            argv = self._command("ceph", ["df", "detail", "--format", "json"], pool, deadline)
            said = _json(run_tool(argv, timeout=deadline.remaining, phase="check", obj=pool), "ceph", pool)
        for row in said.get("pools", []):
            if row["name"] == pool:
                stats = row["stats"]
                free = int(stats["max_avail"])
                return min(free, max(0, int(stats["quota_bytes"]) - int(stats["stored"]))) if stats.get("quota_bytes") else free
        raise NotFound("there is no such pool", obj=pool, phase="check", hint="look what there is: ceph osd pool ls")

    def _command(self, tool: str, arguments: list[str], obj: str, deadline: Deadline) -> list[str]:
        path = find_tool(tool, _PACKAGE)
        deadline.check("Ceph's command", obj=obj, phase="disk")
        return [path, *self._access.arguments, *arguments]


@contextlib.contextmanager
def _telling_kinds() -> Iterator[None]:
    try:
        yield
    except ToolFailed as exc:
        raise _by_kind(exc) from exc


def _by_kind(exc: ToolFailed) -> VirtError:
    message = _without_log(exc.message)
    where = {"obj": exc.obj, "phase": exc.phase}
    if "opening pool" in message:
        return NotFound(message, hint="look what there is: ceph osd pool ls", **where)
    if exc.status == _ENOENT and "conf" not in message:
        return NotFound(message, **where)
    if exc.status in (_EPERM, _EACCES) and ("not permitted" in message or "denied" in message or "keyring" in message):
        return AuthenticationFailed(message, hint="check the user, its keyring and its capabilities: ceph auth get client.USER", **where)
    if exc.status == _EEXIST:
        return Busy(message, hint="remove it first, or choose another name", **where)
    if exc.status in (_EBUSY, _ENOTEMPTY):
        return Busy(message, hint="shut the guest that uses it off, and remove what stands on it", **where)
    if exc.status in (_ENOSPC, _EDQUOT):
        return InsufficientResources(message, hint="free some space, or raise the pool's quota", **where)
    return ToolFailed(message, status=exc.status, **where)


def _without_log(message: str) -> str:
    """Without the lines that the client library logs, which say the same with addresses of memory."""
    lines = [line for line in message.splitlines() if not re.match(r"\d{4}-\d\d-\d\dT", line)]
    return "\n".join(line for line in lines if line.strip()) or message


def _json(text: str, tool: str, obj: str) -> Any:
    try:
        # Of an empty table some commands say nothing at all.
        return json.loads(text) if text.strip() else {}
    except ValueError as exc:
        raise OperationFailed(f"{tool} did not answer in JSON", obj=obj, phase="check") from exc


def monitors(conf: str) -> tuple[tuple[str, int], ...]:
    """Name and port of each monitor that a configuration file names; of one with two addresses, that of the older protocol.

    :raises InvalidSpec: the file cannot be read, or names none.
    """
    found = _addresses(_global_values(conf).get("mon_host", ""))
    if not found:
        raise InvalidSpec([f"conf: {conf or DEFAULT_CONF} names no monitors (mon host in [global]), and libvirt has to be told them"])
    return found


def cluster_id(conf: str) -> str:
    """What a cluster is told from others by: its ``fsid`` if the configuration file has that, else its monitors.

    :raises InvalidSpec: as ``monitors``.
    """
    said = _global_values(conf).get("fsid", "").strip().lower()
    return said or ",".join(f"{name}:{port}" for name, port in sorted(monitors(conf)))


def _global_values(conf: str) -> dict[str, str]:
    """The ``[global]`` section, its keys with underscores; the last value of each counts."""
    path = conf or DEFAULT_CONF
    parser = configparser.RawConfigParser(strict=False, comment_prefixes=("#", ";"), inline_comment_prefixes=("#", ";"), allow_no_value=True)
    try:
        with open(path, encoding="utf-8") as stream:
            # Ceph indents as it likes; to the parser that would be a value that goes on.
            parser.read_string("\n".join(line.strip() for line in stream))
    except (OSError, UnicodeDecodeError, configparser.Error) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is no such file"
        raise InvalidSpec([f"conf: the cluster's configuration {path} cannot be read: {why}"]) from exc
    if not parser.has_section("global"):
        return {}
    return {re.sub(r"[ _-]+", "_", key): value or "" for key, value in parser.items("global")}


def _addresses(text: str) -> tuple[tuple[str, int], ...]:
    """Of ``a,b:6789 [v2:192.0.2.1:3300/0,v1:192.0.2.1:6789/0]``: each monitor once."""
    found = []
    for group in re.findall(r"\[v[12]:[^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*\]|[^,;\s]+", text):
        inner = group[1:-1] if re.match(r"\[v[12]:", group) else group
        known: dict[str, tuple[str, int]] = {}
        for part in inner.split(","):
            match = _ADDRESS.fullmatch(part.strip())
            if match:
                protocol = match.group(1) or "v1"
                known[protocol] = (match.group(2).strip("[]"), int(match.group(3) or _PORTS[protocol]))
        if known:
            found.append(known.get("v1") or known["v2"])
    return tuple(found)


def _escaped(value: str) -> str:
    return re.sub(r"([\\:@])", r"\\\1", value)
