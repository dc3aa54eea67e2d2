# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Requests of the module ``disk_backend`` for a case's own location, without Ansible around them."""

from __future__ import annotations

import random
import shutil
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.storage import digests, ledger
from ansible_collections.poolwright.virt.plugins.module_utils.storage.record import OwnDisk
from ansible_collections.poolwright.virt.plugins.module_utils.storage.request import module_options
from ansible_collections.poolwright.virt.plugins.module_utils.storage.run import disks_with
from ansible_collections.poolwright.virt.tests.contract.imagebackend.staging import LONG, MIB, Site
from ansible_collections.poolwright.virt.tests.unit.storage.filled import filled

GB = MIB / 1024**3
"""A MiB, as ``size_gb`` has it."""


class Described:
    """What a user would say, and what he would find."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.folder = site.folder / "described"
        self.folder.mkdir()
        self.image = {"source": shutil.copy(site.image.path, self.folder / "disk.qcow2")}
        other = self.folder / "other.raw"
        other.write_bytes(random.Random(23).randbytes(2 * MIB))
        self.other = {"source": str(other), "format": "raw"}
        self.tree = self.folder / "tree"
        (self.tree / "deep").mkdir(parents=True)
        (self.tree / "deep" / "file").write_bytes(random.Random(24).randbytes(100_000))

    @property
    def place(self) -> dict[str, Any]:
        options = {key: value for key, value in asdict(self.site.lab.options).items() if value}
        return {"backend": self.site.lab.backend, "location": self.site.lab.location, "name": "web-1_root", **options}

    def flat(self, name: str) -> dict[str, Any]:
        """A disk's place that is not on the lab."""
        return {"backend": "flat", "location": str(self.folder / "flat"), "name": name}

    def run(self, *, check: bool = False, **options: Any) -> dict[str, Any]:
        """A run for the disk of this name, or for whatever the options say; of several disks every one can be had."""
        place = {} if "disks" in options else self.place
        given = {"cache": str(self.folder / "cache"), "uri": "", "timeout": LONG, **place, **options}
        result = disks_with(filled(module_options(), given), check, threading.Event())
        assert not result.get("failures"), result["failures"]
        return result

    def predicted(self, **options: Any) -> dict[str, Any]:
        """A run, after which all is as its prediction said."""
        names = self.site.volumes()
        check = self.run(check=True, **options)
        assert self.site.volumes() == names
        done = self.run(**options)
        for key in ("changed", "actions", "diff", "state", "uri", "path", "format", "virtual_size", "backing"):
            assert check.get(key) == done.get(key), key
        again = self.run(**{key: value for key, value in options.items() if key != "recreate"})
        assert (again["changed"], again["actions"]) == (False, [])
        return done

    def recorded(self) -> OwnDisk | None:
        return ledger.read(self.site.disk, self.site.soon)

    def digest(self, own: OwnDisk | None = None) -> str:
        """Of what a guest would find on the disk."""
        found = own or self.recorded()
        assert found is not None
        stream = digests.DigestStream()
        found.place().read_to(found.record, stream, self.site.soon)  # type: ignore[arg-type]
        return stream.digest

    def nothing_is_left(self) -> bool:
        """Once the disk is gone; a backend may keep what it made of an image."""
        for digest in {f"sha256:{path.name.partition('.')[0]}" for path in Path(self.folder, "cache").glob("sha256/*")}:
            self.site.disk.remove_base(digest, self.site.soon)
        return self.site.volumes() == [] and self.site.disk.note().read(self.site.soon) is None
