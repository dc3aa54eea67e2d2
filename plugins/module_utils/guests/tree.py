# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Element trees of domains that are edited in place, so that what nobody here knows of stays as it was. Pure.

A domain is never taken apart into values and written anew from them: that would lose whatever is not modelled.
"""

from __future__ import annotations

import contextlib
import copy
import io
import re
import xml.etree.ElementTree as ET  # what is parsed comes from libvirtd, which runs as root, or from who runs the module
from collections.abc import Iterable

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec

_UNITS = {
    **dict.fromkeys(("b", "bytes"), 1),
    **dict.fromkeys(("k", "KiB", ""), 1024),
    **dict.fromkeys(("M", "MiB"), 1024**2),
    **dict.fromkeys(("G", "GiB"), 1024**3),
    **dict.fromkeys(("T", "TiB"), 1024**4),
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
}
MASK = "***"
_METADATA = "poolwright: the metadata comes here"
_GENERATED_PREFIX = re.compile(r"ns\d+")


def parse(text: str) -> ET.Element:
    """A domain's tree with its comments; prefixes of foreign namespaces are kept for when it is written again.

    :raises InvalidSpec: it is no XML.
    """
    try:
        for _event, (prefix, uri) in ET.iterparse(io.BytesIO(text.encode()), events=["start-ns"]):  # noqa: S314 (see the import)
            if prefix and not _GENERATED_PREFIX.fullmatch(prefix):
                with contextlib.suppress(ValueError):
                    ET.register_namespace(prefix, uri)
        builder = ET.TreeBuilder(insert_comments=True, insert_pis=True)
        return ET.fromstring(text, parser=ET.XMLParser(target=builder))  # noqa: S314 (see the import)
    except ET.ParseError as exc:
        raise InvalidSpec([f"xml: it is no XML: {exc}"]) from exc


def text_of(element: ET.Element) -> str:
    """As XML. Each element in a domain's metadata declares its own namespaces: libvirt hands it out without what is around it."""
    metadata = element.find("metadata")
    if metadata is None or not len(metadata):
        return ET.tostring(element, encoding="unicode")
    hollow, outer = ET.Element("metadata"), ET.Element(element.tag, element.attrib)
    hollow.text, hollow.tail = _METADATA, metadata.tail
    outer.text, outer.tail = element.text, element.tail
    outer.extend(hollow if child is metadata else child for child in element)
    inside = "".join(ET.tostring(child, encoding="unicode") for child in metadata)
    written = ET.tostring(outer, encoding="unicode")
    return written.replace(f"<metadata>{_METADATA}</metadata>", f"<metadata>{metadata.text or ''}{inside}</metadata>", 1)


def copy_of(element: ET.Element) -> ET.Element:
    return copy.deepcopy(element)


def named(parent: ET.Element, tag: str) -> list[ET.Element]:
    """The children of this tag."""
    return parent.findall(tag)


def ensure(parent: ET.Element, path: str) -> ET.Element:
    """The first element at ``path`` (tags with slashes between), made where it is not there."""
    for tag in path.split("/"):
        found = parent.find(tag)
        parent = ET.SubElement(parent, tag) if found is None else found
    return parent


def child(parent: ET.Element, tag: str, text: str | None = None, **attributes: str) -> ET.Element:
    """A new child."""
    element = ET.SubElement(parent, tag, attributes)
    element.text = text
    return element


def drop(parent: ET.Element | None, *tags: str) -> None:
    """Remove the children of these tags."""
    if parent is not None:
        for tag in tags:
            for element in parent.findall(tag):
                parent.remove(element)


def drop_empty(parent: ET.Element, tag: str) -> None:
    """Remove a child that says nothing any more."""
    element = parent.find(tag)
    if element is not None and not element.attrib and not len(element) and not (element.text or "").strip():
        parent.remove(element)


def set_text(parent: ET.Element, tag: str, text: str) -> None:
    """Have a child of this tag hold ``text``; none at all for ""."""
    if not text:
        drop(parent, tag)
    elif (parent.findtext(tag) or "") != text:
        ensure(parent, tag).text = text


def set_attributes(element: ET.Element, **values: str | None) -> None:
    """Set attributes; None removes one."""
    for key, value in values.items():
        if value is None:
            element.attrib.pop(key, None)
        else:
            element.set(key, value)


def forget_place(device: ET.Element) -> None:
    """Take off what libvirt gave a device for the bus it was on."""
    drop(device, "address", "alias")


def kib_of(element: ET.Element | None) -> int | None:
    """An amount of memory in KiB, None where there is none."""
    if element is None or not (element.text or "").strip():
        return None
    return int((element.text or "").strip()) * _UNITS[element.get("unit", "KiB")] // 1024


def set_kib(parent: ET.Element, tag: str, kib: int) -> None:
    """An amount that is the same in another unit is left as it is written."""
    if kib_of(parent.find(tag)) != kib:
        element = ensure(parent, tag)
        element.text = str(kib)
        element.set("unit", "KiB")


def devices(domain: ET.Element, *tags: str) -> list[ET.Element]:
    """The devices of these tags in their order; of all tags where none is given."""
    inside = domain.find("devices")
    return [] if inside is None else [element for element in inside if isinstance(element.tag, str) and (not tags or element.tag in tags)]


def devices_element(domain: ET.Element) -> ET.Element:
    return ensure(domain, "devices")


def shown(domain: ET.Element, hidden: Iterable[str] = ()) -> str:
    """A domain for people to read: indented alike whoever wrote it, secrets masked.

    :param hidden: namespaces whose elements in the metadata are left out.
    """
    copied = copy.deepcopy(domain)
    metadata = copied.find("metadata")
    if metadata is not None:
        for element in list(metadata):
            if isinstance(element.tag, str) and any(element.tag.startswith(f"{{{namespace}}}") for namespace in hidden):
                metadata.remove(element)
        if not len(metadata):
            copied.remove(metadata)
    for element in copied.iter():
        if "passwd" in element.attrib:
            element.set("passwd", MASK)
        if element.text is not None and not element.text.strip():
            element.text = None
        element.tail = None
    ET.indent(copied)
    return text_of(copied) + "\n"
