# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""State ``file``: a local file is on the datastore, whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat as modes
from dataclasses import dataclass
from functools import cached_property

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import ChecksumMismatch, InvalidSpec, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import FileExists
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import PHASE, delete_file, move_file, stat
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states.folders import remove
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states.plan import Facts, Plan, Step, Work, shown, steps_of
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states.spot import Spot, check_extent, check_unused, look, parents, tidy
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states.temporary import temporary

_BLOCK = 1024 * 1024
_TIDY_SECONDS = 30.0


@dataclass
class LocalFile:
    """A file on this side; its hash is made when it is first asked for."""

    path: str
    size: int
    state: tuple[int, ...]

    @classmethod
    def open(cls, path: str) -> LocalFile:
        """:raises InvalidSpec: it is not there, cannot be read, or is no plain file."""
        try:
            found = os.stat(path)
            if not modes.S_ISREG(found.st_mode):
                raise InvalidSpec([f"src: {path} is no plain file"])
            with open(path, "rb"):
                pass
        except OSError as exc:
            raise InvalidSpec([f"src: {path} cannot be read where the module runs: {exc.strerror}"]) from None
        return cls(path, found.st_size, _state(found))

    @property
    def known(self) -> str:
        """The hash if it was made already, "" otherwise."""
        return str(self.__dict__.get("sha256", ""))

    def check_unchanged(self) -> None:
        """:raises ChecksumMismatch: it is not the file any more that it was."""
        try:
            now = _state(os.stat(self.path))
        except OSError:
            now = ()
        if now != self.state:
            raise ChecksumMismatch("it was changed while it was sent", obj=self.path, phase=PHASE)

    @cached_property
    def sha256(self) -> str:
        digest = hashlib.sha256()
        with open(self.path, "rb", buffering=0) as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
        return digest.hexdigest()


def _state(found: os.stat_result) -> tuple[int, ...]:
    """What changes when a file does."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def plan_file(work: Work) -> Plan:
    """:raises ChecksumMismatch: the local file is not the one that ``checksum`` names.   :raises FileExists, InUse: the place is taken."""
    request, path = work.request, work.request.path
    local = LocalFile.open(request.local)
    if request.checksum and local.sha256 != request.checksum:
        raise ChecksumMismatch(f"its SHA-256 is {local.sha256}, not {request.checksum}", obj=local.path, phase=PHASE)
    check_extent(path, request.force, "uploaded")
    spot = look(work, work.site, path)
    if spot.is_folder:
        raise FileExists("a folder has this name", obj=str(path), phase=PHASE, hint="give the whole path, with the name of the file")
    before = shown(path, spot.info, disk=spot.disk)
    facts = {"size": local.size}
    if _is_there(work, spot, local):
        # By their sizes alone, nothing is known of the hash.
        known = {**facts, "checksum": f"sha256:{local.sha256}"} if request.compare == "content" else facts
        return Plan(before, before, steps_of(tidy(work, spot)), known)
    if spot.disk and not request.force:
        raise FileExists("a virtual disk has this name", obj=str(path), phase=PHASE, hint="force: true removes it with its extents for this file")
    check_unused(work, spot, force=request.force)
    folders = parents(work, work.site, path) if spot.info is None else []
    after = {"path": str(path), "state": "file", "size": local.size}
    upload = Step(f"upload {local.path} to {path}", lambda: _upload(work, spot, local))
    return Plan(before, after, steps_of(tidy(work, spot), folders, [upload]), facts)


def _is_there(work: Work, spot: Spot, local: LocalFile) -> bool:
    if spot.info is None or spot.disk or spot.info.size != local.size:
        return False
    return work.request.compare == "size" or _same(work, spot.path, local.sha256)


def _same(work: Work, path: DatastorePath, sha256: str) -> bool:
    with work.stats.phase("compare"):
        return work.transfer.hash(path, work.deadline).sha256 == sha256


def _upload(work: Work, spot: Spot, local: LocalFile) -> Facts:
    """To a name beside the place, and there in one step: nobody sees half a file, and what is there stays until it is replaced."""
    path, part = spot.path, temporary(spot.path)
    try:
        with work.stats.phase("transfer"):
            sent = work.transfer.upload(part, local.path, work.deadline, size=local.size, sha256=local.known)
        local.check_unchanged()
        if spot.disk:
            remove(work, spot)
        try:
            move_file(work.site, part, path, work.deadline, force=spot.info is not None)
        except FileExists:
            # Somebody else was first; with the same, all is well.
            found = stat(work.site, path, work.deadline)
            if found is None or found.size != sent.size or not _same(work, path, sent.sha256):
                raise
            delete_file(work.site, part, work.deadline)
    except BaseException:  # whatever it is, goes on after half a file is gone
        with contextlib.suppress(VirtError):
            delete_file(work.site, part, Deadline.after(work.site.clock, _TIDY_SECONDS))
        raise
    return {"size": sent.size, "checksum": f"sha256:{sent.sha256}"}
