# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A role takes what its module takes, under the same names, types and defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.poolwright.virt.plugins.module_utils.argspec import pool_options, provider_options, run_options
from ansible_collections.poolwright.virt.plugins.modules import libvirt_evacuation_plan, libvirt_migrate

pytestmark = pytest.mark.any_core

ROLES = Path(__file__).parents[3] / "roles"


def documented(role: str, entry_point: str) -> dict[str, Any]:
    specs = yaml.safe_load((ROLES / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    return dict(specs["argument_specs"][entry_point]["options"])


def bare(options: dict[str, Any]) -> dict[str, Any]:
    """The options without what is only for people."""
    return {
        name: {key: bare(value) if key == "options" else value for key, value in option.items() if key != "description"} for name, option in options.items()
    }


def test_the_role_takes_all_options_of_the_module() -> None:
    options = bare(documented("pool_provision", "main"))
    module = {**provider_options(), **run_options(), "pools": {"type": "list", "elements": "dict", "default": [], "options": pool_options()}}
    # The role has a default for it.
    module["provider"] = {**module["provider"], "default": "libvirt"}
    del module["provider"]["required"]
    for name, option in module.items():
        if "fallback" in option:
            # What has an environment variable has no default in the role, which would hide it.
            option = {key: value for key, value in option.items() if key not in ("fallback", "default")}
        assert options[f"pool_provision_{name}"] == option, name


def test_the_role_that_moves_guests_takes_the_options_of_its_modules() -> None:
    options = bare(documented("host_evacuate", "main"))
    plan = yaml.safe_load(libvirt_evacuation_plan.DOCUMENTATION)["options"]
    migrate = yaml.safe_load(libvirt_migrate.DOCUMENTATION)["options"]
    for name, option in options.items():
        own = name.removeprefix("host_evacuate_")
        if own in (set(plan) | set(migrate)) - {"migrate_uri"}:
            module = bare({own: plan.get(own) or migrate[own]})[own]
            assert {**option, "required": None} == {**module, "required": None}, name
    # What the plan says of each move, and what is for one guest only.
    by_plan = {"name", "names", "target", "mode", "copy_disks", "disks", "undefine_source", "persist"}
    assert {f"host_evacuate_{name}" for name in set(migrate) - by_plan} <= set(options)
    assert {f"host_evacuate_{name}" for name in set(plan) - {"hosts"}} <= set(options)


def test_defaults_are_as_documented() -> None:
    for role, options in {
        "pool_provision": {**documented("pool_provision", "main"), **documented("pool_provision", "remove")},
        "host_evacuate": documented("host_evacuate", "main"),
    }.items():
        defaults = yaml.safe_load((ROLES / role / "defaults" / "main.yml").read_text(encoding="utf-8"))
        # A template stands for what is no text, and as such cannot be said to be the default.
        told = {name: value for name, value in defaults.items() if options[name]["type"] == "str" or "{{" not in str(value)}
        assert told == {name: option["default"] for name, option in options.items() if "default" in option}


@pytest.mark.parametrize("role", sorted(path.name for path in ROLES.iterdir() if path.is_dir()))
def test_every_role_says_what_it_takes(role: str) -> None:
    defaults = yaml.safe_load((ROLES / role / "defaults" / "main.yml").read_text(encoding="utf-8"))
    assert set(defaults) <= {name for point in ("main", "remove") if point == "main" or role == "pool_provision" for name in documented(role, point)}
    assert all(name.startswith(f"{role}_") for name in documented(role, "main"))
    assert (ROLES / role / "README.md").is_file()
