# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""One request of the module ``disk_backend``: from its options to its result."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline, Interruptible
from ansible_collections.poolwright.virt.plugins.module_utils.errors import ChecksumMismatch, InsufficientResources, InvalidSpec, VirtError, telling_where
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend import makers
from ansible_collections.poolwright.virt.plugins.module_utils.images import qemu_img
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage, ImageCache
from ansible_collections.poolwright.virt.plugins.module_utils.images.scratch import scratch_directory
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import naming_storage_errors
from ansible_collections.poolwright.virt.plugins.module_utils.storage import digests, ledger, pruning, view
from ansible_collections.poolwright.virt.plugins.module_utils.storage.contents import creatable
from ansible_collections.poolwright.virt.plugins.module_utils.storage.holders import Holders, concerns_guests, refuse_held
from ansible_collections.poolwright.virt.plugins.module_utils.storage.plan import Plan, Planner, Step
from ansible_collections.poolwright.virt.plugins.module_utils.storage.record import OwnDisk
from ansible_collections.poolwright.virt.plugins.module_utils.storage.request import Request, State, parse_requests
from ansible_collections.poolwright.virt.plugins.module_utils.storage.sources import Sources, is_seen

Params = Mapping[str, Any]
Result = dict[str, Any]


def disks_with(params: Params, check_mode: bool, cancel: threading.Event, *, ask: Callable[[], Holders] = Holders, clock: Clock | None = None) -> Result:
    """:param ask: which guests have which disks; called once, where it matters.

    :raises InvalidSpec: with every fault of the request, before anything is touched.

    :raises VirtError: a disk cannot be had; of several, those that failed while they were made are told in the result.
    """
    clock = clock or Clock()
    if pruning.is_asked(params):
        return pruning.pruned(params, check_mode, cancel, clock)
    requests = parse_requests(params)
    deadline = Interruptible(clock, clock.monotonic() + float(params["timeout"]), cancel)
    cache = ImageCache(str(params["cache"]), clock)
    planner = Planner(Sources(cache, deadline, fetch=not check_mode), deadline)
    # A prediction need not wait for others.
    with contextlib.nullcontext() if check_mode else _locked(requests, deadline):
        plans = _plans(planner, requests)
        _refuse_held(plans, ask)
        _check_room(plans, deadline)
        if not check_mode:
            _tell_cache(plans, cache)
        if params.get("disks") is None:
            return _carried_out(plans[0], check_mode, deadline)
        return _several(plans, check_mode, deadline)


@contextlib.contextmanager
def _locked(requests: Sequence[Request], deadline: Deadline) -> Iterator[None]:
    """In one order, whatever the order of the requests."""
    with contextlib.ExitStack() as held:
        for request in sorted(requests, key=lambda one: one.wish.key):
            held.enter_context(ledger.lock(request.wish.place(), deadline))
        yield


def _plans(planner: Planner, requests: Sequence[Request]) -> list[Plan]:
    """All of them, before the first is carried out."""
    found, problems = [], []
    for request in requests:
        try:
            with telling_where(request.where) if request.where else contextlib.nullcontext():
                found.append(planner.plan(request))
        except InvalidSpec as exc:
            problems += [f"{request.where}: {fault}" if request.where else fault for fault in exc.problems]
    if problems:
        raise InvalidSpec(problems)
    return found


def _refuse_held(plans: Sequence[Plan], ask: Callable[[], Holders]) -> None:
    concerned = [plan for plan in plans if concerns_guests(plan)]
    if concerned:
        holders = ask()
        for plan in concerned:
            path = plan.place.plan_from_func(1).path
            with telling_where(plan.request.where) if plan.request.where else contextlib.nullcontext():
                refuse_held(plan, path, holders)


def _check_room(plans: Sequence[Plan], deadline: Deadline) -> None:
    """Room for what images take at once; what is written later comes on top, and contents are mostly holes."""
    alike: Counter[tuple[object, ...]] = Counter()
    first: dict[tuple[object, ...], tuple[Plan, CachedImage]] = {}
    for plan in plans:
        if Step.MAKE in plan.steps and isinstance(plan.source, CachedImage) and is_seen(plan.source):
            kind: tuple[object, ...] = (plan.place.backend, plan.place.location, plan.source.digest, plan.wish.size, plan.place.options)
            alike[kind] += 1
            first.setdefault(kind, (plan, plan.source))
    needed: dict[tuple[object, ...], int] = {}
    for kind, (plan, source) in first.items():
        where = kind[:2]
        needed[where] = needed.get(where, 0) + creatable(plan.wish, source, deadline).required_bytes(alike[kind])
        free = plan.place.free_bytes(deadline)
        if needed[where] > free:
            hint = "free some space, or choose another location"
            said = f"{needed[where]} bytes are needed and {free} are free in {plan.place.location}"
            raise InsufficientResources(said, obj=plan.place.name, phase="check", hint=hint)


def _tell_cache(plans: Sequence[Plan], cache: ImageCache) -> None:
    """Disks are about to stand on its images: where they are, it has to know when it looks for images that nobody uses."""
    with naming_storage_errors(cache.root, "record"):
        for plan in plans:
            backing = None if plan.after is None else plan.after.record.backing
            if backing is not None and backing.path.startswith("/") and cache.contains(backing.path):
                cache.store.note_directory(plan.place.location)


def _several(plans: Sequence[Plan], check_mode: bool, deadline: Deadline) -> Result:
    """One after the other; one that fails does not stop the others."""
    results: list[Result] = []
    failures: list[str] = []
    for plan in plans:
        try:
            deadline.check("the disk's making", obj=plan.place.name, phase="disk")
            results.append(_carried_out(plan, check_mode, deadline))
        except VirtError as exc:
            failures.append(str(exc) if plan.place.name in str(exc) else f"{plan.place.name}: {exc}")
    diffs = [one.pop("diff") for one in results]
    return {
        "changed": any(one["changed"] for one in results),
        "disks": results,
        "diff": [diff for diff in diffs if diff["before"] != diff["after"]],
        "failures": failures,
    }


def _carried_out(plan: Plan, check_mode: bool, deadline: Deadline) -> Result:
    own = plan.after
    if not check_mode:
        for step in plan.steps:
            own = _take(plan, step, own, deadline)
    return view.result(plan, own, deadline, check_mode=check_mode)


def _take(plan: Plan, step: Step, own: OwnDisk | None, deadline: Deadline) -> OwnDisk | None:
    """One step; returns what is recorded in the end."""
    place = plan.place
    if step in (Step.REMOVE, Step.FORGET):
        # Where there is no disk, what a killed run left of it.
        plan.there().remove(deadline)
        if step is Step.FORGET:
            ledger.forget(place, deadline)
    elif own is not None and step is Step.MAKE:
        own = _make(plan, own, deadline)
    elif own is not None and plan.before is not None:
        if step is Step.GROW:
            # Before the record says so: a disk that is larger than recorded is grown again, which changes nothing.
            own = replace(own, record=plan.there().resize(plan.before.record, own.record.size, deadline))
        ledger.write(place, own, deadline)
    return own


def _make(plan: Plan, wanted: OwnDisk, deadline: Deadline) -> OwnDisk:
    place, source = plan.place, plan.source
    if source is None:
        return wanted
    own = replace(wanted, made=False)

    def told(digest: str) -> None:
        # Still before the disk has its name: whoever finds it finds the digest as well.
        nonlocal own
        own = replace(own, origin=replace(own.origin, digest=digest))
        ledger.write(place, own, deadline)

    ledger.write(place, own, deadline)
    made = False
    try:
        record = creatable(plan.wish, source, deadline, told).create(deadline)
        made = True
        own = replace(own, record=record)
        if plan.request.state is State.IDENTICAL:
            own = replace(own, origin=replace(own.origin, digest=_verified(plan, own, deadline)))
    except VirtError:
        _undo(plan, made, deadline)
        raise
    own = replace(own, made=True)
    ledger.write(place, own, deadline)
    return own


def _undo(plan: Plan, made: bool, deadline: Deadline) -> None:
    """A disk that cannot be had leaves nothing behind; what cannot be taken back now is by the next run."""
    late = Deadline.after(deadline.clock, 30)
    with contextlib.suppress(VirtError):
        # Not one that somebody else made under its name meanwhile.
        if made:
            plan.place.remove(late)
        ledger.forget(plan.place, late)


def _verified(plan: Plan, own: OwnDisk, deadline: Deadline) -> str:
    """The digest of the new disk, which is that of the other one.

    :raises ChecksumMismatch: it is not.
    """
    written = own.origin.digest
    expected = plan.expected or written
    if not plan.request.verify:
        found = written
    else:
        stream = digests.DigestStream()
        plan.place.read_to(own.record, stream, deadline)  # type: ignore[arg-type]
        found = stream.digest
        if not expected and isinstance(plan.source, CachedImage):
            expected = _image_digest(plan.source, deadline)
    if expected and found and found != expected:
        raise ChecksumMismatch(
            f"its contents should have the digest {expected}, and have {found}",
            obj=own.record.path,
            phase="verify",
            hint="the tools of the two hosts may differ in their versions: copy the disk, or make both with the same",
        )
    return found or expected


def _image_digest(image: CachedImage, deadline: Deadline) -> str:
    """Of the disk that an image holds."""
    if image.format == "raw":
        with naming_storage_errors(image.path, "verify"):
            return digests.of_file(image.path, deadline)
    with scratch_directory(makers.home(), "verify") as directory:
        contents = os.path.join(directory, "contents")
        with naming_storage_errors(contents, "verify"):
            qemu_img.convert(image.path, image.format, contents, "raw", deadline)
            return digests.of_file(contents, deadline)
