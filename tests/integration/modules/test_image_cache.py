# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``image_cache`` and ``image_cache_info`` on a directory, as users run them; their examples run as they stand."""

from __future__ import annotations

import functools
import hashlib
import http.server
import importlib
import lzma
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.poolwright.virt.tests.integration.modules.conftest import Ansible, Played

MIB = 1024**2
HOST = "https://images.example.com"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images, with their checksums."""
    folder: Path = tmp_path_factory.mktemp("images")
    raw = folder / "raw"
    raw.write_bytes(hashlib.sha256(b"image").digest() * (8 * MIB // 32))
    image = folder / "debian-13.qcow2"
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(image)], check=True)
    packed = folder / "debian-13.qcow2.xz"
    packed.write_bytes(lzma.compress(image.read_bytes()))
    (folder / "SHA256SUMS").write_text("".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in (image, packed)))
    return folder


@pytest.fixture(scope="module")
def url(images: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(images)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def examples(module: str, ansible: Ansible, images: Path, url: str) -> list[dict[str, Any]]:
    """The examples for a directory, with places that are there."""
    text = importlib.import_module(f"ansible_collections.poolwright.virt.plugins.modules.{module}").EXAMPLES
    text = text.replace(HOST, url).replace("/srv/images", str(images)).replace("/var/lib/poolwright", str(ansible.folder / "poolwright"))
    return [task for task in yaml.safe_load(text) if "path" in task.get(f"poolwright.virt.{module}", {})]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, images: Path, url: str) -> Played:
    """The examples of both modules."""
    ansible = Ansible(tmp_path_factory.mktemp("examples"))
    tasks = [*examples("image_cache", ansible, images, url), *examples("image_cache_info", ansible, images, url)]
    assert len(tasks) == 4
    return ansible.play(*tasks)


def test_the_examples_run(played: Played) -> None:
    assert played.status == 0, played.output
    assert [result.get("msg", "") for result in played.results if result.get("failed")] == []
    assert [result["changed"] for result in played.results] == [True, True, False, False]
    assert {image["format"] for image in played.results[3]["images"]} == {"qcow2", "raw"}


def test_every_documented_sample_names_what_is_returned(played: Played) -> None:
    documented = yaml.safe_load(importlib.import_module("ansible_collections.poolwright.virt.plugins.modules.image_cache").RETURN)
    elsewhere = ("with O(datastore)", "failure", "invalid", "O(state=")
    told = {key for key, value in documented.items() if not any(word in value["returned"] for word in elsewhere)}
    assert told - {"problems"} <= set(played.results[0])
    aged = {key for key, value in documented.items() if "O(state=aged)" in value["returned"] and "with O(datastore)" not in value["returned"]}
    assert aged <= set(played.results[2])
    listed = yaml.safe_load(importlib.import_module("ansible_collections.poolwright.virt.plugins.modules.image_cache_info").RETURN)["images"]
    own = {key for key, value in listed["contains"].items() if value["returned"] != "with O(datastore)"}
    assert own == set(listed["sample"][0]) == set(played.results[3]["images"][0])


def test_check_and_diff_modes_tell_what_the_run_then_does(ansible: Ansible, images: Path, url: str) -> None:
    task = examples("image_cache", ansible, images, url)[0]
    look = {"ansible.builtin.stat": {"path": str(ansible.folder / "poolwright")}}
    foretold = {**task, "check_mode": True}
    foreseen, left, done, again = ansible.play(foretold, look, task, foretold, options=("--diff",)).results
    assert left["stat"]["exists"] is False
    assert foreseen["diff"] == done["diff"]
    assert [result["changed"] for result in (foreseen, done, again)] == [True, True, False]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"source": "/a.raw"}, "one of the following is required: path, datastore"),
    ({"source": "/a.raw", "path": "/tmp/c", "datastore": "ssd-1"}, "mutually exclusive: path|datastore"),
    ({"path": "/tmp/c"}, "source"),
    ({"source": "/a.ova", "path": "/tmp/c", "format": "ova"}, "format: 'ova' is not one of"),
    ({"source": "/a.vdi", "datastore": "ssd-1", "hostname": "vc", "convert_to": "raw"}, "convert_to: is for a cache in a directory"),
    ({"source": "/nowhere/a.raw", "path": "{folder}/c"}, "there is no such file"),
]


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """All of them in one play."""
    ansible = Ansible(tmp_path_factory.mktemp("refused"))
    given = [{key: value.replace("{folder}", str(ansible.folder)) for key, value in options.items()} for options, _why in WRONG]
    return ansible.play(*({"poolwright.virt.image_cache": options} for options in given))


@pytest.mark.parametrize("number", range(len(WRONG)), ids=[why for _options, why in WRONG])
def test_what_is_wrong_is_said_without_a_traceback(refused: Played, number: int) -> None:
    assert refused.results[number]["failed"]
    assert WRONG[number][1] in refused.results[number]["msg"]
    assert "Traceback" not in refused.output


@pytest.mark.any_core
def test_no_secret_of_a_source_is_shown(ansible: Ansible, images: Path, url: str) -> None:
    source = f"{url.replace('//', '//jane:hunter2@')}/debian-13.qcow2?token=s3cret"
    task = {"poolwright.virt.image_cache": {"path": str(ansible.folder / "c"), "source": source}}
    played = ansible.play(task, {"poolwright.virt.image_cache_info": {"path": str(ansible.folder / "c")}})
    assert [bool(result.get("failed")) for result in played.results] == [False, False]
    own = [{key: value for key, value in result.items() if key != "invocation"} for result in played.results]
    assert "hunter2" not in str(own) and "s3cret" not in str(own)
