# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What the tests of the dummy provider are given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, InstantClock
from ansible_collections.poolwright.virt.tests.unit.dummy.staging import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Makes benches: ``bench(delays={"create": 2})``; further ones are further runs on the same database."""
    made: list[Bench] = []

    def make(clock: Clock | None = None, **options: Any) -> Bench:
        made.append(Bench(tmp_path / "dummy.sqlite", options, clock or InstantClock()))
        return made[-1]

    yield make
    for each in made:
        each.provider.close()
