# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ports of this machine's loopback, had on the loopback of a network namespace too: a cluster for hosts that live in namespaces."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import threading
from collections.abc import Iterator, Sequence

_CHUNK = 64 * 1024
_NETWORK = 0x40000000  # CLONE_NEWNET; Python has setns since 3.12


@contextlib.contextmanager
def relayed(space: str, ports: Sequence[int]) -> Iterator[None]:
    """:param space: the namespace's name."""
    servers = _listening(space, ports)
    threads = [threading.Thread(target=_serve, args=(server, port)) for server, port in zip(servers, ports)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for server in servers:
            # Wakes the thread that waits there.
            server.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()


def _listening(space: str, ports: Sequence[int]) -> list[socket.socket]:
    """A socket belongs to the namespace that its thread was in as it was made, whoever uses it then."""
    made: list[socket.socket] = []

    def make() -> None:
        fd = os.open(f"/run/netns/{space}", os.O_RDONLY)
        try:
            assert ctypes.CDLL(None, use_errno=True).setns(fd, _NETWORK) == 0, os.strerror(ctypes.get_errno())
            made.extend(socket.create_server(("127.0.0.1", port)) for port in ports)
        finally:
            os.close(fd)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    assert len(made) == len(ports), f"not all of the ports {ports} could be had in {space}"
    return made


def _serve(server: socket.socket, port: int) -> None:
    with server, contextlib.ExitStack() as opened:
        threads = []
        with contextlib.suppress(OSError):
            while True:
                asking = opened.enter_context(server.accept()[0])
                answering = opened.enter_context(socket.create_connection(("127.0.0.1", port)))
                for one, other in ((asking, answering), (answering, asking)):
                    threads.append(threading.Thread(target=_copy, args=(one, other)))
                    threads[-1].start()
                opened.callback(_end, asking, answering)
        # Ended, both ends of each wake the threads that copy between them.
        opened.close()
        for thread in threads:
            thread.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            sink.sendall(data)
    _end(source, sink)


def _end(*ends: socket.socket) -> None:
    for one in ends:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
