# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What a vCenter has, by the names people give: datacenters, folders, clusters, hosts, resource pools, datastores, networks, machines.

A name that fits several things is refused with the paths of all of them: which one a vCenter lists first is no answer.
"""

from __future__ import annotations

import difflib
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from ansible_collections.poolwright.virt.plugins.module_utils.errors import MaybeApplied, NameTaken, NotFound, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import kind_of, managed_type, moid_of
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.properties import Found
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM

# What is read of each kind of thing, all in one call. Machines are not among them: there may be very many.
_READ: dict[str, tuple[str, ...]] = {
    "Datacenter": ("name", "parent", "vmFolder", "hostFolder", "datastoreFolder", "networkFolder"),
    "Folder": ("name", "parent"),
    "ComputeResource": ("name", "parent", "resourcePool", "host", "datastore", "network"),
    "HostSystem": ("name", "parent", "runtime.connectionState", "runtime.inMaintenanceMode"),
    "ResourcePool": ("name", "parent", "owner"),
    "Datastore": (
        "name",
        "parent",
        "browser",
        "summary.accessible",
        "summary.capacity",
        "summary.freeSpace",
        "summary.maintenanceMode",
        "summary.type",
        "summary.uncommitted",
        "summary.url",
    ),
    "Network": ("name", "parent"),
}
# How many names are offered where the given one is not there.
_NEAR = 5


class Ambiguous(VirtError):
    """A name fits several things; the message lists their paths."""

    code = "ambiguous"
    config = True


@dataclass(frozen=True)
class Entry:
    """One thing of the inventory. ``path`` is its inventory path, such as ``DC0/vm/pools/ci``; ``properties`` are those of its kind."""

    obj: Any
    kind: str
    name: str
    path: str
    properties: Mapping[str, Any]

    @property
    def moid(self) -> str:
        return moid_of(self.obj)


class Inventory:
    """The named things of one datacenter, read in one call at the first need. Safe to use from several threads.

    :param datacenter: its name or inventory path; "" is the only one there is.
    """

    def __init__(self, vim: VIM, datacenter: str = "") -> None:
        self.vim = vim
        self._wanted = datacenter
        self._lock = threading.RLock()
        self._entries: dict[str, Entry] | None = None
        self._chosen: Entry | None = None

    def forget(self) -> None:
        """Read again at the next need."""
        with self._lock:
            self._entries = self._chosen = None

    @property
    def datacenter(self) -> Entry:
        """:raises NotFound, Ambiguous: there is none of the name, or several and none was named."""
        with self._lock:
            if self._chosen is None:
                there = self._of_kind("Datacenter", everywhere=True)
                if self._wanted or len(there) != 1:
                    self._chosen = _one(there, self._wanted, "datacenter", "name it in the option datacenter")
                else:
                    self._chosen = there[0]
            return self._chosen

    # -- things by name, or by path where that tells more

    def cluster(self, name: str = "") -> Entry:
        """A cluster, or a host that stands alone. "" is the only one."""
        return self._find("ComputeResource", name, "cluster")

    def host(self, name: str) -> Entry:
        return self._find("HostSystem", name, "host")

    def resource_pool(self, name: str, cluster: Entry) -> Entry:
        """A resource pool of a cluster, by its name or its path below the cluster's own; "" is the cluster's own."""
        root = self._all[moid_of(cluster.properties["resourcePool"])]
        if not name:
            return root
        pools = [entry for entry in self._of_kind("ResourcePool") if moid_of(entry.properties["owner"]) == cluster.moid]
        return _one([pool for pool in pools if pool is not root], name, "resource pool", f"of {cluster.path}")

    def datastores(self) -> list[Entry]:
        return self._of_kind("Datastore")

    def datastore(self, name: str) -> Entry:
        return self._find("Datastore", name, "datastore")

    def datastore_clusters(self) -> list[Entry]:
        return self._of_kind("StoragePod")

    def networks(self) -> list[Entry]:
        """Standard networks, distributed port groups and opaque networks, told apart by ``kind``."""
        return self._of_kind("Network")

    def network(self, name: str) -> Entry:
        return self._find("Network", name, "network")

    def hosts_of(self, cluster: Entry) -> list[Entry]:
        return [self._all[moid_of(host)] for host in cluster.properties.get("host", ()) if moid_of(host) in self._all]

    def entry_of(self, obj: Any) -> Entry | None:
        """The entry of a managed object that was read somewhere else; None for a machine, or what came later."""
        return self._all.get(moid_of(obj))

    def machine(self, name: str, paths: Sequence[str] = (), *, root: Any = None, among: Iterable[Found] | None = None) -> Entry:
        """A machine or a template, by name or inventory path. Reads the names of all machines below ``root`` (None: the datacenter).

        :param paths: further properties that its entry shall have.
        :param among: all there are, where they were read before with ``name`` and ``parent``.
        :raises NotFound, Ambiguous: there is none, or several.
        """
        there = self.machines(root=root) if among is None else [self._entry(one) for one in among]
        found = _one(there, name, "machine or template", "give its path, such as templates/debian-13")
        if not paths:
            return found
        return Entry(found.obj, found.kind, found.name, found.path, self.vim.get_properties(found.obj, ["name", "parent", *paths], about=found.path))

    def machines(self, paths: Sequence[str] = (), *, root: Any = None) -> list[Entry]:
        """All machines and templates below ``root`` (None: the datacenter), at any depth; one call a thousand."""
        found = self.vim.get_objects("VirtualMachine", ["name", "parent", *paths], root=self.datacenter.obj if root is None else root)
        return [self._entry(one) for one in found]

    # -- folders of machines

    def folder(self, path: str) -> Entry | None:
        """The folder of machines at this path below the datacenter's own; "" is that one. None where it does not exist."""
        top = self.datacenter.properties["vmFolder"]
        current = self._all[moid_of(top)]
        for name in _names(path):
            child = next((entry for entry in self._of_kind("Folder") if entry.name == name and moid_of(entry.properties["parent"]) == current.moid), None)
            if child is None:
                return None
            current = child
        return current

    def ensure_folder(self, path: str) -> Entry:
        """The same, made as needed. Two that make it at once get the same one."""
        with self._lock:
            known = self.folder(path)
            if known is not None:
                return known
            names = _names(path)
            for depth in range(len(names)):
                above, below = "/".join(names[:depth]), "/".join(names[: depth + 1])
                parent = self.folder(above)
                if parent is not None and self.folder(below) is None:
                    self._make_folder(parent, below)
            made = self.folder(path)
            if made is None:
                raise NotFound("the folder was removed while it was made", obj=path, phase="folder")
            return made

    def _make_folder(self, parent: Entry, path: str) -> None:
        """:param path: below the datacenter's folder of machines."""
        name = _names(path)[-1]
        try:
            obj = self.vim.call(parent.obj, "CreateFolder", name=_encoded(name), about=path, phase="folder")
        except (NameTaken, MaybeApplied):
            # Somebody made it at the same time, or we did and were not told.
            self.forget()
            if self.folder(path) is None:
                raise
            return
        made = Entry(obj, "Folder", name, f"{parent.path}/{name}", {"name": name, "parent": parent.obj})
        self._all[made.moid] = made

    # -- the reading

    @property
    def _all(self) -> dict[str, Entry]:
        """Every entry by its id."""
        with self._lock:
            if self._entries is None:
                found = self.vim.get_tree(_READ, phase="look up")
                nodes = {moid_of(one.obj): one for one in found}
                self._entries = {moid: _entry_of(one, nodes) for moid, one in nodes.items()}
            return self._entries

    def _of_kind(self, kind: str, *, everywhere: bool = False) -> list[Entry]:
        base: Any = managed_type(kind)
        there = [entry for entry in self._all.values() if isinstance(entry.obj, base)]
        within = "" if everywhere else f"{self.datacenter.path}/"
        return sorted((entry for entry in there if entry.path.startswith(within)), key=lambda entry: entry.path)

    def _find(self, kind: str, name: str, what: str) -> Entry:
        return _one(self._of_kind(kind), name, what, f"name it in the option {what.replace(' ', '_')}")

    def _entry(self, found: Found) -> Entry:
        parent = found.properties.get("parent")
        above = None if parent is None else self._all.get(moid_of(parent))
        name = unquote(str(found.properties["name"]))
        return Entry(found.obj, kind_of(found.obj), name, f"{above.path}/{name}" if above else name, found.properties)


def _entry_of(found: Found, nodes: Mapping[str, Found]) -> Entry:
    names = []
    current: Found | None = found
    while current is not None and current.properties.get("parent") is not None:
        names.append(unquote(str(current.properties["name"])))
        current = nodes.get(moid_of(current.properties["parent"]))
    return Entry(found.obj, kind_of(found.obj), unquote(str(found.properties["name"])), "/".join(reversed(names)), found.properties)


def _one(there: Iterable[Entry], wanted: str, what: str, hint: str) -> Entry:
    """The one that has the name, or whose path ends with the given one; "" is the only one there is."""
    listed = list(there)
    path = wanted.strip("/")
    found = [entry for entry in listed if not path or entry.name == path or entry.path == path or entry.path.endswith(f"/{path}")]
    # A whole path says more than the end of a longer one.
    exact = [entry for entry in found if entry.path == path]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if found:
        paths = ", ".join(entry.path for entry in found)
        said = f"there are {len(found)} of this name: {paths}" if wanted else f"there are several: {paths}"
        raise Ambiguous(said, obj=f"{what} {wanted!r}" if wanted else what, phase="look up", hint=f"{hint}; give the path")
    near = difflib.get_close_matches(path, sorted({entry.name for entry in listed}), n=_NEAR)
    have = f"is it {' or '.join(near)}?" if near else f"there are: {', '.join(sorted(entry.name for entry in listed)[:20]) or 'none'}"
    raise NotFound(f"there is no such {what}", obj=wanted or what, phase="look up", hint=have)


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name]


def _encoded(name: str) -> str:
    """As vSphere wants the three characters that part its paths."""
    return name.replace("%", "%25").replace("/", "%2f").replace("\\", "%5c")
