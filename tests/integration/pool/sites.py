# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the pool cases run: a hypervisor, the parameters that name it to ``vm_pool``, and hands to break things with."""

from __future__ import annotations

import json
import subprocess
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock
from ansible_collections.poolwright.virt.plugins.module_utils.errors import VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.pool.request import converge_with, read_with
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Lease, Mark
from ansible_collections.poolwright.virt.tests.contract.labs.base import Lab
from ansible_collections.poolwright.virt.tests.contract.labs.dummy import DummyLab
from ansible_collections.poolwright.virt.tests.contract.labs.libvirt_base import ROOT
from ansible_collections.poolwright.virt.tests.integration import forked
from ansible_collections.poolwright.virt.tests.integration.pool import driver
from ansible_collections.poolwright.virt.tests.integration.still import still_image

DRIVER = Path(__file__).with_name("driver.py")
RUN_DEFAULTS: dict[str, Any] = {
    "state": "present",
    "all_pools": False,
    "max_parallel": 4,
    "max_delete": None,
    "keep_failed": False,
    "timeout": 900.0,
    "lock_timeout": 300.0,
}


class Site:
    """A lab and the module parameters for it. ``pool`` is the declaration of a pool ``ci`` of the lab's machines."""

    def __init__(self, lab: Lab, connection: dict[str, Any], pool: dict[str, Any], mutating: frozenset[str]) -> None:
        self.lab = lab
        self.connection = connection
        self.pool = pool
        self.mutating = mutating

    def params(self, *pools: dict[str, Any], **run: Any) -> dict[str, Any]:
        return {**self.connection, **RUN_DEFAULTS, "pools": list(pools), **run}

    def ci(self, size: int, **more: Any) -> dict[str, Any]:
        return {**self.pool, "name": "ci", "size": size, **more}

    def run(self, *pools: dict[str, Any], check: bool = False, **run: Any) -> dict[str, Any]:
        """One run in this process, with the result the module would return."""
        return converge_with(self.params(*pools, **run), check, threading.Event())

    def refused(self, *pools: dict[str, Any], check: bool = False, **run: Any) -> VirtError:
        """The error of a run that must touch nothing."""
        before = self.snapshot()
        try:
            self.run(*pools, check=check, **run)
        except VirtError as exc:
            assert self.snapshot() == before
            return exc
        raise AssertionError("the run was not refused")

    def read(self, *pools: dict[str, Any]) -> dict[str, Any]:
        return read_with({**self.connection, "pools": list(pools)})

    def start(self, *pools: dict[str, Any], kill_at_call: int = 0, stop_at_call: int = 0, **run: Any) -> forked.Run:
        """A run in a process of its own, which kills itself, or tells itself to stop, when it makes its n-th call to the provider."""
        return forked.start(driver.run, {"params": self.params(*pools, **run), "kill_at_call": kill_at_call, "stop_at_call": stop_at_call})

    def mutations(self, result: dict[str, Any]) -> dict[str, int]:
        return {name: number for name, number in result["stats"]["calls"].items() if name in self.mutating}

    def mark(self, name: str) -> Mark:
        """What the machine of the pool carries."""
        provider = self.lab.provider([self.lab.template("ci")])
        machine = provider.get_vm("ci", name)
        provider.close()
        assert machine is not None
        assert machine.mark is not None
        return machine.mark

    def set_mark(self, name: str, **changes: Any) -> None:
        mark = self.mark(name)
        provider = self.lab.provider([self.lab.template("ci")])
        provider.set_mark("ci", name, replace(mark, **changes), mark)
        provider.close()

    def use_up(self, name: str) -> None:
        """Hand it out, to somebody whose lease has ended."""
        self.set_mark(name, lease=Lease("job 7", self.lab.clock.now() - 1))

    def snapshot(self) -> dict[str, str]:
        return {name: self.lab.fingerprint(name) for name in sorted(self.lab.machines())}

    def assert_exact(self, size: int) -> None:
        """The pool is ci-1..ci-size, all ready, and nothing is left of anything else."""
        result = self.run(self.ci(size), check=True)
        assert result["actions"] == []
        machines = result["pools"]["ci"]["machines"]
        assert [machine["name"] for machine in machines] == [f"ci-{slot}" for slot in range(1, size + 1)]
        assert {machine["state"] for machine in machines} <= {"ready"}
        assert self.lab.leftovers() == []


def steps(result: dict[str, Any]) -> list[tuple[str, str]]:
    """What a run did or would do, and to which machine, in order."""
    return [(step["action"], step["name"]) for step in result["actions"]]


def finished(child: forked.Run | subprocess.Popen[str]) -> dict[str, Any]:
    """The result of a run in another process, which must have ended well."""
    if isinstance(child, forked.Run):
        result = child.result()
        assert result is not None, "the run was killed"
        return dict(result)
    assert child.stdout is not None
    told = child.stdout.read()
    child.stdout.close()
    assert child.wait() == 0, told
    return dict(json.loads(told))


def killed(child: forked.Run | subprocess.Popen[str]) -> bool:
    """Wait for a run that was to be killed; False if it was done before."""
    if isinstance(child, forked.Run):
        return child.result() is None
    assert child.stdout is not None
    child.stdout.read()
    child.stdout.close()
    return child.wait() == -9


def dummy_site(folder: Path, dummy: dict[str, Any] | None = None) -> Site:
    from ansible_collections.poolwright.virt.plugins.module_utils.providers.dummy import MUTATING

    lab = DummyLab(folder, Clock())
    lab.start()
    connection = {"provider": "dummy", "path": str(folder / "dummy.sqlite"), "dummy": dummy or {}}
    pool = {"memory_mb": 64, "networks": [{"network": "default"}], "ready": {"check": "tcp", "timeout": 600.0, "grace": 0.0, "interval": 0.05}}
    return Site(lab, connection, pool, MUTATING)


def libvirt_site(folder: Path) -> Site:
    """Real QEMU guests on a libvirtd of the tests' own."""
    from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt import MUTATING
    from ansible_collections.poolwright.virt.tests.contract.labs.libvirt_qemu import LibvirtQemuLab

    lab = LibvirtQemuLab(folder, Clock())
    lab.start()
    connection = {"provider": "libvirt", "uri": lab.own_uri(), "location": str(lab.location), "virt_type": "qemu"}
    pool = {"image": {"source": str(still_image(folder))}, "memory_mb": 128, "networks": [{"network": lab.network}], "ready": {"check": "running"}}
    return Site(lab, connection, pool, MUTATING)


# Of machines on libvirt that boot, which costs seconds: the others run and do nothing.
BOOTS = {"image": {"source": str(ROOT / ".work" / "lab" / "tiny.qcow2")}}
SITES = {"dummy": dummy_site, "libvirt": libvirt_site}
