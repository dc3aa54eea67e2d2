# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every dependency has a range, and a reason."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "tests" / "requirements"


def lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]


def ranges(path: Path) -> dict[str, str]:
    """Name -> range, of a file of requirements."""
    found = [re.fullmatch(r"([\w.-]+)(.*)", line) for line in lines(path)]
    return {match[1]: match[2] for match in found if match}


def test_every_dependency_has_a_range() -> None:
    constrained = ranges(REQUIREMENTS / "constraints.txt")
    assert all(constrained.values())
    for path in REQUIREMENTS.glob("*.txt"):
        assert set(ranges(path)) <= set(constrained), path


def test_an_execution_environment_gets_the_same_ranges() -> None:
    constrained = ranges(REQUIREMENTS / "constraints.txt")
    assert ranges(ROOT / "meta" / "ee-requirements.txt").items() <= constrained.items()


def test_the_documentation_gives_the_reason_and_the_same_range() -> None:
    documented = dict(re.findall(r"^\| `([\w.-]+)` \| `([^`]+)` \| \w", (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert documented == ranges(REQUIREMENTS / "constraints.txt")


def test_the_readme_installs_the_same_ranges() -> None:
    commands = re.findall(r"`pip install ([^`]+)`", (ROOT / "README.md").read_text(encoding="utf-8"))
    named = dict(re.findall(r"'([\w.-]+?)([<>=][^']*)'", " ".join(commands)))
    assert named == ranges(ROOT / "meta" / "ee-requirements.txt")


def packages(purpose: str) -> set[str]:
    """What ``tests/setup/packages.sh @purpose`` installs."""
    table = [line.split() for line in lines(ROOT / "tests" / "lab" / "packages.txt")]
    return {name for name, *purposes in table if purpose in purposes}


def test_every_package_is_listed_once_with_a_purpose() -> None:
    names = [line.split()[0] for line in lines(ROOT / "tests" / "lab" / "packages.txt")]
    assert len(names) == len(set(names))
    assert set(names) == {name for purpose in ("libvirt", "image", "debian", "ceph", "lvm", "guests", "unit") for name in packages(purpose)}


def test_the_role_has_nothing_left_to_install_on_a_host_of_the_lab() -> None:
    text = (ROOT / "roles" / "kvm_host" / "vars" / "Debian.yml").read_text(encoding="utf-8")
    common = re.search(r"\[('libvirt-daemon-system'[^]]*)\]", text)
    for_x86 = re.search(r"x86_64: \[([^]]*)\]", text)
    assert common is not None and for_x86 is not None
    wanted = set(re.findall(r"[a-z0-9-]+", common[1] + "," + for_x86[1]))
    assert wanted - packages("libvirt") == {"python3"}
