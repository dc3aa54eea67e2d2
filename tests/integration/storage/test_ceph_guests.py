# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Guests whose disks are on a cluster that asks everybody for a key: they boot and answer, and the key is nowhere to be read."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.tests.contract.labs.libvirt_qemu import TINY, own_libvirtd
from ansible_collections.poolwright.virt.tests.contract.labs.own_libvirtd import NETWORK, OwnLibvirtd
from ansible_collections.poolwright.virt.tests.integration.modules.conftest import Ansible, Played
from ansible_collections.poolwright.virt.tests.integration.pool.sites import BOOTS, Site, libvirt_site
from ansible_collections.poolwright.virt.tests.integration.storage.conftest import Guarded, another_key, tool

DISK, GUEST, POOL = "poolwright.virt.disk_backend", "poolwright.virt.libvirt_guest", "poolwright.virt.vm_pool"
BOOT_SECONDS = 240.0


class Lookout:
    """While it is open: whether the key shows in a command line, or in a file that lies in a folder for a moment only."""

    def __init__(self, folder: Path, key: str) -> None:
        self._folder = folder
        self._key = key.encode()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.found: set[str] = set()

    def __enter__(self) -> Lookout:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._end.set()
        self._thread.join()
        assert self.found == set()

    def _look(self) -> None:
        while not self._end.wait(0.2):
            self.found |= {str(path) for path in Path("/proc").glob("[0-9]*/cmdline") if self._shows(path)}
            self.found |= {str(path) for path in small_files(self._folder) if self._shows(path)}

    def _shows(self, path: Path) -> bool:
        # What it is of may have ended.
        with contextlib.suppress(OSError):
            return self._key in path.read_bytes()
        return False


def small_files(folder: Path) -> list[Path]:
    found = []
    for directory, _folders, names in os.walk(folder):
        for path in (Path(directory, name) for name in names):
            with contextlib.suppress(OSError):
                if path.is_file() and not path.is_symlink() and path.stat().st_size < 4 * 1024 * 1024:
                    found.append(path)
    return found


class Lab:
    """The keyed cluster, a libvirt, and plays that use both."""

    def __init__(self, guarded: Guarded, folder: Path) -> None:
        self.guarded = guarded
        self.folder = folder
        self.daemon: OwnLibvirtd = own_libvirtd()
        self.ansible = Ansible(folder)

    @property
    def place(self) -> dict[str, Any]:
        options = self.guarded.options
        return {"backend": "rbd", "location": "rbd", "conf": options.conf, "user": options.user, "keyring": options.keyring}

    def root(self, **more: Any) -> dict[str, Any]:
        return {**self.place, "name": "keyed_root", "image": {"source": str(TINY), "format": "qcow2"}, **more}

    def disk(self, **more: Any) -> dict[str, Any]:
        return {DISK: {**self.root(**more), "cache": str(self.folder / "images"), "uri": self.daemon.uri}}

    def guest(self, **more: Any) -> dict[str, Any]:
        place = {"uri": self.daemon.uri, "location": str(self.folder / "state"), "virt_type": "qemu", "name": "keyed"}
        return {GUEST: {**place, **more}}

    def play(self, *tasks: dict[str, Any], options: tuple[str, ...] = ("--diff", "-vvvv")) -> Played:
        """With all that Ansible can be asked to say; the key is in none of it, nor in any file that it makes."""
        with Lookout(self.folder, self.guarded.key):
            played = self.ansible.play(*tasks, options=options)
        self.shows_no_key(played.output, json.dumps(played.results))
        assert "Traceback" not in played.output
        return played

    def wrong_keyring(self) -> str:
        return self.guarded.keyring("wrong.keyring", f"[client.virt]\n\tkey = {another_key()}\n")

    def refusals(self) -> list[tuple[dict[str, Any], set[str], str]]:
        """What may be said wrongly of a disk, the codes of the error, and what it is told with."""
        return [
            ({"keyring": self.wrong_keyring()}, {"authentication_failed"}, "ceph auth get client."),
            ({"keyring": "/nowhere.keyring"}, {"invalid_spec", "authentication_failed"}, "/nowhere.keyring"),
            ({"keyring": None}, {"authentication_failed", "connection_failed"}, "keyring"),
            ({"secret": "11111111-2222-4333-8444-555555555555"}, {"not_found"}, "virsh secret-define"),
        ]

    def images(self) -> list[str]:
        """What is in the pool, without what an image was made into once."""
        return [name for name in self.ceph("rbd", "ls", "rbd").split() if not name.startswith("poolwright-base-")]

    def secrets(self) -> dict[str, str]:
        """What libvirt keeps on disk, by UUID."""
        return {path.stem: path.read_text() for path in self.daemon.folder.rglob("*.base64")}

    def domains(self) -> list[str]:
        return self.daemon.virsh("list", "--all", "--name").split()

    def ceph(self, program: str, *arguments: str) -> str:
        return tool(program, "--conf", str(self.guarded.folder / "ceph.conf"), *arguments)

    def shows_no_key(self, *texts: str) -> None:
        for text in texts:
            assert self.guarded.key not in text
            # Nor the part that a message might quote: the first bytes are a version and a date, and the same in all keys.
            assert self.guarded.key[16:30] not in text

    def nothing_has_the_key(self) -> None:
        """No file but the keyring and libvirt's own store, no domain, no object of the cluster's pool."""
        folders = [self.folder, self.daemon.folder, Path(f"/var/tmp/poolwright-virt-{os.geteuid()}")]
        for path in (path for folder in folders for path in small_files(folder)):
            if path.suffix != ".base64":
                self.shows_no_key(path.read_bytes().decode("utf-8", "replace"))
        for name in self.domains():
            self.shows_no_key(*(self.daemon.virsh("dumpxml", name, *way) for way in (("--security-info",), ("--inactive", "--security-info"))))
        # All objects of the pool with their keys and values, records of disks among them.
        self.ceph("rados", "--pool", "rbd", "export", str(self.folder / "pool"))
        self.shows_no_key((self.folder / "pool").read_bytes().decode("latin-1"))
        (self.folder / "pool").unlink()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: Ansible has a socket where temporary files are, and its name has 107 characters at most."""
    with tempfile.TemporaryDirectory(prefix="pw-keyed-") as path:
        yield Path(path)


@pytest.fixture
def lab(guarded: Guarded, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    (folder / "tmp").mkdir()
    # Temporary files where they are looked for.
    monkeypatch.setenv("TMPDIR", str(folder / "tmp"))
    monkeypatch.setenv("ANSIBLE_REMOTE_TEMP", str(folder / "tmp"))
    made = Lab(guarded, folder)
    yield made
    monkeypatch.undo()
    for name in made.domains():
        made.daemon.virsh("destroy", name, check=False)
        made.daemon.virsh("undefine", name, "--managed-save", check=False)
    for uuid in made.secrets():
        made.daemon.virsh("secret-undefine", uuid)


def answers(address: str) -> str:
    """What a guest says on TCP 22, once it does."""
    until = time.monotonic() + BOOT_SECONDS
    while True:
        try:
            with socket.create_connection((address, 22), timeout=60) as probe:
                return probe.makefile("r").readline().strip()
        except OSError:
            assert time.monotonic() < until, f"nobody answers on {address}"
            time.sleep(0.3)


def address_of(lab: Lab, name: str) -> str:
    until = time.monotonic() + BOOT_SECONDS
    while True:
        rows = lab.daemon.virsh("domifaddr", name).split()
        if rows:
            return rows[-1].partition("/")[0]
        assert time.monotonic() < until, f"{name} got no address"
        time.sleep(0.3)


def test_a_guest_boots_from_a_disk_that_was_made_with_a_key(lab: Lab) -> None:
    wanted: dict[str, Any] = {"memory_mb": 192, "disks": [lab.root()], "networks": [{"network": NETWORK}], "state": "running"}
    made, alone, gone = lab.play(lab.disk(), lab.disk(), lab.disk(state="absent", image=None)).results
    assert [result.get("msg", "") for result in (made, alone, gone)] == ["", "", ""]
    assert [made["changed"], alone["changed"], gone["changed"]] == [True, False, True]
    first = lab.play(lab.guest(**wanted)).results[0]
    assert (first.get("msg", ""), first["changed"]) == ("", True)
    assert answers(address_of(lab, "keyed")).startswith("SSH-2.0-tiny")
    assert list(lab.secrets().values()) == [lab.guarded.key]
    lab.nothing_has_the_key()

    # What is refused leaves the guest, its disk and its secret as they are, and says what to look at.
    before = (lab.images(), lab.domains(), lab.secrets(), lab.daemon.virsh("dumpxml", "keyed", "--inactive"))
    second = lab.root(name="keyed_data", size_gb=0.01, image=None)
    cases = lab.refusals()
    tasks = [lab.guest(**{**wanted, "disks": [lab.root(), {**second, **said}]}) for said, _codes, _words in cases]
    tasks += [{DISK: {**second, **said, "uri": lab.daemon.uri}} for said, _codes, _words in cases[:-1]]
    # The secret of a guest that runs does not get a key that the cluster does not know.
    tasks.append(lab.guest(**{**wanted, "disks": [lab.root(keyring=lab.wrong_keyring())]}))
    results = lab.play(*tasks).results
    for refused, (said, codes, words) in zip(results, [*cases, *cases[:-1], cases[0]], strict=True):
        assert refused.get("code") in codes, (said, refused)
        assert words in refused["msg"], (said, refused)
    assert (lab.images(), lab.domains(), lab.secrets(), lab.daemon.virsh("dumpxml", "keyed", "--inactive")) == before
    again, removed = lab.play(lab.guest(**wanted), lab.guest(state="absent")).results
    assert (again["changed"], removed["changed"]) == (False, True)
    assert (lab.images(), lab.domains()) == ([], [])


@pytest.fixture
def site(lab: Lab, folder: Path) -> Iterator[Site]:
    made = libvirt_site(folder)
    made.pool |= {
        **BOOTS,
        "prefix": "keyedpool",
        "disk": lab.place,
        "networks": [{"network": NETWORK}],
        "hostname": "{name}",
        "ready": {"check": "tcp", "timeout": BOOT_SECONDS, "grace": 300.0},
    }
    yield made
    made.run(made.ci(0, state="absent"))
    made.lab.cleanup()


def test_a_pools_machine_boots_with_a_key_and_goes_back_to_its_snapshot(lab: Lab, site: Site) -> None:
    pool = site.ci(1, reset="snapshot")
    cases = lab.refusals()
    refusals = lab.play(*({POOL: {**site.connection, "pools": [{**pool, "disk": {**lab.place, **said}}]}} for said, _codes, _words in cases)).results
    for refused, (said, _codes, words) in zip(refusals, cases, strict=True):
        assert refused.get("failed") is True, (said, refused)
        assert words in json.dumps(refused), (said, refused)
    assert (lab.images(), lab.domains(), lab.secrets()) == ([], [], {})
    (made,) = lab.play({POOL: {**site.connection, "pools": [pool]}}).results
    (machine,) = made["pools"]["ci"]["machines"]
    assert answers(machine["ip"]) == f"SSH-2.0-tiny_{machine['name']}"
    assert list(lab.secrets().values()) == [lab.guarded.key]
    lab.nothing_has_the_key()
    site.use_up(machine["name"])
    reset, again = lab.play(*[{POOL: {**site.connection, "pools": [pool]}}] * 2).results
    assert (reset["pools"]["ci"]["reset"], reset["pools"]["ci"]["replaced"], reset.get("warnings", [])) == ([machine["name"]], [], [])
    assert answers(reset["pools"]["ci"]["machines"][0]["ip"]) == f"SSH-2.0-tiny_{machine['name']}"
    assert again["changed"] is False
    lab.nothing_has_the_key()
    (gone,) = lab.play({POOL: {**site.connection, "state": "absent", "pools": [{"name": "ci"}]}}).results
    assert gone["pools"]["ci"]["destroyed"] == [machine["name"]]
    assert (lab.images(), lab.domains()) == ([], [])
