# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The programs that ask Ceph for us: they end with who started them, also where that has forked, and leave nothing open."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict

import pytest

from ansible_collections.poolwright.virt.tests.integration.storage.conftest import Guarded

# Ends in an ordinary way, as do the processes that it forks.
ASKING = """
import json, os, sys
from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend import ceph_client
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DiskOptions
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.registry import disk_image
options, how = json.loads(sys.argv[1])
disk = disk_image("rbd", "rbd", "none", DiskOptions(**options))
def ask():
    assert not disk.exists(Deadline.after(Clock(), 600))
ask()
(worker,) = next(iter(ceph_client._IDLE.values()))
if how == "forks":
    child = os.fork()
    ask()
    if child == 0:
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
if how == "loses it":
    worker._process.kill()
    worker._process.wait()
    ask()
print(worker._process.pid)
"""


@pytest.mark.parametrize("how", ["asks", "forks", "loses it"])
def test_a_process_that_asked_ceph_leaves_nothing_behind(guarded: Guarded, how: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    asked = json.dumps([asdict(guarded.options), how])
    # In development mode Python tells on its standard error what is not closed.
    command = [sys.executable, "-X", "dev", "-W", "always::ResourceWarning", "-c", ASKING, asked]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert not os.path.exists(f"/proc/{done.stdout.strip()}")
