# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""External tools: argument lists only, a deadline always, and limits on what a crafted image may make them consume."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

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


def run_tool(argv: Sequence[str], *, timeout: float, phase: str, obj: str = "", limits: Limits | None = None) -> str:
    """Run a tool to its end and return its standard output.

    :param argv: program and arguments; never passed through a shell.
    :param timeout: seconds after which the tool is killed and ``DeadlineExceeded`` raised.
    :param limits: CPU and memory limits, set by ``prlimit`` between fork and exec of the tool.
    :raises ToolFailed: the tool ended with another status than 0; the message carries its standard error.
    """
    if shutil.which(argv[0]) is None:
        raise MissingDependency(f"{argv[0]} is not installed", obj=obj, phase=phase)
    # A tool must not go on writing for a run that was killed. Each of these replaces itself by what follows it.
    command = [find_tool("setpriv", "util-linux"), "--pdeathsig", "KILL", *argv]
    if limits is not None:
        command = [find_tool("prlimit", "util-linux"), f"--as={limits.address_space}", f"--cpu={limits.cpu_seconds}", *command]
    try:
        # Nothing at this level knows AnsibleModule and its run_command, which has neither a deadline nor limits.
        done = subprocess.run(  # pylint: disable=ansible-bad-function
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False, env=_plain_environment()
        )
    except subprocess.TimeoutExpired as exc:
        raise DeadlineExceeded(f"{argv[0]} ran for more than {timeout:.0f} s and was stopped", obj=obj, phase=phase) from exc
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip() or done.stdout.decode("utf-8", "replace").strip()
        raise ToolFailed(f"{argv[0]} ended with status {done.returncode}: {said}", status=done.returncode, obj=obj, phase=phase)
    return done.stdout.decode("utf-8", "replace")


def _plain_environment() -> dict[str, str]:
    """Messages in English whatever the host's locale, and nothing of the controller's variables."""
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
