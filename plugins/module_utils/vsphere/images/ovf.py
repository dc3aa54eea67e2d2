# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""OVF packages: what the descriptor says of the disk, what the manifest says of the files, and where they lie in an OVA."""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree import ElementTree

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import ImageRefused
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import CHUNK
from ansible_collections.poolwright.virt.plugins.module_utils.images.window import Window

MOST_DESCRIPTOR = 4 * CHUNK
"""Bytes; a descriptor is text written by a tool."""

_MOST_MEMBERS = 1000
_DISK_DRIVE = "17"
_CONTROLLERS = {"5": "ide", "6": "lsiLogic"}
_SUBTYPES = {"lsilogic": "lsiLogic", "lsilogicsas": "lsiLogicsas", "buslogic": "busLogic", "virtualscsi": "paraVirtual", "pvscsi": "paraVirtual"}
_MANIFEST_LINE = re.compile(r"^(SHA1|SHA256|SHA512)\s*\((.+)\)\s*=\s*([0-9a-fA-F]+)$")
_UNITS = re.compile(r"^byte\s*\*\s*2\s*\^\s*(\d+)$")


@dataclass(frozen=True)
class Package:
    """An OVF descriptor with one disk: the file ``href`` of it, of ``file_size`` bytes (0 where not said), and the disk's own size in bytes.

    ``files`` are all the files it refers to, in its order. ``adapter_type`` is "" where it does not say, or what vSphere does not know.
    """

    href: str
    file_size: int
    capacity: int
    adapter_type: str
    os_type: str
    files: tuple[str, ...]


def parse(text: bytes, name: str) -> Package:
    """:raises ImageRefused: it is none, or not one with a single disk in a single file."""
    # No package needs one, and what it may expand to knows no bounds.
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise _refused(name, "its OVF descriptor has a document type of its own")
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 (without a document type nothing in it expands)
    except ElementTree.ParseError as exc:
        raise _refused(name, f"its OVF descriptor cannot be read: {exc}") from None
    if _tag(root) != "Envelope":
        raise _refused(name, f"its OVF descriptor is no Envelope but {_tag(root)}")
    files = {_attribute(one, "id"): one for one in _all(root, "File")}
    for one in files.values():
        _check_name(_attribute(one, "href"), name)
    disks = [one for one in _all(root, "Disk") if _attribute(one, "fileRef")]
    if len(disks) != 1:
        have = ", ".join(_attribute(disk, "diskId") for disk in disks) or "none"
        raise _refused(name, f"it has {len(disks)} disks with data ({have})", "give an image with one disk; further ones are made empty beside it")
    disk = disks[0]
    file = files.get(_attribute(disk, "fileRef"))
    if file is None:
        raise _refused(name, f"its disk {_attribute(disk, 'diskId')} is in a file that it does not list")
    if _attribute(file, "compression") not in ("", "identity") or _attribute(file, "chunkSize"):
        raise _refused(name, f"its file {_attribute(file, 'href')} is compressed or in chunks of its own", "export it as a streamOptimized VMDK")
    if _attribute(disk, "parentRef"):
        raise _refused(name, f"its disk {_attribute(disk, 'diskId')} is a delta of another")
    size = _attribute(file, "size")
    return Package(
        href=_attribute(file, "href"),
        file_size=int(size) if size.isdigit() else 0,
        capacity=_capacity(disk, name),
        adapter_type=_adapter(root, _attribute(disk, "diskId")),
        os_type=next((_attribute(one, "osType") for one in _all(root, "OperatingSystemSection")), ""),
        files=tuple(_attribute(one, "href") for one in files.values()),
    )


def parse_manifest(text: str) -> dict[str, str]:
    """``<algorithm>:<hex>`` by the file's name; lines that are none are passed over."""
    found = {}
    for line in text.splitlines():
        match = _MANIFEST_LINE.match(line.strip())
        if match is not None:
            found[match.group(2).strip()] = f"{match.group(1).lower()}:{match.group(3).lower()}"
    return found


def members(archive: Window, name: str) -> dict[str, Window]:
    """The files in an OVA by their names, each where it lies.

    :raises ImageRefused: it is no plain tar, is cut off, or has what no OVA has: links, folders, one name twice.
    """
    found: dict[str, Window] = {}
    archive.seek(0)
    try:
        with tarfile.open(fileobj=archive, mode="r:") as tar:
            for member in tar:
                _check_name(member.name, name)
                if not member.isfile() or member.issparse():
                    raise _refused(name, f"its member {member.name} is no plain file")
                if member.name in found or len(found) >= _MOST_MEMBERS:
                    raise _refused(name, f"it has too many members, or {member.name} twice")
                if member.offset_data + member.size > archive.size:
                    raise _refused(name, f"its member {member.name} lies beyond its end: it is cut off", "fetch it again")
                found[member.name] = archive.part(member.offset_data, member.size)
    except tarfile.TarError as exc:
        raise _refused(name, f"it is no OVA: {exc}", "an OVA is a plain tar archive that begins with its OVF descriptor") from None
    return found


def check_members(package: Package, manifest: Mapping[str, str], there: Mapping[str, Window], name: str, deadline: Deadline) -> None:
    """Have all files that the descriptor refers to be there, the disk's with the size it says, and all as the manifest has them.

    :raises ImageRefused: naming the file.
    """
    missing = [href for href in package.files if href not in there]
    if missing:
        raise _refused(name, f"it lacks {', '.join(missing)}, which its OVF descriptor refers to", "fetch or export it again")
    if package.file_size and package.file_size != there[package.href].size:
        raise _refused(name, f"its file {package.href} has {there[package.href].size} bytes where the descriptor says {package.file_size}", "fetch it again")
    for member, wanted in manifest.items():
        if member in there:
            algorithm = wanted.partition(":")[0]
            found = digest_of(there[member], algorithm, deadline, name)
            if found != wanted:
                raise _refused(name, f"its file {member} has the checksum {found} where the manifest says {wanted}", "fetch it again")


def digest_of(file: Window, algorithm: str, deadline: Deadline, name: str) -> str:
    """``<algorithm>:<hex>`` of a whole file."""
    hasher = hashlib.new(algorithm, usedforsecurity=False)
    for offset in range(0, file.size, CHUNK):
        deadline.check("reading it", obj=name, phase="inspect")
        hasher.update(file.read_at(offset, CHUNK))
    return f"{algorithm}:{hasher.hexdigest()}"


def _adapter(root: ElementTree.Element, disk_id: str) -> str:
    items = [{_tag(child): (child.text or "").strip() for child in item} for item in _all(root, "Item") + _all(root, "StorageItem")]
    by_id = {item.get("InstanceID", ""): item for item in items}
    for item in items:
        if item.get("ResourceType") == _DISK_DRIVE and item.get("HostResource", "").rpartition("/")[2] == disk_id:
            parent = by_id.get(item.get("Parent", ""), {})
            default = _CONTROLLERS.get(parent.get("ResourceType", ""), "")
            return _SUBTYPES.get(parent.get("ResourceSubType", "").split(" ")[0].lower(), default)
    return ""


def _capacity(disk: ElementTree.Element, name: str) -> int:
    said, units = _attribute(disk, "capacity"), _attribute(disk, "capacityAllocationUnits").strip().lower()
    match = _UNITS.match(units)
    if not said.isdigit() or (units not in ("", "byte") and (match is None or int(match.group(1)) > 60)):
        raise _refused(name, f"its disk has the capacity {said!r} {units!r}, which is no size")
    return int(said) << (int(match.group(1)) if match is not None else 0)


def _check_name(member: str, name: str) -> None:
    if not member or "/" in member or "\\" in member or member in (".", "..") or ":" in member or any(ord(letter) < 32 for letter in member):
        raise _refused(name, f"it refers to {member!r}, which is no plain file beside its descriptor")


def _all(root: ElementTree.Element, tag: str) -> list[ElementTree.Element]:
    return [one for one in root.iter() if _tag(one) == tag]


def _tag(element: ElementTree.Element) -> str:
    """Without its namespace, of which there is one for each version."""
    return str(element.tag).rpartition("}")[2]


def _attribute(element: ElementTree.Element, wanted: str) -> str:
    return next((value for key, value in element.attrib.items() if key.rpartition("}")[2] == wanted), "")


def _refused(name: str, why: str, hint: str = "") -> ImageRefused:
    return ImageRefused(f"the image is refused: {why}", obj=name, phase="inspect", hint=hint)
