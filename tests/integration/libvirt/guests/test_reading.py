# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What is read of guests and of their host, and what that costs."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.guests.info import GATHER, read_guests
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.events import LIFECYCLE, Events
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.tests.integration.libvirt.guests.conftest import NAME, Lab


def read(lab: Lab, *gather: str, names: list[str] | None = None) -> dict[str, Any]:
    return read_guests({"uri": lab.uri, "names": names, "gather": list(gather)})


def test_all_there_is_to_know_of_a_guest_is_told(lab: Lab) -> None:
    made = lab.booted(title="T", metadata={"a": "b"}, max_cpus=2, cpus=1)
    one = read(lab, *GATHER)["guests"][NAME]
    assert (one["name"], one["uuid"], one["state"], one["title"], one["metadata"]) == (NAME, made["uuid"], "running", "T", {"a": "b"})
    assert (one["cpus"], one["max_cpus"], one["memory_mb"], one["max_memory_mb"]) == (1, 2, 192, 192)
    assert (one["persistent"], one["autostart"], one["addresses"]) == (True, False, made["addresses"])
    assert (one["disks"], one["networks"]) == (made["disks"], made["networks"])
    assert one["statistics"]["cpu_ns"] > 0
    assert one["statistics"]["blocks"][0]["name"] == "vda" and one["statistics"]["nets"][0]["rx.bytes"] > 0
    assert (one["job"], one["block_jobs"], one["agent_addresses"]) == ({}, {}, {})


def test_a_job_on_a_disk_is_told(lab: Lab) -> None:
    assert lab.daemon is not None
    lab.run(memory_mb=64, disks=[lab.blank()], state="running")
    lab.daemon.virsh("blockcopy", NAME, "vda", str(lab.folder / "copy"), "--transient-job", "--bandwidth", "1")
    assert "cur" in read(lab, "jobs")["guests"][NAME]["block_jobs"]["vda"]
    lab.daemon.virsh("blockjob", NAME, "vda", "--abort")


def test_the_number_of_calls_does_not_grow_with_the_guests(lab: Lab) -> None:
    calls = []
    for number in range(1, 4):
        lab.run(name=f"g-{number}", memory_mb=64)
        calls.append(read(lab, "statistics")["stats"]["calls"])
    assert calls[0] == calls[1] == calls[2]
    assert sum(calls[0].values()) == 3


def test_a_guest_that_is_not_there_is_an_error(lab: Lab) -> None:
    lab.run(memory_mb=64)
    assert list(read(lab, names=[NAME])["guests"]) == [NAME]
    with pytest.raises(NotFound, match="none"):
        read(lab, names=[NAME, "none"])


@pytest.fixture
def host(lab: Lab) -> Host:
    return Host(lab.uri, Clock(), Stats(Clock()))


def test_events_come_in_the_order_in_which_they_happen(lab: Lab) -> None:
    assert lab.daemon is not None
    with Events(lab.uri) as events:
        uuid = lab.run(memory_mb=64, state="running")["uuid"]
        lab.run(state="paused")
        lab.run(state="absent")
        deadline, seen = Deadline.after(Clock(), 10), []
        while "1" not in seen and not deadline.passed:
            event = events.next(0.2)
            if event is not None and event.kind == LIFECYCLE and event.uuid == uuid:
                seen.append(event.detail)
    # Defined, started, suspended, stopped, undefined, as libvirt numbers them.
    order = [seen.index(number) for number in ("0", "2", "3", "5", "1")]
    assert order == sorted(order)


def test_a_secret_is_found_again_and_goes(host: Host) -> None:
    assert host.secrets.find("ceph", "client.pw") is None
    uuid = host.secrets.create("ceph", "client.pw", b"key", private=True)
    assert host.secrets.create("ceph", "client.pw", b"other") == uuid == host.secrets.find("ceph", "client.pw")
    assert (host.secrets.delete(uuid), host.secrets.delete(uuid), host.secrets.find("ceph", "client.pw")) == (True, False, None)
    volume = host.secrets.create("volume", "/luks", b"x", ephemeral=True)
    assert host.secrets.find("volume", "/luks") == volume
    host.secrets.delete(volume)


def test_versions_and_capabilities_are_read_once_and_a_lost_connection_is_opened_again(lab: Lab) -> None:
    stats = Stats(Clock())
    host = Host(lab.uri, Clock(), stats)
    assert (host.versions(), host.capabilities()) == (host.versions(), host.capabilities())
    calls = stats.as_dict()["calls"]
    assert (calls["virConnectGetLibVersion"], calls["virConnectGetVersion"], calls["virConnectGetCapabilities"]) == (1, 1, 1)
    lab.run(memory_mb=64)
    assert lab.daemon is not None
    lab.daemon.kill()
    lab.daemon.start()
    assert [one.guest.name for one in host.statistics()] == [NAME]
    assert stats.as_dict()["logins"] == 2
    assert host.metrics().cpus >= 1


def test_devices_of_the_host_are_read(host: Host) -> None:
    devices = host.node_devices()
    assert any(device.capability == "system" for device in devices)
    assert {device.capability for device in host.node_devices("net")} <= {"net"}
