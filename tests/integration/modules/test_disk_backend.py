# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``disk_backend`` as users run it: through ``ansible-playbook``, its examples included."""

from __future__ import annotations

import importlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.poolwright.virt.tests.contract.imagebackend.labs.base import for_one_case
from ansible_collections.poolwright.virt.tests.contract.imagebackend.labs.rbd import RbdLab
from ansible_collections.poolwright.virt.tests.integration.modules.conftest import Ansible

MODULE = "poolwright.virt.disk_backend"
PREDICTED = ("changed", "actions", "diff", "uri", "path", "format", "virtual_size", "backing")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "debian-13.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "8M"], check=True)
    subprocess.run(["qemu-io", "-c", "write -P 7 1M 2M", path], check=True, stdout=subprocess.DEVNULL)
    return path


def documented(what: str, name: str = "disk_backend") -> Any:
    module = importlib.import_module(f"ansible_collections.poolwright.virt.plugins.modules.{name}")
    return yaml.safe_load(getattr(module, what))


def test_the_examples_run_as_they_stand(ansible: Ansible, image: Path, tmp_path: Path) -> None:
    seeds = tmp_path / "seeds" / "db-1"
    seeds.mkdir(parents=True)
    (seeds / "meta-data").write_text("instance-id: 1\n")
    text = json.dumps(documented("EXAMPLES"))
    for old, new in (("/var/lib/images", image.parent), ("/var/lib/seeds", seeds.parent), ("/var/lib/poolwright", tmp_path / "pool")):
        text = text.replace(old, str(new))
    # The last is of bases, which directories have none of.
    tasks = json.loads(text)[:-1]
    # A play of this suite registers results itself.
    for task in tasks:
        task.pop("register", None)
    text = json.dumps(tasks).replace("copied.recorded", "result_3.recorded")
    defaults = {MODULE: {"cache": str(tmp_path / "pool" / "images"), "uri": ""}}
    tasks = json.loads(text)
    read = json.loads(json.dumps(documented("EXAMPLES", "disk_backend_info")[0]).replace("/var/lib/poolwright", str(tmp_path / "pool")))
    predicted = ansible.play(*tasks[:1], defaults=defaults, options=("--check", "--diff"))
    played = ansible.play(*tasks, defaults=defaults, options=("--diff",))
    assert [result.get("msg", "") for result in played.results] == [""] * len(tasks), played.output
    assert [result["changed"] for result in played.results] == [True] * len(tasks)
    assert {key: predicted.results[0][key] for key in PREDICTED} == {key: played.results[0][key] for key in PREDICTED}
    made, several, grown, copied, third, gone = played.results
    for key, value in documented("RETURN").items():
        if value["returned"] in ("success, of one disk", "when the disk is there"):
            assert key in made, key
    assert set(documented("RETURN")["recorded"]["sample"]) <= {*made["recorded"]}
    assert [disk["name"] for disk in several["disks"]] == ["db-1_root", "db-1_data", "db-1_swap", "db-1_seed"]
    assert grown["virtual_size"] == 2 * 1024**3
    assert copied["digest"] == third["digest"] != several["disks"][1]["recorded"]["origin"]["digest"]
    assert gone["state"] == "absent"
    # What is read stands where the first was: results have the same numbers as before.
    told, smaller, *again = ansible.play(read, *tasks[1:-1], defaults=defaults).results
    assert told["disks"]["db-1_data"]["recorded"] == grown["recorded"]
    assert set(told["disks"]["db-1_swap"]) == set(documented("RETURN", "disk_backend_info")["disks"]["contains"])
    assert "cannot shrink" in smaller["msg"]
    assert [result["changed"] for result in again] == [False, False, False]


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[RbdLab]:
    """An empty namespace of the lab's Ceph."""
    with for_one_case(RbdLab(tmp_path)) as found:
        yield found


@pytest.mark.any_core
def test_bases_that_no_disk_stands_on_are_pruned(ansible: Ansible, image: Path, tmp_path: Path, pool: RbdLab) -> None:
    place = {"backend": "rbd", "location": pool.location, "conf": pool.options.conf}
    defaults = {MODULE: {"cache": str(tmp_path / "images"), "uri": ""}}
    root, other = ({MODULE: {**place, "name": name, "image": {"source": str(image)}}} for name in ("web-1_root", "web-2_root"))
    prune = documented("EXAMPLES")[-1]
    assert prune[MODULE] == {"backend": "rbd", "location": "rbd", "state": "pruned"}
    prune[MODULE].update(place)
    read = {f"{MODULE}_info": place}
    second, first = ({MODULE: {**place, "name": name, "state": "absent"}} for name in ("web-2_root", "web-1_root"))
    *made, _gone, predicted = ansible.play(
        root, other, prune, second, read, first, {**prune, "check_mode": True}, defaults=defaults, options=("--diff",)
    ).results
    assert [one.get("msg", "") for one in made] == [""] * 5
    digest = made[0]["backing"]["digest"]
    assert made[2]["changed"] is False
    assert made[2]["bases"] == [{"digest": digest, "removed": False, "used_by": ["web-1_root", "web-2_root"]}]
    assert (made[4]["disks"], made[4]["bases"]) == ({}, [{"digest": digest, "used_by": ["web-1_root"]}])
    assert len(pool.volumes()) == 1
    named, nowhere = {MODULE: {**place, "name": "web-1_root", "state": "pruned"}}, {MODULE: {"state": "pruned"}}
    played = ansible.play(prune, prune, read, named, nowhere, defaults=defaults, options=("--diff",))
    done, again, left, wrong, bare = played.results
    for key in ("changed", "actions", "bases", "diff"):
        assert predicted[key] == done[key], key
    assert (done["changed"], done["state"], done["actions"]) == (True, "pruned", [f"remove the base of {digest}"])
    assert set(documented("RETURN")["bases"]["sample"][0]) == set(done["bases"][0])
    assert f'"{digest}": "used by nothing"' in played.output
    assert (again["changed"], again["bases"], left["bases"], pool.volumes()) == (False, [], [], [])
    assert wrong["problems"][0].startswith("name: ")
    assert "backend, location" in bare["msg"]


def test_faults_are_told_without_a_traceback(ansible: Ansible, tmp_path: Path) -> None:
    disk = {"backend": "flat", "location": str(tmp_path / "disks"), "name": "a"}
    defaults = {MODULE: {"cache": str(tmp_path / "images"), "uri": ""}}
    tasks: list[dict[str, Any]] = [
        {MODULE: {**disk, "content": {"ephemeral": "ntfs"}, "size_gb": -1, "like": {"name": "b"}}},
        {MODULE: {**disk, "image": {"source": str(tmp_path / "none")}}},
        {MODULE: {**disk, "conf": "/c", "size_gb": 1}},
        {MODULE: {"disks": [{**disk, "size_gb": 1}, {**disk, "size_gb": 1}]}},
        {MODULE: {**disk, "state": "absent"}},
    ]
    played = ansible.play(*tasks, defaults=defaults, options=("-vvv",))
    assert [result.get("code", "") for result in played.results] == ["invalid_spec", "not_found", "invalid_spec", "invalid_spec", ""]
    assert "Traceback" not in played.output
    assert len(played.results[0]["problems"]) == 4
    assert not (tmp_path / "disks").exists()
