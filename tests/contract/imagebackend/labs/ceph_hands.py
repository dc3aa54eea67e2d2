# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""ceph_hands.py CONF: what a lab does to a Ceph cluster by hand, over one connection, by the Python that Ceph's libraries are for.

Reads a question in each line, ``["names", "rbd"]``, and answers each in one: ``{"is": ...}`` or ``{"failed": why}``. A tool of Ceph's would
take longer to start than to do any of this. A place is ``pool`` or ``pool/namespace``.
"""

from __future__ import annotations

import contextlib
import errno
import json
import sys
from typing import Any

import rados
import rbd

_ATTEMPTS = 4


class Hands:
    def __init__(self, conf: str) -> None:
        # A monitor's answer can be lost; without a limit it is waited for for ever.
        self._cluster = rados.Rados(conffile=conf, conf={"rados_mon_op_timeout": "30"})
        self._cluster.connect()
        self._images = rbd.RBD()

    # -- pools

    def pools(self) -> list[str]:
        return list(self._cluster.list_pools())

    def make_pool(self, pool: str) -> None:
        self._command("osd pool create", pool=pool, pg_num=1)
        self._images.pool_init(self._place(pool), True)

    def set_quota(self, pool: str, size: int) -> None:
        """:param size: bytes; 0 for none."""
        self._command("osd pool set-quota", pool=pool, field="max_bytes", val=str(size))

    def stats(self, pool: str) -> dict[str, Any]:
        """What the cluster has counted; empty before it first has."""
        found = json.loads(self._command("df", format="json"))["pools"]
        return dict(next((row["stats"] for row in found if row["name"] == pool), {}))

    def flags(self, pool: str) -> list[str]:
        found = json.loads(self._command("osd dump", format="json"))["pools"]
        return str(next(row["flags_names"] for row in found if row["pool_name"] == pool)).split(",")

    # -- namespaces

    def make_namespace(self, place: str) -> None:
        pool, _slash, namespace = place.partition("/")
        self._images.namespace_create(self._place(pool), namespace)

    def remove_namespace(self, place: str) -> None:
        pool, _slash, namespace = place.partition("/")
        self._images.namespace_remove(self._place(pool), namespace)

    def names(self, place: str) -> list[str]:
        return sorted(self._images.list(self._place(place)))

    def empty(self, place: str) -> None:
        """Remove all images that can be removed."""
        where = self._place(place)
        # Clones before what they were cloned from.
        for _round in range(2):
            for name in self._images.list(where):
                with contextlib.suppress(rbd.Error):
                    self._remove(where, name)

    def forget_clients(self, place: str) -> bool:
        """Have the cluster believe no more in those that have an image open: they are dead. Whether there were any."""
        where, found = self._place(place), set()
        for name in self._images.list(where):
            # One that was half made cannot be looked at.
            with contextlib.suppress(rbd.Error), rbd.Image(where, name, read_only=True) as image:
                found |= {str(row["addr"]) for row in image.watchers_list()}
        for address in found:
            self._command("osd blocklist", blocklistop="add", addr=address, expire=60.0)
        return bool(found)

    # -- images

    def create(self, place: str, name: str, size: int) -> None:
        self._images.create(self._place(place), name, size, old_format=False)

    def shape(self, place: str, name: str) -> list[int]:
        """Size in bytes, and the number of snapshots."""
        with rbd.Image(self._place(place), name, read_only=True) as image:
            return [image.size(), len(list(image.list_snaps()))]

    def _remove(self, where: Any, name: str) -> None:
        # Of one that was half made or half removed nothing else is left.
        with contextlib.suppress(rbd.Error), rbd.Image(where, name) as image:
            for snapshot in [row["name"] for row in image.list_snaps()]:
                with contextlib.suppress(rbd.Error):
                    image.unprotect_snap(snapshot)
                image.remove_snap(snapshot)
        self._images.remove(where, name)

    def _place(self, place: str) -> Any:
        pool, _slash, namespace = place.partition("/")
        where = self._cluster.open_ioctx(pool)
        where.set_namespace(namespace)
        # A full pool lets a write wait until there is room, but not what makes some.
        where.set_osdmap_full_try()
        return where

    def _command(self, prefix: str, **arguments: Any) -> bytes:
        """All that are asked for here may be done twice."""
        for _attempt in range(_ATTEMPTS):
            status, said, why = self._cluster.mon_command(json.dumps({"prefix": prefix, **arguments}), b"")
            if status != -errno.ETIMEDOUT:
                break
        if status:
            raise OSError(-status, f"{prefix}: {why}")
        return bytes(said)


def main() -> None:
    hands = Hands(sys.argv[1])
    for line in sys.stdin:
        what, *arguments = json.loads(line)
        try:
            answer = {"is": getattr(hands, what)(*arguments)}
        except (rados.Error, rbd.Error, OSError) as exc:
            answer = {"failed": f"{what} {' '.join(map(str, arguments))}: {exc}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
