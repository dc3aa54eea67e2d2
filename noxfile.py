# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The static checks: the sessions of antsibull-nox.toml, and the few it has no words for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import antsibull_nox
import nox

nox.options.default_venv_backend = "uv"
nox.options.envdir = ".work/nox"
nox.options.reuse_venv = "yes"

antsibull_nox.load_antsibull_nox_toml()


@nox.session(name="format")
def code_format(session: nox.Session) -> None:
    """Check the layout of the code; `nox -s format -- --fix` lays it out, and repairs what the linter can."""
    session.install("ruff")
    files = ["plugins", "tests", "noxfile.py"]
    if "--fix" in session.posargs:
        session.run("ruff", "check", "--fix-only", *files)
        session.run("ruff", "format", *files)
    else:
        session.run("ruff", "format", "--check", "--diff", *files)


@nox.session
def changelog(session: nox.Session) -> None:
    """Check the changelog's fragments."""
    session.install("antsibull-changelog")
    session.run("antsibull-changelog", "lint")


@nox.session(name="build-import")
def build_import(session: nox.Session) -> None:
    """Build the collection, let Galaxy's importer judge it, and install it."""
    session.install("ansible-core", "galaxy-importer")
    copy = subprocess.run(["tests/setup/collection.sh", "copy", "archive"], check=True, capture_output=True, text=True).stdout.strip()
    artifacts = Path(session.create_tmp())
    session.run("ansible-galaxy", "collection", "build", "--force", "--output-path", str(artifacts), copy)
    tarball = next(artifacts.glob("poolwright-virt-*.tar.gz"))
    with session.chdir(artifacts):
        # What the importer dislikes it only logs. ansible-lint is a session of its own.
        log = str(session.run("python", "-m", "galaxy_importer.main", tarball.name, silent=True, env={"GALAXY_IMPORTER_RUN_ANSIBLE_LINT": "false"}))
        print(log)
        if "ERROR" in log or "WARNING" in log or "completed successfully" not in log:
            session.error("the importer has found faults")
        session.run("ansible-galaxy", "collection", "install", "--offline", "--force", "-p", "installed", tarball.name)
        session.run("ansible-doc", "--list", "poolwright.virt", env={"ANSIBLE_COLLECTIONS_PATH": "installed"})


if __name__ == "__main__":
    nox.main()
