# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The connection, on libvirt's test driver: counted, lazy, and never repeated where that could do something twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Callable

import libvirt
import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import InstantClock
from ansible_collections.poolwright.virt.plugins.module_utils.errors import ConnectionFailed, MaybeApplied, MissingDependency, NameTaken, NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt import binding, session
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.domain_xml import DomainConfig, Platform, build_domain
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest import DomainState
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.session import MUTATING, Session, remote_name, without_prompts
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.virt_type import EMULATED, choose_platform
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import new_machine_id
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats

URI = "test:///default"


@pytest.fixture
def keeper() -> Iterator[Any]:
    """Holds the test driver's state, which would go with its last connection."""
    connection = libvirt.open(URI)
    yield connection
    connection.close()


@pytest.fixture
def stats() -> Stats:
    return Stats(InstantClock())


@pytest.fixture
def host(keeper: Any, stats: Stats) -> Iterator[Host]:
    made = Host(URI, InstantClock(), stats)
    yield made
    made.close()


def domain(name: str, uuid: str) -> Any:
    return build_domain(DomainConfig(name, uuid, Platform("test", "i686"), 65536, 1))


def broken() -> libvirt.libvirtError:
    """As libvirt reports a daemon that died."""
    error = libvirt.libvirtError("")
    error.err = (libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_FROM_RPC, "End of file while reading data", 2, None, None, None, 5, -1)
    return error


def failing(times: int, answer: str = "done") -> Callable[[Any], str]:
    left = [times]

    def action(_connection: Any) -> str:
        if left[0]:
            left[0] -= 1
            raise broken()
        return answer

    return action


def test_nothing_is_opened_before_the_first_call(host: Host, stats: Stats) -> None:
    assert stats.as_dict()["logins"] == 0
    host.hostname()
    host.hostname()
    assert stats.as_dict()["logins"] == 1
    assert stats.as_dict()["calls"] == {"virConnectGetHostname": 1}


def test_a_read_is_repeated_once_on_a_new_connection(keeper: Any, stats: Stats) -> None:
    made = Session(URI, InstantClock(), stats)
    assert made.call("virConnectListAllDomains", failing(1)) == "done"
    assert stats.as_dict()["logins"] == 2
    with pytest.raises(ConnectionFailed):
        made.call("virConnectListAllDomains", failing(2))
    made.close()


@pytest.mark.parametrize("api", sorted(MUTATING))
def test_a_change_is_never_repeated(keeper: Any, stats: Stats, api: str) -> None:
    made = Session(URI, InstantClock(), stats)
    with pytest.raises(MaybeApplied) as caught:
        made.call(api, failing(1), obj="ci-1", phase="start")
    assert (caught.value.obj, caught.value.phase) == ("ci-1", "start")
    assert stats.as_dict()["calls"] == {api: 1}
    made.close()


def test_a_daemon_that_restarts_is_waited_for_but_not_for_long(keeper: Any, stats: Stats, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = InstantClock()
    made = Session(URI, clock, stats)
    made.connection()
    monkeypatch.setattr(made, "uri", "qemu+unix:///system?socket=/nowhere")
    start = clock.monotonic()
    with pytest.raises(ConnectionFailed):
        made.call("virConnectListAllDomains", failing(1))
    assert session.REOPEN_SECONDS <= clock.monotonic() - start < session.REOPEN_SECONDS + 1
    again = clock.monotonic()
    with pytest.raises(ConnectionFailed):
        made.call("virConnectListAllDomains", failing(0))
    assert clock.monotonic() == again


def test_an_unreachable_uri_is_named_with_a_remedy(stats: Stats) -> None:
    clock = InstantClock()
    with pytest.raises(ConnectionFailed) as caught:
        Host("qemu+unix:///system?socket=/nowhere", clock, stats).hostname()
    assert "/nowhere" in caught.value.obj
    assert "start libvirtd" in caught.value.hint
    assert clock.monotonic() == InstantClock().monotonic()


def test_a_guest_survives_a_reopened_connection(host: Host, keeper: Any, stats: Stats) -> None:
    guest = host.define(domain("s-1", new_machine_id("s")))
    host.close()
    assert guest.state() is DomainState.SHUTOFF
    guest.start()
    assert guest.is_active()
    assert guest.destroy() is True
    assert guest.destroy() is False
    assert guest.undefine() is True
    assert guest.undefine() is False
    assert guest.destroy() is False
    with pytest.raises(NotFound):
        guest.start()
    assert stats.as_dict()["calls"]["virDomainLookupByUUIDString"] == 1


def test_a_taken_name_is_told_from_other_refusals(host: Host) -> None:
    guest = host.define(domain("s-1", new_machine_id("s")))
    try:
        with pytest.raises(NameTaken) as caught:
            host.define(domain("s-1", new_machine_id("s")))
        assert caught.value.obj == "s-1"
        assert host.define(domain("s-1", guest.uuid)).uuid == guest.uuid
    finally:
        guest.undefine()


def test_what_the_test_driver_tells(host: Host) -> None:
    assert [seen.guest.name for seen in host.domains()] == ["test"]
    assert host.transient_uuids() == frozenset()
    assert host.networks.all()["default"].active
    assert host.networks.leases("default") == ()
    assert host.memory().available > 0
    assert host.capabilities().arch == "i686"
    assert host.versions().libvirt > 1_000_000
    with pytest.raises(NotFound):
        host.networks.leases("no-such-network")
    assert host.guest("nobody") is None


def test_the_test_driver_is_asked_for_nothing_it_cannot_do(host: Host) -> None:
    platform, warning = choose_platform(host, "auto", lambda: True)
    assert (platform.virt_type, platform.arch, warning) == ("test", "i686", "")
    assert EMULATED


def test_a_missing_binding_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binding, "libvirt", None)
    with pytest.raises(MissingDependency) as caught:
        binding.library.__wrapped__()
    assert "python3-libvirt" in caught.value.hint


def test_ssh_is_told_not_to_ask() -> None:
    assert without_prompts("qemu+ssh://root@host/system") == "qemu+ssh://root@host/system?no_tty=1"
    assert without_prompts("qemu+ssh://host/system?keyfile=/k") == "qemu+ssh://host/system?keyfile=/k&no_tty=1"
    assert without_prompts("qemu:///system") == "qemu:///system"
    assert without_prompts("test:///default") == "test:///default"


def test_a_uri_names_its_host() -> None:
    assert remote_name("qemu+tls://host.example/system") == "host.example"
    assert remote_name("qemu:///system") == remote_name("qemu+unix:///system?socket=/s") == ""
