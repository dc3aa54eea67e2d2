# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is asked for is judged as such, before any host is asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.migration.wish import (
    Mode,
    NewPlace,
    OnTimeout,
    Route,
    Storage,
    Tuning,
    Wish,
    problems,
    route,
    weaker,
)

WISH = Wish("web")
PLACE = NewPlace("vda", "flat", "/new")


@pytest.mark.parametrize(
    ("target", "transport", "expected"),
    [
        ("kvm2", None, Route("qemu+tls://kvm2/system", "tls")),
        ("kvm2.example.org", "ssh", Route("qemu+ssh://kvm2.example.org/system", "ssh")),
        ("[2001:db8::1]", "tcp", Route("qemu+tcp://[2001:db8::1]/system", "tcp")),
        ("qemu+tcp://10.77.0.2/system", None, Route("qemu+tcp://10.77.0.2/system", "tcp")),
        ("qemu+ssh://root@kvm2/system", None, Route("qemu+ssh://root@kvm2/system", "ssh")),
        ("qemu+tcp://kvm2/system", "tls", Route("qemu+tcp://kvm2/system", "tls")),
    ],
)
def test_a_target_is_a_name_or_a_connection(target: str, transport: str | None, expected: Route) -> None:
    assert route(target, transport) == expected


@pytest.mark.parametrize("target", ["", "-x", "a b", "qemu:///system", "qemu+unix:///system", "test:///default", "http://kvm2", "kvm2;reboot"])
def test_what_leads_nowhere_is_refused(target: str) -> None:
    with pytest.raises(InvalidSpec, match="target"):
        route(target, None)


def test_memory_that_is_less_protected_than_the_daemons_talk_is_told() -> None:
    assert weaker(route("qemu+tls://kvm2/system", "tcp"))
    assert weaker(route("qemu+ssh://kvm2/system", "tcp"))
    assert not weaker(route("qemu+tcp://kvm2/system", None))
    assert not weaker(route("qemu+tcp://kvm2/system", "tls"))


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (replace(WISH, disks=(PLACE,)), "set mode: cold"),
        (replace(WISH, mode=Mode.COLD, disks=(PLACE, PLACE)), "named twice"),
        (replace(WISH, storage=Storage.SHARED, copy_disks=("vda",)), "copy_disks"),
        (replace(WISH, storage=Storage.COPY, copy_disks=()), "empty list"),
        (replace(WISH, on_timeout=OnTimeout.POSTCOPY), "needs post_copy: true"),
        (replace(WISH, timeout=0), "timeout: 0"),
        (replace(WISH, tuning=Tuning(bandwidth_mib=-1)), "bandwidth_mib: -1"),
        (replace(WISH, tuning=Tuning(migrate_uri="10.1.0.2")), "migrate_uri"),
        (replace(WISH, tuning=Tuning(transport="ssh", post_copy=True)), "post_copy"),
        (replace(WISH, tuning=Tuning(transport="ssh", migrate_uri="tcp://h")), "migrate_uri"),
    ],
)
def test_a_wish_that_contradicts_itself_is_refused(wish: Wish, words: str) -> None:
    assert words in "; ".join(problems(wish))


def test_a_plain_wish_is_none() -> None:
    assert problems(WISH) == []
    assert problems(replace(WISH, mode=Mode.COLD, disks=(PLACE,))) == []
