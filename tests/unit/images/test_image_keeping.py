# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A directory of images as ``image_cache`` keeps it: what is there, what was used, what may go, and what a check run foresees."""

from __future__ import annotations

import calendar
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock
from ansible_collections.poolwright.virt.plugins.module_utils.errors import (
    Busy,
    Cancelled,
    ImageRefused,
    IncompleteAnswer,
    InsufficientResources,
    InvalidSpec,
    NotFound,
)
from ansible_collections.poolwright.virt.plugins.module_utils.images import upkeep
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import ImageCache
from ansible_collections.poolwright.virt.plugins.module_utils.images.users import Users, find_users, named_paths
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.image_requests import keep_files, list_files
from ansible_collections.poolwright.virt.tests.seeds import steps
from ansible_collections.poolwright.virt.tests.unit.images.run_keep import DEFAULTS

MIB = 1024**2
DAY = 86400
KEEP = Path(__file__).with_name("run_keep.py")
Keep = Callable[..., dict[str, Any]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "pool" / "images"


@pytest.fixture
def keep(root: Path) -> Keep:
    """One request; each is first foreseen by a check run, which must say the same and change nothing."""

    def run(check: bool = True, **options: Any) -> dict[str, Any]:
        params = {**DEFAULTS, "path": str(root), **options}
        foreseen = None
        if check:
            before = tree(root)
            try:
                foreseen = keep_files(params, True, threading.Event())
            except Exception as exc:  # the run itself must say the same
                with pytest.raises(type(exc)):
                    keep_files(params, False, threading.Event())
                raise
            assert tree(root) == before
        result = keep_files(params, False, threading.Event())
        if foreseen is not None:
            for key in ("changed", "diff", "removed", "kept"):
                assert foreseen.get(key) == result.get(key), key
        return result

    return run


def tree(root: Path) -> dict[str, tuple[int, int]]:
    """Every file with its size and the time it was changed; locks that were held and let go leave nothing."""
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in root.rglob("*") if path.is_file()}


def age(path: str, days: float) -> None:
    """Let an image have been used last so long ago."""
    then = time.time() - days * DAY
    os.utime(f"{path}.json", (then, then))


# --- present


@pytest.mark.parametrize("format", ["qcow2", "vmdk", "vhdx", "vdi"])
def test_an_image_is_converted_once(keep: Keep, tmp_path: Path, raw_image: Path, qemu: Any, format: str) -> None:
    image = tmp_path / f"disk.{format}"
    qemu("convert", "-f", "raw", "-O", format, raw_image, image)
    first = keep(source=str(image), convert_to="raw")
    assert first["changed"]
    assert (first["format"], first["converted_from"], first["virtual_size"]) == ("raw", format, 8 * MIB)
    assert Path(first["path"]).read_bytes() == raw_image.read_bytes()
    before = os.stat(first["path"])
    again = keep(source=str(image), convert_to="raw")
    assert (again["changed"], again["path"], os.stat(again["path"]).st_ino) == (False, first["path"], before.st_ino)
    assert not keep(source=str(image))["changed"]


def test_the_same_format_is_not_converted(keep: Keep, qcow2_image: Path) -> None:
    assert keep(source=str(qcow2_image), convert_to="qcow2")["path"] == keep(source=str(qcow2_image))["path"]


def test_what_was_converted_serves_after_the_original_is_aged_away(keep: Keep, web: Any, qcow2_image: Path, sha256: Any) -> None:
    options = {"source": web.add("/disk.qcow2", qcow2_image.read_bytes()), "checksum": sha256(qcow2_image)}
    original = keep(**options)["path"]
    keep(**options, convert_to="raw")
    age(original, 8)
    assert keep(state="aged")["removed"] == [original]
    assert not keep(**options, convert_to="raw")["changed"]
    assert web.downloads("/disk.qcow2") == 1


def test_a_result_tells_all(keep: Keep, root: Path, tmp_path: Path, raw_image: Path) -> None:
    packed = tmp_path / "disk.raw.gz"
    subprocess.run(f"gzip -c {raw_image} > {packed}", shell=True, check=True)
    before = int(time.time()) - 1  # files have the time of the last tick
    result = keep(source=str(packed), convert_to="qcow2")
    after = time.time()
    assert result["diff"] == {"before": {"state": "absent"}, "after": {"state": "present", "source": str(packed), "converted_to": "qcow2"}}
    assert (result["compression"], result["converted_from"], result["pinned"], result["cache"]) == ("gzip", "raw", False, str(root))
    assert result["size"] == os.stat(result["path"]).st_size
    assert before <= calendar.timegm(time.strptime(result["last_used"], "%Y-%m-%dT%H:%M:%SZ")) <= after


def test_a_source_without_a_checksum_is_foreseen_by_asking(keep: Keep, web: Any, raw_image: Path, qcow2_image: Path) -> None:
    url = web.add("/disk", raw_image.read_bytes(), etag='"1"')
    assert keep(source=url, format="raw")["changed"]
    assert not keep(source=url, format="raw")["changed"]
    web.add("/disk", raw_image.read_bytes()[::-1], etag='"2"')
    assert keep(source=url, format="raw")["changed"]
    web.add("/disk", raw_image.read_bytes(), etag='"3"')
    assert not keep(source=url, format="raw")["changed"]


def test_a_local_source_that_was_only_touched_has_not_changed(keep: Keep, tmp_path: Path, raw_image: Path) -> None:
    source = tmp_path / "disk.raw"
    shutil.copy(raw_image, source)
    assert keep(source=str(source))["changed"]
    os.utime(source)
    assert not keep(source=str(source))["changed"]


def test_a_lie_is_refused_and_leaves_nothing(keep: Keep, root: Path, qcow2_image: Path, files_below: Any) -> None:
    with pytest.raises(ImageRefused, match="bytes are of qcow2"):
        keep(check=False, source=str(qcow2_image), format="raw")
    assert files_below(root) == []


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"path": "images", "source": "/a.raw"}, "path: 'images' is no absolute path"),
        ({"path": "/", "source": "/a.raw"}, "path: '/' is no absolute path"),
        ({"source": "/a.img"}, "format: is missing"),
        ({"source": "/a", "format": "iso"}, "format: 'iso' is not one of"),
        ({"source": "a.raw"}, "source: 'a.raw' is neither"),
        ({"source": "/a.raw", "checksum": "md5:1"}, "checksum: md5 can be forged"),
        ({"source": "/a/", "format": "raw"}, "checksum: is missing"),
        ({"source": "/a/", "format": "raw", "checksum": "/SUMS"}, "only the checksum itself"),
        ({"state": "aged", "max_unused": "soon"}, "max_unused: 'soon'"),
        ({"source": "/a.raw", "timeout": 0}, "timeout"),
        ({"source": "/a.raw", "max_size_gb": 0}, "max_size_gb"),
        ({"source": "/a.raw", "size_gb": 5}, "size_gb: is for datastores"),
        ({"state": "aged", "disk_directories": ["/nowhere"]}, "no such directory"),
    ],
)
def test_bad_options_are_refused_before_anything_is_touched(keep: Keep, root: Path, options: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidSpec, match=why):
        keep(**options)
    assert not root.exists()


def test_a_disk_above_the_limit_is_refused(keep: Keep, qcow2_image: Path) -> None:
    with pytest.raises(ImageRefused, match="more than the 4194304 allowed"):
        keep(check=False, source=str(qcow2_image), max_size_gb=4 / 1024)


def test_a_run_that_is_told_to_stop_does(root: Path, raw_image: Path, files_below: Any) -> None:
    told = threading.Event()
    told.set()
    with pytest.raises(Cancelled):
        keep_files({**DEFAULTS, "path": str(root), "source": str(raw_image)}, False, told)
    assert files_below(root) == []


# --- pinned, absent, aged


def test_a_pin_is_put_and_taken(keep: Keep, qcow2_image: Path) -> None:
    first = keep(source=str(qcow2_image), state="pinned")
    assert (first["changed"], first["pinned"]) == (True, True)
    assert not keep(source=str(qcow2_image), state="pinned")["changed"]
    keep(source=str(qcow2_image), state="pinned", convert_to="raw")
    age(first["path"], 1000)
    aged = keep(state="aged")
    assert (aged["changed"], set(aged["kept"].values())) == (False, {"pinned"})
    unpinned = keep(source=str(qcow2_image))
    assert unpinned["diff"] == {"before": {"state": "pinned", "source": str(qcow2_image)}, "after": {"state": "present", "source": str(qcow2_image)}}
    age(first["path"], 1000)
    assert keep(state="aged")["removed"] == [first["path"]]


def test_absent_removes_an_image_with_what_was_made_of_it(keep: Keep, root: Path, raw_image: Path, qcow2_image: Path, files_below: Any) -> None:
    stays = keep(source=str(raw_image))["path"]
    paths = sorted([keep(source=str(qcow2_image), state="pinned")["path"], keep(source=str(qcow2_image), state="pinned", convert_to="raw")["path"]])
    before = files_below(root)
    with pytest.raises(InvalidSpec, match="is pinned; unpin it"):
        keep(source=str(qcow2_image), state="absent")
    assert files_below(root) == before
    gone = keep(source=str(qcow2_image), state="absent", force=True)
    assert (gone["changed"], gone["removed"]) == (True, paths)
    left = files_below(root)
    assert [name for name in left if not name.startswith("sources/")] == [os.path.relpath(stays, root), f"{os.path.relpath(stays, root)}.json"]
    assert len(left) == 3
    assert not keep(source=str(qcow2_image), state="absent")["changed"]


def test_absent_where_there_is_no_cache_is_no_change(keep: Keep, root: Path) -> None:
    assert not keep(source="/nowhere.raw", state="absent")["changed"]
    assert not keep(state="aged")["changed"]
    assert not root.exists()


def test_only_what_is_unused_for_long_enough_is_removed(keep: Keep, raw_image: Path, qcow2_image: Path) -> None:
    old, new = keep(source=str(raw_image))["path"], keep(source=str(qcow2_image))["path"]
    age(old, 8)
    age(new, 6)
    aged = keep(state="aged", max_unused="7d")
    assert (aged["removed"], aged["kept"]) == ([old], {new: "used lately"})
    assert aged["diff"]["after"] == {old: "absent"}
    assert aged["diff"]["before"][old].startswith("unused, last used 20")
    assert not os.path.exists(old) and not os.path.exists(f"{old}.json")


@pytest.mark.parametrize("way", ["absolute", "relative", "json", "file", "chain", "link"])
def test_an_image_that_a_disk_stands_on_stays(keep: Keep, root: Path, tmp_path: Path, qcow2_image: Path, qemu: Any, way: str) -> None:
    image = keep(source=str(qcow2_image))["path"]
    disks = root.parent / "machines" / "web-1"
    disks.mkdir(parents=True)
    names = {
        "relative": os.path.relpath(image, disks),
        "json": json.dumps({"driver": "qcow2", "file": {"driver": "file", "filename": image}}),
        "file": f"file:{image}",
        "link": str(tmp_path / "link"),
    }
    os.symlink(image, tmp_path / "link")
    backing = names.get(way, image)
    disk = disks / "root.qcow2"
    if way == "chain":
        # Its middle lies where nobody looks.
        middle = tmp_path / "elsewhere.qcow2"
        qemu("create", "-f", "qcow2", "-b", image, "-F", "qcow2", middle)
        qemu("create", "-f", "qcow2", "-b", middle, "-F", "qcow2", disk)
    else:
        qemu("create", "-f", "qcow2", "-u", "-b", f"json:{backing}" if way == "json" else backing, "-F", "qcow2", disk, "8M")
    age(image, 100)
    assert keep(state="aged")["kept"] == {image: f"in use by disk {disk}"}
    age(image, 100)
    with pytest.raises(Busy, match="in use by disk"):
        keep(source=str(qcow2_image), state="absent")
    assert keep(state="aged", max_unused="0s")["removed"] == []
    disk.unlink()
    # Its time begins when it no longer is in use.
    assert keep(state="aged")["removed"] == []
    age(image, 8)
    assert keep(state="aged")["removed"] == [image]


def test_disks_elsewhere_are_looked_for_where_it_is_said(keep: Keep, tmp_path: Path, qcow2_image: Path, qemu: Any) -> None:
    image = keep(source=str(qcow2_image))["path"]
    place = tmp_path / "far" / "below"
    place.mkdir(parents=True)
    qemu("create", "-f", "qcow2", "-b", image, "-F", "qcow2", place / "disk")
    age(image, 100)
    assert keep(state="aged", disk_directories=[str(tmp_path / "far")])["removed"] == []
    age(image, 100)
    assert keep(state="aged")["removed"] == [image]


def test_an_image_that_a_process_has_open_stays(keep: Keep, raw_image: Path) -> None:
    image = keep(source=str(raw_image))["path"]
    age(image, 100)
    with open(image, "rb") as stream:
        holder = subprocess.Popen(["sleep", "60"], stdin=stream)
    try:
        assert keep(state="aged")["kept"] == {image: f"in use by process {holder.pid}"}
    finally:
        holder.kill()
        holder.wait()


def test_where_users_cannot_be_told_nothing_is_removed(root: Path, raw_image: Path, keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    image = keep(source=str(raw_image))["path"]
    age(image, 100)
    sealed = root.parent / "machines"
    sealed.mkdir()
    scan = os.scandir

    def refusing(path: str) -> Any:
        if str(path) == str(sealed):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(IncompleteAnswer, match="which images are in use"):
        keep(state="aged")
    assert os.path.exists(image)


def test_a_domain_s_disk_counts_with_what_it_stands_on(tmp_path: Path, qcow2_image: Path, qemu: Any) -> None:
    image, disk = tmp_path / "image", tmp_path / "disk"
    shutil.copy(qcow2_image, image)
    qemu("create", "-f", "qcow2", "-b", image, "-F", "qcow2", disk)
    assert find_users([str(image)], [], [("domain a", str(disk)), ("domain b", str(image)), ("domain c", "/gone")]).of(str(image)) == ("domain a", "domain b")


def test_a_chain_that_bites_its_tail_has_an_end(tmp_path: Path, qemu: Any) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    qemu("create", "-f", "qcow2", "-u", "-b", two, "-F", "qcow2", one, "8M")
    qemu("create", "-f", "qcow2", "-u", "-b", one, "-F", "qcow2", two, "8M")
    assert find_users([str(one)], [str(tmp_path)], []).of(str(one)) == (f"disk {two}",)


@pytest.mark.parametrize("name", ["json:{", "json:[1]", 'json:{"file":{"filename":5}}', "json:" + "[" * 100_000])
def test_a_name_that_cannot_be_read_leads_nowhere(name: str) -> None:
    assert named_paths(name, "/d") == []


def test_the_list_says_what_is_there_and_who_uses_it(keep: Keep, root: Path, qcow2_image: Path, qemu: Any) -> None:
    image = keep(source=str(qcow2_image), state="pinned")["path"]
    keep(source=str(qcow2_image), state="pinned", convert_to="raw")
    qemu("create", "-f", "qcow2", "-b", image, "-F", "qcow2", root.parent / "disk")
    listed = list_files({"path": str(root), "disk_directories": None, "uri": "", "timeout": 60}, threading.Event())
    assert listed["changed"] is False
    assert [(one["format"], one["converted_from"], one["pinned"], one["used_by"]) for one in listed["images"]] == [
        ("qcow2", None, True, [f"disk {root.parent / 'disk'}"]),
        ("raw", "qcow2", True, []),
    ]


# --- several at once, and killed


def test_use_that_is_recorded_during_ageing_keeps_the_image(keep: Keep, root: Path, raw_image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = keep(source=str(raw_image))["path"]
    age(image, 100)
    rename = os.rename

    def used_just_before(source: str, target: str) -> None:
        if source == f"{image}.json":
            os.utime(source)
        rename(source, target)

    monkeypatch.setattr(os, "rename", used_just_before)
    assert keep(check=False, state="aged")["kept"] == {image: "in use by another run"}
    monkeypatch.undo()
    assert not keep(source=str(raw_image))["changed"]


def test_a_user_and_an_ager_at_once_never_lose_an_image(root: Path, start_python: Any, raw_image: Path, qcow2_image: Path, sha256: Any) -> None:
    """Everything is old enough at once, so the ager removes whatever it may while users want it; each path a user gets is there."""
    users = [
        start_python(KEEP, path=str(root), source=str(source), checksum=sha256(source), convert_to=target, rounds=12)
        for source, target in ((raw_image, None), (raw_image, "qcow2"), (qcow2_image, None))
    ]
    ager = start_python(KEEP, path=str(root), state="aged", max_unused="0.2s", rounds=60)
    for process in (*users, ager):
        _said, complaint = process.communicate(timeout=600)
        assert process.returncode == 0, complaint


def test_two_processes_at_once_convert_once(root: Path, start_python: Any, qcow2_image: Path, sha256: Any, files_below: Any) -> None:
    processes = [start_python(KEEP, path=str(root), source=str(qcow2_image), checksum=sha256(qcow2_image), convert_to="raw") for _time in range(2)]
    results = []
    for process in processes:
        said, complaint = process.communicate(timeout=600)
        assert process.returncode == 0, complaint
        results.append(json.loads(said.splitlines()[1]))
    assert sorted(result["changed"] for result in results) == [False, True]
    assert len(files_below(root)) == 4


@pytest.mark.parametrize("with_checksum", [True, False])
def test_killed_at_any_step_of_a_conversion_the_next_run_is_right(
    tmp_path: Path, run_killed_at: Any, qcow2_image: Path, raw_image: Path, sha256: Any, files_below: Any, with_checksum: bool
) -> None:
    options = {"source": str(qcow2_image), "checksum": sha256(qcow2_image) if with_checksum else None, "convert_to": "raw"}
    for step in steps(400, gate=20, soak=5):
        root = tmp_path / f"cache{step}" / "images"
        finished = run_killed_at(KEEP, step, path=str(root), **options)
        # Never half an image under its final name.
        for path in root.glob("sha256/*.raw"):
            assert path.read_bytes() == raw_image.read_bytes()
        result = keep_files({**DEFAULTS, "path": str(root), **options}, False, threading.Event())
        assert Path(result["path"]).read_bytes() == raw_image.read_bytes()
        assert len([name for name in files_below(root) if not name.startswith("sources/")]) == 4
        if finished:
            break
    assert step > 20


def test_killed_at_any_step_of_ageing_the_next_run_is_right(
    tmp_path: Path, run_killed_at: Any, qcow2_image: Path, raw_image: Path, sha256: Any, files_below: Any
) -> None:
    for step in steps(400, gate=12, soak=3):
        root = tmp_path / f"cache{step}" / "images"
        keep_all = {**DEFAULTS, "path": str(root)}
        old = keep_files({**keep_all, "source": str(qcow2_image), "convert_to": "raw"}, False, threading.Event())["path"]
        stays = keep_files({**keep_all, "source": str(raw_image), "checksum": sha256(raw_image)}, False, threading.Event())["path"]
        for path in root.glob("sha256/*.json"):
            if path.name != f"{os.path.basename(stays)}.json":
                os.utime(path, (1, 1))
        finished = run_killed_at(KEEP, step, path=str(root), state="aged")
        assert Path(stays).read_bytes() == raw_image.read_bytes()
        # Whoever wants the image now gets it, whatever the killed run left.
        wanted = keep_files({**keep_all, "source": str(qcow2_image), "convert_to": "raw"}, False, threading.Event())
        assert Path(wanted["path"]).read_bytes() == raw_image.read_bytes() and wanted["path"] == old
        for path in root.glob("sha256/*"):
            if not path.name.startswith(os.path.basename(stays)):
                os.utime(path, (1, 1))
        keep_files({**keep_all, "state": "aged"}, False, threading.Event())
        assert files_below(root) == [os.path.relpath(stays, root), f"{os.path.relpath(stays, root)}.json"]
        if finished:
            break
    assert step > 20


def test_an_image_that_lost_its_record_is_not_used_and_goes(keep: Keep, raw_image: Path) -> None:
    image = keep(source=str(raw_image))["path"]
    os.unlink(f"{image}.json")
    os.utime(image, (1, 1))
    aged = keep(state="aged")
    assert aged["removed"] == [image]
    assert aged["diff"]["before"][image].startswith("left by a run that was killed")


def test_pinning_what_is_gone_is_said(cache: ImageCache, clock: Clock, soon: Any) -> None:
    os.makedirs(cache.store.tmp)
    with pytest.raises(NotFound, match="removed meanwhile"):
        upkeep.pin(cache, f"sha256:{'0' * 64}", "raw", True, soon)
    assert upkeep.age(cache, Users({}), 0, soon) == []


# --- a full disk


@pytest.fixture
def tight(small_disk: Path) -> Callable[[int], None]:
    """The small disk, made larger or smaller: mebibytes."""

    def resize(mebibytes: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={mebibytes}m", str(small_disk)], check=True)

    return resize


def test_a_disk_that_is_full_while_converting_is_said_and_works_once_there_is_room(
    small_disk: Path, tight: Callable[[int], None], qcow2_image: Path, raw_image: Path, files_below: Any
) -> None:
    tight(5)
    params = {**DEFAULTS, "path": str(small_disk / "images"), "source": str(qcow2_image)}
    keep_files(params, False, threading.Event())
    before = files_below(small_disk)
    with pytest.raises(InsufficientResources):
        keep_files({**params, "convert_to": "raw"}, False, threading.Event())
    # The original is still there, and nothing of the other.
    assert files_below(small_disk) == before
    tight(20)
    result = keep_files({**params, "convert_to": "raw"}, False, threading.Event())
    assert Path(result["path"]).read_bytes() == raw_image.read_bytes()


def test_a_full_disk_does_not_keep_images_from_being_removed(small_disk: Path, tight: Callable[[int], None], raw_image: Path, files_below: Any) -> None:
    tight(16)
    params = {**DEFAULTS, "path": str(small_disk / "images")}
    image = keep_files({**params, "source": str(raw_image)}, False, threading.Event())["path"]
    age(image, 100)
    filler = small_disk / "filler"
    with open(filler, "wb", buffering=0) as stream, pytest.raises(OSError, match="No space"):
        while True:
            stream.write(b"x" * 4096)
    assert keep_files({**params, "state": "aged"}, False, threading.Event())["removed"] == [image]
    filler.unlink()
    assert files_below(small_disk) == []
