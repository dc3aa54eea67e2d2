# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One call of ``libvirt_guest`` for many defined guests that are as they shall be, beside a playbook that loops over community.libvirt."""

from __future__ import annotations

import json
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import libvirt
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.poolwright.virt.plugins.module_utils.guests.request import guest_with
from ansible_collections.poolwright.virt.plugins.module_utils.guests.spec import module_options
from ansible_collections.poolwright.virt.tests.bench import peer
from ansible_collections.poolwright.virt.tests.bench.children import Ended
from ansible_collections.poolwright.virt.tests.bench.figures import Measured, Table, Timings, aims, free, held, must, phases
from ansible_collections.poolwright.virt.tests.bench.packed import Packed, nothing, play, playbook
from ansible_collections.poolwright.virt.tests.bench.places import PREFIX, TINY
from ansible_collections.poolwright.virt.tests.bench.stage import URI, Stage, libvirt_stage
from ansible_collections.poolwright.virt.tests.bench.ways import NOTHING, timed

MODULE = "poolwright.virt.libvirt_guest"
TIMES_FASTER_THAN_PEER = 10.0
CALLS_PER_GUEST = 2.0

INSIDE, PROCESS, PLAYBOOK = "`libvirt_guest`, inside the module", "`libvirt_guest`, the module's process", "`libvirt_guest`, `ansible-playbook`"
PEER = "community.libvirt loop, `ansible-playbook`"


def measure(quick: bool) -> Measured:
    size, rounds = (10, 1) if quick else (100, 3)
    looping = peer.prepare()
    with libvirt_stage() as stage:
        return _measure(stage, looping, size, rounds)


def _measure(stage: Stage, looping: peer.Peer, size: int, rounds: int) -> Measured:
    whole, half = GuestModule(stage, size), GuestModule(stage, size // 2)
    made = whole.inside()
    must(len(made["guests"]) == size and made["changed"], f"not {size} guests were defined")
    loop, empty = _loop(stage, size), nothing(stage.folder)
    counts = {number: module.counted() for number, module in ((size // 2, half), (size, whole))}
    timings = Timings()
    timings.alternate(
        rounds,
        {
            INSIDE: timed(whole.inside),
            PROCESS: timed(whole.process),
            PLAYBOOK: timed(whole.playbook),
            NOTHING: timed(lambda: playbook(empty)),
            PEER: timed(lambda: looping.playbook(loop)),
            peer.NOTHING: looping.nothing(stage.folder),
        },
    )
    last = whole.inside()
    must(not last["changed"], "the loop over community.libvirt changed what the guests are")
    peak = whole.weigh()
    figures = {
        "guests": size,
        "calls": {str(number): dict(found) for number, found in counts.items()},
        "seconds": timings.seconds,
        "stats": last["stats"],
        "peak_mb": peak,
    }
    return Measured(_tables(timings, counts, size, peak, last["stats"]), figures)


class GuestModule:
    """One task of ``libvirt_guest`` for that many guests, each off, with a disk on an image and a card."""

    def __init__(self, stage: Stage, size: int) -> None:
        self._stage = stage
        params = {"uri": URI, "location": str(stage.location), "guests": [_guest(stage, number) for number in range(size)]}
        validated = ArgumentSpecValidator(module_options()).validate(params)
        must(not validated.error_messages, f"{MODULE}: {validated.error_messages}")
        self._params = validated.validated_parameters
        self._packed = Packed(stage.folder, f"guests-{size}", MODULE, params)

    def inside(self) -> dict[str, Any]:
        return _finished(guest_with(self._params, False, threading.Event()))

    def process(self, environment: dict[str, str] | None = None) -> dict[str, Any]:
        result, _ended = self._packed.process(environment)
        return _finished(result)

    def playbook(self) -> Ended:
        return self._packed.playbook()

    def weigh(self) -> float:
        return self._packed.weigh()

    def counted(self) -> Counter[str]:
        """The calls of a run that finds all as it should be, by name as it counts them, and under "messages" what libvirt's client sent."""
        log = self._stage.folder / "messages.log"
        result = self.process({"LIBVIRT_LOG_FILTERS": "1:rpc", "LIBVIRT_LOG_OUTPUTS": f"1:file:{log}"})
        must(not result["changed"], "a converged run changed something")
        must(result["stats"]["logins"] == 1, f"{result['stats']['logins']} logins in one run")
        counts = Counter(result["stats"]["calls"])
        with open(log, encoding="utf-8", errors="replace") as lines:
            counts["messages"] = sum("RPC_CLIENT_MSG_TX_QUEUE" in line for line in lines)
        log.unlink()
        return counts


def _guest(stage: Stage, number: int) -> dict[str, Any]:
    disk = {"backend": "qcow2", "location": str(stage.location / "disks"), "name": f"guest-{number}", "image": {"source": str(TINY), "format": "qcow2"}}
    return {
        "name": f"{PREFIX}guest-{number}",
        "cpus": 1,
        "memory_mb": 64,
        "disks": [disk],
        "networks": [{"network": "default"}],
        "agent": True,
        "autostart": False,
    }


def _finished(result: dict[str, Any]) -> dict[str, Any]:
    must(not result.get("failures") and not result.get("failed"), f"{MODULE}: {result.get('failures') or result.get('msg')}")
    return result


def _loop(stage: Stage, size: int) -> Path:
    """What people do otherwise: one task that defines each guest from its XML, which is what it has already."""
    names = [f"{PREFIX}guest-{number}" for number in range(size)]
    for name in names:
        text = stage.connection.lookupByName(name).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        (stage.folder / f"{name}.xml").write_text(text, encoding="utf-8")
    task = {
        "name": "Definitions",
        "community.libvirt.virt": {"command": "define", "uri": URI, "xml": f"{{{{ lookup('ansible.builtin.file', '{stage.folder}/' + item + '.xml') }}}}"},
        "loop": names,
    }
    path = stage.folder / "guests-loop.json"
    path.write_text(json.dumps(play(task)), encoding="utf-8")
    return path


def _tables(timings: Timings, counts: dict[int, Counter[str]], size: int, peak: float, stats: dict[str, Any]) -> list[Table]:
    half = size // 2
    slopes = {}
    for what in ("calls", "messages"):
        few, many = (found["messages"] if what == "messages" else found.total() - found["messages"] for found in (counts[half], counts[size]))
        slopes[what] = ((many - few) / (size - half), many)
        must(slopes[what][0] <= CALLS_PER_GUEST, f"{slopes[what][0]:g} {what} per guest are more than {CALLS_PER_GUEST:g}")
    loop = timings.median(PEER) - timings.median(peer.NOTHING)
    ours = timings.median(PLAYBOOK) - timings.median(NOTHING)
    names = [*sorted({name for found in counts.values() for name in found} - {"messages"}), "messages"]
    shown = {"messages": "messages that libvirt's client sent, connecting included"}
    calls = [[shown.get(name, f"`{name}`"), *(str(found[name]) for found in counts.values())] for name in names]
    return [
        timings.table(f"{size} defined guests that are as they shall be", (INSIDE, PROCESS, PLAYBOOK, NOTHING, PEER, peer.NOTHING)),
        aims(
            held("community.libvirt loop to `libvirt_guest`, whole `ansible-playbook` runs", timings.ratio(PEER, PLAYBOOK), "at least", TIMES_FASTER_THAN_PEER),
            free("the same without Ansible's own time", loop / ours),
            held("calls per guest", slopes["calls"][0], "at most", CALLS_PER_GUEST),
            free("calls, constant part", slopes["calls"][1] - slopes["calls"][0] * size),
            free("messages per guest", slopes["messages"][0]),
            free("peak memory of the module's process", peak, " MB"),
        ),
        Table("Calls of a run", ["call", *(f"{number} guests" for number in counts)], calls),
        *([phases(stats, "inside the module")] if stats.get("seconds") else []),
    ]
