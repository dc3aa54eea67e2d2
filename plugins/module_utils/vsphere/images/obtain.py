# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The first axis: bringing an image's bytes to the controller, and knowing what they are before anything of them is used or sent on."""

from __future__ import annotations

import contextlib
import hashlib
import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import ChecksumMismatch, ImageRefused, NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.images import qemu_img, vmdk
from ansible_collections.poolwright.virt.plugins.module_utils.images.fetch import Received, fetch
from ansible_collections.poolwright.virt.plugins.module_utils.images.formats import detect_in
from ansible_collections.poolwright.virt.plugins.module_utils.images.inspect import inspect_file
from ansible_collections.poolwright.virt.plugins.module_utils.images.sizes import MAX_VIRTUAL_SIZE
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource
from ansible_collections.poolwright.virt.plugins.module_utils.images.web import Validators
from ansible_collections.poolwright.virt.plugins.module_utils.images.window import Window, open_window
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images import ovf
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.image import VMwareImage

_ISO_AT, _ISO_MAGIC = 16 * 2048 + 1, b"CD001"
_HARMLESS = (("raw",), ("gpt",), ("mbr",))


@dataclass(frozen=True)
class Fetched:
    """A file that came, in a scratch directory: its checksum was right where there was one, nothing else is known of it."""

    path: str
    received: Received


@dataclass(frozen=True)
class Inspected:
    """What was found in a file, sizes in bytes.

    ``disk_type`` says how the bits in ``data`` reach a datastore: flat, sparse, streamOptimized or iso. ``allocated`` bounds what the
    disk takes there when it is thin.
    """

    data: Window
    disk_type: str
    virtual_size: int
    allocated: int
    adapter_type: str = ""
    os_type: str = ""


def bring(image: VMwareImage, scratch: str, deadline: Deadline, *, known: Validators | None = None, validate_certs: bool = True) -> Fetched | None:
    """Fetch an image's file, an OVF with those it refers to; None where the server says that the ``known`` version is current.

    :raises ChecksumMismatch: it is not the one that was asked for.   :raises NotFound, AuthenticationFailed, TransferFailed: see ``fetch``.
    :raises ImageRefused: an OVF refers to a file that is not beside it.
    """
    source = image.fetched
    path = os.path.join(scratch, "image")
    received = _fetch(source, path, scratch, deadline, known, validate_certs)
    if received is None:
        return None
    if source.digest is not None and received.digest != source.digest:
        raise ChecksumMismatch(
            f"the checksum should be {source.digest}, but is {received.digest} over {received.size} bytes",
            obj=str(image),
            phase="fetch",
            hint="nothing was kept; correct the checksum if the image was changed on purpose",
        )
    if image.format == "ovf":
        received = replace(received, digest=_bring_members(image, received.digest, path, scratch, deadline, validate_certs))
    return Fetched(path, received)


@contextlib.contextmanager
def inspected(image: VMwareImage, fetched: Fetched, scratch: str, deadline: Deadline, most: int = MAX_VIRTUAL_SIZE) -> Iterator[Inspected]:
    """What is in the file, ready to be sent on, and converted where it has to be.

    :raises ImageRefused: it is not what it was said to be, or unsafe, or damaged; nothing that it refers to was opened.
    """
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open_window(fetched.path))
        if image.format in ("qcow2", "vhdx") or (image.format == "raw" and not image.is_flat):
            yield _converted(image, fetched, scratch, deadline, stack, most)
        elif image.format in ("ova", "ovf"):
            yield _package(image, file, scratch, deadline, stack, most)
        elif image.is_iso:
            yield _iso(image, file)
        else:
            yield _vmdk(image, file, most)


def _fetch(source: ImageSource, path: str, scratch: str, deadline: Deadline, known: Validators | None, validate_certs: bool) -> Received | None:
    with open(path, "xb", buffering=0) as stream:
        return fetch(source, stream.fileno(), scratch, deadline, known=known, validate_certs=validate_certs)


def _bring_members(image: VMwareImage, digest: str, path: str, scratch: str, deadline: Deadline, validate_certs: bool) -> str:
    """The files an OVF refers to, and its manifest if there is one, beside it under their own names; returns the digest of all of them."""
    digests = [digest]
    with open_window(path) as file:
        package = ovf.parse(_descriptor(file, image), str(image))
    folder = os.path.join(scratch, "members")
    os.mkdir(folder, 0o700)
    for href in package.files:
        try:
            got = _fetch(_beside(image, href), os.path.join(folder, href), scratch, deadline, None, validate_certs)
            digests.append(got.digest if got is not None else "")
        except NotFound as exc:
            said = f"the image is refused: it lacks {href}, which its OVF descriptor refers to: {exc.message}"
            raise ImageRefused(said, obj=str(image), phase="fetch", hint="put it beside the descriptor") from exc
    name = posixpath.basename(unquote(urlsplit(image.source).path) if "://" in image.source else image.source)
    manifest = posixpath.splitext(name)[0] + ".mf"
    try:
        _fetch(_beside(image, manifest), os.path.join(scratch, "manifest"), scratch, deadline, None, validate_certs)
    except NotFound:
        os.unlink(os.path.join(scratch, "manifest"))
    return "sha256:" + hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _beside(image: VMwareImage, name: str) -> ImageSource:
    if "://" not in image.source:
        return ImageSource(posixpath.join(posixpath.dirname(image.source), name), None, "raw")
    parts = urlsplit(image.source)
    place = posixpath.join(posixpath.dirname(parts.path), quote(name))
    return ImageSource(urlunsplit(parts._replace(path=place)), None, "raw")


def _package(image: VMwareImage, file: Window, scratch: str, deadline: Deadline, stack: contextlib.ExitStack, most: int) -> Inspected:
    name = str(image)
    if image.format == "ova":
        there = ovf.members(file, name)
        descriptors = [member for member in there if member.lower().endswith(".ovf")]
        if len(descriptors) != 1:
            raise _refused(image, f"it has {len(descriptors)} OVF descriptors")
        descriptor = there[descriptors[0]]
        manifest = there.get(descriptors[0][: -len(".ovf")] + ".mf")
    else:
        folder = os.path.join(scratch, "members")
        there = {member: stack.enter_context(open_window(os.path.join(folder, member))) for member in sorted(os.listdir(folder))}
        descriptor = file
        beside = os.path.join(scratch, "manifest")
        manifest = stack.enter_context(open_window(beside)) if os.path.exists(beside) else None
    package = ovf.parse(_descriptor(descriptor, image), name)
    said = ovf.parse_manifest(manifest.read_at(0, ovf.MOST_DESCRIPTOR).decode("utf-8", "replace")) if manifest is not None else {}
    own = os.path.basename(image.source) if image.format == "ovf" else ""
    ovf.check_members(package, said, {**there, **({own: file} if own else {})}, name, deadline)
    found = _vmdk(replace(image, format="vmdk", disk_type="", checksum=None), there[package.href], most)
    if package.capacity != found.virtual_size:
        raise _refused(image, f"its descriptor gives the disk {package.capacity} bytes, the disk itself {found.virtual_size}")
    if found.disk_type != "streamOptimized":
        raise _refused(image, f"its disk is {found.disk_type}", "export it again: in an OVF package disks are streamOptimized")
    return replace(found, adapter_type=package.adapter_type, os_type=package.os_type)


def _vmdk(image: VMwareImage, file: Window, most: int) -> Inspected:
    head = file.read_at(0, 512)
    if image.is_flat:
        return _flat(image, file, head, most)
    found, problems = vmdk.read(file, max_virtual_size=most)
    if found is None:
        hint = "say disk_type: preallocated if it is the disk byte by byte (a -flat.vmdk)" if not vmdk.is_sparse(head) else ""
        raise _refused(image, "; ".join(problems), hint)
    if image.disk_type and image.disk_type != found.disk_type:
        raise _refused(image, f"disk_type is {image.disk_type}, but its header says {found.disk_type}", "correct disk_type, or leave it out")
    _judge(image, file, ("vmdk",))
    # Its adapter says little: qemu-img writes "ide" unless it is told otherwise.
    return Inspected(file, found.disk_type, found.virtual_size, found.allocated)


def _flat(image: VMwareImage, file: Window, head: bytes, most: int) -> Inspected:
    if vmdk.is_sparse(head) or head.startswith(vmdk.DESCRIPTOR_MAGIC):
        said = "a descriptor" if not vmdk.is_sparse(head) else "a sparse or streamOptimized VMDK"
        raise _refused(image, f"disk_type is {image.disk_type}, the disk byte by byte, but it is {said}", "correct disk_type, or leave it out")
    detected = detect_in(file.stream())
    if detected.formats not in _HARMLESS:
        raise _refused(image, f"disk_type is {image.disk_type}, the disk byte by byte, but its bytes are of {', '.join(detected.formats)}")
    if not 0 < file.size <= most:
        raise _refused(image, f"its disk would have {file.size} bytes, and {most} are allowed")
    return Inspected(file, "flat", file.size, file.size)


def _iso(image: VMwareImage, file: Window) -> Inspected:
    if file.read_at(_ISO_AT, len(_ISO_MAGIC)) != _ISO_MAGIC:
        raise _refused(image, "it is said to be an ISO image, but its bytes are not", "correct the format")
    found = detect_in(file.stream()).formats
    # One that also boots from a stick has a partition table besides.
    if set(found) - {"iso", "gpt", "mbr", "raw"}:
        raise _refused(image, f"its bytes are of several formats at once: {', '.join(found)}")
    return Inspected(file, "iso", file.size, file.size)


def _converted(image: VMwareImage, fetched: Fetched, scratch: str, deadline: Deadline, stack: contextlib.ExitStack, most: int) -> Inspected:
    """A streamOptimized VMDK made of another format: of all that reach a datastore it has the fewest bytes."""
    looked = inspect_file(fetched.path, image.format, deadline, name=str(image), max_virtual_size=most)
    target = os.path.join(scratch, "converted.vmdk")
    qemu_img.convert(fetched.path, image.format, target, "vmdk", deadline, options={"subformat": "streamOptimized"})
    os.unlink(fetched.path)
    made = stack.enter_context(open_window(target))
    found, problems = vmdk.read(made, max_virtual_size=most)
    if found is None:
        raise _refused(image, f"what qemu-img made of it is no proper VMDK: {'; '.join(problems)}")
    if found.virtual_size != looked.virtual_size:
        raise _refused(image, f"its disk has {looked.virtual_size} bytes, and what qemu-img made of it {found.virtual_size}")
    return Inspected(made, "streamOptimized", found.virtual_size, found.allocated)


def _judge(image: VMwareImage, file: Window, expected: tuple[str, ...]) -> None:
    detected = detect_in(file.stream())
    if detected.formats != expected:
        raise _refused(image, f"its bytes are of {', '.join(detected.formats)}, not of {expected[0]} alone")
    if detected.violations:
        raise _refused(image, f"it is unsafe or damaged: {'; '.join(text for _check, text in detected.violations)}")


def _descriptor(file: Window, image: VMwareImage) -> bytes:
    if file.size > ovf.MOST_DESCRIPTOR:
        raise _refused(image, f"its OVF descriptor has {file.size} bytes")
    return file.read_at(0, file.size)


def _refused(image: VMwareImage, why: str, hint: str = "") -> ImageRefused:
    return ImageRefused(f"the image is refused: {why}", obj=str(image), phase="inspect", hint=hint)
