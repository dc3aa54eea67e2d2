# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The other KVM hosts that machines may move to: which of them suits one best, and moving it there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import NotFound, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest import Guest
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host_facts import guests_on, host_facts, judge
from ansible_collections.poolwright.virt.plugins.module_utils.migration.run import MigrationRun, Site
from ansible_collections.poolwright.virt.plugins.module_utils.migration.wish import Tuning, Wish, route
from ansible_collections.poolwright.virt.plugins.module_utils.placement.choose import Candidate, Mode, Rules, choose_better
from ansible_collections.poolwright.virt.plugins.module_utils.placement.facts import GuestFacts, HostFacts
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import MigrationTimings
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats

Lock = Callable[[str, Deadline], AbstractContextManager[object]]


class Peers:
    """KVM hosts by their own names. Nothing is opened before the first call; methods may be called from several threads.

    :param uris: their libvirt as this host reaches it.   :param rules: when one takes a machine, and when a machine gains by it.
    """

    def __init__(self, uris: Mapping[str, str], clock: Clock, stats: Stats, rules: Rules) -> None:
        self._routes = {name: route(uri, None) for name, uri in uris.items()}
        self._hosts = {name: Host(way.uri, clock, stats, keepalive=True) for name, way in self._routes.items()}
        self._clock = clock
        self._stats = stats
        self._rules = rules

    def __bool__(self) -> bool:
        return bool(self._hosts)

    def close(self) -> None:
        """Never raises."""
        for host in self._hosts.values():
            host.close()

    def holder(self, vm: str) -> tuple[str, Host, Guest] | None:
        """The peer that has a machine of this name."""
        for name, host in self._hosts.items():
            guest = host.guest(vm)
            if guest is not None:
                return name, host, guest
        return None

    def better_than(self, own: Host, vm: str, warn: Callable[[str], None]) -> str:
        """The peer that is clearly less used with the machine on it than its own host is now, "" where there is none.

        :raises NotFound: the machine is gone.
        """
        seen = own.statistics()
        here = host_facts(own, seen)
        found = guests_on(own, [one for one in seen if one.guest.name == vm])
        if not found:
            raise NotFound("there is no machine of this name", obj=vm, phase="migrate")
        guest = found[0]
        if guest.tied:
            return ""
        mode = Mode.LIVE if guest.active else Mode.COLD
        candidates = [candidate for name in self._hosts if (candidate := self._candidate(name, guest, warn)) is not None]
        return choose_better(guest, here, mode, candidates, self._rules).target

    def _candidate(self, name: str, guest: GuestFacts, warn: Callable[[str], None]) -> Candidate | None:
        host = self._hosts[name]
        try:
            facts: HostFacts = host_facts(host, host.statistics())
            return Candidate(name, facts, verdicts={one.uuid: verdict for one, verdict in judge(host, [guest])})
        except VirtError as exc:
            warn(f"{name} takes no machines: {exc}")
            return None

    def move(self, own: Host, vm: str, target: str, lock: Lock, seconds: float) -> MigrationTimings:
        """Move a machine, live if it runs. It stays where it is unless it arrives within so many seconds.

        :param lock: see ``Site``.
        :raises NotFound: there is no such peer.
        """
        if target not in self._hosts:
            known = ", ".join(sorted(self._hosts)) or "none"
            raise NotFound(f"there is no host {target!r}", obj=vm, phase="migrate", hint=f"known hosts: {known}")
        site = Site(own, self._hosts[target], self._clock, self._stats, lock)
        wish = Wish(vm, tuning=Tuning(transport=self._routes[target].transport), timeout=seconds)
        done = MigrationRun(site, wish, threading.Event()).result()
        return MigrationTimings(own.hostname(), target, float(done["seconds"]))
