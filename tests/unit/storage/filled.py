# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ``AnsibleModule`` makes of a module's options, where Ansible itself need not be there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Spec = Mapping[str, Mapping[str, Any]]


def filled(spec: Spec, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options with those that are not given at their defaults, inside others too."""
    unknown = set(given) - set(spec)
    assert not unknown, f"there are no options {sorted(unknown)}"
    return {name: _value(option, given.get(name)) for name, option in spec.items()}


def _value(option: Mapping[str, Any], value: Any) -> Any:
    if value is None:
        return option.get("default")
    assert value in option.get("choices", [value]), f"{value!r} is not one of {option['choices']}"
    inner = option.get("options")
    if inner is None:
        return value
    return [filled(inner, one) for one in value] if isinstance(value, list) else filled(inner, value)
