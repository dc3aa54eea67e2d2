# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``make bench``: measure everything, or what is named, and write down what came of it. ``--help`` says how."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> int:
    # The collection is imported by its full name, from the link that tests/setup/with.sh has made.
    sys.path[0] = str(Path(__file__).parents[2] / ".work" / "collections")
    from ansible_collections.poolwright.virt.tests.bench.session import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
