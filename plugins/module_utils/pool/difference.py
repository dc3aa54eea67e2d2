# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The readable difference of a run: one line a machine, before and after. Pure.

Nothing volatile is in it (no address, no time), so the difference that check mode predicts is the one that the run shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ansible_collections.poolwright.virt.plugins.module_utils.pool.condition import Condition, Observed, assess
from ansible_collections.poolwright.virt.plugins.module_utils.pool.plan import Action, Kind, Plan
from ansible_collections.poolwright.virt.plugins.module_utils.pool.spec import PoolSpec, is_outdated, spec_hash

Lines = Mapping[str, str]


def machine_lines(spec: PoolSpec, observed: Sequence[Observed], now: float) -> dict[str, str]:
    """The pool's own machines, each described in one line; others are not this run's business."""
    lines = {}
    for seen in observed:
        judgement = assess(spec, seen, now)
        mark = seen.machine.mark
        if mark is None or judgement.condition in (Condition.FOREIGN, Condition.STRAY):
            continue
        reason = "" if judgement.condition is Condition.READY else f", {judgement.reason}"
        lines[seen.machine.name] = _line(judgement.condition, mark.image, mark.spec_hash, reason)
    return lines


def predicted_lines(spec: PoolSpec, before: Lines, actions: Sequence[Action]) -> dict[str, str]:
    """What ``machine_lines`` will give once the actions of this pool are done."""
    after = dict(before)
    for action in actions:
        if action.kind is Kind.DESTROY:
            after.pop(action.name, None)
        elif action.kind in (Kind.CREATE, Kind.REPLACE):
            after[action.name] = _line(Condition.READY, image_name(spec), spec_hash(spec.machine))
        elif action.expected is not None:
            outdated = is_outdated(spec, action.expected.spec_hash)
            condition = Condition.OUTDATED if outdated else Condition.READY
            reason = ", it was made from another description than the pool's present one" if outdated else ""
            after[action.name] = _line(condition, action.expected.image, action.expected.spec_hash, reason)
    return after


def as_diff(before: Mapping[str, Lines], after: Mapping[str, Lines]) -> dict[str, str]:
    """Ansible's diff of pools and their lines: ``before`` and ``after`` as text."""
    return {"before_header": "pools", "after_header": "pools", "before": _text(before), "after": _text(after)}


def image_name(spec: PoolSpec) -> str:
    """The image as people know it, without what may be secret in a URL."""
    image = spec.machine.vmware_image or spec.machine.image
    return spec.machine.template if image is None else str(image)


def predict(specs: Mapping[str, PoolSpec], before: Mapping[str, Lines], plans: Mapping[str, Plan]) -> dict[str, dict[str, str]]:
    return {name: predicted_lines(spec, before[name], plans[name].actions) for name, spec in specs.items()}


def _line(condition: Condition, image: str, digest: str, reason: str = "") -> str:
    made_of = f"image {image}, " if image else ""
    return f"{condition.value} ({made_of}spec {digest}{reason})"


def _text(pools: Mapping[str, Lines]) -> str:
    text = []
    for pool, lines in pools.items():
        text.append(f"{pool}: {len(lines)} machines")
        text += [f"  {name}: {lines[name]}" for name in sorted(lines, key=_natural)]
    return "\n".join(text) + "\n"


def _natural(name: str) -> tuple[str, int]:
    prefix, _dash, number = name.rpartition("-")
    return (prefix, int(number)) if number.isdigit() else (name, 0)
