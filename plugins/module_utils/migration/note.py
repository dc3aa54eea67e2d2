# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What a guest's domain says about its migration in its metadata, for as long as that is under way. Pure.

It is written before anything is made on the target, and goes with the guest. So whatever a killed run left on either
side is named where the guest is::

    <migration id="..." kind="live" source="host uuid" target="host uuid" ...>
      <made path=""/>        files that did not exist on the target
      <directory path=""/>   directories that did not exist there
      <image .../>           images on a cluster that both reach
      <secret uuid=""/>      secrets that the target's libvirt did not have
      <gone path=""/>        files of the guest's on the source, which are not needed there once it has left
    </migration>
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, fields

from ansible_collections.poolwright.virt.plugins.module_utils.errors import OperationFailed

NAMESPACE = "https://poolwright.virt/xmlns/migration/1"
PREFIX = "poolwright-migration"

ET.register_namespace(PREFIX, NAMESPACE)


@dataclass(frozen=True)
class MadeImage:
    """An image on an ``rbd`` pool."""

    location: str
    name: str
    conf: str = ""
    user: str = ""
    keyring: str = ""
    secret: str = ""


@dataclass(frozen=True)
class Note:
    """One migration.

    :ivar id: new for each.
    :ivar kind: ``live`` or ``cold``.
    :ivar source: UUID of the host the guest was on.   :ivar target: UUID of the one it goes to.
    :ivar where: that one's name, for people.   :ivar uri: how the source reaches it.
    :ivar state: what the guest was before, and is to be again.
    :ivar machine: the directory on the source that is the guest's own, "" for none.
    """

    id: str
    kind: str
    source: str
    target: str
    where: str
    uri: str
    state: str
    autostart: bool = False
    undefine: bool = True
    made: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    images: tuple[MadeImage, ...] = ()
    gone: tuple[str, ...] = ()
    machine: str = ""
    secrets: tuple[str, ...] = ()

    def to_element(self) -> ET.Element:
        """``<migration>`` without namespace."""
        element = ET.Element("migration")
        for key in ("id", "kind", "source", "target", "where", "uri", "state", "machine"):
            if getattr(self, key):
                element.set(key, getattr(self, key))
        for key in ("autostart", "undefine"):
            element.set(key, "yes" if getattr(self, key) else "no")
        for tag, paths in (("made", self.made), ("directory", self.directories), ("gone", self.gone)):
            for path in paths:
                ET.SubElement(element, tag, path=path)
        for image in self.images:
            ET.SubElement(element, "image", {item.name: getattr(image, item.name) for item in fields(image) if getattr(image, item.name)})
        for uuid in self.secrets:
            ET.SubElement(element, "secret", uuid=uuid)
        return element


def from_element(element: ET.Element | None, name: str) -> Note | None:
    """:param element: tags without namespace.

    :raises OperationFailed: it is damaged, so nobody can tell what was made.
    """
    if element is None:
        return None
    try:
        return Note(
            id=element.attrib["id"],
            kind=element.attrib["kind"],
            source=element.attrib["source"],
            target=element.attrib["target"],
            where=element.get("where", ""),
            uri=element.attrib["uri"],
            state=element.attrib["state"],
            autostart=element.get("autostart") == "yes",
            undefine=element.get("undefine") == "yes",
            made=_paths(element, "made"),
            directories=_paths(element, "directory"),
            images=tuple(MadeImage(**one.attrib) for one in element.iterfind("image")),
            gone=_paths(element, "gone"),
            machine=element.get("machine", ""),
            secrets=tuple(one.attrib["uuid"] for one in element.iterfind("secret")),
        )
    except (KeyError, TypeError) as exc:
        hint = f"see on which host it runs, and remove <migration> from its metadata (virsh metadata {name} {NAMESPACE} --remove)"
        raise OperationFailed(f"what its domain says about a migration is damaged: {exc}", obj=name, phase="observe", hint=hint) from exc


def _paths(element: ET.Element, tag: str) -> tuple[str, ...]:
    return tuple(one.attrib["path"] for one in element.iterfind(tag))
