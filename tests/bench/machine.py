# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

from ansible.release import __version__ as ansible_version

from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.kvm_probe import kvm_works


def facts() -> dict[str, str]:
    return {
        "CPU": _cpu(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": _memory(),
        "kernel": platform.release(),
        "guests": "KVM" if kvm_works() else "emulated",
        "Python": platform.python_version(),
        "ansible-core": ansible_version,
        "libvirt": _version("libvirtd", "--version"),
        "QEMU": _version(f"qemu-system-{platform.machine()}", "--version"),
    }


def _cpu() -> str:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else platform.machine()


def _memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1024**3:.0f} GiB"


def _version(tool: str, option: str) -> str:
    path = shutil.which(tool)
    if path is None:
        return "none"
    said = subprocess.run([path, option], capture_output=True, text=True, check=False).stdout
    found = re.search(r"\d+\.\d+\.\d+", said)
    return found[0] if found else "unknown"
