# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What a guest's domain says about it in its metadata, in a namespace of our own. Pure.

::

    <guest uuid="...">                     of the domain it was written for: a copy of a domain does not own its disks
      <disk location="" name="" ...>       disks of its own, as planned; written before the first of them exists, and made="yes" when they do
        <backing/> <options/> <origin/>    what it stands on, how it is reached, what it was made from; each where there is any
      </disk>
      <value key="">...</value>            the user's own
      <source given="" became=""/>         of a guest from the user's XML: digests of that, and of what libvirt made of it
      <nvram reset="yes"/>                 it was given another firmware, so its NVRAM does not fit; until its next start
      <task kind="" snapshot="" was=""/>   what is being done to its disks together; left by a run that was killed in it
    </guest>
"""

from __future__ import annotations

import copy
import hashlib
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.guests import tree
from ansible_collections.poolwright.virt.plugins.module_utils.storage.record import OwnDisk

NAMESPACE = "https://poolwright.virt/xmlns/guest/1"
PREFIX = "poolwright-guest"
POOL_NAMESPACE = "https://poolwright.virt/xmlns/machine/1"

ET.register_namespace(PREFIX, NAMESPACE)


@dataclass(frozen=True)
class Task:
    """``was``: the state that the guest was in when it began."""

    kind: str
    snapshot: str
    was: str


def _name(tag: str) -> str:
    return f"{{{NAMESPACE}}}{tag}"


def find(domain: ET.Element) -> ET.Element | None:
    """Our element, also where it was written for another domain."""
    return domain.find(f"metadata/{_name('guest')}")


def pool_of(domain: ET.Element) -> str:
    """The pool whose machine it is, "" for none; pools look after their machines themselves."""
    mark = domain.find(f"metadata/{{{POOL_NAMESPACE}}}machine")
    return "" if mark is None or mark.get("id", "").lower() != domain.findtext("uuid", "").lower() else mark.get("pool", "")


def _ours(domain: ET.Element) -> ET.Element:
    """Our element, made or begun anew where it is not this domain's."""
    element, uuid = find(domain), domain.findtext("uuid", "")
    if element is None:
        element = ET.SubElement(tree.ensure(domain, "metadata"), _name("guest"))
    if element.get("uuid") != uuid:
        for stale in [one for tag in ("disk", "source", "nvram", "task") for one in element.findall(_name(tag))]:
            element.remove(stale)
        element.set("uuid", uuid)
    return element


def _drop_empty(domain: ET.Element) -> None:
    """Nothing to say is said by nothing."""
    element, metadata = find(domain), domain.find("metadata")
    if element is not None and metadata is not None and not len(element):
        metadata.remove(element)
        tree.drop_empty(domain, "metadata")


def disks_of(domain: ET.Element) -> tuple[OwnDisk, ...]:
    """The disks that were made for this domain.

    :raises InvalidSpec: one is damaged, so nobody can tell what it was.
    """
    element = find(domain)
    if element is None or element.get("uuid") != domain.findtext("uuid", ""):
        return ()
    return tuple(_read_disk(one) for one in element.findall(_name("disk")))


def _read_disk(element: ET.Element) -> OwnDisk:
    return OwnDisk.from_dict(_values(element))


def _values(element: ET.Element) -> dict[str, Any]:
    return {**element.attrib, **{one.tag.rpartition("}")[2]: _values(one) for one in element}}


def set_disks(domain: ET.Element, disks: Iterable[OwnDisk]) -> None:
    """Have the domain say that these were made for it."""
    wanted = tuple(disks)
    if wanted == disks_of(domain):
        return
    element = _ours(domain)
    for stale in element.findall(_name("disk")):
        element.remove(stale)
    for disk in wanted:
        _write(element, "disk", disk.to_dict())
    _drop_empty(domain)


def values_of(domain: ET.Element) -> dict[str, str]:
    element = find(domain)
    return {} if element is None else {one.get("key", ""): one.text or "" for one in element.findall(_name("value"))}


def edit_values(domain: ET.Element, wanted: Mapping[str, str]) -> None:
    """The user's own values are these."""
    if values_of(domain) == dict(wanted):
        return
    element = _ours(domain)
    for stale in element.findall(_name("value")):
        element.remove(stale)
    for key, value in sorted(wanted.items()):
        ET.SubElement(element, _name("value"), {"key": key}).text = value
    _drop_empty(domain)


def source_of(domain: ET.Element) -> tuple[str, str]:
    """Digests of the XML that was given, and of what became of it; "" where it was not made from XML."""
    element = find(domain)
    source = None if element is None or element.get("uuid") != domain.findtext("uuid", "") else element.find(_name("source"))
    return ("", "") if source is None else (source.get("given", ""), source.get("became", ""))


def set_source(domain: ET.Element, given: str, became: str) -> None:
    element = _ours(domain)
    source = element.find(_name("source"))
    if source is None:
        source = ET.SubElement(element, _name("source"))
    tree.set_attributes(source, given=given, became=became)


def task_of(domain: ET.Element) -> Task | None:
    """What a run began with this domain's disks and did not end."""
    element = find(domain)
    task = None if element is None or element.get("uuid") != domain.findtext("uuid", "") else element.find(_name("task"))
    return None if task is None else Task(task.get("kind", ""), task.get("snapshot", ""), task.get("was", ""))


def set_task(domain: ET.Element, task: Task | None) -> None:
    element = _ours(domain)
    tree.drop(element, _name("task"))
    if task is not None:
        ET.SubElement(element, _name("task"), {"kind": task.kind, "snapshot": task.snapshot, "was": task.was})
    _drop_empty(domain)


def nvram_is_stale(domain: ET.Element) -> bool:
    """Whether its next start is to be one with new NVRAM."""
    element = find(domain)
    return element is not None and element.get("uuid") == domain.findtext("uuid", "") and element.find(_name("nvram")) is not None


def set_nvram_stale(domain: ET.Element, stale: bool) -> None:
    if nvram_is_stale(domain) == stale:
        return
    element = _ours(domain)
    tree.drop(element, _name("nvram"))
    if stale:
        ET.SubElement(element, _name("nvram"), {"reset": "yes"})
    _drop_empty(domain)


def digest(domain: ET.Element) -> str:
    """Of all but what we say about it, whatever its layout; passwords are no part of it."""
    copied = copy.deepcopy(domain)
    ours = find(copied)
    metadata = copied.find("metadata")
    if ours is not None and metadata is not None:
        metadata.remove(ours)
        if not len(metadata):
            copied.remove(metadata)
    for element in copied.iter():
        element.attrib.pop("passwd", None)
        element.text = (element.text or "").strip() or None
        element.tail = None
    return hashlib.sha256(ET.canonicalize(tree.text_of(copied)).encode()).hexdigest()


def without_namespace(element: ET.Element) -> ET.Element:
    """Our element as libvirt wants it for the metadata of a running domain."""
    copied = ET.Element(element.tag.rpartition("}")[2], dict(element.attrib))
    copied.text = element.text
    copied.extend(without_namespace(one) for one in element)
    return copied


def _write(parent: ET.Element, tag: str, data: Mapping[str, Any]) -> None:
    """Plain values as an element: texts are attributes, mappings elements inside it."""
    element = ET.SubElement(parent, _name(tag))
    for key, value in data.items():
        if isinstance(value, Mapping):
            _write(element, key, value)
        elif value is not None:
            element.set(key, "yes" if value is True else str(value))
