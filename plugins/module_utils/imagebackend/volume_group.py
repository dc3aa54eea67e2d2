# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""LVM's tools, one typed method per command. Each command holds the group's own lock, and is done as a whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import (
    Busy,
    InsufficientResources,
    NotFound,
    OperationFailed,
    ToolFailed,
    VirtError,
)
from ansible_collections.poolwright.virt.plugins.module_utils.process import find_tool, run_tool

OWNER_TAG = "poolwright"
_FIELDS = "lv_name,lv_size,lv_tags,lv_attr,pool_lv,data_percent"
_FULL = ("insufficient free space", "insufficient free extents", "insufficient suitable", "no space left", "not enough free", "reached threshold")
_MISSING = ("failed to find", "not found", "cannot process volume group")
_USED = ("in use", "is used by another", "filesystem in use", "device or resource busy")
_HINTS = {
    "permission denied": "run it as root (become: true)",
    "while pvs are missing": "bring the missing physical volume back, or give it up: vgreduce --removemissing",
    "refusing activation of partial": "bring the missing physical volume back",
    "is exported": "import it: vgimport",
    "needs repair": "repair its metadata: lvconvert --repair",
    "check of pool": "repair its metadata: lvconvert --repair",
}
_SAME = "matches existing size"
_TAKEN = "already exists"


@dataclass(frozen=True)
class Volume:
    """A logical volume: ``size`` in bytes, whole extents; ``pool`` is its thin pool's name, "" for none.

    ``unmapped`` is of a thin pool: bytes that no volume has; None for all others.
    """

    name: str
    size: int
    tags: frozenset[str] = frozenset()
    is_open: bool = False
    pool: str = ""
    unmapped: int | None = None

    @property
    def ours(self) -> bool:
        return OWNER_TAG in self.tags

    def tag(self, key: str) -> str:
        """The value of the tag ``poolwright.KEY=value``, "" where it has none."""
        prefix = f"{OWNER_TAG}.{key}="
        return next((tag[len(prefix) :] for tag in sorted(self.tags) if tag.startswith(prefix)), "")


def tag(key: str, value: str) -> str:
    return f"{OWNER_TAG}.{key}={value}"


class VolumeGroup:
    """:param pool: name of the thin pool for new volumes, "" for thick ones."""

    def __init__(self, name: str, pool: str = "") -> None:
        self.name = name
        self.pool = pool

    def device(self, volume: str) -> str:
        """LVM's own link: no doubled hyphens as in ``/dev/mapper``."""
        return f"/dev/{self.name}/{volume}"

    def volumes(self, deadline: Deadline) -> list[Volume]:
        """All volumes of the group that have a name of their own, in one command. :raises NotFound: there is no such group."""
        rows = self._report("lvs", "lv", _FIELDS, self.name, deadline)
        return [
            Volume(
                row["lv_name"],
                int(row["lv_size"]),
                frozenset(filter(None, row["lv_tags"].split(","))),
                row["lv_attr"][5:6] == "o",
                row["pool_lv"],
                _unmapped(row) if row["lv_attr"].startswith("t") else None,
            )
            for row in rows
        ]

    def own_tags(self, deadline: Deadline) -> list[str]:
        """The tags of the group itself."""
        return list(filter(None, self._report("vgs", "vg", "vg_tags", self.name, deadline)[0]["vg_tags"].split(",")))

    def change_own_tags(self, add: Sequence[str], drop: Sequence[str], deadline: Deadline) -> None:
        """All at once."""
        arguments = [*_tagged(add), *(part for one in drop for part in ("--deltag", one))]
        self._call("vgchange", ["--yes", *arguments, self.name], self.name, deadline)

    def free_bytes(self, deadline: Deadline) -> int:
        """Of the pool what is not mapped yet; else of the group."""
        if not self.pool:
            return int(self._report("vgs", "vg", "vg_free", self.name, deadline)[0]["vg_free"])
        return self.pool_free(self.volumes(deadline))

    def pool_free(self, volumes: Sequence[Volume]) -> int:
        """Bytes that are not mapped yet, by a list of all volumes. :raises NotFound: there is no such pool."""
        found = next((one for one in volumes if one.name == self.pool), None)
        where = f"{self.name}/{self.pool}"
        if found is None:
            raise NotFound("there is no such thin pool", obj=where, phase="check", hint=f"look what there is: lvs {self.name}")
        if found.unmapped is None:
            raise OperationFailed("it is no thin pool", obj=where, phase="check", hint="make one: lvcreate --type thin-pool")
        return found.unmapped

    def used_bytes(self, volume: str, deadline: Deadline) -> int:
        """What a volume takes of the group, a thin one of its pool."""
        row = self._report("lvs", "lv", "lv_size,data_percent,pool_lv", f"{self.name}/{volume}", deadline)[0]
        return int(int(row["lv_size"]) * float(row["data_percent"] or 0) / 100) if row["pool_lv"] else int(row["lv_size"])

    def create(self, volume: str, size: int, tags: Sequence[str], deadline: Deadline) -> None:
        """Room as the group was given: thin in its pool, reading as zeros; else thick, with whatever was there before.

        :raises InsufficientResources: the group has no room.   :raises Busy: the name is taken.
        """
        where = ["--virtualsize", f"{size}b", "--thinpool", self.pool] if self.pool else ["--size", f"{size}b", "--wipesignatures", "n", "--zero", "n"]
        self._run("lvcreate", ["--name", volume, *where, *_tagged(tags), self.name], volume, deadline)

    def snapshot(self, origin: str, volume: str, tags: Sequence[str], deadline: Deadline) -> None:
        """A thin volume that shares the blocks of another, and outlives it."""
        # Left out, a thin snapshot is not activated.
        self._run("lvcreate", ["--snapshot", "--setactivationskip", "n", "--name", volume, *_tagged(tags), f"{self.name}/{origin}"], volume, deadline)

    def extend(self, volume: str, size: int, deadline: Deadline) -> None:
        """To at least ``size`` bytes; no error where its extents are that large already."""
        try:
            self._run("lvextend", ["--size", f"{size}b", f"{self.name}/{volume}"], volume, deadline)
        except ToolFailed as exc:
            if _SAME not in exc.message:
                raise

    def rename(self, volume: str, new: str, deadline: Deadline) -> None:
        """:raises Busy: the new name is taken."""
        self._run("lvrename", [self.name, volume, new], volume, deadline)

    def change_tags(self, volume: str, add: Sequence[str], drop: Sequence[str], deadline: Deadline) -> None:
        arguments = [*_tagged(add), *(part for one in drop for part in ("--deltag", one))]
        self._run("lvchange", [*arguments, f"{self.name}/{volume}"], volume, deadline)

    def remove(self, volumes: Sequence[str], deadline: Deadline) -> None:
        """One after the other, in one command. :raises Busy: one is open."""
        if volumes:
            self._run("lvremove", [f"{self.name}/{volume}" for volume in volumes], volumes[-1], deadline)

    def wipe(self, volume: str, begin: int, length: int, deadline: Deadline, *, discard: bool = False) -> None:
        """Fill a part of a volume with zeros, or give its blocks back to what is below."""
        how = [] if discard else ["--zeroout"]
        device = self.device(volume)
        argv = [find_tool("blkdiscard", "util-linux"), *how, "--offset", str(begin), "--length", str(length), device]
        run_tool(argv, timeout=_left(deadline, device), phase="disk", obj=device)

    def _report(self, tool: str, kind: str, columns: str, what: str, deadline: Deadline) -> list[dict[str, str]]:
        said = self._call(tool, ["--reportformat", "json", "--units", "b", "--nosuffix", "-o", columns, what], what, deadline)
        try:
            return list(json.loads(said)["report"][0][kind])
        except (ValueError, KeyError, IndexError, TypeError) as exc:
            raise OperationFailed(f"{tool} did not answer in the JSON of LVM 2", obj=what, phase="check") from exc

    def _run(self, tool: str, arguments: list[str], volume: str, deadline: Deadline) -> None:
        self._call(tool, ["--yes", *arguments], f"{self.name}/{volume}", deadline)

    def _call(self, tool: str, arguments: list[str], obj: str, deadline: Deadline) -> str:
        path = find_tool(tool, "lvm2")
        try:
            # Killed between two steps, it could leave a device suspended that others then wait for. It is short, and ends as a whole.
            return run_tool([path, *arguments], timeout=_left(deadline, obj), phase="disk", obj=obj, ends_itself=True)
        except ToolFailed as exc:
            raise _named(exc, self.name) from exc


def _left(deadline: Deadline, obj: str) -> float:
    deadline.check("a volume's command", obj=obj, phase="disk")
    return deadline.remaining


def _unmapped(row: dict[str, str]) -> int:
    # Rounded up: a percentage has two digits after the point.
    used = (float(row["data_percent"] or 0) + 0.01) / 100
    return max(0, int(int(row["lv_size"]) * (1 - used)))


def _tagged(tags: Sequence[str]) -> list[str]:
    return [part for one in tags for part in ("--addtag", one)]


def _named(exc: ToolFailed, group: str) -> VirtError:
    said = exc.message.lower()
    if _TAKEN in said:
        return Busy(exc.message, obj=exc.obj, phase=exc.phase, hint="remove it first, or choose another name")
    if any(words in said for words in _FULL):
        return InsufficientResources(exc.message, obj=exc.obj, phase=exc.phase, hint=f"extend the volume group {group} (vgextend), or remove volumes")
    if any(words in said for words in _USED):
        return Busy(exc.message, obj=exc.obj, phase=exc.phase, hint="shut the guest that uses it off")
    if any(words in said for words in _MISSING):
        return NotFound(exc.message, obj=exc.obj, phase=exc.phase, hint=f"look what there is: lvs {group}")
    exc.hint = next((hint for words, hint in _HINTS.items() if words in said), exc.hint)
    return exc
