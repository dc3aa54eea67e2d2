# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the cases about ``vm_spawn`` are staged with: runs as the module makes them, and what the vCenter has seen of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.spawn.request import spawn_with
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import devices
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.disks import create_disk
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import Site
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.hardware import config_spec
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Inventory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.methods import READS
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.mark import KEY, SpawnMark
from ansible_collections.poolwright.virt.tests.contract.labs.vcenter import Calls, VCenter

# Calls that change nothing but the session and its own filters, beside those that read.
_HARMLESS = {
    "CancelWaitForUpdates",
    "CreateContainerView",
    "CreateFilter",
    "CreatePropertyCollector",
    "DestroyPropertyCollector",
    "DestroyPropertyFilter",
    "DestroyView",
    "FetchUserPrivilegeOnEntities",
    "GET /folder",
    "HEAD /folder",
    "Login",
    "Logout",
    "ModifyListView",
    "CreateListView",
}
_DEFAULTS: dict[str, Any] = {
    "provider": "vsphere",
    "port": 443,
    "token": None,
    "validate_certs": True,
    "thumbprint": None,
    "proxy_host": None,
    "proxy_port": 8080,
    "datacenter": None,
    "state": "poweredon",
    "recreate": False,
    "restart": False,
    "keep_failed": False,
    "timeout": 600.0,
    "wait_for_address": False,
    "address_timeout": 300.0,
}


class Spawning:
    """Runs of ``vm_spawn``; ``calls`` are what the vCenter has counted of the last one."""

    def __init__(self, vcenter: VCenter) -> None:
        self.vcenter = vcenter
        self.calls: Calls = vcenter.calls()

    def run(self, *, check_mode: bool = False, **options: Any) -> dict[str, Any]:
        self.vcenter.forget_calls()
        try:
            return spawn_with(self.params(options), check_mode, threading.Event())
        finally:
            self.calls = self.vcenter.calls()

    def params(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters of the module."""
        where = {
            "hostname": self.vcenter.host,
            "port": self.vcenter.port,
            "username": self.vcenter.user,
            "password": self.vcenter.password,
            "ca_path": self.vcenter.ca_path,
        }
        return {**_DEFAULTS, **where, **options}

    def kill_at(self, method: str, **options: Any) -> None:
        """Run in a process of its own, and kill it once the vCenter has seen this call, which takes until then."""
        self.vcenter.forget_calls()
        self.vcenter.chaos(method, "slow", ms=600_000, times=1)
        program = [sys.executable, "-m", "ansible_collections.poolwright.virt.tests.integration.vsphere.spawn_once"]
        # Not through the checkout's own path, under which the package has another name.
        environment = {**os.environ, "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]}
        with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment) as process:
            assert process.stdin is not None and process.stderr is not None
            process.stdin.write(json.dumps(self.params(options)).encode())
            process.stdin.close()
            until = time.monotonic() + 600
            while not self.vcenter.calls()[method]:
                assert process.poll() is None, process.stderr.read().decode()
                assert time.monotonic() < until, f"{method} was never called"
                time.sleep(0.02)
            process.kill()
        self.vcenter.calm()

    def mutations(self) -> dict[str, int]:
        """What the last run did to the vCenter, as that has counted it."""
        return {name: count for name, count in self.calls.methods.items() if name not in READS and name not in _HARMLESS}

    def listing(self) -> str:
        """Every machine and folder that there is, as VMware's own client says, and every file, as ``[datastore] path``."""
        return "\n".join([self.vcenter.govc("find", "/DC0"), *self.files()])

    def machines(self) -> list[str]:
        """Every machine that there is, as VMware's own client says."""
        return sorted(self.vcenter.govc("find", "/DC0", "-type", "m").splitlines())

    def files(self) -> list[str]:
        return [f"[{name}] {path}" for name in ("LocalDS_0", "LocalDS_1") for path in paths_below(self.vcenter.datastore(name))]

    def put_mark(self, name: str, **changes: Any) -> None:
        """Change the mark of a machine from outside."""
        found = json.loads(self.vcenter.govc("vm.info", "-json", "-e", name))["virtualMachines"][0]
        text = next(option["value"] for option in found["config"]["extraConfig"] if option["key"] == KEY)
        mark = SpawnMark.from_text(text)
        assert mark is not None
        self.vcenter.govc("vm.change", "-vm", name, "-e", f"{KEY}={replace(mark, **changes).to_text()}")

    def make_disk(self, path: str) -> None:
        """Somebody else makes a disk of 1 MiB."""
        with self.vcenter.vim() as vim:
            create_disk(Site(vim, Inventory(vim)), DatastorePath.parse(path), 1024, Deadline.after(vim.clock, 600.0))

    def attach_foreign_disk(self, name: str, path: str) -> None:
        """Somebody else makes a disk and gives it to a machine."""
        self.make_disk(path)
        with self.vcenter.vim() as vim:
            inventory, deadline = Inventory(vim), Deadline.after(vim.clock, 600.0)
            machine = inventory.machine(name, ["config.hardware.device"])
            slots = devices.Slots(machine.properties["config.hardware.device"])
            disk = devices.existing_disk(slots, "paravirtual", path)
            vim.run(machine.obj, "ReconfigVM_Task", deadline=deadline, spec=config_spec(device_changes=[*slots.changes, disk]))


def paths_below(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def raw_image(path: Path, size: int = 4 * 1024 * 1024) -> Path:
    path.write_bytes(b"\0" * size)
    return path
