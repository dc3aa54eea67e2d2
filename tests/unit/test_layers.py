# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The house stands: imports point down only, and each foreign library is imported in one file."""

from __future__ import annotations

import ast
import functools
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OWN = "ansible_collections.poolwright.virt."

# From the ground up. A layer may use those below it and itself; layers of one height do not know each other.
HEIGHTS = [
    {"base"},  # the single files of module_utils: errors, clock, process, ...
    {"images", "placement"},
    {"imagebackend"},
    {"storage"},
    {"dummy", "libvirt", "vsphere"},
    {"guests"},
    {"migration"},
    {"providers"},
    {"pool"},
    {"spawn"},
    {"front"},  # single files that only modules use
    {"modules", "inventory", "action", "filter", "lookup"},
]
HEIGHT = {layer: height for height, layers in enumerate(HEIGHTS) for layer in layers}
FRONT = {"argspec", "runner"}
FOREIGN = {"libvirt", "libvirt_qemu", "oslo_utils", "pyVmomi", "rados", "rbd"}

FILES = sorted(path for path in (ROOT / "plugins").rglob("*.py") if path.parent.name != "doc_fragments")


def layer_of(parts: tuple[str, ...]) -> str:
    """The layer of a file below ``plugins/`` or of a name imported from it, split into its words."""
    if parts[0] != "module_utils":
        return parts[0]
    if parts[1] in FRONT:
        return "front"
    return parts[1] if (ROOT / "plugins" / "module_utils" / parts[1]).is_dir() else "base"


@functools.cache
def imports(path: Path) -> tuple[str, ...]:
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    """Full names of all that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            # `from ...module_utils import errors` names a module only in its last word.
            yield from (f"{node.module}.{name.name}" for name in node.names)


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", FILES, ids=shown)
def test_imports_point_down(path: Path) -> None:
    own = layer_of(path.relative_to(ROOT / "plugins").with_suffix("").parts)
    for name in imports(path):
        if not name.startswith(OWN):
            continue
        parts = tuple(name[len(OWN) :].split("."))
        assert parts[0] == "plugins", f"{name}: nothing outside plugins/ is there once the collection is installed"
        other = layer_of(parts[1:])
        assert other == own or HEIGHT[other] < HEIGHT[own], f"{own} must not import {name}"


@pytest.mark.parametrize("path", FILES, ids=shown)
def test_only_the_top_knows_ansible(path: Path) -> None:
    if HEIGHT[layer_of(path.relative_to(ROOT / "plugins").with_suffix("").parts)] < HEIGHT["front"]:
        assert not [name for name in imports(path) if name.split(".")[0] == "ansible"]


def test_a_foreign_library_is_imported_in_one_file() -> None:
    importers = defaultdict(set)
    for path in FILES:
        for name in imports(path):
            importers[name.split(".")[0]].add(shown(path))
    assert {library: files for library, files in importers.items() if library in FOREIGN and len(files) > 1} == {}
