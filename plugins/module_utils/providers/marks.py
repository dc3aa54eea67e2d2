# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The mark a machine carries: to whom it belongs and how far it has come.

The mark is written in the call that makes the machine, so there is no moment at which a machine of ours exists unmarked.
What carries no mark of ours is never touched.
"""

from __future__ import annotations

import enum
import hashlib
import secrets
import uuid
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import MarkChanged

# RFC 9562 leaves the bits of a version 8 UUID to its maker. The first 48 say that the machine is ours and 16 more are a hash
# of its pool, so a listing that shows UUIDs tells whose machines they are without a further call for each.
_ID_PREFIX = b"pwvirt"
_SINGLE = "spawn."


class MarkState(str, enum.Enum):
    """How far a machine has come."""

    CREATING = "creating"  # made, or being made; not yet seen ready
    READY = "ready"  # was seen ready once
    RESETTING = "resetting"  # its way back to its snapshot has begun; not yet seen ready again
    DESTROYING = "destroying"  # its removal has begun


@dataclass(frozen=True)
class Lease:
    """A machine handed out to somebody; ``until`` is in seconds since the epoch, None for no end."""

    id: str
    until: float | None = None

    def holds(self, now: float) -> bool:
        return self.until is None or self.until > now


@dataclass(frozen=True)
class Mark:
    """Ownership and state of one machine, kept on the machine itself.

    ``id`` is new for each machine made, so two machines that held the same slot one after the other differ in it.
    ``image`` names for people what the machine was made from; ``created_at`` is in seconds since the epoch. ``name`` is
    what the machine was called when it was made, so a machine that somebody renamed tells. ``maker`` is ``Provider.maker`` of who made
    it, "" where whoever makes machines holds the pool. ``snapshot`` names the snapshot of the machine as it was made, before its first
    start, "" where there is none. A machine that goes back to it keeps its id and gets another ``created_at`` and ``maker``.
    """

    pool: str
    slot: int
    id: str
    spec_hash: str
    image: str
    created_at: float
    state: MarkState = MarkState.CREATING
    lease: Lease | None = None
    name: str = ""
    maker: str = ""
    snapshot: str = ""

    def as_state(self, state: MarkState) -> Mark:
        return replace(self, state=state)

    def to_dict(self) -> dict[str, Any]:
        """Plain strings and numbers, for a store or for XML attributes; ``from_dict`` reads them back."""
        data: dict[str, Any] = {
            "pool": self.pool,
            "slot": self.slot,
            "id": self.id,
            "spec_hash": self.spec_hash,
            "image": self.image,
            "created_at": self.created_at,
            "state": self.state.value,
        }
        if self.name:
            data["name"] = self.name
        if self.maker:
            data["maker"] = self.maker
        if self.snapshot:
            data["snapshot"] = self.snapshot
        if self.lease is not None:
            data["lease"] = self.lease.id
            if self.lease.until is not None:
                data["lease_until"] = self.lease.until
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Mark:
        """:raises KeyError, ValueError: the data is no mark."""
        lease = None
        if data.get("lease"):
            until = data.get("lease_until")
            lease = Lease(str(data["lease"]), None if until is None else float(until))
        return cls(
            pool=str(data["pool"]),
            slot=int(data["slot"]),
            id=str(data["id"]),
            spec_hash=str(data["spec_hash"]),
            image=str(data["image"]),
            created_at=float(data["created_at"]),
            state=MarkState(data["state"]),
            lease=lease,
            name=str(data.get("name", "")),
            maker=str(data.get("maker", "")),
            snapshot=str(data.get("snapshot", "")),
        )


def require_same(found: Mark, expected: Mark, vm: str, phase: str) -> None:
    """:raises MarkChanged: the machine's id or lease is another: it was replaced or handed out."""
    if (found.id, found.lease) != (expected.id, expected.lease):
        raise MarkChanged("it was replaced or handed out meanwhile", obj=vm, phase=phase)


def single(name: str) -> str:
    """The pool of a machine that stands alone, as the marks of libvirt's and the simulated machines have it: no pool's name has a dot."""
    return f"{_SINGLE}{name}"


def is_single(pool: str) -> bool:
    """Whether it is no pool, but a machine that stands alone: pools are listed and removed without them."""
    return pool.startswith(_SINGLE)


def new_machine_id(pool: str) -> str:
    """A new machine's UUID (version 8), recognisable as ours and, very likely, as the pool's."""
    raw = bytearray(_ID_PREFIX + secrets.token_bytes(10))
    raw[6] = 0x80 | (raw[6] & 0x0F)
    raw[8] = 0x80 | (raw[8] & 0x3F)
    raw[7], raw[9] = _tag(pool)
    return str(uuid.UUID(bytes=bytes(raw)))


def is_machine_id(value: str, pool: str | None = None) -> bool:
    """Whether a UUID was made by ``new_machine_id``; with ``pool``, whether it can be one of the pool's (1 of 65,536 others can)."""
    try:
        raw = uuid.UUID(value).bytes
    except ValueError:
        return False
    return raw[:6] == _ID_PREFIX and raw[6] >> 4 == 8 and (pool is None or (raw[7], raw[9]) == _tag(pool))


def _tag(pool: str) -> tuple[int, int]:
    first, second, *_rest = hashlib.sha256(pool.encode()).digest()
    return first, second
