# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The NoCloud seed, TCP probing, and where things lie."""

from __future__ import annotations

import json
import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.poolwright.virt.plugins.module_utils.cloudinit import local_hostname, seed_files
from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.layout import Layout, default_location
from ansible_collections.poolwright.virt.plugins.module_utils.net import answering


@given(st.text(), st.text(max_size=50), st.lists(st.text(), max_size=3))
def test_the_seed_holds_what_was_asked_for(hostname: str, user_data: str, keys: list[str]) -> None:
    files = seed_files("ci-1", "id-1", user_data=user_data.encode("utf-8", "ignore").decode(), ssh_keys=keys, hostname=hostname)
    meta_data = json.loads(files["meta-data"])
    assert meta_data["instance-id"] == "id-1"
    assert meta_data["local-hostname"] == (hostname.replace("{name}", "ci-1") or "ci-1")
    assert meta_data.get("public-keys", []) == keys
    assert set(files) == {"meta-data", "user-data"}


def test_user_data_is_passed_on_as_it_is() -> None:
    assert seed_files("a", "b", user_data="#!/bin/sh\necho hi\n")["user-data"] == b"#!/bin/sh\necho hi\n"
    assert seed_files("a", "b")["user-data"].startswith(b"#cloud-config\n")
    assert seed_files("a", "b", network_config="version: 2")["network-config"] == b"version: 2"


def test_meta_data_has_a_key_per_line() -> None:
    assert b'\n"local-hostname": "ci-1"' in seed_files("ci-1", "id")["meta-data"]


def test_a_hostname_may_hold_the_name() -> None:
    assert local_hostname("{name}.example.org", "ci-1") == "ci-1.example.org"
    assert local_hostname("", "ci-1") == "ci-1"


def test_those_that_answer_are_told_from_those_that_do_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        # Who answers or refuses is not waited for, so this may be long; 127.0.0.2 refuses.
        found = answering(["127.0.0.1", "127.0.0.2", "not an address", "127.0.0.1"], port, 300)
        assert found == {"127.0.0.1"}
        # 192.0.2.0/24 is nobody's.
        assert "192.0.2.1" not in answering(["127.0.0.1", "192.0.2.1"], port, 0.3)
    assert answering([], 22) == set()
    assert answering(["127.0.0.1"], port, 300) == set()


def test_many_are_asked_at_once() -> None:
    start = time.monotonic()
    assert answering([f"192.0.2.{number}" for number in range(256)], 9, 1.0) == set()
    # One after the other they would take 256 s.
    assert time.monotonic() - start < 128


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", ".hidden", "-x", "a\nb", "a" * 200])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    layout = Layout("/var/lib/poolwright")
    for path in (lambda: layout.pool_directory(name), lambda: layout.machine_directory("ci", name, "id"), lambda: layout.pool_lock(name)):
        with pytest.raises(InvalidSpec):
            path()


def test_machines_that_follow_each_other_in_a_slot_have_directories_of_their_own() -> None:
    layout = Layout("/l")
    first, second = (layout.machine_directory("ci", "ci-1", f"70777669-7274-8000-8000-{number:012x}") for number in (1, 2))
    assert first == "/l/machines/ci/ci-1.000000000001"
    assert first != second


def test_the_default_location_is_the_daemons_or_the_users() -> None:
    assert default_location("qemu:///system", {}, "/home/u") == "/var/lib/poolwright"
    assert default_location("qemu+unix:///system?socket=/s", {}, "/home/u") == "/var/lib/poolwright"
    assert default_location("qemu:///session", {}, "/home/u") == "/home/u/.local/share/poolwright"
    assert default_location("test:///default", {"XDG_DATA_HOME": "/data"}, "/home/u") == "/data/poolwright"
