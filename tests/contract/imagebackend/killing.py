# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Processes that work beside a case's own, or are killed at one of their steps."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_IN_GUEST = os.environ.get("POOLWRIGHT_IN_GUEST") == "1"
NEVER, COUNTED = 0, -1
POINTS = 3 if _IN_GUEST else 6  # steps of a task that it is killed at, unless it is at all of them
# Into a step, so that a tool is at work: in the guest one takes longer to start.
INSTANT = 0.03 if _IN_GUEST else 0.008
# Where a process can be killed with a difference: before it starts a tool or asks Ceph for something, and at what gives or takes a name.
_TOOLS = ("subprocess.Popen", "poolwright.rados")
# What these leave is what there was before them, so a process that is killed at one of them is as if killed at the next step.
_LOOKS = {"lvs", "vgs", "free", "get", "names", "look", "holder", "used", "watchers", "standing", "snapshots", "discarded"}
# These write to a directory of their maker, in whatever backend's service; each costs a while in the guest, and is a step elsewhere.
_LOOKS |= {"mke2fs", "debugfs", "mkswap", "mkfs.vfat", "mkfs.xfs", "xorriso"} if _IN_GUEST else set()
_STEPS = (*_TOOLS, "os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.truncate", "fcntl.flock")


class Another:
    """A process like this one that does a task; ``end`` returns the name of the error that it ended with, "" for none.

    :param step: it is killed at its n-th step; ``NEVER``, or ``COUNTED``: ``steps`` then tells how many it had.
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
            reached: Callable[[], int] = int
            try:
                reached = _kill_at(step, within, _STEPS if files else _TOOLS)
                task()
                said = "Late" if 0 < step <= reached() else ""
            except BaseException as exc:
                said = type(exc).__name__
            finally:
                os.write(writing, f"{said} {reached()}.".encode())
                os._exit(0)
        os.close(writing)
        self._reading = reading
        self.steps = 0

    def end(self) -> str:
        with os.fdopen(self._reading, "rb") as stream:
            said = stream.read().decode()
        _pid, status = os.waitpid(self._pid, 0)
        # A tool that was just being started may not have heard of its parent's death, and then goes on to its end.
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-self._pid, 0)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            return "Killed"
        assert said.endswith("."), f"the other process ended with status {status}"
        name, _space, steps = said.rstrip(".").partition(" ")
        self.steps = int(steps)
        return name


def _started(arguments: tuple[Any, ...]) -> str:
    """The tool, or the question to Ceph, that an audit event is about."""
    words = arguments[1] if len(arguments) > 1 else arguments
    names = [os.path.basename(str(word)) for word in words if not str(word).startswith("-")]
    return next((name for name in names if name not in ("prlimit", "setpriv", "KILL")), "")


def _kill_at(step: int, within: float, steps: tuple[str, ...]) -> Callable[[], int]:
    """From now on, have this process die at a step; the function tells how many it has come to."""
    seen = 0
    if step == NEVER:
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
