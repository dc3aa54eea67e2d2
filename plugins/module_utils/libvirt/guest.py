# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""One domain: a thin typed wrapper that survives a reopened connection."""

from __future__ import annotations

import enum
import xml.etree.ElementTree as ET  # what is parsed comes from libvirtd, which runs as root
from typing import Any, Callable, TypeVar

from ansible_collections.poolwright.virt.plugins.module_utils.errors import DeadlineExceeded, NotFound
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

    def xml(self) -> str:
        """The domain's XML as it is, running or not, secrets left out."""
        return str(self._ask("virDomainGetXMLDesc", lambda domain: domain.XMLDesc(0)))

    def start(self) -> None:
        """:raises InvalidState: it runs already."""
        self._ask("virDomainCreateWithFlags", lambda domain: domain.createWithFlags(0), phase="start")

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

    def undefine(self) -> bool:
        """Remove its definition with saved state, NVRAM, TPM state and snapshots' metadata; False where it was gone."""
        lib = library()
        for names in _UNDEFINE_FLAGS:
            flags = 0
            for name in names:
                flags |= getattr(lib, f"VIR_DOMAIN_UNDEFINE_{name}", 0)
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

    def _set_metadata(self, element: ET.Element, namespace: str, prefix: str) -> None:
        lib = library()
        kind, text = lib.VIR_DOMAIN_METADATA_ELEMENT, ET.tostring(element, encoding="unicode")
        scope = 0
        if self.is_active():
            scope |= lib.VIR_DOMAIN_AFFECT_LIVE
        if self.is_persistent():
            scope |= lib.VIR_DOMAIN_AFFECT_CONFIG
        self._ask("virDomainSetMetadata", lambda domain: domain.setMetadata(kind, text, prefix, namespace, scope), phase="mark")

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
