# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""A wire between a client and libvirtd that a case can cut: a UNIX socket that passes everything on.

libvirt's RPC messages begin with seven big-endian words: length, program, version, procedure, type (0 call, 1 reply),
serial, status.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from pathlib import Path

_WORDS = 7
_REPLY = 1
# ``remote_procedure`` of libvirt's remote_protocol.x.
PROCEDURES = {
    "virDomainDefineXML": 11,
    "virDomainCreateWithFlags": 196,
    "virDomainUndefineFlags": 231,
    "virDomainDestroyFlags": 234,
    "virDomainSetMetadata": 264,
    "virConnectGetAllDomainStats": 344,
}


class Wire:
    """``path`` leads to ``target`` until it is cut."""

    def __init__(self, path: Path, target: Path) -> None:
        self.path = path
        self._target = target
        self._lock = threading.Lock()
        self._open: list[tuple[socket.socket, socket.socket]] = []
        self._threads: list[threading.Thread] = []
        self._up = True
        self._losing: int | None = None
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._run(self._accept)

    def lose_answer(self, api: str) -> None:
        """The next reply to this call is not passed on; the connection ends in its place."""
        with self._lock:
            self._losing = PROCEDURES[api]

    def hang_up(self) -> None:
        """End all connections; new ones are taken."""
        with self._lock:
            for pair in self._open:
                _shut(*pair)

    def cut(self) -> None:
        """End all connections and refuse new ones."""
        self._up = False
        self.hang_up()

    def mend(self) -> None:
        self._up = True

    def close(self) -> None:
        self.cut()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)
        self.path.unlink(missing_ok=True)

    def _accept(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                if not self._up:
                    raise ConnectionRefusedError
                server.connect(str(self._target))
            except OSError:
                client.close()
                server.close()
                continue
            with self._lock:
                self._open.append((client, server))
            self._run(self._pass_both, client, server)

    def _pass_both(self, client: socket.socket, server: socket.socket) -> None:
        """Until either end is done; then both are closed."""
        back = threading.Thread(target=self._pass_on, args=(server, client), daemon=True)
        back.start()
        self._pass_on(client, server)
        back.join()
        with self._lock, contextlib.suppress(ValueError):
            self._open.remove((client, server))
        client.close()
        server.close()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                head = _receive(source, 4)
                length = int(struct.unpack(">I", head)[0]) if head else 0
                message = head + _receive(source, length - 4) if length > 4 else b""
                if not message or self._loses(message):
                    break
                sink.sendall(message)
        _shut(source, sink)

    def _loses(self, message: bytes) -> bool:
        words = struct.unpack_from(f">{_WORDS}I", message)
        with self._lock:
            if words[4] != _REPLY or words[3] != self._losing:
                return False
            self._losing = None
            return True

    def _run(self, work: object, *arguments: socket.socket) -> None:
        assert callable(work)
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()


def _shut(*ends: socket.socket) -> None:
    """Wakes whoever waits on them; closing is for the thread that passes on."""
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _receive(source: socket.socket, count: int) -> bytes:
    """Exactly so many bytes, or none at the end of the stream."""
    parts = []
    while count > 0:
        part = source.recv(count)
        if not part:
            return b""
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
