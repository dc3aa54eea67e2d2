# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Work in a process of its own, which may be killed. It is forked from one that has imported all it needs: that is most of what a run costs."""

from __future__ import annotations

import contextlib
import ctypes
import json
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

SECONDS = 1800.0  # a run that has no answer by then has none

_HERE = __name__.rpartition(".")[0]
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([f"{_HERE}.{name}" for name in ("libvirt.guests.killed_run", "migration.on_host", "pool.driver")])


class Run:
    """A process that works on something."""

    def __init__(self, process: BaseProcess, answer: Connection) -> None:
        self._process = process
        self._answer = answer

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; nothing while it runs."""
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def terminate(self) -> None:
        self._process.terminate()

    def result(self) -> Any:
        """What the work returned, as it is read from JSON; nothing where it was killed."""
        error, text = "", ""
        assert self._answer.poll(SECONDS), "the run has no end"
        with contextlib.suppress(EOFError):
            error, text = self._answer.recv()
        self._answer.close()
        self._process.join()
        status = self._process.exitcode
        assert error == "", error
        if status == -signal.SIGKILL:
            return None
        assert status == 0, f"the run ended with {status}"
        return json.loads(text)


def start(work: Callable[..., Any], *arguments: Any, namespaces: Sequence[str] = ()) -> Run:
    """:param namespaces: files of the kernel's that stand for those that the work is done in."""
    answer, sender = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_work, args=(sender, work, arguments, tuple(namespaces)))
    process.start()
    # What is left of it here would keep the answer from ending with the process.
    sender.close()
    return Run(process, answer)


def _work(sender: Connection, work: Callable[..., Any], arguments: Sequence[Any], namespaces: Sequence[str]) -> None:
    try:
        enter(namespaces)
        answer = ("", json.dumps(work(*arguments)))
    except Exception:
        answer = (traceback.format_exc(), "")
    sender.send(answer)
    sender.close()


def enter(namespaces: Sequence[str]) -> None:
    """Have this thread in these namespaces from now on."""
    # All are opened before the first is entered, in which there may be no such files.
    opened = [os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in namespaces]
    library = ctypes.CDLL(None, use_errno=True)  # Python has setns since 3.12
    for fd, path in zip(opened, namespaces):
        try:
            if library.setns(fd, 0) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
        finally:
            os.close(fd)
