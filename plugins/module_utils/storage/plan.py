# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What has to be done for a disk to be as it is asked for: decided from what is recorded, and carried out in an order that may be cut short anywhere.

The record comes before the disk and goes after it. ``made`` in it says that the disk was there: what is recorded and neither made nor there
is made, what was made and is not there was lost.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, ImageRefused, InvalidSpec, NotFound, NotOurs
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import Image
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.disks import DiskFromImage
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage
from ansible_collections.poolwright.virt.plugins.module_utils.storage import ledger
from ansible_collections.poolwright.virt.plugins.module_utils.storage.contents import Contents, creatable, origin_of
from ansible_collections.poolwright.virt.plugins.module_utils.storage.record import Origin, OwnDisk
from ansible_collections.poolwright.virt.plugins.module_utils.storage.request import Request, State
from ansible_collections.poolwright.virt.plugins.module_utils.storage.sources import Sources, is_seen
from ansible_collections.poolwright.virt.plugins.module_utils.storage.wish import DIRECTORY, NOTHING, DiskWish, renewed


class Step(enum.Enum):
    """In the order in which they are done."""

    REMOVE = "remove"
    FORGET = "forget"
    MAKE = "make"
    FINISH = "finish"
    GROW = "grow"
    RENEW = "renew"


@dataclass(frozen=True)
class Plan:
    """:ivar before: as recorded now; ``exists`` whether the disk is there.

    :ivar after: as it will be recorded, None where the disk is to be gone.
    :ivar wish: what the disk is made from, of ``identical_to`` with the other disk's description.
    :ivar expected: the digest that the new disk must have, "" where only its contents themselves tell.
    """

    request: Request
    place: Image
    wish: DiskWish
    before: OwnDisk | None
    exists: bool
    after: OwnDisk | None
    steps: tuple[Step, ...]
    source: CachedImage | Contents | None = None
    expected: str = ""

    @property
    def changed(self) -> bool:
        return bool(self.steps)

    def there(self) -> Image:
        """The disk that is there, with what it was made with: it grows as it began, and goes as it was asked for then."""
        return self.place if self.before is None else replace(self.before, options=renewed(self.before.options, self.place.options)).place()


class Planner:
    """:raises VirtError: from ``plan``; a disk cannot be as it is asked for, and nothing was touched but the image cache."""

    def __init__(self, sources: Sources, deadline: Deadline) -> None:
        self._sources = sources
        self._deadline = deadline

    def plan(self, request: Request) -> Plan:
        place = request.wish.place()
        own, exists = ledger.read(place, self._deadline), place.exists(self._deadline)
        if request.state is State.ABSENT:
            return self._absent(request, place, own, exists)
        wish, like = request.wish, None
        if request.state is State.IDENTICAL:
            like = self._other(request)
            wish = _described_like(request.wish, like)
        if own is None and exists and not (request.recreate and request.force):
            raise _unrecorded(place, request.state)
        if own is not None and exists:
            contents = self._contents(wish)
            why = _identity(own, like) if like is not None else _difference(own, wish, contents)
            if not why:
                return self._kept(request, place, wish, own)
            if not request.recreate:
                hint = "give recreate: true to throw away what is on it"
                raise InvalidSpec([f"{place.name}: {why}; {hint}, or name another disk"])
            return self._made(request, place, wish, own, exists, contents, like)
        if own is not None and own.made and not request.recreate:
            hint = "bring it back, give recreate: true to make it anew, or state: absent to forget it"
            raise NotFound(f"its disk {own.record.path} is gone", obj=place.name, phase="check", hint=hint)
        return self._made(request, place, wish, own, exists, None, like)

    def _absent(self, request: Request, place: Image, own: OwnDisk | None, exists: bool) -> Plan:
        if exists and own is None and not request.force:
            raise _unrecorded(place, request.state)
        steps = (*((Step.REMOVE,) if exists else ()), *((Step.FORGET,) if own is not None else ()))
        return Plan(request, place, request.wish, own, exists, None, steps)

    def _other(self, request: Request) -> OwnDisk:
        """The disk that this one is to be like."""
        if isinstance(request.like, OwnDisk):
            other = request.like
        else:
            if request.like is None:
                raise InvalidSpec(["like: is missing beside state: identical_to"])
            found = ledger.read(request.like.place(), self._deadline)
            if found is None:
                hint = "correct like, or give the record that the other host returned"
                raise NotFound("nothing is recorded of the disk to be like", obj=request.like.name, phase="check", hint=hint)
            other = found
        if not other.made:
            raise Busy("the disk to be like is not finished yet", obj=other.name, phase="check", hint="make it first")
        if not other.origin.source and other.origin.content is None:
            raise InvalidSpec([f"like: nothing is recorded of what {other.name} was made from"])
        return other

    def _contents(self, wish: DiskWish) -> Contents | None:
        """Contents that have to be looked at to say whether they are the same: those of a directory."""
        if wish.content is None or wish.content.kind != DIRECTORY:
            return None
        found = self._sources.of(wish)
        return found if isinstance(found, Contents) else None

    def _kept(self, request: Request, place: Image, wish: DiskWish, own: OwnDisk) -> Plan:
        size = own.record.size if wish.size is None else wish.size
        after = replace(own, made=True, record=replace(own.record, size=size), options=renewed(own.options, place.options))
        if not own.made and request.state is State.IDENTICAL:
            # Nobody compared it yet.
            return self._made(request, place, wish, own, True, None, self._other(request))
        steps = (
            *((Step.FINISH,) if not own.made else ()),
            *((Step.GROW,) if size > own.record.size else ()),
            *((Step.RENEW,) if after.options != own.options else ()),
        )
        return Plan(request, place, wish, own, True, after, steps)

    def _made(self, request: Request, place: Image, wish: DiskWish, own: OwnDisk | None, exists: bool, known: Contents | None, like: OwnDisk | None) -> Plan:
        if not wish.is_made:
            hint = "say what is on it: image, content, or size_gb for a blank one"
            raise NotFound("there is no such disk", obj=place.name, phase="check", hint=hint)
        seed = place.name if like is None else like.origin.seed
        source = self._sources.of(wish, seed=seed) if known is None else replace(known, seed=seed)
        if like is not None:
            _refuse_other_source(like, source)
        disk = creatable(wish, source, self._deadline)
        record = disk.record()
        if isinstance(disk, DiskFromImage) and not is_seen(disk.image):
            record = replace(record, size=wish.size or 0)
        origin = _with_reference(origin_of(wish, source), wish)
        after = OwnDisk(place.location, place.name, record, True, place.options, origin)
        expected = "" if like is None else like.origin.digest
        return Plan(request, place, wish, own, exists, after, (*((Step.REMOVE,) if exists else ()), Step.MAKE), source, expected)


def _described_like(wish: DiskWish, like: OwnDisk) -> DiskWish:
    """Credentials are in no record, so the image may be named again."""
    image = like.origin.image
    if image is not None and wish.image is not None:
        image = replace(wish.image, checksum=image.checksum, format=image.format, compression=image.compression, convert_to=image.convert_to)
    elif wish.image is not None:
        raise InvalidSpec([f"image: {like.name} was not made from an image; leave it out"])
    return replace(wish, image=image, content=like.origin.content, size=like.record.size)


def _refuse_other_source(like: OwnDisk, source: CachedImage | Contents) -> None:
    if isinstance(source, Contents):
        if source.tree_digest != like.origin.tree:
            said = f"{source.content.directory} is not as it was when {like.name} was made from it"
            raise ImageRefused(said, obj=like.name, phase="check", hint="bring the directory back as it was")
    elif source.digest and source.digest != like.record.image:
        said = f"the image is {source.digest}, and {like.name} was made from {like.record.image}"
        raise ImageRefused(said, obj=like.name, phase="check", hint="bring the image back as it was")


def _with_reference(origin: Origin, wish: DiskWish) -> Origin:
    named = None if wish.image is None else wish.image.checksum_file
    return origin if named is None else replace(origin, reference=str(named))


def _difference(own: OwnDisk, wish: DiskWish, contents: Contents | None) -> str:
    """In what a disk that is there is otherwise than asked for, beyond what can be changed; "" where in nothing."""
    origin, image = own.origin, wish.image
    if image is not None and not _same_image(origin, wish):
        checksum = f" ({image.digest})" if image.digest else ""
        return f"it was made from {_told(origin)}, not from {image}{checksum}"
    if wish.content is not None:
        asked = replace(wish.content, directory="")
        if origin.source or asked != replace(origin.content or NOTHING, directory=""):
            return f"it was made from {_told(origin)}, not from {wish.content}"
        if contents is not None and contents.tree_digest != origin.tree:
            return f"what is in {wish.content.directory} is not what the disk was made from"
    if wish.size is not None and wish.size < own.record.size:
        return f"a disk of {own.record.size} bytes cannot shrink to {wish.size}"
    return ""


def _same_image(origin: Origin, wish: DiskWish) -> bool:
    image = wish.image
    if image is None or not origin.source or (image.format, image.compression) != (origin.format, origin.compression):
        return False
    if image.checksum_file is not None:
        return (str(image), str(image.checksum_file)) == (origin.source, origin.reference)
    if image.digest is not None and image.digest.partition(":")[0] == origin.checksum.partition(":")[0]:
        return image.digest == origin.checksum
    return str(image) == origin.source


def _identity(own: OwnDisk, like: OwnDisk) -> str:
    """In what a disk that is there is otherwise than another one; "" where it was made from the same description."""
    ours, theirs = own.origin, like.origin
    if (own.record.image, ours.seed, ours.tree) != (like.record.image, theirs.seed, theirs.tree) or ours.content != theirs.content:
        return f"it was made from {_told(ours)}, and {like.name} from {_told(theirs)}"
    if own.record.size != like.record.size:
        return f"it has {own.record.size} bytes, and {like.name} {like.record.size}"
    if own.made and ours.digest and theirs.digest and ours.digest != theirs.digest:
        return f"its contents had another digest than those of {like.name} when they were made"
    return ""


def _told(origin: Origin) -> str:
    return f"{origin} ({origin.checksum})" if origin.checksum else str(origin)


def _unrecorded(place: Image, state: State) -> NotOurs:
    what = "force: true to remove it all the same" if state is State.ABSENT else "recreate and force, both true, to throw it away"
    return NotOurs(
        "there is a disk of this name, and nothing is recorded of it: a guest's own perhaps",
        obj=place.name,
        phase="check",
        hint=f"name another disk, or give {what}",
    )
