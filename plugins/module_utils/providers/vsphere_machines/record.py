# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What a machine's ``extraConfig`` says about it: its mark, as one value. Pure."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Mark

MARK_KEY = "poolwright.mark"
EXTRA_CONFIG = "config.extraConfig"
MARK_PATH = f'{EXTRA_CONFIG}["{MARK_KEY}"]'
"""The property that is the one value, of all that a machine's extraConfig has."""


def mark_options(mark: Mark) -> dict[str, str]:
    """What goes into the specification. ASCII only: what becomes of other characters in a ``.vmx`` file depends on its encoding."""
    return {MARK_KEY: json.dumps(mark.to_dict(), separators=(",", ":"), sort_keys=True)}


def read_mark(value: Any) -> Mark | None:
    """From the property ``MARK_PATH`` or ``EXTRA_CONFIG``. None for what is no mark: none there, damaged by hand, or of a later version."""
    if isinstance(value, list):
        value = next((option for option in value if option.key == MARK_KEY), None)
    if value is None:
        return None
    try:
        return Mark.from_dict(json.loads(str(value.value)))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
