# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab on a vCenter: one for all cases of a process, a folder of its own for each."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import tempfile
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import NotFound, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.pool.spec import needs_address
from ansible_collections.poolwright.virt.plugins.module_utils.providers.base import Provider
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Mark
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Check, MachineSpec, NetworkSpec, Placement, PoolTemplate
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere import CAPABILITIES, MUTATING, VsphereProvider
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines.templates import BASE_SNAPSHOT, snapshots_in
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import library, moid_of
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Inventory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM
from ansible_collections.poolwright.virt.tests.contract.labs.base import Ability, Lab
from ansible_collections.poolwright.virt.tests.contract.labs.vcenter import VCenter

TEMPLATE = "template"
METHODS = {
    "vms_in_pool": "RetrievePropertiesEx",
    "marked_pools": "RetrievePropertiesEx",
    "get_vm": "FindChild",
    "readiness": "RetrievePropertiesEx",
    "create_vm": "CloneVM_Task",
    "destroy_vm": "Destroy_Task",
    "start_vm": "PowerOnVM_Task",
    "set_mark": "ReconfigVM_Task",
}
_started: list[VCenter] = []


def shared_vcenter() -> VCenter:
    """The one of this process, with a template, ended with it."""
    if not _started:
        vcenter = VCenter(Path(tempfile.mkdtemp(prefix="vcenter.")))
        vcenter.start("-vm", "1")
        _started.append(vcenter)
        atexit.register(_end, vcenter)
        with vcenter.vim() as vim:
            make_template(vim)
    return _started[0]


def make_template(vim: VIM, name: str = TEMPLATE) -> None:
    """A machine of the simulator's own in the cluster, as one to make others from."""
    with_pool = [found for found in vim.get_objects("VirtualMachine", ["name", "resourcePool", "runtime.powerState"]) if "C0" in found.properties["name"]]
    machine, deadline = with_pool[0].obj, Deadline.after(vim.clock, 600)
    vim.run(machine, "PowerOffVM_Task", deadline=deadline)
    vim.run(machine, "Rename_Task", newName=name, deadline=deadline)


def _end(vcenter: VCenter) -> None:
    vcenter.stop()
    with contextlib.suppress(OSError):
        vcenter.folder.rmdir()


class Guests:
    """What runs in the machines: some time after a machine was started it has an address."""

    SECONDS = 2.5

    def __init__(self, lab: VsphereLab) -> None:
        self._lab = lab
        self.hold = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        booting: set[str] = set()
        while not self._ended.wait(self.SECONDS):
            with self.hold:
                running = self._lab.machines()
                for number, name in enumerate(sorted(running & booting), 1):
                    self._lab.tell_address(name, f"10.9.8.{number}")
                booting = running - booting


@contextlib.contextmanager
def _held(lock: threading.Lock) -> Iterator[None]:
    with lock:
        yield


class VsphereLab(Lab):
    """Machines of the lab's vCenter in a folder of this case's own."""

    name = "vsphere"
    declared = CAPABILITIES
    abilities = frozenset(Ability) - {Ability.LOSE_DISK, Ability.FURTHER_DISKS}

    def __init__(self, folder: Path, clock: Clock, place: str = "") -> None:
        super().__init__(folder, clock)
        self.place = place or f"case-{uuid.uuid4().hex[:8]}"
        self.state = folder / "state"
        self._providers: list[VsphereProvider] = []
        self._vim: VIM | None = None
        self._guests: Guests | None = None

    # -- the vCenter behind the providers' backs

    @property
    def vcenter(self) -> VCenter:
        return shared_vcenter()

    @property
    def vim(self) -> VIM:
        """The lab's own session."""
        if self._vim is None:
            self._vim = self.vcenter.vim()
        return self._vim

    def start(self) -> None:
        self.vcenter.calm()
        self.vim.call(self._find(""), "CreateFolder", name=self.place)

    def cleanup(self) -> None:
        if self._guests is not None:
            self._guests.stop()
            self._guests = None
        for provider in self._providers:
            provider.close()
        with contextlib.suppress(VirtError, OSError):
            self.vcenter.calm()
            self._remove_all()
        if self._vim is not None:
            self._vim.close()
            self._vim = None

    def _remove_all(self) -> None:
        """The case's folder with all that is in it: a step for all at once, each."""
        top = self._find(self.place.partition("/")[0])
        if top is not None:
            found = self.vim.get_objects("VirtualMachine", ["runtime.powerState"], root=top)
            running = [one.obj for one in found if one.properties["runtime.powerState"] != "poweredOff"]
            for method, objects in (("PowerOffVM_Task", running), ("Destroy_Task", [one.obj for one in found])):
                self.vim.wait_for_tasks([self.vim.call(obj, method) for obj in objects], self._deadline())
            self.vim.run(top, "Destroy_Task", deadline=self._deadline())

    def provider(self, pools: Sequence[PoolTemplate], clock: Clock | None = None) -> Provider:
        clock = clock or self.clock
        stats = Stats(clock)
        made = VsphereProvider(pools, clock, stats, vim=self.vcenter.vim(clock=clock, stats=stats), state_directory=str(self.state))
        self._providers.append(made)
        return made

    def other_host(self, host: str) -> str:
        found = self.vcenter.govc("find", "-type", "HostSystem", "/DC0/host/DC0_C0").split()
        return next(name for path in found if (name := path.rpartition("/")[2]) != host)

    def machine(self) -> MachineSpec:
        place = Placement(folder=self.place)
        return MachineSpec(template=TEMPLATE, placement=place, memory_mb=32, networks=(NetworkSpec(network=self.network, model="vmxnet3"),))

    def template(self, name: str = "ci", *, prefix: str = "", machine: MachineSpec | None = None, check: Check = Check.RUNNING) -> PoolTemplate:
        if needs_address(check) and self._guests is None:
            self._guests = Guests(self)
        return super().template(name, prefix=prefix, machine=machine, check=check)

    @property
    def network(self) -> str:
        return "VM Network"

    def mutating_calls(self, provider: Provider) -> Mapping[str, int]:
        return {name: calls for name, calls in provider.stats.as_dict()["calls"].items() if name in MUTATING}

    def machines(self) -> set[str]:
        return set(self._objects())

    def fingerprint(self, name: str) -> str:
        obj = self._objects()[name]
        paths = ["name", "config", "runtime.powerState", "runtime.host", "resourcePool", "snapshot"]
        return repr({path: str(value) for path, value in sorted(self.vim.get_properties(obj, paths).items())})

    def leftovers(self) -> list[str]:
        """Directories on datastores that no machine has, snapshots of the template but the base, lock files."""
        files = [str(path) for path in self.state.rglob("*") if path.is_file() and path.suffix]
        info = self.vim.get_properties(self._find(TEMPLATE), ["snapshot"]).get("snapshot")
        snapshots = [snapshot.name for snapshot in snapshots_in(info)]
        return files + [name for name in snapshots if name != BASE_SNAPSHOT or snapshots.count(name) > 1] + self._orphans()

    def _orphans(self) -> list[str]:
        there = {found.properties["name"] for found in self.vim.get_objects("VirtualMachine", ["name"])}
        names = sorted(os.listdir(self.vcenter.datastore("LocalDS_0")))
        return [name for name in names if name.startswith(("ci-", "web-", "front-", "cold-", "net-", "any-")) and name not in there]

    def put_foreign(self, name: str) -> None:
        vim = library().vim
        folder = self._find(self.place) or Inventory(self.vim).ensure_folder(self.place).obj
        source = self.vim.get_properties(self._find(TEMPLATE), ["resourcePool"])
        spec = vim.vm.ConfigSpec(name=name, memoryMB=32, numCPUs=1, guestId="otherGuest", files=vim.vm.FileInfo(vmPathName="[LocalDS_0]"))
        self.vim.run(folder, "CreateVM_Task", config=spec, pool=source["resourcePool"], deadline=self._deadline())

    def power_off(self, name: str) -> None:
        self._run(name, "PowerOffVM_Task")

    def hold_addresses(self) -> contextlib.AbstractContextManager[None]:
        assert self._guests is not None, "no pool of this case asks for addresses"
        return _held(self._guests.hold)

    def pause(self, name: str) -> None:
        self._run(name, "SuspendVM_Task")

    def undefine(self, name: str) -> None:
        obj = self._objects()[name]
        if self.vim.get_properties(obj, ["runtime.powerState"])["runtime.powerState"] != "poweredOff":
            self._run(name, "PowerOffVM_Task")
        self._run(name, "Destroy_Task")

    def half_make(self, provider: Provider, pool: str, vm: str, mark: Mark) -> None:
        """A clone of which the power-on failed."""
        provider.prepare(pool, self._deadline())
        provider.create_vm(pool, vm, mark, self._deadline())
        self.power_off(vm)

    def half_destroy(self, provider: Provider, pool: str, vm: str) -> None:
        machine = provider.get_vm(pool, vm)
        assert machine is not None and machine.mark is not None
        self.vcenter.fault("Destroy_Task", "SystemError")
        with contextlib.suppress(VirtError):
            provider.destroy_vm(pool, vm, machine.mark)

    # -- the way there

    def lose_answer(self, provider: Provider, method: str) -> None:
        self.vcenter.chaos(METHODS[method], "drop-after", times=1)

    def expire_session(self, provider: Provider) -> None:
        self.vcenter.expire_sessions()

    def cut_off(self, provider: Provider) -> None:
        self.vcenter.chaos("*", "drop-before")

    def reconnect(self, provider: Provider) -> None:
        self.vcenter.calm()

    def truncate_listing(self, provider: Provider) -> None:
        self.vcenter.chaos("RetrievePropertiesEx", "unreadable", times=1)

    def tell_address(self, name: str, address: str) -> None:
        """Have the guest come up with this address."""
        spec = library().vim.vm.ConfigSpec(extraConfig=[library().vim.option.OptionValue(key="SET.guest.ipAddress", value=address)])
        self._run(name, "ReconfigVM_Task", spec=spec)

    # -- other processes

    def address(self) -> str:
        return json.dumps({"folder": str(self.folder), "place": self.place, "vcenter": str(self.vcenter.folder)})

    @classmethod
    def attach(cls, address: str) -> VsphereLab:
        where = json.loads(address)
        if not _started:
            vcenter = VCenter(Path(where["vcenter"]))
            vcenter.attach()
            _started.append(vcenter)
        return cls(Path(where["folder"]), Clock(), where["place"])

    # -- shorthand

    def _deadline(self) -> Deadline:
        return Deadline.after(self.clock, 600)

    def _find(self, path: str) -> Any:
        """What is at this path below the folder of all machines, or None. The whole inventory is not read for it."""
        return self.vim.call(self.vim.content.searchIndex, "FindByInventoryPath", inventoryPath=f"/DC0/vm/{path}")

    def _objects(self) -> dict[str, Any]:
        folder = self._find(self.place)
        if folder is None:
            return {}
        found = self.vim.get_objects("VirtualMachine", ["name", "parent"], root=folder)
        return {one.properties["name"]: one.obj for one in found if moid_of(one.properties["parent"]) == moid_of(folder)}

    def _run(self, name: str, method: str, **arguments: Any) -> Any:
        found = self._objects().get(name)
        if found is None:
            raise NotFound("there is no machine of this name", obj=name)
        return self.vim.run(found, method, deadline=self._deadline(), **arguments)
