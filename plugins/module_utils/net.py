# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Who answers on a TCP port: all asked at once."""

from __future__ import annotations

import errno
import selectors
import socket
import time
from collections.abc import Iterable

_UNDER_WAY = (0, errno.EINPROGRESS, errno.EWOULDBLOCK)


def answering(addresses: Iterable[str], port: int, timeout: float = 1.0) -> set[str]:
    """Those of the IP addresses on which something accepts connections.

    Takes ``timeout`` seconds at most however many there are, less when all have answered or refused. The time is the
    network's own, so no clock is injected.
    """
    found: set[str] = set()
    with selectors.DefaultSelector() as selector:
        try:
            for address in set(addresses):
                _connect(selector, address, port)
            _await(selector, time.monotonic() + timeout, found)
        finally:
            for key in list(selector.get_map().values()):
                _forget(selector, key.fileobj)
    return found


def _connect(selector: selectors.BaseSelector, address: str, port: int) -> None:
    probe = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    probe.setblocking(False)
    try:
        result = probe.connect_ex((address, port))
    except OSError:
        result = errno.EADDRNOTAVAIL
    if result not in _UNDER_WAY:
        probe.close()
        return
    selector.register(probe, selectors.EVENT_WRITE, address)


def _await(selector: selectors.BaseSelector, until: float, found: set[str]) -> None:
    while selector.get_map():
        left = until - time.monotonic()
        if left <= 0:
            return
        for key, _events in selector.select(left):
            probe = key.fileobj
            if isinstance(probe, socket.socket) and probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                found.add(key.data)
            _forget(selector, probe)


def _forget(selector: selectors.BaseSelector, probe: object) -> None:
    if isinstance(probe, socket.socket):
        selector.unregister(probe)
        probe.close()
