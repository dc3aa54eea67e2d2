# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The connection to libvirt, and the only way to make a call on it."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any, Callable, TypeVar
from urllib.parse import urlsplit, urlunsplit

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock
from ansible_collections.poolwright.virt.plugins.module_utils.errors import ConnectionFailed, MaybeApplied
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.binding import library
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.event_loop import KEEPALIVE, run_event_loop
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.faults import Fault
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats

T = TypeVar("T")

MUTATING = frozenset(
    {
        "virDomainAbortJob",
        "virDomainAttachDeviceFlags",
        "virDomainBlockResize",
        "virDomainCreateWithFlags",
        "virDomainDefineXML",
        "virDomainDestroyFlags",
        "virDomainDetachDeviceFlags",
        "virDomainMigrateSetMaxDowntime",
        "virDomainMigrateStartPostCopy",
        "virDomainMigrateToURI3",
        "virDomainPMWakeup",
        "virDomainReset",
        "virDomainResume",
        "virDomainSetAutostart",
        "virDomainSetMemoryFlags",
        "virDomainSetMemoryStatsPeriod",
        "virDomainSetMetadata",
        "virDomainSetVcpusFlags",
        "virDomainShutdownFlags",
        "virDomainSuspend",
        "virDomainUndefineFlags",
        "virDomainUpdateDeviceFlags",
        "virSecretDefineXML",
        "virSecretSetValue",
        "virSecretUndefine",
        "virStoragePoolCreateXML",
        "virStoragePoolDelete",
        "virStoragePoolDestroy",
        "virStorageVolCreateXML",
        "virStorageVolDelete",
        "virStorageVolUpload",
    }
)
"""The calls, by their names in libvirt's C API, that change something on the host."""

# How long a daemon that went away is given to come back; an upgrade restarts it.
REOPEN_SECONDS = 5.0
_REOPEN_PAUSE = 0.1
KNOCK_SECONDS = 10.0
_PORTS = {"tcp": 16509, "tls": 16514}  # ssh has its own way of finding hosts


class Session:
    """One connection, shared by threads, opened at the first call and again after it broke.

    :param keepalive: ask the other side from time to time whether it is there, for a host behind a network. It needs an
        event loop in the client; the death of a daemon on the same host is seen at the socket at once.
    """

    def __init__(self, uri: str, clock: Clock, stats: Stats, *, keepalive: bool = False) -> None:
        self.uri = uri
        self._keepalive = keepalive
        self._clock = clock
        self._stats = stats
        self._lock = threading.Lock()
        self._connection: Any = None
        self._lost_at: float | None = None

    def call(self, api: str, action: Callable[[Any], T], *, obj: str = "", phase: str = "") -> T:
        """Make one call: ``action`` gets the open ``virConnect``.

        :param api: the call's name in libvirt's C API: it is counted under it, and ``MUTATING`` says whether it changes anything.
        :param obj: what it is about, for errors.   :param phase: what is being done, for errors.
        :raises MaybeApplied: the connection broke in a call that changes something.
        :raises ConnectionFailed: no connection; a read was tried twice.
        """
        lib = library()
        broke_before = False
        while True:
            connection = self.connection()
            self._stats.call(api)
            try:
                return action(connection)
            except lib.libvirtError as exc:
                fault = Fault.of(exc)
                if not fault.broken:
                    raise fault.as_error(obj=obj, phase=phase) from exc
                self._drop(connection)
                if api in MUTATING:
                    raise MaybeApplied(f"the connection broke before libvirt answered: {fault.message}", obj=obj, phase=phase) from exc
                if broke_before:
                    raise ConnectionFailed(f"the connection broke twice: {fault.message}", obj=obj or self.uri, phase=phase) from exc
                broke_before = True

    def count(self, api: str) -> None:
        """Count a call that was made inside another one's ``action``."""
        self._stats.call(api)

    def connection(self) -> Any:
        """The open connection; what was got from another one is to be looked up again.

        :raises ConnectionFailed, AuthenticationFailed: it cannot be opened.
        """
        with self._lock:
            # Noticed by another thread or by the binding; asks nobody.
            if self._connection is not None and not self._connection.isAlive():
                self._forget()
            if self._connection is None:
                self._connection = self._open_patiently()
                self._lost_at = None
            return self._connection

    def close(self) -> None:
        """Never raises; the next call would open a new connection."""
        with self._lock:
            self._forget()
            self._lost_at = None

    def _drop(self, connection: Any) -> None:
        with self._lock:
            if self._connection is connection:
                self._forget()

    def _forget(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        self._lost_at = self._clock.monotonic()
        with contextlib.suppress(library().libvirtError):
            connection.close()

    def _open_patiently(self) -> Any:
        """A connection that was open before may be refused for as long as the daemon restarts."""
        while True:
            try:
                return self._open()
            except ConnectionFailed:
                if self._lost_at is None or self._clock.monotonic() - self._lost_at >= REOPEN_SECONDS:
                    raise
                self._clock.sleep(_REOPEN_PAUSE)

    def _open(self) -> Any:
        self._stats.login()
        if self._keepalive:
            run_event_loop()
            _knock(self.uri)
        connection = open_without_prompts(self.uri)
        if self._keepalive:
            with contextlib.suppress(library().libvirtError):
                # A driver inside this process has none.
                connection.setKeepAlive(*KEEPALIVE)
        return connection


def _knock(uri: str) -> None:
    """libvirt would wait for as long as the kernel tries to connect, which is minutes where nobody answers at all.

    :raises ConnectionFailed: nobody does.
    """
    parts = urlsplit(uri)
    port = parts.port or _PORTS.get(parts.scheme.rpartition("+")[2], 0)
    if not parts.hostname or not port:
        return
    try:
        socket.create_connection((parts.hostname, port), KNOCK_SECONDS).close()
    except OSError as exc:
        hint = "see that the host is up, and that its libvirt listens there (libvirtd-tcp.socket or libvirtd-tls.socket)"
        raise ConnectionFailed(f"it cannot be reached on port {port}: {exc}", obj=uri, phase="connect", hint=hint) from exc


def open_without_prompts(uri: str) -> Any:
    """A connection of its own.

    :raises ConnectionFailed, AuthenticationFailed: it cannot be opened.
    """
    lib = library()
    every_kind = [
        lib.VIR_CRED_USERNAME,
        lib.VIR_CRED_AUTHNAME,
        lib.VIR_CRED_LANGUAGE,
        lib.VIR_CRED_CNONCE,
        lib.VIR_CRED_PASSPHRASE,
        lib.VIR_CRED_ECHOPROMPT,
        lib.VIR_CRED_NOECHOPROMPT,
        lib.VIR_CRED_REALM,
        lib.VIR_CRED_EXTERNAL,
    ]
    try:
        return lib.openAuth(without_prompts(uri), [every_kind, _refuse, None], 0)
    except lib.libvirtError as exc:
        raise Fault.of(exc).as_open_error(uri) from exc


def _refuse(_credentials: object, _data: object) -> int:
    """There is nobody to type an answer: a callback that fails ends the attempt, where a prompt would hang."""
    return -1


def without_prompts(uri: str) -> str:
    """The URI with ssh told not to ask on the terminal, which no callback could refuse."""
    parts = urlsplit(uri)
    if not parts.scheme.endswith("+ssh") or "no_tty=" in parts.query:
        return uri
    query = f"{parts.query}&no_tty=1" if parts.query else "no_tty=1"
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, parts.fragment))


def remote_name(uri: str) -> str:
    """The host that a URI names, "" where it names none."""
    return urlsplit(uri).hostname or ""
