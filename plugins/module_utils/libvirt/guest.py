# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""One domain: a thin typed wrapper that survives a reopened connection."""

from __future__ import annotations

import enum
import xml.etree.ElementTree as ET  # what is parsed comes from libvirtd, which runs as root
from collections.abc import Collection
from typing import Any, Callable, TypeVar

from ansible_collections.poolwright.virt.plugins.module_utils.errors import DeadlineExceeded, NotFound, OperationFailed
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.binding import library
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.faults import DefinitionRefused, InvalidState, NoMetadata, Unsupported
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.session import Session

T = TypeVar("T")

# All that would keep a domain from being undefined, and with it what would stay behind. A driver or an older libvirt
# that does not know a flag refuses the call, so each line leaves out what came last.
_UNDEFINE_FLAGS = (
    ("MANAGED_SAVE", "SNAPSHOTS_METADATA", "NVRAM", "CHECKPOINTS_METADATA", "TPM"),
    ("MANAGED_SAVE", "SNAPSHOTS_METADATA", "NVRAM", "CHECKPOINTS_METADATA"),
    ("MANAGED_SAVE", "SNAPSHOTS_METADATA", "NVRAM"),
    ("MANAGED_SAVE", "SNAPSHOTS_METADATA"),
    (),
)
KEEPABLE = {"nvram": "NVRAM", "tpm": "TPM"}
"""What may outlive a domain, with the flag of libvirt's that it goes by."""


class DomainState(enum.IntEnum):
    """``virDomainState``."""

    NOSTATE = 0
    RUNNING = 1
    BLOCKED = 2
    PAUSED = 3
    SHUTDOWN = 4
    SHUTOFF = 5
    CRASHED = 6
    PMSUSPENDED = 7

    @classmethod
    def of(cls, number: int) -> DomainState:
        """States that a later libvirt adds are none we know."""
        return cls(number) if number in cls._value2member_map_ else cls.NOSTATE

    @property
    def word(self) -> str:
        """What users read: ``running``, ``paused``, ``asleep``, ``crashed``, ``shutoff`` or ``unknown``."""
        return _STATE_WORDS.get(self.value, "unknown")


_STATE_WORDS = {1: "running", 2: "running", 3: "paused", 4: "running", 5: "shutoff", 6: "crashed", 7: "asleep"}


class Guest:
    """A domain, known by its UUID. Methods raise ``NotFound`` once it is gone, unless they say otherwise."""

    def __init__(self, session: Session, connection: Any, domain: Any) -> None:
        self._session = session
        self._bound = (connection, domain)
        # Both are in the handle: reading them makes no call.
        self.uuid: str = domain.UUIDString()
        self.name: str = domain.name()

    def state(self) -> DomainState:
        return DomainState.of(int(self._ask("virDomainGetState", lambda domain: domain.state(0))[0]))

    def is_active(self) -> bool:
        """Whether it runs or is paused."""
        return bool(self._ask("virDomainIsActive", lambda domain: domain.isActive()))

    def is_persistent(self) -> bool:
        """Whether it is still there once it is off."""
        return bool(self._ask("virDomainIsPersistent", lambda domain: domain.isPersistent()))

    def xml(self, *, defined: bool = False) -> str:
        """The domain's XML as it is, running or not, secrets left out.

        :param defined: as it will be when it next starts.
        """
        flags = library().VIR_DOMAIN_XML_INACTIVE if defined else 0
        return str(self._ask("virDomainGetXMLDesc", lambda domain: domain.XMLDesc(flags)))

    def definition(self) -> str:
        """What it will be when it next starts, secrets included."""
        lib = library()
        flags = lib.VIR_DOMAIN_XML_INACTIVE | lib.VIR_DOMAIN_XML_SECURE
        return str(self._ask("virDomainGetXMLDesc", lambda domain: domain.XMLDesc(flags), phase="observe"))

    def current(self) -> str:
        """As it runs, or its definition where it does not; secrets included."""
        flags = library().VIR_DOMAIN_XML_SECURE
        return str(self._ask("virDomainGetXMLDesc", lambda domain: domain.XMLDesc(flags), phase="observe"))

    def start(self, *, paused: bool = False, reset_nvram: bool = False) -> None:
        """:param reset_nvram: with the variables that its firmware comes with, in place of its own.

        :raises InvalidState: it runs already.
        """
        lib = library()
        flags = (lib.VIR_DOMAIN_START_PAUSED if paused else 0) | (getattr(lib, "VIR_DOMAIN_START_RESET_NVRAM", 0) if reset_nvram else 0)
        self._ask("virDomainCreateWithFlags", lambda domain: domain.createWithFlags(flags), phase="start")

    def suspend(self) -> None:
        self._ask("virDomainSuspend", lambda domain: domain.suspend(), phase="pause")

    def wake(self) -> None:
        """Out of the sleep that the guest itself went to."""
        self._ask("virDomainPMWakeup", lambda domain: domain.pMWakeup(0), phase="start")

    def shutdown(self) -> None:
        """Press the power button, or ask the agent; returns before the guest is off.

        :raises InvalidState: it is off already.
        """
        self._ask("virDomainShutdownFlags", lambda domain: domain.shutdownFlags(0), phase="shut down")

    def resume(self) -> None:
        self._ask("virDomainResume", lambda domain: domain.resume(), phase="start")

    def reset(self) -> None:
        """Press the reset button."""
        self._ask("virDomainReset", lambda domain: domain.reset(0), phase="start")

    def destroy(self) -> bool:
        """Pull the plug; False where it was off or gone already."""
        try:
            self._ask("virDomainDestroyFlags", lambda domain: domain.destroyFlags(0), phase="power off")
        except NotFound:
            return False
        except InvalidState:
            if self.is_active():
                raise
            return False
        return True

    def undefine(self, keep: Collection[str] = ()) -> bool:
        """Remove its definition with saved state, NVRAM, TPM state and snapshots' metadata; False where it was gone.

        :param keep: any of ``KEEPABLE``.
        """
        lib = library()
        kept = {KEEPABLE[what] for what in keep}
        for names in _UNDEFINE_FLAGS:
            flags = 0
            for name in names:
                flags |= getattr(lib, f"VIR_DOMAIN_UNDEFINE_{f'KEEP_{name}' if name in kept else name}", 0)
            try:
                self._undefine(flags)
            except NotFound:
                return False
            except (DefinitionRefused, Unsupported):
                if not names:
                    raise
            else:
                return True
        return False

    def metadata(self, namespace: str) -> ET.Element | None:
        """Our element in the domain's metadata, of the running domain where it runs; its tags are without namespace."""
        kind = library().VIR_DOMAIN_METADATA_ELEMENT
        try:
            text = self._ask("virDomainGetMetadata", lambda domain: domain.metadata(kind, namespace, 0))
        except NoMetadata:
            return None
        return ET.fromstring(text)  # noqa: S314 (libvirt wrote it)

    def set_metadata(self, element: ET.Element, namespace: str, prefix: str) -> None:
        """Replace our element, of the running domain and of its definition alike.

        :param element: tags without namespace: libvirt puts them into it.
        """
        try:
            self._set_metadata(element, namespace, prefix)
        except InvalidState:
            # It started or stopped between.
            self._set_metadata(element, namespace, prefix)

    def drop_metadata(self, namespace: str, prefix: str) -> None:
        """Remove our element, of the running domain and of its definition alike; none is no error."""
        if self.metadata(namespace) is None and not (self.is_active() and self.is_persistent()):
            return
        try:
            self._set_metadata(None, namespace, prefix)
        except InvalidState:
            self._set_metadata(None, namespace, prefix)

    def migratable(self) -> str:
        """As it runs, in the form that is sent to another host; secrets included."""
        lib = library()
        flags = lib.VIR_DOMAIN_XML_SECURE | lib.VIR_DOMAIN_XML_MIGRATABLE
        return str(self._ask("virDomainGetXMLDesc", lambda domain: domain.XMLDesc(flags), phase="observe"))

    def _set_metadata(self, element: ET.Element | None, namespace: str, prefix: str) -> None:
        lib = library()
        kind, text = lib.VIR_DOMAIN_METADATA_ELEMENT, None if element is None else ET.tostring(element, encoding="unicode")
        scope = 0
        if self.is_active():
            scope |= lib.VIR_DOMAIN_AFFECT_LIVE
        if self.is_persistent():
            scope |= lib.VIR_DOMAIN_AFFECT_CONFIG
        self._ask("virDomainSetMetadata", lambda domain: domain.setMetadata(kind, text, prefix, namespace, scope), phase="mark")

    # -- changing it while it runs; its definition is left alone

    def attach(self, device: str) -> None:
        """:param device: the device's XML."""
        flags = library().VIR_DOMAIN_AFFECT_LIVE
        self._ask("virDomainAttachDeviceFlags", lambda domain: domain.attachDeviceFlags(device, flags), phase="plug")

    def detach(self, device: str) -> None:
        """Ask the guest to give a device up; returns before it has.

        :raises NotFound: there is no such device, or no such domain.
        """
        flags = library().VIR_DOMAIN_AFFECT_LIVE
        self._ask("virDomainDetachDeviceFlags", lambda domain: domain.detachDeviceFlags(device, flags), phase="unplug")

    def update(self, device: str) -> None:
        flags = library().VIR_DOMAIN_AFFECT_LIVE
        self._ask("virDomainUpdateDeviceFlags", lambda domain: domain.updateDeviceFlags(device, flags), phase="change")

    def set_cpus(self, count: int) -> None:
        flags = library().VIR_DOMAIN_AFFECT_LIVE
        self._ask("virDomainSetVcpusFlags", lambda domain: domain.setVcpusFlags(count, flags), phase="change cpus")

    def set_memory(self, kib: int) -> None:
        """Have the balloon leave the guest this much."""
        flags = library().VIR_DOMAIN_AFFECT_LIVE
        self._ask("virDomainSetMemoryFlags", lambda domain: domain.setMemoryFlags(kib, flags), phase="change memory")

    def set_stats_period(self, seconds: int) -> None:
        flags = library().VIR_DOMAIN_AFFECT_LIVE
        self._ask("virDomainSetMemoryStatsPeriod", lambda domain: domain.setMemoryStatsPeriod(seconds, flags), phase="change memory")

    def grow_disk(self, target: str, size: int) -> None:
        """:param target: such as ``vda``.   :param size: bytes."""
        flags = library().VIR_DOMAIN_BLOCK_RESIZE_BYTES
        self._ask("virDomainBlockResize", lambda domain: domain.blockResize(target, size, flags), phase="grow")

    def set_title(self, text: str) -> None:
        self._set_text("VIR_DOMAIN_METADATA_TITLE", text)

    def set_description(self, text: str) -> None:
        self._set_text("VIR_DOMAIN_METADATA_DESCRIPTION", text)

    def _set_text(self, name: str, text: str) -> None:
        lib = library()
        kind, flags = getattr(lib, name), lib.VIR_DOMAIN_AFFECT_LIVE
        self._ask("virDomainSetMetadata", lambda domain: domain.setMetadata(kind, text or None, None, None, flags), phase="describe")

    # -- what is not in its XML

    def autostarts(self) -> bool:
        """Whether it starts with the host."""
        return bool(self._ask("virDomainGetAutostart", lambda domain: domain.autostart(), phase="observe"))

    def set_autostart(self, wanted: bool) -> None:
        self._ask("virDomainSetAutostart", lambda domain: domain.setAutostart(int(wanted)), phase="autostart")

    def job(self) -> dict[str, Any]:
        """The job that is under way (migration, saving, dump), {} for none or a driver without any."""
        try:
            found: dict[str, Any] = self._ask("virDomainGetJobStats", lambda domain: domain.jobStats(0), phase="observe")
        except (InvalidState, Unsupported):
            return {}
        return found if found.get("type") else {}

    def last_job(self) -> dict[str, Any]:
        """What the last job that ended took, {} for none; a migration's is on the host the guest went to."""
        flags = library().VIR_DOMAIN_JOB_STATS_COMPLETED
        try:
            found: dict[str, Any] = self._ask("virDomainGetJobStats", lambda domain: domain.jobStats(flags), phase="observe")
        except (InvalidState, Unsupported):
            return {}
        return found

    def abort_job(self) -> bool:
        """False where there is none that could be aborted."""
        try:
            self._ask("virDomainAbortJob", lambda domain: domain.abortJob(), phase="abort")
        except (InvalidState, Unsupported):
            return False
        return True

    # -- moving it

    def migrate(self, uri: str, flags: int, params: dict[str, Any]) -> None:
        """Move it to the host that this one reaches by ``uri``; returns when it has arrived. ``migration.moving`` builds flags and params.

        :raises UnsafeMigration: libvirt does not recognise its storage as shared.   :raises Cancelled: the job was aborted.
        """
        self._ask("virDomainMigrateToURI3", lambda domain: domain.migrateToURI3(uri, params, flags), phase="migrate")

    def start_post_copy(self) -> bool:
        """Have it go on at the target before all of its memory is there; False where it is too early or too late for that."""
        try:
            self._ask("virDomainMigrateStartPostCopy", lambda domain: domain.migrateStartPostCopy(0), phase="migrate")
        except (InvalidState, Unsupported, OperationFailed):
            return False
        return True

    def set_max_downtime(self, milliseconds: int) -> None:
        self._ask("virDomainMigrateSetMaxDowntime", lambda domain: domain.migrateSetMaxDowntime(milliseconds, 0), phase="migrate")

    def state_and_reason(self) -> tuple[DomainState, int]:
        """The reason is numbered as libvirt does for each state."""
        state, reason = self._ask("virDomainGetState", lambda domain: domain.state(0))
        return DomainState.of(int(state)), int(reason)

    def disk_size(self, target: str) -> int:
        """Bytes the guest sees. :param target: such as ``vda``."""
        return int(self._ask("virDomainGetBlockInfo", lambda domain: domain.blockInfo(target, 0)[0], phase="observe"))

    def snapshots(self) -> int:
        """How many libvirt keeps of it."""
        return int(self._ask("virDomainSnapshotNum", lambda domain: domain.snapshotNum(0), phase="observe"))

    def is_saved(self) -> bool:
        """Whether its memory was saved, to be taken up when it next starts."""
        return bool(self._ask("virDomainHasManagedSaveImage", lambda domain: domain.hasManagedSaveImage(0), phase="observe"))

    def block_job(self, target: str) -> dict[str, int]:
        """The job on a disk (copy, commit, pull), {} for none."""
        try:
            found = self._ask("virDomainGetBlockJobInfo", lambda domain: domain.blockJobInfo(target, 0), phase="observe")
        except (InvalidState, Unsupported, DefinitionRefused):
            return {}
        return {key: int(value) for key, value in (found or {}).items()}

    def addresses(self, source: str) -> dict[str, list[str]]:
        """MAC -> IP addresses; {} where nobody tells.

        :param source: ``lease``, ``agent`` or ``arp``.
        """
        number = int(getattr(library(), f"VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_{source.upper()}"))
        try:
            cards = self._ask("virDomainInterfaceAddresses", lambda domain: domain.interfaceAddresses(number, 0), phase="addresses")
        except (InvalidState, Unsupported, DefinitionRefused, DeadlineExceeded, OperationFailed):
            return {}
        found: dict[str, list[str]] = {}
        for card in cards.values():
            if card.get("hwaddr") and card.get("addrs"):
                found.setdefault(str(card["hwaddr"]).lower(), []).extend(str(address["addr"]) for address in card["addrs"])
        return found

    def agent_addresses(self) -> list[str]:
        """IP addresses that the agent inside the guest reports; none where no agent answers (libvirt waits 5 s for one that hangs)."""
        source = library().VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT
        try:
            cards = self._ask("virDomainInterfaceAddresses", lambda domain: domain.interfaceAddresses(source, 0))
        except (InvalidState, Unsupported, DefinitionRefused, DeadlineExceeded):
            return []
        return [str(address["addr"]) for card in cards.values() for address in card.get("addrs") or []]

    def _undefine(self, flags: int) -> None:
        self._ask("virDomainUndefineFlags", lambda domain: domain.undefineFlags(flags), phase="undefine")

    def _ask(self, api: str, action: Callable[[Any], T], *, phase: str = "") -> T:
        if self._bound[0] is not self._session.connection():
            # A call of its own: one that changes something must not seem to be lost with it.
            self._session.call("virDomainLookupByUUIDString", self._rebind, obj=self.name, phase=phase)
        return self._session.call(api, lambda connection: action(self._handle(connection)), obj=self.name, phase=phase)

    def _handle(self, connection: Any) -> Any:
        """The domain on this connection: one that was opened again knows nothing of handles from before."""
        bound_to, domain = self._bound
        if bound_to is connection:
            return domain
        self._session.count("virDomainLookupByUUIDString")
        return self._rebind(connection)

    def _rebind(self, connection: Any) -> Any:
        domain = connection.lookupByUUIDString(self.uuid)
        self._bound = (connection, domain)
        return domain
