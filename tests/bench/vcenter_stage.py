# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A vCenter for a measurement, with a template and nothing else of ours: started before it, gone after it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.poolwright.virt.tests.bench.children import run
from ansible_collections.poolwright.virt.tests.bench.figures import Wrong
from ansible_collections.poolwright.virt.tests.bench.places import BENCH
from ansible_collections.poolwright.virt.tests.contract.labs.base import LabFailed
from ansible_collections.poolwright.virt.tests.contract.labs.vcenter import VCenter

DATACENTER, CLUSTER, DATASTORE, NETWORK = "DC0", "DC0_C0", "LocalDS_0", "VM Network"
TEMPLATE, SNAPSHOT = "debian-13", "base"
FOLDER = "bench"
"""Machines of every contender go into this folder, a contender's after the other's are gone."""

# The first machine that the vCenter begins with.
_FIRST = f"{CLUSTER}_RP0_VM0"


class VCenterStage:
    """A vCenter, and a folder for this measurement."""

    def __init__(self, lab: VCenter, folder: Path) -> None:
        self.lab = lab
        self.folder = folder

    @property
    def connection(self) -> dict[str, Any]:
        """Where the vCenter is and who comes, by the names that vSphere modules have for it."""
        return {"hostname": self.lab.host, "port": self.lab.port, "username": self.lab.user, "password": self.lab.password}

    @property
    def govc_environment(self) -> dict[str, str]:
        return {
            "GOVC_URL": f"https://{self.lab.host}:{self.lab.port}/sdk",
            "GOVC_USERNAME": self.lab.user,
            "GOVC_PASSWORD": self.lab.password,
            "GOVC_TLS_CA_CERTS": self.lab.ca_path,
            # It keeps its session in a file, which else lay in somebody's home.
            "GOVMOMI_HOME": str(self.folder / "govmomi"),
        }

    def params(self, *pools: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """Of ``vm_pool``."""
        return {"provider": "vsphere", **self.connection, "ca_path": self.lab.ca_path, "datacenter": DATACENTER, "pools": list(pools), **more}

    def govc(self, *arguments: str) -> str:
        return run([self.lab.govc_path, *arguments], self.govc_environment).output.strip()

    def running(self) -> int:
        """How many machines in the folder are powered on."""
        return len(self.govc("find", f"/{DATACENTER}/vm/{FOLDER}", "-type", "m", "-runtime.powerState", "poweredOn").splitlines())

    def clear(self) -> None:
        """Remove all machines in the folder. The folder itself stays: this vCenter stumbles over one that was removed."""
        self.govc("vm.destroy", f"/{DATACENTER}/vm/{FOLDER}/*")


def pool_of(name: str, size: int, **more: Any) -> dict[str, Any]:
    """A pool of linked clones of the template."""
    return {
        "name": name,
        "size": size,
        "template": TEMPLATE,
        "clone": "linked",
        "folder": FOLDER,
        "cluster": CLUSTER,
        "datastore": DATASTORE,
        "cpus": 1,
        "memory_mb": 512,
        "networks": [{"network": NETWORK}],
        "ready": {"check": "running"},
        **more,
    }


@contextmanager
def vcenter_stage(name: str, *options: str) -> Iterator[VCenterStage]:
    """:param options: of ``tests/lab/vcenter/main.go``.   :raises Wrong: it could not be started, or did not end."""
    folder = BENCH / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    lab = VCenter(folder / "vcenter")
    try:
        with _state_in(folder / "state"):
            lab.start(*options)
            try:
                stage = VCenterStage(lab, folder)
                _furnish(stage)
                yield stage
            finally:
                lab.stop()
    except LabFailed as exc:
        raise Wrong(str(exc)) from exc
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _state_in(folder: Path) -> Iterator[None]:
    """What a controller keeps of its own goes there, for this process and its children."""
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["XDG_STATE_HOME"]
        else:
            os.environ["XDG_STATE_HOME"] = before


def _furnish(stage: VCenterStage) -> None:
    stage.govc("vm.power", "-off", _FIRST)
    stage.govc("object.rename", f"/{DATACENTER}/vm/{_FIRST}", TEMPLATE)
    stage.govc("snapshot.create", "-vm", TEMPLATE, SNAPSHOT)
    stage.govc("vm.markastemplate", TEMPLATE)
    stage.govc("folder.create", f"/{DATACENTER}/vm/{FOLDER}")
