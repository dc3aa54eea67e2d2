# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Empty folders as marks: made in one step, and only where what they mark is still there."""

from __future__ import annotations

import contextlib

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import FileExists
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import Site


def mark(site: Site, path: DatastorePath, deadline: Deadline) -> None:
    """Make a folder in one that has to be there. Fine if it is there itself. :raises FileMissing: what it is to be in is not there."""
    with contextlib.suppress(FileExists):
        site.vim.call(
            site.vim.content.fileManager,
            "MakeDirectory",
            idempotent=True,
            about=str(path),
            phase="cache",
            deadline=deadline,
            name=str(path),
            datacenter=site.datacenter,
            createParentDirectories=False,
        )
