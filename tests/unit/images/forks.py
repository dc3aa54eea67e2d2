# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs programs in forks of one process that has imported what they use: a run costs no start of an interpreter.

Reads jobs from standard input, one JSON object a line: ``program``, its ``request``, and the path of the ``log`` that takes what it writes.
Answers each with the exit code, once the program has ended.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import traceback
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.images.formats import detect


def run(program: str, request: dict[str, Any], log: str) -> int:
    """What a fork does: be the program."""
    for number, path, flags in ((0, os.devnull, os.O_RDONLY), (1, log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)):
        os.dup2(os.open(path, flags), number)
    os.dup2(1, 2)
    sys.argv = [program, json.dumps(request)]
    try:
        runpy.run_path(program, run_name="__main__")
    except SystemExit as exc:
        if exc.code is None or isinstance(exc.code, int):
            return exc.code or 0
        print(exc.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def main() -> None:
    detect(os.devnull)  # import what is imported late
    known = set()
    for line in sys.stdin:
        job = json.loads(line)
        if job["program"] not in known:
            known.add(job["program"])
            runpy.run_path(job["program"], run_name="imported")
        pid = os.fork()
        if pid == 0:
            code = run(**job)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
