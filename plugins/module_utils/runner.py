# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The one place where a run becomes a module's answer: errors to ``fail_json``, SIGTERM to an orderly stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Callable

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec, VirtError

Result = dict[str, Any]


def run_module(module: AnsibleModule, work: Callable[[threading.Event], Result]) -> None:
    """End the module with what ``work`` returns; a result with ``failures`` fails it, with the whole result beside the message."""
    try:
        with stopping_in_order() as cancel:
            result = work(cancel)
    except InvalidSpec as exc:
        module.fail_json(msg="; ".join(exc.problems), code=exc.code, problems=exc.problems)
    except VirtError as exc:
        module.fail_json(msg=str(exc), failure=exc.as_dict(), code=exc.code)
    except Exception as exc:  # a defect of ours must not reach the user as a traceback
        module.fail_json(msg=f"unexpected {type(exc).__name__}: {exc}; please report this as a defect of poolwright.virt", code="defect")
    for warning in result.pop("warnings", []):
        module.warn(warning)
    failures = result.pop("failures", [])
    if failures:
        module.fail_json(msg="; ".join(failures), code="incomplete", **result)
    module.exit_json(**result)


@contextmanager
def stopping_in_order() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set: begun work is brought to an end that a further run can take up, no more is begun."""
    cancel = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        cancel.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield cancel
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
