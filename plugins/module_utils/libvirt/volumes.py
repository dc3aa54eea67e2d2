# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Files in the directories of a host, through libvirt's storage: nothing of ours has to be installed there.

A directory that none of the host's storage pools covers is made one for as long as it is looked at.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import NotFound, TransferFailed, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.binding import library
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.faults import Code, Fault, InvalidState
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.session import Session
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.streams import CHUNK, Readable, Reader, send, stream_of

T = TypeVar("T")

_PREFIX = "poolwright-"


@dataclass(frozen=True)
class Volume:
    """A file: bytes it has and takes, bytes a guest sees of it, and format and base as libvirt reads them from its header.

    A guest may have written that header, so it is for those to look at who know the format.
    """

    name: str
    path: str
    size: int
    capacity: int
    format: str
    backing: tuple[str, str] | None = None
    allocated: int = 0


class Directory:
    """One directory of a host. Every method may raise ``ConnectionFailed``."""

    def __init__(self, session: Session, path: str, pool: str) -> None:
        self._session = session
        self._pool = pool
        self.path = path

    def names(self) -> frozenset[str]:
        """What is in it, read anew; other than files and devices are left out."""

        def ask(connection: Any) -> frozenset[str]:
            pool = connection.storagePoolLookupByName(self._pool)
            pool.refresh(0)
            return frozenset(pool.listVolumes())

        return self._call("virStoragePoolListVolumes", ask)

    def find(self, name: str) -> Volume | None:
        """The file of this name, None for none; ``names()`` looks anew, this does not."""

        def ask(connection: Any) -> str:
            return str(connection.storagePoolLookupByName(self._pool).storageVolLookupByName(name).XMLDesc(0))

        try:
            root = ET.fromstring(self._call("virStorageVolGetXMLDesc", ask, name))  # noqa: S314 (libvirt wrote it)
        except NotFound:
            return None
        base, capacity = root.find("backingStore"), int(root.findtext("capacity") or "0")
        backing = None if base is None or not base.findtext("path") else (base.findtext("path", ""), _format(base.find("format")))
        size = int(root.findtext("physical") or capacity)
        allocated = int(root.findtext("allocation") or size)
        return Volume(name, root.findtext("target/path", ""), size, capacity, _format(root.find("target/format")), backing, allocated)

    def room(self) -> tuple[int, int]:
        """Bytes that its file system has, and bytes of them that are left; as they were when ``names()`` looked last."""
        _state, capacity, _used, left = self._call("virStoragePoolGetInfo", lambda conn: conn.storagePoolLookupByName(self._pool).info())
        return int(capacity), int(left)

    def head(self, name: str, count: int, deadline: Deadline) -> bytes:
        """The first bytes of a file, fewer where it has not as many."""
        found = b""
        with self.reading(name, deadline) as stream:
            while len(found) < count and (data := stream.read(count - len(found))):
                found += data
        return found

    def create(self, name: str, format: str, size: int, backing: tuple[str, str] | None = None) -> None:
        """Make a file that a guest's disk of ``size`` bytes fits into; it has no bytes yet that were not needed for that.

        :param backing: path and format of the base it stands on.
        :raises Busy: there is such a file.
        """
        volume = ET.Element("volume")
        ET.SubElement(volume, "name").text = name
        ET.SubElement(volume, "capacity", unit="bytes").text = str(size)
        ET.SubElement(volume, "allocation", unit="bytes").text = "0"
        target = ET.SubElement(volume, "target")
        ET.SubElement(target, "format", type=format)
        if format == "qcow2":
            ET.SubElement(target, "compat").text = "1.1"
        # The daemon gives it to QEMU's user when the guest starts.
        ET.SubElement(ET.SubElement(target, "permissions"), "mode").text = "0600"
        if backing is not None:
            store = ET.SubElement(volume, "backingStore")
            ET.SubElement(store, "path").text = backing[0]
            ET.SubElement(store, "format", type=backing[1])
        text = ET.tostring(volume, encoding="unicode")
        self._call("virStorageVolCreateXML", lambda conn: bool(conn.storagePoolLookupByName(self._pool).createXML(text, 0)), name)

    def delete(self, name: str) -> bool:
        """Remove a file; False where there is none."""

        def ask(connection: Any) -> None:
            connection.storagePoolLookupByName(self._pool).storageVolLookupByName(name).delete(0)

        try:
            self._call("virStorageVolDelete", ask, name)
        except NotFound:
            return False
        return True

    def remove_if_empty(self) -> bool:
        """Remove the directory itself; False where it holds something. It is not to be used any more."""

        def ask(connection: Any) -> bool:
            pool = connection.storagePoolLookupByName(self._pool)
            pool.refresh(0)
            if not self._pool.startswith(_PREFIX) or pool.numOfVolumes():
                return False
            pool.destroy()
            return True

        if not self._call("virStoragePoolDestroy", ask):
            return False
        # An inactive pool is needed for that, and a transient one is gone once it is inactive.
        xml = _pool_xml(self._pool, self.path)

        def remove(connection: Any) -> bool:
            pool = connection.storagePoolDefineXML(xml, 0)
            try:
                pool.delete(0)
            except library().libvirtError:
                # A directory in it: none of ours.
                return False
            finally:
                pool.undefine()
            return True

        return self._call("virStoragePoolDelete", remove)

    def write(self, name: str, source: Readable, size: int, deadline: Deadline) -> str:
        """Fill a file that is there with ``size`` bytes; the SHA-256 of what was sent.

        :raises TransferFailed: the stream has not as many.
        """
        hasher = hashlib.sha256()

        def ask(connection: Any) -> None:
            volume = connection.storagePoolLookupByName(self._pool).storageVolLookupByName(name)
            with stream_of(connection) as stream:
                volume.upload(stream, 0, size, library().VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM)
                left = size
                while left:
                    deadline.check("sending the disk", obj=self._named(name), phase="send")
                    data = source.read(min(CHUNK, left))
                    if not data:
                        raise TransferFailed(f"{left} bytes of it are missing", obj=self._named(name), phase="send")
                    hasher.update(data)
                    left -= len(data)
                    send(stream, data)

        self._call("virStorageVolUpload", ask, name)
        return hasher.hexdigest()

    def digest(self, name: str, deadline: Deadline) -> tuple[str, int]:
        """The SHA-256 and the number of a file's bytes, read from that host."""
        hasher, count = hashlib.sha256(), 0
        with self.reading(name, deadline) as stream:
            while data := stream.read(CHUNK):
                hasher.update(data)
                count += len(data)
        return hasher.hexdigest(), count

    @contextlib.contextmanager
    def reading(self, name: str, deadline: Deadline) -> Iterator[Reader]:
        """A file's bytes as they come from that host."""

        def begin(connection: Any) -> Any:
            stream = connection.newStream(0)
            volume = connection.storagePoolLookupByName(self._pool).storageVolLookupByName(name)
            volume.download(stream, 0, 0, library().VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM)
            return stream

        stream = self._call("virStorageVolDownload", begin, name)
        reader = Reader(stream, deadline, self._named(name))
        try:
            yield reader
        finally:
            with contextlib.suppress(library().libvirtError):
                if reader.ended:
                    stream.finish()
                else:
                    stream.abort()

    def _named(self, name: str) -> str:
        return os.path.join(self.path, name)

    def _call(self, api: str, action: Callable[[Any], T], name: str = "") -> T:
        """Others may have ended the pool that they had begun for the same directory: then it is begun again, once."""
        try:
            return self._session.call(api, action, obj=self._named(name) if name else self.path, phase="storage")
        except (NotFound, InvalidState):
            found, _begun = _pool_at(self._session, self.path)
            if found == self._pool:
                raise
            self._pool = found or _begin(self._session, self.path, make=False) or self._pool
        return self._session.call(api, action, obj=self._named(name) if name else self.path, phase="storage")


@contextlib.contextmanager
def directory(session: Session, path: str, *, make: bool = False) -> Iterator[Directory | None]:
    """A directory of the host; None where there is none and none is to be made."""
    name, begun = _pool_at(session, path)
    if not name:
        name, begun = _begin(session, path, make=make), True
    if not name:
        yield None
        return
    try:
        yield Directory(session, path, name)
    finally:
        if begun or name.startswith(_PREFIX):
            _end(session, path, name)


def _end(session: Session, path: str, name: str) -> None:
    def end(connection: Any) -> None:
        pool = connection.storagePoolLookupByName(name)
        persistent = pool.isPersistent()
        if pool.isActive():
            pool.destroy()
        if persistent and name.startswith(_PREFIX):
            # A run was killed as it removed the directory.
            pool.undefine()

    # What stays does no harm, and the next look ends it.
    with contextlib.suppress(VirtError):
        session.call("virStoragePoolDestroy", end, obj=path, phase="storage")


def _pool_at(session: Session, path: str) -> tuple[str, bool]:
    """The name of the pool that has this directory, "" for none, and whether it had to be started."""

    def ask(connection: Any) -> tuple[str, bool]:
        try:
            pool = connection.storagePoolLookupByTargetPath(path)
        except library().libvirtError as exc:
            if Fault.of(exc).code == Code.NO_STORAGE_POOL:
                return "", False
            raise
        idle = not pool.isActive()
        if idle:
            pool.create(0)
        return str(pool.name()), idle

    return session.call("virStoragePoolLookupByTargetPath", ask, obj=path, phase="storage")


def _begin(session: Session, path: str, *, make: bool) -> str:
    name = f"{_PREFIX}{hashlib.sha256(path.encode()).hexdigest()[:12]}"
    flags = library().VIR_STORAGE_POOL_CREATE_WITH_BUILD if make else 0
    xml = _pool_xml(name, path)

    def ask(connection: Any) -> str:
        try:
            connection.storagePoolCreateXML(xml, flags)
        except library().libvirtError as exc:
            if Fault.of(exc).number == errno.ENOENT:
                return ""
            raise
        return name

    try:
        return session.call("virStoragePoolCreateXML", ask, obj=path, phase="storage")
    except VirtError:
        # Another run began it at the same moment.
        found, _begun = _pool_at(session, path)
        if not found:
            raise
        return found


def _pool_xml(name: str, path: str) -> str:
    pool = ET.Element("pool", type="dir")
    ET.SubElement(pool, "name").text = name
    ET.SubElement(ET.SubElement(pool, "target"), "path").text = path
    return ET.tostring(pool, encoding="unicode")


def _format(element: ET.Element | None) -> str:
    return "" if element is None else element.get("type", "")
