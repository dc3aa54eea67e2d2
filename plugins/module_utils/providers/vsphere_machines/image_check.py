# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What can be known of an image before it is brought to a datastore, without changing anything."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import ChecksumMismatch, ImageRefused, NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.images.fetch import Received
from ansible_collections.poolwright.virt.plugins.module_utils.images.inspect import inspect_file
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import naming_storage_errors
from ansible_collections.poolwright.virt.plugins.module_utils.images.web import open_url
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import files
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import Site
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.image import VMwareImage
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.obtain import Fetched, inspected
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.sources import Sources
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.transfer import Transfer

_CHUNK = 1024**2
# What has to be converted: it is judged as it is.
_FOREIGN = ("qcow2", "raw")


@dataclass(frozen=True)
class Known:
    """In bytes: the disk as a guest sees it, and what it takes on a datastore; 0 where only fetching tells."""

    virtual_size: int = 0
    allocated: int = 0


def examine(image: VMwareImage, site: Site, transfer: Transfer, deadline: Deadline) -> Known:
    """Look whether the source is there and what it is; a remote one is only asked for, and judged when it is fetched.

    :raises NotFound, AuthenticationFailed, TransferFailed: it cannot be read.   :raises ImageRefused: it cannot be used.
    :raises ChecksumMismatch: it is another one.
    """
    if image.on_datastore is not None:
        native = Sources(site, transfer).native(image, deadline)
        if native is not None:
            return Known(native.virtual_size, native.size)
        # It has to come through here, and so far it is only known to be there.
        if files.stat(site, image.on_datastore, deadline) is None:
            raise NotFound("there is no such file on the datastore", obj=str(image), phase="check", hint="correct the image's source")
        return Known()
    if image.fetched.is_remote:
        answer = open_url(image.source, deadline.remaining)
        if answer is not None:
            answer.stream.close()
        return Known()
    path = image.fetched.path
    with naming_storage_errors(path, "check"):
        return _examine_file(image, path, deadline)


def _examine_file(image: VMwareImage, path: str, deadline: Deadline) -> Known:
    if not os.path.exists(path):
        raise NotFound("there is no such file on the controller", obj=str(image), phase="check", hint="correct the image's source")
    if not os.path.isfile(path):
        raise ImageRefused("it is not a regular file", obj=str(image), phase="check", hint="give a file that holds the image")
    _check_digest(image, path, deadline)
    if image.format in _FOREIGN and not image.is_flat:
        looked = inspect_file(path, image.format, deadline, name=str(image))
        return Known(looked.virtual_size, looked.allocated)
    with inspected(image, Fetched(path, Received("", os.path.getsize(path))), "", deadline) as found:
        return Known(found.virtual_size, found.allocated)


def _check_digest(image: VMwareImage, path: str, deadline: Deadline) -> None:
    if image.digest is None:
        return
    hasher = hashlib.new(image.fetched.algorithm)
    with open(path, "rb") as stream:
        for chunk in iter(lambda: stream.read(_CHUNK), b""):
            hasher.update(chunk)
            deadline.check("reading the image", obj=str(image), phase="check")
    found = f"{image.fetched.algorithm}:{hasher.hexdigest()}"
    if found != image.digest:
        hint = "correct the checksum if the image was changed on purpose"
        raise ChecksumMismatch(f"the checksum should be {image.digest}, but is {found}", obj=str(image), phase="check", hint=hint)
