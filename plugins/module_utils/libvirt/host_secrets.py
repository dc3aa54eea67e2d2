# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The secrets that a libvirt host keeps for its guests' disks."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, field

from ansible_collections.poolwright.virt.plugins.module_utils.errors import AuthenticationFailed, NotFound, OperationFailed
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.binding import library
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.capabilities import secret_xml
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.session import Session


@dataclass(frozen=True)
class Secret:
    """A secret as its host has it. ``value`` is None where libvirt does not tell it, or it has none.

    :ivar usage: what it is for, such as ``ceph``, and :ivar name: of what or whom; "" for both where it says neither.
    """

    uuid: str
    usage: str
    name: str
    xml: str = field(repr=False)
    value: bytes | None = field(repr=False)


class Secrets:
    """Of one host. Values of private ones are never read back."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def find(self, usage: str, name: str) -> str | None:
        """The UUID of the secret of this use (``ceph``, ``volume``, ``iscsi``, ``tls``, ``vtpm``) and name, or None."""
        kind = int(getattr(library(), f"VIR_SECRET_USAGE_TYPE_{usage.upper()}"))
        try:
            return self._session.call("virSecretLookupByUsage", lambda conn: str(conn.secretLookupByUsage(kind, name).UUIDString()), obj=name, phase="look up")
        except NotFound:
            return None

    def has(self, uuid: str) -> bool:
        """Whether there is a secret of this UUID."""
        try:
            self._session.call("virSecretLookupByUUIDString", lambda conn: conn.secretLookupByUUIDString(uuid), obj=uuid, phase="look up")
        except NotFound:
            return False
        return True

    def read(self, uuid: str) -> Secret | None:
        """A secret with its value, None where there is none."""
        try:
            xml = self._session.call("virSecretGetXMLDesc", lambda conn: str(conn.secretLookupByUUIDString(uuid).XMLDesc(0)), obj=uuid, phase="look up")
        except NotFound:
            return None
        root = ET.fromstring(xml)  # noqa: S314 (libvirt wrote it)
        usage = root.find("usage")
        name = "" if usage is None else next(((one.text or "").strip() for one in usage), "")
        value = None if root.get("private") == "yes" else self._value(uuid)
        return Secret(uuid, "" if usage is None else usage.get("type", ""), name, xml, value)

    def _value(self, uuid: str) -> bytes | None:
        try:
            return self._session.call("virSecretGetValue", lambda conn: bytes(conn.secretLookupByUUIDString(uuid).value(0)), obj=uuid, phase="look up")
        except (AuthenticationFailed, NotFound, OperationFailed):
            return None

    def put(self, uuid: str, xml: str, value: bytes) -> None:
        """Define a secret by its XML, which has this UUID, and give it its value."""
        self._session.call("virSecretDefineXML", lambda conn: bool(conn.secretDefineXML(xml, 0)), obj=uuid, phase="define secret")
        self._set(uuid, value, uuid)

    def create(self, usage: str, name: str, value: bytes, *, private: bool = False, ephemeral: bool = False, uuid: str = "") -> str:
        """Define a secret and give it its value, which is in no XML; its UUID. One that is there gets the value.

        :param private: nobody can read it back through libvirt.   :param ephemeral: it is never written to disk.
        :param uuid: what a new one gets; "" leaves it to libvirt.
        """
        found = self.find(usage, name)
        if found is None:
            xml = ET.tostring(secret_xml(usage, name, private=private, ephemeral=ephemeral, uuid=uuid), encoding="unicode")
            found = self._session.call("virSecretDefineXML", lambda conn: str(conn.secretDefineXML(xml, 0).UUIDString()), obj=name, phase="define secret")
        self._set(found, value, name)
        return found

    def _set(self, uuid: str, value: bytes, name: str) -> None:
        self._session.call("virSecretSetValue", lambda conn: conn.secretLookupByUUIDString(uuid).setValue(value, 0), obj=name, phase="set secret")

    def all(self) -> frozenset[str]:
        """The UUIDs of all secrets."""
        return self._session.call("virConnectListAllSecrets", lambda conn: frozenset(secret.UUIDString() for secret in conn.listAllSecrets(0)), phase="check")

    def delete(self, uuid: str) -> bool:
        """False where it was gone."""
        try:
            self._session.call("virSecretUndefine", lambda conn: conn.secretLookupByUUIDString(uuid).undefine(), obj=uuid, phase="remove secret")
        except NotFound:
            return False
        return True
