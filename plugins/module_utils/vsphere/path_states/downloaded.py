# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""State ``downloaded``: a file of the datastore is on this side, whole."""

from __future__ import annotations

import os

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import FileMissing
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import PHASE
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states.plan import Facts, Plan, Step, Work
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states.spot import look
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states.uploaded import LocalFile


def plan_downloaded(work: Work) -> Plan:
    """:raises FileMissing: there is no such file on the datastore.   :raises InvalidSpec: it cannot be written on this side."""
    request, path = work.request, work.request.path
    spot = look(work, work.site, path)
    if spot.info is None:
        raise FileMissing("there is no such file", obj=str(path), phase=PHASE)
    if spot.is_folder:
        raise FileMissing("this is a folder, and files are downloaded one by one", obj=str(path), phase=PHASE)
    size = spot.info.size
    target = os.path.join(request.local, path.basename) if os.path.isdir(request.local) or request.local.endswith("/") else request.local
    _check_target(target)
    here = LocalFile.open(target) if os.path.exists(target) else None
    before = {"path": target, "state": "absent"} if here is None else {"path": target, "state": "file", "size": here.size}
    after = {"path": target, "state": "file", "size": size}
    facts = {"src": target, "size": size}
    if here is not None and _is_same(work, here, size):
        known = {**facts, "checksum": f"sha256:{here.sha256}"} if request.compare == "content" or request.checksum else facts
        if os.stat(target).st_mode & 0o7777 == request.mode:
            return Plan(before, before, (), known)
        return Plan(before, after, (Step(f"set the mode of {target}", lambda: os.chmod(target, request.mode)),), known)

    def fetch() -> Facts:
        with work.stats.phase("transfer"):
            got = work.transfer.download(path, target, work.deadline, sha256=request.checksum, mode=request.mode)
        return {"size": got.size, "checksum": f"sha256:{got.sha256}", "resumed": got.resumed}

    return Plan(before, after, (Step(f"download {path} to {target}", fetch),), facts)


def _check_target(target: str) -> None:
    folder = os.path.dirname(target) or "."
    if os.path.isdir(target):
        raise InvalidSpec([f"src: {target} is a directory"])
    if not os.path.isdir(folder):
        raise InvalidSpec([f"src: the directory {folder} does not exist where the module runs"])
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InvalidSpec([f"src: the directory {folder} cannot be written to where the module runs"])


def _is_same(work: Work, here: LocalFile, size: int) -> bool:
    if here.size != size:
        return False
    if work.request.checksum:
        return here.sha256 == work.request.checksum
    if work.request.compare == "size":
        return True
    with work.stats.phase("compare"):
        return work.transfer.hash(work.request.path, work.deadline).sha256 == here.sha256
