# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""A program that does with python3-rados and python3-rbd what it is asked for, over one connection to the cluster.

Those are built for the distribution's own Python only, and a call into them that waits for a lost cluster never comes
back. So this file's text is run by that Python (see ``ceph_client``), as a child that can be killed at a deadline.

Each question is a line of JSON: ``do``, the name of a method of ``Cluster``, and its arguments. So is each answer:
``is`` with what the method returned; or ``said``, ``errno`` and ``at``, which is ``cluster``, ``place`` or ``image``.
The program ends with its input, in the middle of a call too: it does not go on for somebody who was killed.
"""

from __future__ import annotations

import base64
import contextlib
import importlib
import json
import os
import queue
import sys
import threading
from typing import Any

_ENOENT, _EEXIST = 2, 17
_DEBIANS = "/usr/lib/python3/dist-packages"
# A clone of this format goes by its snapshot's id: nothing has to be unprotected, and clusters since Mimic have it.
_SETTINGS = {"rbd_default_clone_format": "2"}
_MAPPING = ("object-map", "fast-diff")


class Failure(Exception):
    """What went wrong, and with what: ``at``."""

    def __init__(self, said: str, errno: int, at: str) -> None:
        super().__init__(said)
        self.answer = {"said": said, "errno": errno, "at": at}


class Cluster:
    """A place is ``pool`` or ``pool/namespace``, sizes are bytes. What is not there is an error unless said otherwise."""

    def __init__(self, conf: str, user: str, keyring: str) -> None:
        try:
            if os.path.isdir(_DEBIANS):
                # All that Python would look for at its start takes longer.
                sys.path.append(_DEBIANS)
            else:
                import site

                site.main()
            # By their names alone: beside this file there is another rbd.
            rados, rbd = importlib.import_module("rados"), importlib.import_module("rbd")
        except ImportError as exc:
            raise Failure(str(exc), 0, "library") from exc
        self._rados, self._rbd = rados, rbd
        self._places: dict[str, Any] = {}
        _check_keyring(keyring)
        settings = dict(_SETTINGS, keyring=keyring) if keyring else _SETTINGS
        try:
            self._connection = rados.Rados(conffile=conf, rados_id=user or None, conf=settings)
            self._connection.connect()
        except rados.Error as exc:
            raise Failure(f"{exc}, with the configuration {conf or '/etc/ceph/ceph.conf'}", _number(exc), "cluster") from exc

    def answer(self, question: dict[str, Any]) -> Any:
        """:raises Failure:"""
        try:
            return getattr(self, str(question.pop("do")))(**question)
        except (self._rados.Error, self._rbd.Error) as exc:
            raise Failure(str(exc), _number(exc), "image") from exc

    def free(self, pool: str) -> dict[str, int] | None:
        """What the cluster counts of a pool; None where there is no such pool."""
        status, said, why = self._connection.mon_command(json.dumps({"prefix": "df", "detail": "detail", "format": "json"}), b"")
        if status:
            raise Failure(why, abs(status), "cluster")
        found = [row["stats"] for row in json.loads(said)["pools"] if row["name"] == pool]
        return {key: int(found[0].get(key, 0)) for key in ("max_avail", "quota_bytes", "stored")} if found else None

    # -- small objects, their bytes as base64

    def get(self, place: str, name: str) -> str | None:
        """None where there is none."""
        where = self._place(place)
        try:
            return base64.b64encode(where.read(name, where.stat(name)[0])).decode()
        except self._rados.ObjectNotFound:
            return None

    def put(self, place: str, name: str, data: str) -> None:
        """In place of what it held, at once."""
        self._place(place).write_full(name, base64.b64decode(data))

    def delete(self, place: str, name: str) -> None:
        """No such object is no error."""
        with contextlib.suppress(self._rados.ObjectNotFound):
            self._place(place).remove_object(name)

    # -- whole images

    def names(self, place: str) -> list[str]:
        return list(self._images.list(self._place(place)))

    def look(self, place: str, name: str) -> dict[str, Any] | None:
        """The keys of an image's metadata, and the name that the place's list has for it; None where there is none.

        The two names differ where a rename was cut off.
        """
        try:
            with self._image(place, name, read_only=True) as image:
                keys, ident = [key for key, _value in image.metadata_list()], image.id()
            with self._rbd.Image(self._place(place), image_id=ident, read_only=True) as image:
                return {"keys": keys, "name": image.get_name()}
        except self._rbd.ImageNotFound:
            return None

    def create(self, place: str, name: str, size: int, features: list[str], mark: str) -> None:
        self._images.create(self._place(place), name, size, old_format=False, features=self._bits(features))
        self.mark(place, name, mark)

    def clone(self, place: str, base: str, snapshot: str, name: str, features: list[str]) -> None:
        where = self._place(place)
        self._images.clone(where, base, snapshot, where, name, features=self._bits(features))

    def mark(self, place: str, name: str, mark: str, value: str = "yes") -> None:
        with self._image(place, name) as image:
            image.metadata_set(mark, value)

    def unmark(self, place: str, name: str, mark: str) -> None:
        """No such mark is no error."""
        with self._image(place, name) as image, contextlib.suppress(KeyError, self._rbd.ImageNotFound):
            image.metadata_remove(mark)

    def rename(self, place: str, name: str, new: str) -> None:
        where = self._place(place)
        ident = where.read(f"rbd_id.{name}")
        self._images.rename(where, name, new)
        # Of two that want a name at once librbd gives it to one, and now and then says to the other as well that all went well.
        if where.read(f"rbd_id.{new}") != ident:
            raise Failure(f"the name {new} is taken", _EEXIST, "image")

    def remove(self, place: str, name: str) -> None:
        """With its snapshots. No such image is no error; one that was half removed has no snapshots any more."""
        with contextlib.suppress(self._rbd.ImageNotFound), self._image(place, name) as image:
            for snapshot in [row["name"] for row in image.list_snaps()]:
                if image.is_protected_snap(snapshot):
                    image.unprotect_snap(snapshot)
                image.remove_snap(snapshot)
        with contextlib.suppress(self._rbd.ImageNotFound):
            self._images.remove(self._place(place), name)

    def holder(self, place: str, name: str) -> str | None:
        """Who has a name: the image that is listed under it; one listed under another, whose rename was cut off; "" for nobody.

        None where the name is free. A rename gives an image its new name first, and then lists it so.
        """
        where = self._place(place)
        try:
            stored = where.read(f"rbd_id.{name}")
        except self._rados.ObjectNotFound:
            return None
        ident = stored[4 : 4 + int.from_bytes(stored[:4], "little")].decode()
        return next((str(row["name"]) for row in self._images.list2(where) if row["id"] == ident), "")

    def free_name(self, place: str, name: str) -> None:
        """Take a name from an image that is not listed under it, or is gone."""
        self._place(place).remove_object(f"rbd_id.{name}")

    # -- what an image has

    def grow(self, place: str, name: str, size: int) -> None:
        """At least to ``size``."""
        with self._image(place, name) as image:
            if image.size() < size:
                image.resize(size)

    def used(self, place: str, name: str) -> int:
        """Bytes of the objects that an image has of its own, not its base's."""
        lengths: list[int] = []
        with self._image(place, name, read_only=True) as image:
            image.diff_iterate(
                0, image.size(), None, lambda _at, length, there: lengths.append(length if there else 0), include_parent=False, whole_object=True
            )
        return sum(lengths)

    def watchers(self, place: str, name: str) -> list[str]:
        with self._image(place, name, read_only=True) as image:
            return [str(row["addr"]) for row in image.watchers_list()]

    def flatten(self, place: str, name: str) -> None:
        """Standing on nothing already is no error.

        The object map says of an object that it is there before it is copied. A flatten that is cut off in between
        would have the next one pass the object over, and its data lost; so there is no map as long as it takes.
        """
        with self._image(place, name) as image:
            if self._has_parent(image):
                self._drop_map(image)
                image.flatten()
        self._make_map(place, name)

    def _has_parent(self, image: Any) -> bool:
        with contextlib.suppress(self._rbd.ImageNotFound):
            image.parent_info()
            return True
        return False

    def _drop_map(self, image: Any) -> None:
        there = image.features() & self._bits(list(_MAPPING))
        if there:
            image.update_features(there, False)

    def _make_map(self, place: str, name: str) -> None:
        """Of the image and of its snapshots, if it has none."""
        wanted = self._bits(list(_MAPPING))
        with self._image(place, name) as image:
            lacking = wanted & ~image.features()
            if not lacking:
                return
            image.update_features(lacking, True)
            snapshots = [str(row["name"]) for row in image.list_snaps()]
            image.rebuild_object_map()
        for snapshot in snapshots:
            with self._rbd.Image(self._place(place), name, snapshot=snapshot) as kept:
                kept.rebuild_object_map()

    def snapshots(self, place: str, name: str) -> list[str] | None:
        """None where there is no such image."""
        try:
            with self._image(place, name, read_only=True) as image:
                return [str(row["name"]) for row in image.list_snaps()]
        except self._rbd.ImageNotFound:
            return None

    def snapshot(self, place: str, name: str, snapshot: str) -> None:
        with self._image(place, name) as image:
            image.create_snap(snapshot)

    def protect(self, place: str, name: str, snapshot: str) -> None:
        with self._image(place, name) as image:
            image.protect_snap(snapshot)

    def forget(self, place: str, name: str, snapshot: str) -> None:
        with self._image(place, name) as image:
            image.remove_snap(snapshot)

    def revert(self, place: str, name: str, snapshot: str) -> None:
        with self._image(place, name) as image:
            image.rollback_to_snap(snapshot)

    def discarded(self, place: str, name: str, snapshot: str) -> int:
        """Bytes of the objects that a snapshot has and the image has no more: room that going back takes."""
        lengths: list[int] = []
        with self._image(place, name, read_only=True) as image:
            image.diff_iterate(0, image.size(), snapshot, lambda _at, length, there: lengths.append(0 if there else length), whole_object=True)
        return sum(lengths)

    def standing(self, place: str, name: str) -> dict[str, Any] | None:
        """An image's metadata as ``about``, the clones of all its snapshots, and who has it open; None where there is no such image."""
        try:
            with self._image(place, name, read_only=True) as image:
                clones = [{"place": _place_of(row), "name": row["image"], "trash": row["trash"]} for row in image.list_children2()]
                return {"about": dict(image.metadata_list()), "clones": clones, "watchers": [str(row["addr"]) for row in image.watchers_list()]}
        except self._rbd.ImageNotFound:
            return None

    # -- inside

    @property
    def _images(self) -> Any:
        return self._rbd.RBD()

    def _image(self, place: str, name: str, read_only: bool = False) -> Any:
        return self._rbd.Image(self._place(place), name, read_only=read_only)

    def _place(self, place: str) -> Any:
        found = self._places.get(place)
        if found is not None:
            return found
        pool, _slash, namespace = place.partition("/")
        try:
            opened = self._connection.open_ioctx(pool)
            if namespace and not self._images.namespace_exists(opened, namespace):
                raise Failure(f"there is no namespace {namespace} in the pool {pool}", _ENOENT, "place")
        except self._rados.Error as exc:
            raise Failure(str(exc), _number(exc), "place") from exc
        opened.set_namespace(namespace)
        # A full pool lets a write wait until there is room. Now it fails what needs room, and lets through what does not.
        opened.set_osdmap_full_try()
        self._places[place] = opened
        return opened

    def _bits(self, features: list[str]) -> int:
        return sum(getattr(self._rbd, f"RBD_FEATURE_{name.upper().replace('-', '_')}") for name in features)


def _check_keyring(path: str) -> None:
    """The library says of one that is not there that it failed to connect, and no more."""
    try:
        with open(path or os.devnull, "rb"):
            pass
    except OSError as exc:
        raise Failure(f"the keyring {path} cannot be read: {exc.strerror}", exc.errno or 0, "cluster") from exc


def _place_of(clone: dict[str, Any]) -> str:
    return f"{clone['pool']}/{clone['pool_namespace']}" if clone["pool_namespace"] else str(clone["pool"])


def _number(exc: Exception) -> int:
    return abs(int(getattr(exc, "errno", None) or 0))


def main() -> None:
    questions: queue.Queue[bytes] = queue.Queue()

    def read() -> None:
        for line in sys.stdin.buffer:
            questions.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    cluster = None
    while True:
        question = json.loads(questions.get())
        try:
            cluster = cluster or Cluster(**json.loads(sys.argv[1]))
            answer = {"is": cluster.answer(question)}
        except Failure as exc:
            answer = exc.answer
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
