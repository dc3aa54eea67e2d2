# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What cannot be is refused before anything is touched; what fails on the way is taken back."""

from __future__ import annotations

import functools
import hashlib
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.errors import (
    ChecksumMismatch,
    ConnectionFailed,
    ImageRefused,
    InsufficientResources,
    InvalidSpec,
    NotFound,
    VirtError,
)
from ansible_collections.poolwright.virt.tests.integration.libvirt.conftest import TINY
from ansible_collections.poolwright.virt.tests.integration.libvirt.guests.conftest import Lab


def state_of(lab: Lab) -> tuple[str, list[str]]:
    assert lab.daemon is not None
    return lab.daemon.virsh("list", "--all", "--name"), lab.files()


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"networks": [{"network": "none"}]}, NotFound, r"networks\[0\]: .*no network 'none' \(its networks are: default\)"),
        ({"networks": [{"bridge": "none"}]}, NotFound, "no bridge 'none'"),
        ({"networks": [{"direct": "none"}]}, NotFound, "no device 'none'"),
        ({"cdroms": [{"path": "/none.iso"}]}, NotFound, "no file /none.iso"),
        ({"disks": [{"path": "/none.raw", "format": "raw"}]}, NotFound, "no disk /none.raw"),
        ({"serial": {"log_file": "/none/log"}}, NotFound, "no directory /none"),
        ({"machine": "none-such"}, InvalidSpec, "not known to this host"),
        ({"machine": "pc", "firmware": "efi", "secure_boot": True}, InvalidSpec, "give q35"),
        ({"cpus": 3, "cpu": {"sockets": 2}}, InvalidSpec, "are 2, not 3 CPUs"),
    ],
)
def test_a_guest_that_cannot_be_is_refused_untouched(lab: Lab, options: dict[str, Any], kind: type[VirtError], words: str) -> None:
    for check in (True, False):
        with pytest.raises(kind, match=words):
            lab.run(check=check, memory_mb=64, **options)
    assert state_of(lab) == ("", [])


@pytest.mark.parametrize("check", [True, False])
def test_images_are_judged_before_anything_is_touched(lab: Lab, check: bool) -> None:
    hostile = lab.folder / "hostile.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", str(hostile), "1M"], check=True)
    with pytest.raises(ImageRefused):
        lab.run(check=check, memory_mb=64, disks=[lab.root(image={"source": str(hostile), "format": "qcow2"})])
    with pytest.raises(ChecksumMismatch):
        lab.run(check=check, memory_mb=64, disks=[lab.root(image={"source": str(TINY), "format": "qcow2", "checksum": f"sha256:{'0' * 64}"})])
    with pytest.raises(NotFound):
        lab.run(check=check, memory_mb=64, disks=[lab.root(image={"source": "/none.qcow2", "format": "qcow2"})])
    with pytest.raises(ImageRefused, match="smaller than the image"):
        lab.run(check=check, memory_mb=64, disks=[lab.root(size_gb=0.001)])
    assert state_of(lab) == ("", [])


def test_a_topology_that_has_no_room_is_refused_for_a_guest_that_is_there(lab: Lab) -> None:
    lab.run(memory_mb=64, cpus=2, cpu={"cores": 2})
    before = lab.xml()
    with pytest.raises(InvalidSpec, match="has room for 2, not 4"):
        lab.run(cpus=4)
    assert lab.xml() == before


def test_a_full_disk_leaves_nothing_and_works_once_there_is_room(lab: Lab) -> None:
    small = lab.folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "none", str(small)], check=True)
    try:
        disks = [lab.blank(), {**lab.root(backend="flat"), "location": str(small)}]
        with pytest.raises(InsufficientResources):
            lab.run(memory_mb=64, disks=disks)
        assert state_of(lab) == ("", [])
        assert [path for path in small.rglob("*") if path.is_file()] == []
        subprocess.run(["mount", "-o", "remount,size=200M", str(small)], check=True)
        assert lab.run(memory_mb=64, disks=disks)["changed"]
        assert lab.run(memory_mb=64, disks=disks)["changed"] is False
        lab.run(state="absent")
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_disk_that_cannot_be_made_takes_the_new_guest_back(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process made a disk of that name between the look and the making."""
    from ansible_collections.poolwright.virt.plugins.module_utils.guests.run import GuestRun

    plain = GuestRun._make_disks

    def late(run: GuestRun, made: Any, plan: Any) -> Any:
        lab.disks.mkdir()
        Path(plan.storage.missing[1].record().path).write_bytes(b"theirs")
        return plain(run, made, plan)

    monkeypatch.setattr(GuestRun, "_make_disks", late)
    with pytest.raises(VirtError, match="is there already"):
        lab.run(memory_mb=64, disks=[lab.blank("a"), lab.blank("b")])
    assert state_of(lab) == ("", ["g-1_b.qcow2"])
    assert (lab.disks / "g-1_b.qcow2").read_bytes() == b"theirs"


def test_a_libvirt_that_is_not_there_says_so() -> None:
    nowhere = Lab("qemu+unix:///system?socket=/none", Path("/nonexistent"))
    with pytest.raises(ConnectionFailed, match="start libvirtd"):
        nowhere.run(check=True)


@pytest.fixture
def served() -> Iterator[str]:
    """The folder of the tiny image, over HTTP."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(TINY.resolve().parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_an_image_that_is_not_here_yet_is_predicted_and_then_fetched(lab: Lab, served: str) -> None:
    wanted: dict[str, Any] = {"memory_mb": 64, "disks": [lab.root(image={"source": f"{served}/{TINY.name}", "format": "qcow2"})]}
    predicted = lab.run(check=True, **wanted)
    assert state_of(lab) == ("", [])
    made = lab.run(**wanted)
    assert {key: predicted[key] for key in ("actions", "changes", "diff")} == {key: made[key] for key in ("actions", "changes", "diff")}
    assert (predicted["disks"][0]["size"], made["disks"][0]["size"]) == (None, 48 * 1024**2)


def test_a_checksum_may_be_in_a_file(lab: Lab, served: str) -> None:
    sums = lab.folder / "SHA256SUMS"
    image = {"source": f"{served}/{TINY.name}", "format": "qcow2", "checksum": str(sums)}
    wanted: dict[str, Any] = {"memory_mb": 64, "disks": [lab.root(image=image)]}
    sums.write_text(f"{'0' * 64}  {TINY.name}\n")
    with pytest.raises(ChecksumMismatch):
        lab.run(**wanted)
    assert state_of(lab) == ("", [])
    sums.write_text(f"{hashlib.sha256(TINY.read_bytes()).hexdigest()}  {TINY.name}\n")
    predicted, made, again = lab.run(check=True, **wanted), lab.run(**wanted), lab.run(**wanted)
    assert predicted["diff"] == made["diff"]
    assert (made["changed"], again["changed"]) == (True, False)


def test_runs_at_once_end_with_one_guest(lab: Lab) -> None:
    wanted: dict[str, Any] = {"memory_mb": 64, "disks": [lab.blank("a"), lab.blank("b")]}
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda _number: lab.run(**wanted), range(3)))
    assert sorted(result["changed"] for result in results) == [False, False, True]
    assert state_of(lab) == ("g-1", ["g-1_a.qcow2", "g-1_b.qcow2"])
