# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What of described disks does not depend on their backend: images and their checksums, records, requests, and runs that are stopped."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.errors import (
    AuthenticationFailed,
    Cancelled,
    ImageRefused,
    InvalidSpec,
    NotFound,
    OperationFailed,
)
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DiskOptions
from ansible_collections.poolwright.virt.plugins.module_utils.storage.wish import renewed
from ansible_collections.poolwright.virt.tests.unit.images.fixtures import Page, WebServer
from ansible_collections.poolwright.virt.tests.unit.storage.conftest import Runs

MIB_IN_GB = 1 / 1024


def served(web: WebServer, image: Path) -> dict[str, str]:
    """An image with a file of checksums beside it."""
    data = image.read_bytes()
    sums = f"{hashlib.sha256(data).hexdigest()}  disk.qcow2\n".encode()
    return {"source": web.add("/disk.qcow2", data), "checksum": web.add("/SHA256SUMS", sums)}


def test_a_file_of_checksums_is_read_once(runs: Runs, web: WebServer, qcow2_image: Path) -> None:
    image = served(web, qcow2_image)
    predicted = runs.run(check=True, backend="qcow2", image=image)
    assert (predicted["changed"], predicted["virtual_size"]) == (True, None)
    made = runs.run(backend="qcow2", image=image)
    assert (predicted["backing"], predicted["uri"]) == (made["backing"], made["uri"])
    runs.run(backend="qcow2", state="absent")
    made = runs.run(image=image)
    digest = f"sha256:{hashlib.sha256(qcow2_image.read_bytes()).hexdigest()}"
    origin = made["recorded"]["origin"]
    assert (origin["checksum"], origin["reference"]) == (digest, image["checksum"])
    # The image of that name became another one: the disk stays.
    del web.requests[:]
    web.pages["/SHA256SUMS"] = Page(b"0" * 64 + b"  disk.qcow2\n")
    assert runs.run(image=image)["changed"] is False
    assert web.requests == []
    # Said by its checksum it is the same, wherever it comes from.
    assert runs.run(image={"source": "https://mirror.example.org/x", "checksum": digest.upper().replace("SHA", "sha")})["changed"] is False
    with pytest.raises(InvalidSpec, match=r"was made from http.*recreate: true"):
        runs.run(image={"source": image["source"], "checksum": f"sha256:{'0' * 64}"})


def test_credentials_are_in_no_record_and_no_error(runs: Runs, web: WebServer, qcow2_image: Path) -> None:
    image = served(web, qcow2_image)
    secret = image["source"].replace("://", "://user:geheim@") + "?token=geheim"
    image["source"] = secret
    made = runs.run(image=image)
    again = runs.run(image=image)
    assert again["changed"] is False
    shutil.rmtree(runs.folder / "images")
    like = {"recorded": made["recorded"]}
    other: dict[str, Any] = {"backend": "flat", "location": str(runs.disks), "name": "web-2_root", "state": "identical_to", "like": like}
    web.pages["/disk.qcow2"].status = 401
    with pytest.raises(AuthenticationFailed, match=r"disk\.qcow2") as caught:
        runs.run(disks=[other])
    web.pages["/disk.qcow2"].status = 200
    copied = runs.run(disks=[{**other, "image": {"source": secret}}])["disks"][0]
    assert copied["recorded"]["image"] == made["recorded"]["image"]
    with pytest.raises(InvalidSpec) as refused:
        runs.run(image={"source": str(qcow2_image)})
    assert "geheim" not in json.dumps([made, again, copied, str(caught.value), str(refused.value)])
    assert "geheim" not in "".join(path.read_text() for path in runs.disks.glob(".*.disk"))


@pytest.mark.parametrize("form", ["gz", "vmdk"])
def test_images_that_no_disk_stands_on_are_unpacked_and_converted(runs: Runs, raw_image: Path, qemu: Any, form: str) -> None:
    if form == "gz":
        image = {"source": str(runs.folder / "disk.raw.gz"), "format": "raw"}
        Path(image["source"]).write_bytes(gzip.compress(raw_image.read_bytes()))
    else:
        image = {"source": str(runs.folder / "disk.vmdk"), "format": "vmdk"}
        qemu("convert", "-f", "raw", "-O", "vmdk", raw_image, image["source"])
    assert runs.run(check=True, image=image)["changed"]
    made = runs.run(backend="qcow2", image=image)
    assert made["backing"]["format"] == ("raw" if form == "gz" else "qcow2")
    copied = runs.run(name="web-2", state="identical_to", like={"backend": "qcow2", "location": str(runs.disks), "name": "web-1_root"})
    assert (runs.disks / "web-2.raw").read_bytes() == raw_image.read_bytes()
    assert copied["virtual_size"] == made["virtual_size"]


def test_a_moved_directory_takes_its_records_along(runs: Runs) -> None:
    made = runs.run(content={"ephemeral": "ext2"}, size_gb=4 * MIB_IN_GB)
    moved = runs.folder / "moved"
    runs.disks.rename(moved)
    there = runs.run(location=str(moved))
    assert (there["changed"], there["path"], there["uri"]) == (False, str(moved / "web-1_root.raw"), f"file://{moved}/web-1_root.raw")
    assert there["recorded"]["origin"] == made["recorded"]["origin"]


def test_damaged_and_newer_records_are_told_and_nothing_is_touched(runs: Runs) -> None:
    runs.run(size_gb=MIB_IN_GB)
    (note,) = runs.disks.glob(".*.disk")
    text = note.read_text()
    for damaged in ("", "{", "{}", text.replace('"size": 1048576', '"size": "x"'), text.replace('"version": 1', '"version": 2')):
        note.write_text(damaged)
        for options in ({"size_gb": MIB_IN_GB}, {"state": "absent"}):
            with pytest.raises(OperationFailed, match="recorded of the disk"):
                runs.run(**options)
    note.write_text(text)
    assert runs.run(size_gb=MIB_IN_GB)["changed"] is False


def test_a_directory_that_changed_is_another_description(runs: Runs, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "meta-data").write_text("instance-id: 1\n")
    wanted: dict[str, Any] = {"content": {"directory": str(tree), "label": "cidata"}}
    first = runs.run(**wanted)
    (tree / "meta-data").touch()
    assert runs.run(**wanted)["changed"] is False
    (tree / "meta-data").write_text("instance-id: 2\n")
    with pytest.raises(InvalidSpec, match="is not what the disk was made from; give recreate"):
        runs.run(**wanted)
    second = runs.run(**wanted, recreate=True)
    assert second["recorded"]["origin"]["seed"] == "web-1_root"
    assert first["recorded"]["origin"]["digest"] != second["recorded"]["origin"]["digest"]
    shutil.rmtree(tree)
    with pytest.raises(NotFound, match="no such directory"):
        runs.run(**wanted)


def test_one_disk_that_fails_does_not_stop_the_others(runs: Runs) -> None:
    places = [{"backend": "flat", "location": str(runs.disks), "name": name, "size_gb": MIB_IN_GB} for name in ("a", "b", "c")]
    # Something that is no disk of ours has the name.
    (runs.disks / "b.raw").mkdir(parents=True)
    result = runs.run(disks=places)
    assert ([one["name"] for one in result["disks"]], len(result["failures"])) == (["a", "c"], 1)
    assert "b.raw" in result["failures"][0]
    (runs.disks / "b.raw").rmdir()
    again = runs.run(disks=places)
    assert ([one["changed"] for one in again["disks"]], again["failures"]) == ([False, True, False], [])


def test_a_run_that_is_told_to_stop_ends_between_disks(runs: Runs) -> None:
    runs.cancel.set()
    with pytest.raises(Cancelled):
        runs.run(content={"ephemeral": "ext2"}, size_gb=4 * MIB_IN_GB)
    runs.cancel.clear()
    assert runs.run(content={"ephemeral": "ext2"}, size_gb=4 * MIB_IN_GB)["changed"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"state": "identical_to"}, "like: is missing beside"),
        ({"like": {"name": "b"}, "size_gb": 1}, "like: goes with state: identical_to"),
        ({"state": "absent", "size_gb": 1, "recreate": True}, "size_gb: goes with state: present"),
        ({"state": "absent", "recreate": True}, "recreate: goes with"),
        ({"state": "identical_to", "like": {"recorded": {"name": "x"}}}, "like.recorded: a disk's record is damaged"),
        ({"state": "identical_to", "like": {"backend": "flat", "location": "/d"}}, "like: lacks name"),
        ({"state": "identical_to", "like": {"backend": "flat", "location": "/d", "name": "a", "recorded": {"a": 1}}}, "like: give either"),
        ({"disks": [], "size_gb": 1}, "size_gb: give it with each of the disks"),
        ({"disks": []}, "disks: is empty"),
        ({"timeout": 0}, "timeout: 0 is not above 0"),
    ],
)
def test_wrong_requests_are_told_before_anything_is_touched(runs: Runs, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        runs.run(**options)
    assert [problem for problem in caught.value.problems if problem.startswith(words)], caught.value.problems
    assert list(runs.folder.iterdir()) == []


def test_a_disk_is_not_like_itself_nor_like_what_is_not_there(runs: Runs) -> None:
    place = {"backend": "flat", "location": str(runs.disks), "name": "web-1_root"}
    with pytest.raises(InvalidSpec, match="like: is the disk itself"):
        runs.run(state="identical_to", like=place)
    with pytest.raises(NotFound, match="nothing is recorded of the disk to be like"):
        runs.run(state="identical_to", like={**place, "name": "web-2_root"})


def test_an_image_that_is_not_what_it_is_said_to_be_is_refused_by_the_prediction_too(runs: Runs, raw_image: Path, qcow2_image: Path) -> None:
    for check in (True, False):
        with pytest.raises(ImageRefused):
            runs.run(check=check, image={"source": str(raw_image), "format": "qcow2"})
        with pytest.raises(ImageRefused, match="checksum should be"):
            runs.run(check=check, image={"source": str(qcow2_image), "checksum": f"sha256:{'0' * 64}"})
        with pytest.raises(ImageRefused, match="smaller than the image's"):
            runs.run(check=check, image={"source": str(qcow2_image)}, size_gb=MIB_IN_GB)
    assert not runs.disks.exists()


def test_a_disk_grows_with_the_options_that_it_was_made_with(runs: Runs) -> None:
    runs.run(content="blank", size_gb=MIB_IN_GB, preallocation="falloc")
    grown = runs.run(size_gb=4 * MIB_IN_GB)
    assert grown["size"] >= 4 * 1024**2
    assert grown["recorded"]["options"] == {"preallocation": "falloc"}


def test_what_is_not_said_about_the_way_to_a_disk_stays() -> None:
    made = DiskOptions(full=True, clear="zero", conf="/a", user="u")
    assert renewed(made, DiskOptions()) == made
    assert renewed(made, DiskOptions(conf="/b", cluster_size=65536)) == replace(made, conf="/b")
