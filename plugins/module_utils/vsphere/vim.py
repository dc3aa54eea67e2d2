# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""``VIM``: the only door to a vCenter."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Callable

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import DeadlineExceeded, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import properties, tasks
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import kind_of, moid_of
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.endpoint import Credentials, Endpoint
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import NotAuthenticated, ObjectGone
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.methods import READS, in_order, method_info
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.properties import PAGE_SIZE, Found
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.session import LOST, Attempts, Session
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.tasks import TaskOutcome
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.transport import Transport
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.updates import Updates, Watch


class VIM:
    """One vCenter, one session, any number of threads. There is no other way to it.

    It logs in at the first call that needs it and logs out in ``close``. Exactly one request is inside each retry: what takes several
    (a read in pages, waiting) starts over as a whole.
    """

    def __init__(self, endpoint: Endpoint, credentials: Credentials, clock: Clock, stats: Stats, *, operations: str = "") -> None:
        """:param operations: what the ids of this session's operations begin with in vCenter's logs; "" draws one by lot."""
        self.endpoint = endpoint
        self.clock = clock
        self.transport = Transport(endpoint, clock)
        self._session = Session(self.transport, credentials, clock, stats, operations or f"poolwright-{secrets.token_hex(3)}")
        self._updates = Updates(self._session, clock)

    def __repr__(self) -> str:
        return f"VIM({self.endpoint})"

    def __enter__(self) -> VIM:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Log out. Never raises; may be called twice; no further call is possible."""
        self._session.close()

    @property
    def content(self) -> Any:
        """vCenter's ``ServiceContent``: managers, root folder, version."""
        return self._session.content

    def call(
        self,
        obj: Any,
        method: str,
        /,
        *,
        idempotent: bool | None = None,
        about: str = "",
        phase: str = "",
        deadline: Deadline | None = None,
        **arguments: Any,
    ) -> Any:
        """Call a method of a managed object, by its name in vSphere's documents (``CloneVM_Task``); arguments by theirs.

        A session that ended is opened again and the same call repeated, once. After a broken connection the call is repeated only if it is
        a read, or ``idempotent``, or the server cannot have seen it.

        :param idempotent: whether doing it twice is as good as once; None goes by ``methods.READS``.
        :param about: what it is about, for errors.   :param phase: what is being done, for errors.
        :param deadline: no attempt is begun after it.
        :raises UnknownMethod: the object has no such method, or the method no such argument; nothing was sent.
        :raises AnswerLost: a ``MaybeApplied``: it may or may not have been done; look for what it would have made.
        :raises ConnectionFailed: vCenter cannot be reached, or the answer to a read was lost again and again.
        :raises VirtError: the fault that vCenter answered with, by its type.
        """
        in_order(method_info(obj, method), arguments)
        repeatable = method in READS if idempotent is None else idempotent
        attempts = Attempts(self._session, self.clock, about=about, phase=phase, deadline=deadline)
        while True:
            # Who changes something waits for the answer: what is lost is dear.
            timeout = None if deadline is None or not repeatable else max(1.0, min(self.endpoint.timeout, deadline.remaining))
            try:
                return self._call_no_session(attempts.number, obj, method, arguments, timeout=timeout, about=about, phase=phase)
            except LOST as exc:
                attempts.after(exc, repeatable=repeatable)

    def run(self, obj: Any, method: str, /, *, deadline: Deadline, idempotent: bool | None = None, about: str = "", phase: str = "", **arguments: Any) -> Any:
        """``call`` a method that returns a task, and ``wait_for_task``."""
        with self._updates.coming():
            task = self.call(obj, method, idempotent=idempotent, about=about, phase=phase, deadline=deadline, **arguments)
        return self.wait_for_task(task, deadline, about=about or method, phase=phase)

    def wait_for_task(self, task: Any, deadline: Deadline, *, about: str = "", phase: str = "") -> Any:
        """What the task returns, once it is done. Costs no call of its own while others wait as well.

        :raises DeadlineExceeded: it was cancelled then; where it could not be, the message says that it still runs.
        :raises MaybeApplied: vCenter does not know the task any more.   :raises VirtError: what it failed with.
        """
        return self.wait_for_tasks([task], deadline, about=about, phase=phase)[0].value()

    def wait_for_tasks(self, running: Sequence[Any], deadline: Deadline, *, about: str = "", phase: str = "") -> list[TaskOutcome]:
        """The same for many at once; an error is in its task's outcome, not raised. In the order of the tasks."""
        return tasks.wait_for(self._updates, self._cancel, self.clock, running, deadline, about=about, phase=phase)

    def wait_for_properties(
        self, obj: Any, paths: Sequence[str], until: Callable[[Mapping[str, Any]], bool], deadline: Deadline, *, about: str = "", phase: str = ""
    ) -> Mapping[str, Any]:
        """The properties of an object as they are once ``until`` holds for them; asks together with whoever else waits.

        :param until: gets those of the paths that are set. It is called by any of the threads that wait, and makes no call itself.
        :raises DeadlineExceeded: it did not come to that.   :raises ObjectGone: the object was removed.
        """
        watch = Watch(obj, tuple(paths), until)
        self._updates.wait([watch], deadline)
        if watch.error is not None:
            watch.error.obj, watch.error.phase = about or watch.error.obj, phase or watch.error.phase
            raise watch.error
        if not watch.settled:
            raise DeadlineExceeded("what was waited for did not happen in time", obj=about, phase=phase)
        return watch.values

    def wait_for_any(self, objects: Iterable[Any], paths: Sequence[str], until: Callable[[Mapping[str, Any]], bool], deadline: Deadline) -> None:
        """Return when ``until`` holds for the properties of one of the objects, or one is gone, or the deadline has passed.

        What is known of an object is kept up while the same objects are waited for again and again: it costs one call each time.
        """
        watches = [Watch(obj, tuple(paths), until) for obj in objects]
        if watches:
            self._updates.wait(watches, deadline, enough=any)

    def get_properties(self, obj: Any, paths: Sequence[str], *, about: str = "", phase: str = "") -> Mapping[str, Any]:
        """Those of the properties that are set. :raises ObjectGone: there is no such object."""
        found = self._retrieve(properties.of_objects([obj], paths), PAGE_SIZE, about, phase)
        if not found:
            raise ObjectGone("it does not exist any more", obj=about or f"{kind_of(obj)}:{moid_of(obj)}", phase=phase)
        return found[0].properties

    def get_many(self, objects: Iterable[Any], paths: Sequence[str], *, page_size: int = PAGE_SIZE, phase: str = "") -> list[Found]:
        """The same of many objects, of whatever types that have these properties. Those that are gone are left out."""
        listed = list(objects)
        return self._retrieve(properties.of_objects(listed, paths), page_size, "", phase) if listed else []

    def get_objects(self, kind: str, paths: Sequence[str], *, root: Any = None, page_size: int = PAGE_SIZE, phase: str = "") -> list[Found]:
        """All objects of a type (``VirtualMachine``) below ``root`` (a folder, datacenter, pool; None is the root folder), at any depth.

        One call for every ``page_size`` objects at most.
        :raises ObjectGone: ``root`` does not exist: never an empty list.
        :raises IncompleteAnswer: some property could not be read.
        """
        return self.get_tree({kind: paths}, root=root, page_size=page_size, phase=phase)

    def get_tree(self, wanted: Mapping[str, Sequence[str]], *, root: Any = None, page_size: int = PAGE_SIZE, phase: str = "") -> list[Found]:
        """The same for several types at once, ``root`` itself with them; ``wanted`` has the properties by type."""
        return self._retrieve(properties.below(root if root is not None else self.content.rootFolder, wanted), page_size, "", phase)

    def _call_no_session(self, number: int, obj: Any, method: str, arguments: Mapping[str, Any], *, timeout: float | None, about: str, phase: str) -> Any:
        """One request, once, under the session of this number."""
        return self._session.call_once(number, obj, method, arguments, timeout=timeout, about=about, phase=phase)

    def _retrieve(self, spec: Any, page_size: int, about: str, phase: str) -> list[Found]:
        """All pages. They belong to a session and to the answers before them, so with one of them lost all are asked for again."""
        attempts = Attempts(self._session, self.clock, about=about, phase=phase)
        collector = self.content.propertyCollector

        def ask(method: str, **arguments: Any) -> Any:
            return self._call_no_session(attempts.number, collector, method, arguments, timeout=None, about=about, phase=phase)

        while True:
            try:
                page = ask("RetrievePropertiesEx", specSet=[spec], options=properties.paged(page_size))
                found = properties.read_page(page, phase=phase)
                while page is not None and page.token:
                    page = ask("ContinueRetrievePropertiesEx", token=page.token)
                    found += properties.read_page(page, phase=phase)
                # An idle session may end so that its answers are empty instead of a fault.
                if not found and not self._session.is_alive():
                    raise NotAuthenticated("vCenter has ended the session", obj=about, phase=phase)
                return found
            except LOST as exc:
                attempts.after(exc, repeatable=True)

    def _cancel(self, task: Any) -> None:
        """Ask vCenter to cancel a task. It may have ended meanwhile, or be of a kind that cannot be: what becomes of it is seen by waiting."""
        with contextlib.suppress(VirtError):
            self.call(task, "CancelTask", idempotent=True, phase="cancel")
