# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The secrets that a guest's disks and TPM need, and that go to the target with it.

A value comes from the source's libvirt, or from the keyring that the guest's own metadata names, and goes to the target's libvirt. Nobody is shown it.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import replace

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.keyring import DEFAULT_USER, key_of
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.capabilities import secret_xml
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.ceph_disks import with_secret
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.migration.facts import SecretCopy
from ansible_collections.poolwright.virt.plugins.module_utils.migration.wish import Wish


def secrets_wanting(target: Host, source: Host, domain: ET.Element, needed: Iterable[str]) -> tuple[SecretCopy, ...]:
    """Those of ``needed`` that the target has not got. Changes nothing."""
    there = target.secrets.all()
    return tuple(_copy(uuid, target, source, domain) for uuid in needed if uuid not in there)


def _copy(uuid: str, target: Host, source: Host, domain: ET.Element) -> SecretCopy:
    found = source.secrets.read(uuid)
    lacking = f"the secret {uuid} that it needs is not on {target.hostname()}"
    if found is None:
        return SecretCopy(uuid, problem=f"{lacking}, nor on this host; define it there (virsh secret-define)")
    name = found.name or uuid
    other = target.secrets.find(found.usage, found.name) if found.usage and found.name else None
    if other is not None:
        remedy = f"remove that one (virsh secret-undefine {other}), and this one is made there"
        return SecretCopy(uuid, name, f"{lacking}, which has another one for {found.usage} {name}, {other}; {remedy}")
    value, why = found.value, "libvirt does not tell its value"
    if value is None and found.usage == "ceph":
        try:
            value = _from_keyring(uuid, domain)
        except InvalidSpec as exc:
            why = exc.problems[0]
    if value is None:
        remedy = "define it there with the same UUID (virsh secret-define, virsh secret-set-value)"
        return SecretCopy(uuid, name, f"{lacking}, and {why}; {remedy}")
    return SecretCopy(uuid, name, "", found.xml, value)


def _from_keyring(uuid: str, domain: ET.Element) -> bytes | None:
    """From the keyring that a disk of it was made with, None where it names none."""
    for element in domain.iterfind("metadata//*"):
        keyring = element.get("keyring")
        if keyring and element.get("secret", "").lower() == uuid:
            return key_of(keyring, element.get("user") or DEFAULT_USER)
    return None


def places_with_secrets(target: Host, wish: Wish) -> tuple[Wish, tuple[SecretCopy, ...]]:
    """Disks that go to a cluster, with the secret that libvirt needs for them on the target; and those of them that it has not got.

    :raises VirtError: see ``with_secret``.
    """
    places, made = [], {}
    for place in wish.disks:
        options, secret = with_secret(target, place.options) if place.backend == "rbd" else (place.options, None)
        places.append(replace(place, options=options))
        if secret is not None and secret.missing:
            xml = ET.tostring(secret_xml("ceph", secret.name, private=True, ephemeral=False, uuid=secret.uuid), encoding="unicode")
            made[secret.uuid] = SecretCopy(secret.uuid, secret.name, "", xml, secret.value)
    return replace(wish, disks=tuple(places)), tuple(made.values())
