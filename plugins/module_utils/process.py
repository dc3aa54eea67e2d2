# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""External tools: argument lists only, a deadline always, and limits on what a crafted image may make them consume."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from ansible_collections.poolwright.virt.plugins.module_utils.errors import DeadlineExceeded, MissingDependency, ToolFailed


@dataclass(frozen=True)
class Limits:
    """CPU seconds and bytes of address space a tool may use; the defaults are nova's for qemu-img (CVE-2015-5162)."""

    cpu_seconds: int = 30
    address_space: int = 2 * 1024**3


def find_tool(name: str, package: str) -> str:
    """The tool's path; ``MissingDependency`` names the package that brings it."""
    path = shutil.which(name)
    if path is None:
        raise MissingDependency(f"{name} is not installed", obj=name, hint=f"install the package {package} on the target host")
    return path


def run_tool(
    argv: Sequence[str],
    *,
    timeout: float,
    phase: str,
    obj: str = "",
    limits: Limits | None = None,
    environment: Mapping[str, str] | None = None,
    errors_too: bool = False,
    ends_itself: bool = False,
) -> str:
    """Run a tool to its end and return its standard output.

    :param argv: program and arguments; never passed through a shell.
    :param timeout: seconds after which the tool is killed and ``DeadlineExceeded`` raised.
    :param limits: CPU and memory limits, set by ``prlimit`` between fork and exec of the tool.
    :param environment: variables that it gets besides the plain ones.
    :param errors_too: return its standard error among the output, of a tool whose status does not tell whether it worked.
    :param ends_itself: it goes on to its end should this process be killed.
    :raises ToolFailed: the tool ended with another status than 0; the message carries its standard error.
    """
    command = _command(argv, phase, obj, limits, ends_itself)
    try:
        # Nothing at this level knows AnsibleModule and its run_command, which has neither a deadline nor limits.
        done = subprocess.run(  # pylint: disable=ansible-bad-function
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if errors_too else subprocess.PIPE,
            timeout=timeout,
            check=False,
            env={**plain_environment(), **(environment or {})},
        )
    except subprocess.TimeoutExpired as exc:
        raise DeadlineExceeded(f"{argv[0]} ran for more than {timeout:.0f} s and was stopped", obj=obj, phase=phase) from exc
    if done.returncode != 0:
        raise _failed(argv[0], done.returncode, (done.stderr or b"").strip() or done.stdout, phase, obj)
    return done.stdout.decode("utf-8", "replace")


@contextlib.contextmanager
def reading_from_tool(argv: Sequence[str], *, timeout: float, phase: str, obj: str = "") -> Iterator[IO[bytes]]:
    """The standard output of a tool, as a stream to be read to its end; errors are those of ``run_tool``, told when the block ends."""
    with _piped(argv, timeout, phase, obj, reading=True) as stream:
        yield stream


@contextlib.contextmanager
def writing_to_tool(argv: Sequence[str], *, timeout: float, phase: str, obj: str = "") -> Iterator[IO[bytes]]:
    """The standard input of a tool, which is closed when the block ends; then it is waited for. Errors are those of ``run_tool``.

    An error inside the block ends the input too, and the tool is let come to its end: what it makes of half an input is
    for the caller to throw away. Killed, it could leave locks that its server believes in for a while.
    """
    with _piped(argv, timeout, phase, obj, reading=False) as stream:
        yield stream


@contextlib.contextmanager
def _piped(argv: Sequence[str], timeout: float, phase: str, obj: str, *, reading: bool) -> Iterator[IO[bytes]]:
    command = _command(argv, phase, obj, None)
    given, taken = (subprocess.DEVNULL, subprocess.PIPE) if reading else (subprocess.PIPE, subprocess.DEVNULL)
    late = threading.Event()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(  # pylint: disable=ansible-bad-function,consider-using-with
            command, stdin=given, stdout=taken, stderr=errors, env=plain_environment()
        )

        def stop() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(timeout, stop)
        timer.start()
        stream = process.stdout if reading else process.stdin
        broken = False
        try:
            if stream is not None:
                yield stream
                stream.close()
            status = process.wait()
        except BaseException as exc:
            _close(stream)
            status = process.wait()
            # A tool that fails closes its end first: what it says about that is worth more than the broken pipe.
            broken = isinstance(exc, BrokenPipeError) and not reading
            if not (broken or late.is_set()):
                raise
        finally:
            timer.cancel()
            _close(stream)
        if late.is_set():
            raise DeadlineExceeded(f"{argv[0]} ran for more than {timeout:.0f} s and was stopped", obj=obj, phase=phase)
        if status != 0 or broken:
            errors.seek(0)
            raise _failed(argv[0], status, errors.read() or b"it took a part of its input only", phase, obj)


def _close(stream: IO[bytes] | None) -> None:
    with contextlib.suppress(OSError):
        if stream is not None:
            stream.close()


def _command(argv: Sequence[str], phase: str, obj: str, limits: Limits | None, ends_itself: bool = False) -> list[str]:
    if shutil.which(argv[0]) is None:
        raise MissingDependency(f"{argv[0]} is not installed", obj=obj, phase=phase)
    # A tool must not go on writing for a run that was killed. Each of these replaces itself by what follows it.
    command = list(argv) if ends_itself else [find_tool("setpriv", "util-linux"), "--pdeathsig", "KILL", *argv]
    if limits is not None:
        command = [find_tool("prlimit", "util-linux"), f"--as={limits.address_space}", f"--cpu={limits.cpu_seconds}", *command]
    return command


def _failed(tool: str, status: int, said: bytes, phase: str, obj: str) -> ToolFailed:
    words = said.decode("utf-8", "replace").strip()
    return ToolFailed(f"{tool} ended with status {status}: {words}", status=status, obj=obj, phase=phase)


def plain_environment() -> dict[str, str]:
    """Messages in English whatever the host's locale, and nothing of the controller's variables."""
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
