# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Where images come from: which bytes a source has now, told without fetching them where that can be, and getting them."""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import ImageRefused, NotFound, TransferFailed
from ansible_collections.poolwright.virt.plugins.module_utils.images import vmdk
from ansible_collections.poolwright.virt.plugins.module_utils.images.fetch import Received, identity_of
from ansible_collections.poolwright.virt.plugins.module_utils.images.records import SourceRecord
from ansible_collections.poolwright.virt.plugins.module_utils.images.web import open_url
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import files
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import FileMissing
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import FileInfo, Site
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images import obtain
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.image import VMwareImage
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.layout import Snapshot, entry_key
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.transfer import Transfer

_MOST_DESCRIPTOR = 64 * 1024


@dataclass(frozen=True)
class Native:
    """What vSphere has as it needs it: ``identity`` changes with its files, sizes are in bytes."""

    path: DatastorePath
    identity: str
    size: int
    virtual_size: int
    adapter_type: str = ""


class Sources:
    """What is known of images' sources; a URL without a checksum is asked once per object, so one run uses one version."""

    def __init__(self, site: Site, transfer: Transfer, *, validate_certs: bool = True) -> None:
        self._site = site
        self._transfer = transfer
        self._validate_certs = validate_certs
        self._current: dict[str, str] = {}

    def digest_of(self, image: VMwareImage, snapshot: Snapshot, deadline: Deadline, *, ask: bool = True) -> str | None:
        """What the source's bytes are known by, ``<algorithm>:<hex>``; None where only fetching tells.

        :param ask: look whether a source without a checksum still is what it was when it was seen last.
        """
        if image.digest is not None:
            return image.digest
        if image.on_datastore is not None:
            return _identity(self._stat(image, deadline))
        if image.key in self._current:
            return self._current[image.key]
        record = self._record(image, snapshot, deadline)
        if record is None:
            return None
        if not ask:
            return record.digest
        source = image.fetched
        if not source.is_remote:
            return record.digest if record.identity is not None and record.identity == identity_of(source) else None
        if not record.validators:
            return None
        answer = open_url(source.source, deadline.remaining, known=record.validators, validate_certs=self._validate_certs)
        if answer is not None:
            answer.stream.close()
            return None
        self._current[image.key] = record.digest
        return record.digest

    def is_known(self, image: VMwareImage, snapshot: Snapshot) -> bool:
        """Whether a source without a checksum was seen here before."""
        return image.digest is None and image.on_datastore is None and _name(image) in snapshot.sources

    def forget_stale(self, snapshot: Snapshot, deadline: Deadline) -> None:
        """Remove what is remembered of sources whose images are not here any more."""
        for name in sorted(snapshot.sources):
            path = snapshot.root.join("sources", name)
            try:
                record = SourceRecord.load(self._transfer.read(path, deadline))
            except FileMissing:
                continue
            if record is None or not any(key.startswith(entry_key(record.digest, "")) for key in snapshot.entries):
                files.delete_file(self._site, path, deadline)

    def bring(self, image: VMwareImage, scratch: str, deadline: Deadline) -> obtain.Fetched:
        """The source's file on the controller; see ``obtain.bring``."""
        path = image.on_datastore
        if path is None:
            fetched = obtain.bring(image, scratch, deadline, validate_certs=self._validate_certs)
            if fetched is None:
                raise TransferFailed("the server says that the image has not changed, though nothing was asked about that", obj=str(image), phase="fetch")
            return fetched
        identity = _identity(self._stat(image, deadline))
        local = os.path.join(scratch, "image")
        got = self._transfer.download(path, local, deadline, mode=0o600)
        return obtain.Fetched(local, Received(identity, got.size))

    def remember(self, image: VMwareImage, root: DatastorePath, fetched: obtain.Fetched, deadline: Deadline) -> None:
        """Record which bytes a source without a checksum had."""
        received = fetched.received
        self._current[image.key] = received.digest
        if image.on_datastore is not None:
            return
        record = SourceRecord(str(image), received.digest, self._site.clock.now(), received.validators, received.identity)
        files.make_directory(self._site, root.join("sources"), deadline)
        data = record.dump()
        self._transfer.upload(root.join("sources", _name(image)), io.BytesIO(data), deadline, size=len(data))

    def native(self, image: VMwareImage, deadline: Deadline) -> Native | None:
        """What vCenter can copy by itself: an ISO image, or a disk of vSphere's own. None of what has to be converted.

        :raises ImageRefused: a disk that is a child of another.
        """
        path = image.on_datastore
        if path is None or image.format not in ("iso", "vmdk") or image.is_flat or image.disk_type:
            return None
        found = self._stat(image, deadline)
        size = sum(file.size for file in found)
        if image.is_iso:
            return Native(path, _identity(found), size, size)
        try:
            text = self._transfer.read(path, deadline, limit=_MOST_DESCRIPTOR)
        except TransferFailed:
            return None
        if not text.startswith(vmdk.DESCRIPTOR_MAGIC):
            return None
        disk, problems = vmdk.read_descriptor(text)
        if disk is None:
            said = f"the image is refused: {'; '.join(problems)}"
            raise ImageRefused(said, obj=str(path), phase="inspect", hint="name a disk that stands alone, such as a template's")
        return Native(path, _identity(found), size, disk.virtual_size, disk.adapter_type)

    def _stat(self, image: VMwareImage, deadline: Deadline) -> list[FileInfo]:
        """The source with its extent. :raises NotFound: it is not there."""
        path = image.on_datastore
        if path is None:
            raise ValueError("the image is not on a datastore")
        wanted = {path, path.with_suffix("-flat.vmdk")} if path.suffix == ".vmdk" else {path}
        try:
            found = [file for file in files.listing(self._site, path.parent, deadline) if file.path in wanted and not file.is_folder]
        except FileMissing:
            found = []
        if path not in {file.path for file in found}:
            raise NotFound("there is no such file on the datastore", obj=str(path), phase="fetch", hint="correct the image's source")
        return found

    def _record(self, image: VMwareImage, snapshot: Snapshot, deadline: Deadline) -> SourceRecord | None:
        if _name(image) not in snapshot.sources:
            return None
        try:
            return SourceRecord.load(self._transfer.read(snapshot.root.join("sources", _name(image)), deadline))
        except FileMissing:
            return None


def _identity(found: list[FileInfo]) -> str:
    said = "\n".join(f"{file.path} {file.size} {file.modified}" for file in found)
    return f"datastore:{hashlib.sha256(said.encode()).hexdigest()}"


def _name(image: VMwareImage) -> str:
    return f"{image.key[:40]}.json"
