# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""One libvirt host: what is on it, what it can do, and the domains it runs."""

from __future__ import annotations

import threading
import xml.etree.ElementTree as ET
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock
from ansible_collections.poolwright.virt.plugins.module_utils.errors import NameTaken, NotFound, OperationFailed
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.binding import library
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.capabilities import (
    CpuMatch,
    DomainCapabilities,
    HostCapabilities,
    Metrics,
    NodeDevice,
    NodeMemory,
    Versions,
    parse_domain_capabilities,
    parse_host_capabilities,
    parse_node_device,
)
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.faults import CpuIncompatible, DefinitionRefused, Unsupported
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest import DomainState, Guest
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host_networks import Networks
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host_secrets import Secrets
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.session import Session
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.volumes import Directory, directory
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats


@dataclass(frozen=True)
class SeenDomain:
    """A domain as a listing shows it; reading its name and UUID makes no call."""

    guest: Guest
    state: DomainState


@dataclass(frozen=True)
class SeenStatistics:
    """A domain with what libvirt counts of it; ``stats`` by libvirt's own names."""

    guest: Guest
    state: DomainState
    stats: dict[str, Any]


class Host:
    """A libvirt host behind one connection, which threads may share. Nothing is opened before the first call.

    Every method may raise ``ConnectionFailed`` and ``AuthenticationFailed``.
    """

    def __init__(self, uri: str, clock: Clock, stats: Stats, *, keepalive: bool = False) -> None:
        """:param keepalive: for a host behind a network, see ``Session``."""
        self._session = Session(uri, clock, stats, keepalive=keepalive)
        self._lock = threading.RLock()
        self._facts: dict[str, Any] = {}
        self.secrets = Secrets(self._session)
        self.networks = Networks(self._session)

    @property
    def uri(self) -> str:
        return self._session.uri

    def close(self) -> None:
        """Never raises."""
        self._session.close()

    # -- the host itself

    def hostname(self) -> str:
        """Read once."""
        name: str = self._once("hostname", lambda: self._session.call("virConnectGetHostname", lambda conn: conn.getHostname()))
        return name

    def driver(self) -> str:
        """``QEMU``, ``TEST``, ...; read once."""
        name: str = self._once("driver", lambda: self._session.call("virConnectGetType", lambda conn: conn.getType()))
        return name

    def versions(self) -> Versions:
        """Read once, both together."""

        def ask() -> Versions:
            return Versions(
                libvirt=self._session.call("virConnectGetLibVersion", lambda conn: int(conn.getLibVersion())),
                hypervisor=self._session.call("virConnectGetVersion", lambda conn: int(conn.getVersion())),
            )

        found: Versions = self._once("versions", ask)
        return found

    def capabilities(self) -> HostCapabilities:
        """Read once."""
        found: HostCapabilities = self._once(
            "capabilities", lambda: parse_host_capabilities(self._session.call("virConnectGetCapabilities", lambda conn: conn.getCapabilities()))
        )
        return found

    def domain_capabilities(self, virt_type: str, machine: str = "", arch: str = "") -> DomainCapabilities | None:
        """What guests of this type can be; None where there can be none. Read once.

        :param machine: such as ``q35``; "" for the emulator's default.   :param arch: "" for the host's own.
        :raises Unsupported: the driver does not say.
        """

        def ask() -> DomainCapabilities | None:
            try:
                text = self._session.call(
                    "virConnectGetDomainCapabilities", lambda conn: conn.getDomainCapabilities(None, arch or None, machine or None, virt_type, 0)
                )
            except DefinitionRefused:
                return None
            return parse_domain_capabilities(text)

        found: DomainCapabilities | None = self._once(f"domain capabilities {virt_type} {machine} {arch}", ask)
        return found

    def cpus(self) -> int:
        """CPUs of the host."""
        return self._session.call("virNodeGetInfo", lambda conn: int(conn.getInfo()[2]))

    def memory(self) -> NodeMemory:
        """As libvirt sees it, so also right for a host that is not this one."""
        every_cell = library().VIR_NODE_MEMORY_STATS_ALL_CELLS
        try:
            found = self._session.call("virNodeGetMemoryStats", lambda conn: conn.getMemoryStats(every_cell, 0))
        except Unsupported:
            # Only the test driver, whose memory nobody uses.
            total = self._session.call("virNodeGetInfo", lambda conn: int(conn.getInfo()[1]) * 1024)
            return NodeMemory(total, total)
        return NodeMemory(int(found["total"]), sum(int(found.get(part, 0)) for part in ("free", "buffers", "cached")))

    def metrics(self) -> Metrics:
        """Three calls."""
        every_cpu = library().VIR_NODE_CPU_STATS_ALL_CPUS
        spent = self._session.call("virNodeGetCPUStats", lambda conn: conn.getCPUStats(every_cpu, 0))
        busy = sum(int(spent.get(part, 0)) for part in ("kernel", "user"))
        return Metrics(self.cpus(), self.memory(), busy, sum(int(spent.get(part, 0)) for part in ("idle", "iowait")))

    def match_cpu(self, cpu: str, virt_type: str = "", machine: str = "", emulator: str = "", arch: str = "") -> CpuMatch:
        """How a CPU compares with this host's.

        :param cpu: ``<cpu>`` of a guest that runs, or of another host's capabilities.
        :param virt_type: compare with what guests of this type can be given; "" for the processor itself.
        :raises Unsupported: libvirt cannot tell.   :raises DefinitionRefused: it does not know the model or a feature.
        """
        lib = library()
        # With the flag libvirt says what is missing, in place of a bare no.
        flags = lib.VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE

        def ask(connection: Any) -> int:
            if not virt_type:
                return int(connection.compareCPU(cpu, flags))
            return int(connection.compareHypervisorCPU(emulator or None, arch or None, machine or None, virt_type, cpu, flags))

        try:
            found = self._session.call("virConnectCompareCPU", ask, phase="check")
        except CpuIncompatible as exc:
            return CpuMatch(False, why=exc.message)
        return CpuMatch(found in (lib.VIR_CPU_COMPARE_IDENTICAL, lib.VIR_CPU_COMPARE_SUPERSET), found == lib.VIR_CPU_COMPARE_IDENTICAL)

    def compare_cpu(self, cpu: str, virt_type: str = "", machine: str = "", emulator: str = "") -> bool | None:
        """Whether this host has all that a CPU has, None where libvirt cannot tell."""
        try:
            return self.match_cpu(cpu, virt_type, machine, emulator).fits
        except (DefinitionRefused, Unsupported, OperationFailed):
            return None

    def cpu(self) -> str:
        """``<cpu>`` of the host itself, "" where libvirt does not say."""
        found = ET.fromstring(self._session.call("virConnectGetCapabilities", lambda conn: conn.getCapabilities())).find("host/cpu")  # noqa: S314
        return "" if found is None else ET.tostring(found, encoding="unicode")

    def directory(self, path: str, *, make: bool = False) -> AbstractContextManager[Directory | None]:
        """A directory of this host, through libvirt's storage; None where there is none and none is to be made."""
        return directory(self._session, path, make=make)

    # -- domains

    def domains(self) -> list[SeenDomain]:
        """All domains with their states, in one call."""
        what = library().VIR_DOMAIN_STATS_STATE

        def ask(connection: Any) -> list[SeenDomain]:
            return [
                SeenDomain(Guest(self._session, connection, domain), DomainState.of(int(stats.get("state.state", 0))))
                for domain, stats in connection.getAllDomainStats(what, 0)
            ]

        return self._session.call("virConnectGetAllDomainStats", ask, phase="observe")

    def statistics(self) -> list[SeenStatistics]:
        """All domains with all that libvirt counts of them, in one call; its own words, such as ``balloon.current`` (KiB)."""

        def ask(connection: Any) -> list[SeenStatistics]:
            return [
                SeenStatistics(Guest(self._session, connection, domain), DomainState.of(int(stats.get("state.state", 0))), dict(stats))
                for domain, stats in connection.getAllDomainStats(0, 0)
            ]

        return self._session.call("virConnectGetAllDomainStats", ask, phase="observe")

    def persistent_uuids(self, *, autostart: bool = False) -> frozenset[str]:
        """The UUIDs of domains that have a definition, or of those that start with the host; in one call."""
        lib = library()
        which = lib.VIR_CONNECT_LIST_DOMAINS_AUTOSTART if autostart else lib.VIR_CONNECT_LIST_DOMAINS_PERSISTENT
        return self._session.call(
            "virConnectListAllDomains", lambda conn: frozenset(domain.UUIDString() for domain in conn.listAllDomains(which)), phase="observe"
        )

    def guest_of(self, uuid: str) -> Guest | None:
        """The domain of this UUID, or None."""
        try:
            return self._session.call(
                "virDomainLookupByUUIDString", lambda conn: Guest(self._session, conn, conn.lookupByUUIDString(uuid)), obj=uuid, phase="look up"
            )
        except NotFound:
            return None

    def transient_uuids(self) -> frozenset[str]:
        """The UUIDs of domains that vanish when they stop, in one call."""
        which = library().VIR_CONNECT_LIST_DOMAINS_TRANSIENT
        return self._session.call(
            "virConnectListAllDomains", lambda conn: frozenset(domain.UUIDString() for domain in conn.listAllDomains(which)), phase="observe"
        )

    def guest(self, name: str) -> Guest | None:
        """The domain of this name, or None."""
        try:
            return self._session.call("virDomainLookupByName", lambda conn: Guest(self._session, conn, conn.lookupByName(name)), obj=name, phase="look up")
        except NotFound:
            return None

    def define(self, domain: ET.Element) -> Guest:
        """Define a new domain.

        :param domain: ``<domain>`` with its name and UUID.
        :raises NameTaken: a domain of this name with another UUID is there; nothing was changed.
        :raises MaybeApplied: the answer was lost.
        """
        name, uuid = domain.findtext("name", ""), domain.findtext("uuid", "")
        try:
            return self.define_text(ET.tostring(domain, encoding="unicode"), name)
        except OperationFailed as exc:
            # libvirt has no code of its own for a name that is taken, and translates its message.
            holder = self.guest(name)
            if holder is None or holder.uuid == uuid:
                raise
            raise NameTaken("a domain of this name exists", obj=name, phase="define", hint="rename or remove it, or name the pool otherwise") from exc

    def define_text(self, xml: str, name: str) -> Guest:
        """Define a domain as this XML has it, in place of the definition of the same name and UUID if there is one."""
        return self._session.call("virDomainDefineXML", lambda conn: Guest(self._session, conn, conn.defineXML(xml)), obj=name, phase="define")

    # -- node devices, read only

    def node_devices(self, capability: str = "") -> list[NodeDevice]:
        """The host's own devices: one call, and one more for each device.

        :param capability: such as ``pci``, ``usb_device``, ``net``, ``mdev``; "" for all.
        :raises Unsupported: the driver does not know of devices.
        """
        flag = int(getattr(library(), f"VIR_CONNECT_LIST_NODE_DEVICES_CAP_{capability.upper()}")) if capability else 0
        found = self._session.call("virConnectListAllNodeDevices", lambda conn: [device.name() for device in conn.listAllDevices(flag)], phase="devices")
        return [device for name in found if (device := self._node_device(name)) is not None]

    def _node_device(self, name: str) -> NodeDevice | None:
        try:
            text = self._session.call("virNodeDeviceGetXMLDesc", lambda conn: conn.nodeDeviceLookupByName(name).XMLDesc(0), obj=name, phase="devices")
        except NotFound:
            # Unplugged since they were listed.
            return None
        return parse_node_device(text)

    # -- volumes

    def volume_path(self, pool: str, volume: str) -> str | None:
        """The file or device that a volume is, None where there is none of this name.

        :raises InvalidState: the pool is not active, so libvirt knows none of its volumes.
        """
        try:
            return self._session.call(
                "virStorageVolGetPath",
                lambda conn: str(conn.storagePoolLookupByName(pool).storageVolLookupByName(volume).path()),
                obj=f"{pool}/{volume}",
                phase="look up",
            )
        except NotFound:
            return None

    def _once(self, key: str, ask: Any) -> Any:
        """Facts that do not change while a run lasts; kept only once they are known in full."""
        with self._lock:
            if key not in self._facts:
                self._facts[key] = ask()
            return self._facts[key]
