# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The secrets that a libvirt host keeps for its guests' disks."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from ansible_collections.poolwright.virt.plugins.module_utils.errors import NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.binding import library
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.capabilities import secret_xml
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.session import Session


class Secrets:
    """Of one host; values go to libvirt and are never read back."""

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

    def create(self, usage: str, name: str, value: bytes, *, private: bool = False, ephemeral: bool = False, uuid: str = "") -> str:
        """Define a secret and give it its value, which is in no XML; its UUID. One that is there gets the value.

        :param private: nobody can read it back through libvirt.   :param ephemeral: it is never written to disk.
        :param uuid: what a new one gets; "" leaves it to libvirt.
        """
        found = self.find(usage, name)
        if found is None:
            xml = ET.tostring(secret_xml(usage, name, private=private, ephemeral=ephemeral, uuid=uuid), encoding="unicode")
            found = self._session.call("virSecretDefineXML", lambda conn: str(conn.secretDefineXML(xml, 0).UUIDString()), obj=name, phase="define secret")
        made = found
        self._session.call("virSecretSetValue", lambda conn: conn.secretLookupByUUIDString(made).setValue(value, 0), obj=name, phase="set secret")
        return made

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
