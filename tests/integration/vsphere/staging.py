# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What the cases on vSphere are staged with: ways to the vCenter that can be cut, clocks and counters that act, many threads."""

from __future__ import annotations

import contextlib
import socket
import threading
import uuid
from collections.abc import Callable
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils import errors
from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import library
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM

TASK_SECONDS = 1.5
"""How long the lab's vCenter takes to clone a machine or to rename an object."""


class Way:
    """A TCP way to the vCenter, which may be closed and opened, or the same behind an HTTP proxy's CONNECT."""

    def __init__(self, target: tuple[str, int], *, host: str = "127.0.0.1", proxy: bool = False) -> None:
        self._target = target
        self._proxy = proxy
        self._ends: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self.host, self.port = host, 0
        self.asked_for: list[str] = []

    def open(self) -> None:
        self._listener = socket.create_server((self.host, self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        """No new connection is made, and those that were are cut."""
        ends, self._ends = self._ends, []
        if self._listener is not None:
            _shut(self._listener)
            self._listener.close()
            self._listener = None
        for end in ends:
            _shut(end)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _address = listener.accept()
                if self._proxy:
                    self.asked_for.append(_read_head(near).split("\r\n")[0])
                    near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                far = socket.create_connection(self._target)
                self._ends += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=_pass_on, args=(one, other), daemon=True).start()


def _read_head(near: socket.socket) -> str:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += near.recv(1)
    return head.decode()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    _shut(source)
    _shut(sink)
    source.close()


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


class Inventory:
    """What the cases do to the vCenter, through a session that is logged in."""

    def __init__(self, vim: VIM) -> None:
        self.vim = vim
        found = vim.get_objects("VirtualMachine", ["name", "parent"])
        self.machine, self.folder = found[0].obj, found[0].properties["parent"]

    def names(self) -> list[str]:
        return [found.properties["name"] for found in self.vim.get_objects("Folder", ["name"], root=self.folder)]

    def new_name(self) -> str:
        return f"case-{uuid.uuid4().hex[:8]}"

    def clone(self, name: str) -> Any:
        """Start to clone a machine, which takes ``TASK_SECONDS``; returns the task."""
        kinds = library().vim.vm
        spec = kinds.CloneSpec(location=kinds.RelocateSpec(), powerOn=False, template=False)
        return self.vim.call(self.machine, "CloneVM_Task", folder=self.folder, name=name, spec=spec)

    def deadline(self, seconds: float = 600.0) -> Deadline:
        return Deadline.after(self.vim.clock, seconds)


class ActingClock(Clock):
    """Sleeps not at all, and does something instead."""

    def __init__(self, act: Callable[[], Any] = lambda: None) -> None:
        self.act = act
        self.slept = 0.0

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        self.act()


class ActingStats(Stats):
    """Does something just before a given call is sent, once."""

    def __init__(self, clock: Clock, method: str, act: Callable[[], Any]) -> None:
        super().__init__(clock)
        self._waits_for, self._act = method, act

    def call(self, name: str) -> int:
        if name == self._waits_for:
            self._waits_for = ""
            self._act()
        return super().call(name)


def together(count: int, work: Callable[[int], Any]) -> list[Any]:
    """What the work returns or raises, in as many threads at once."""
    outcomes: list[Any] = [None] * count
    barrier = threading.Barrier(count)

    def run(index: int) -> None:
        barrier.wait()
        try:
            outcomes[index] = work(index)
        except errors.VirtError as exc:
            outcomes[index] = exc

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes
