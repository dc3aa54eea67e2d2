# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The session: one login, kept up for as long as it is needed, and one logout."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Mapping
from typing import Any, Callable

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import AuthenticationFailed, ConnectionFailed, OperationFailed, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import library, path_of, read_answer, reference, soap_action_of, write_request
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.endpoint import Credentials, Secret
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import AnswerLost, Fault, NotAuthenticated
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.methods import in_order, method_info
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.transport import AnswerBroken, Body, Transport, Unsent

PAUSES = (0.2, 0.5, 1.0, 2.0)
"""Seconds before each further attempt at a call, or at a login, that a broken connection ended: five attempts in all."""


LOGIN_PAUSES = PAUSES[:2]
"""The same for a login: an answer that was lost may have been a refusal, and five of those lock an account by vCenter's defaults."""

NO_TOKEN = Secret()


class SessionReplaced(ConnectionFailed):
    """What belonged to a session (a page of an answer, a collector) went with it; whoever holds it starts over."""

    code = "session_replaced"


class Session:
    """``number`` counts the logins: what was made under one number is gone under the next. Safe to use from several threads.

    A password that vCenter refused is never sent again, whichever thread asks: the account would be locked.
    """

    def __init__(self, transport: Transport, credentials: Credentials, clock: Clock, stats: Stats, operations: str) -> None:
        self._transport = transport
        self._credentials = credentials
        self._clock = clock
        self._stats = stats
        self._lock = threading.RLock()
        self._operations = operations
        self._serial = itertools.count(1)
        self._content: Any = None
        self._refused: AuthenticationFailed | None = None
        self._login_sent = False
        self._login_lost = False
        self._logged_in = False
        self._closed = False
        self.number = 0

    @property
    def content(self) -> Any:
        """vCenter's ``ServiceContent``: its managers, its root folder, its version. Asked for once; needs no login."""
        with self._lock:
            if self._content is None:
                instance = reference("ServiceInstance", "ServiceInstance")
                self._content = self._patiently(lambda: self.call_no_session(instance, "RetrieveServiceContent", {}, phase="connect"))
                self._check_product()
            return self._content

    def enter(self) -> int:
        """Log in unless that is done; returns the session's number.

        :raises AuthenticationFailed: vCenter refuses the credentials.   :raises ConnectionFailed: it cannot be reached.
        """
        with self._lock:
            if not self._logged_in:
                self._login()
            return self.number

    def renew(self, number: int) -> int:
        """Log in again, unless another thread has done so since ``number``; returns the number now."""
        with self._lock:
            if self._logged_in and self.number == number:
                self._logged_in = False
                self._transport.forget_cookie()
            return self.enter()

    def call_once(
        self, number: int, obj: Any, method: str, arguments: Mapping[str, Any], *, timeout: float | None = None, about: str = "", phase: str = ""
    ) -> Any:
        """One request under the session of this number, once.

        :raises SessionReplaced: there is another session now; nothing was sent.   :raises NotAuthenticated: vCenter has ended it.
        """
        if number != self.number:
            raise SessionReplaced("the session was replaced by a new one", obj=about, phase=phase)
        return self.call_no_session(obj, method, arguments, timeout=timeout, about=about, phase=phase)

    def call_no_session(
        self, obj: Any, method: str, arguments: Mapping[str, Any], *, timeout: float | None = None, about: str = "", phase: str = "", token: Secret = NO_TOKEN
    ) -> Any:
        """One request, once, and the only place where one is made and where a fault becomes an error.

        :raises UnknownMethod, TypeError: the program is wrong; nothing was sent.
        :raises AnswerLost: it was sent and no answer came.   :raises Unsent, CertificateRefused, NotVsphere: see ``Transport.post``.
        """
        info = method_info(obj, method)
        operation = f"{self._operations}-{next(self._serial)}"
        body = Body(write_request(obj, info, in_order(info, arguments), operation, token, self._transport.cookie))
        self._stats.call(method)
        try:
            is_fault, answer = self._transport.post(body, soap_action_of(obj), lambda stream: read_answer(stream, obj, info), timeout, path=path_of(obj))
        except AnswerBroken as exc:
            raise AnswerLost(exc.message, operation=operation, obj=about or exc.obj, phase=phase or exc.phase) from None
        except ConnectionFailed as exc:
            exc.phase = phase or exc.phase
            raise
        if is_fault:
            raise Fault.of(answer).as_error(obj=about, phase=phase)
        return answer

    def is_alive(self) -> bool:
        """Ask whether vCenter still knows the session, without the administrator's privilege that ``SessionIsActive`` needs."""
        lib = library()
        spec = lib.vmodl.query.PropertyCollector.FilterSpec(
            objectSet=[lib.vmodl.query.PropertyCollector.ObjectSpec(obj=self.content.sessionManager)],
            propSet=[lib.vmodl.query.PropertyCollector.PropertySpec(type=lib.vim.SessionManager, pathSet=["currentSession"])],
        )
        said = {"specSet": [spec], "options": lib.vmodl.query.PropertyCollector.RetrieveOptions()}
        collector = self.content.propertyCollector
        try:
            found = self._patiently(lambda: self.call_no_session(collector, "RetrievePropertiesEx", said, phase="connect"))
        except NotAuthenticated:
            return False
        return found is not None and any(entry.val is not None for content in found.objects for entry in content.propSet)

    def close(self) -> None:
        """Log out and close the connections, for good. Never raises; may be called twice."""
        with self._lock:
            self._closed = True
            if self._login_sent:
                self._login_sent = self._logged_in = False
                self._log_out()
            self._transport.forget_cookie()
            self._transport.close()

    def _login(self) -> None:
        if self._closed:
            raise OperationFailed("the session was closed", obj=str(self._transport.endpoint), phase="connect")
        if self._refused is not None:
            raise self._refused
        manager = self.content.sessionManager
        self._stats.login()
        self._login_sent = True
        try:
            self._log_in(manager)
        except AuthenticationFailed as exc:
            self._login_sent = False
            exc.obj = exc.obj or f"{self._credentials} at {self._transport.endpoint}"
            self._refused = exc
            raise
        self.number += 1
        self._logged_in = True

    def _log_in(self, manager: Any) -> None:
        who = self._credentials
        user = {"userName": who.user, "password": who.password}

        def attempt() -> None:
            # What the attempt before has opened, without our having been told, is not left open.
            if self._transport.cookie_header() and self._login_lost:
                self._log_out()
                self._transport.forget_cookie()
            self._login_lost = True
            method, said = ("LoginByToken", {}) if who.token else ("Login", user)
            self.call_no_session(manager, method, {**said, "locale": "en"}, phase="connect", token=who.token)
            self._login_lost = False

        self._patiently(attempt, LOGIN_PAUSES)

    def _log_out(self) -> None:
        """It ends by itself after a while where this fails."""
        with contextlib.suppress(VirtError):
            self._patiently(lambda: self.call_no_session(self._content.sessionManager, "Logout", {}, timeout=10.0), LOGIN_PAUSES)

    def _patiently(self, attempt: Callable[[], Any], pauses: tuple[float, ...] = PAUSES) -> Any:
        """A call that may be repeated: no session of ours is disturbed by a second one."""
        for pause in (*pauses, None):
            try:
                return attempt()
            except (AnswerLost, Unsent) as exc:
                if pause is None:
                    raise _given_up(exc, len(pauses) + 1, str(self._transport.endpoint), "connect") from None
                self._clock.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _check_product(self) -> None:
        about = self._content.about
        if about.apiType != "VirtualCenter":
            self._content = None
            hint = "give hostname the name of the vCenter that manages the host"
            raise OperationFailed(f"this is {about.fullName}, no vCenter", obj=str(self._transport.endpoint), phase="connect", hint=hint)


class Attempts:
    """The course of one piece of work: how often it may still be begun, and under which session.

    The work makes single requests under ``number``. When one ends in ``LOST``, ``after`` raises, or returns once the work may be begun
    again from its start.
    """

    def __init__(self, session: Session, clock: Clock, *, about: str = "", phase: str = "", deadline: Deadline | None = None) -> None:
        self._session = session
        self._clock = clock
        self._about = about
        self._phase = phase
        self._deadline = deadline
        self._failed = 0
        self._renewed = 0
        self.number = session.enter()

    def after(self, exc: VirtError, *, repeatable: bool) -> None:
        """:param repeatable: whether the work may be done twice.

        :raises NotAuthenticated: the login that was made for this work does not hold.   :raises AnswerLost: it is not repeatable.
        :raises ConnectionFailed: it was begun often enough, or the deadline has passed.
        """
        if isinstance(exc, NotAuthenticated):
            if self._renewed == self.number:
                raise exc
            self.number = self._renewed = self._session.renew(self.number)
            return
        if isinstance(exc, AnswerLost) and not repeatable:
            raise exc
        self._failed += 1
        if self._failed > len(PAUSES) or (self._deadline is not None and self._deadline.passed):
            raise _given_up(exc, self._failed, self._about, self._phase) from None
        if not isinstance(exc, SessionReplaced):
            self._clock.sleep(PAUSES[self._failed - 1])
        self.number = self._session.enter()


LOST = (NotAuthenticated, SessionReplaced, AnswerLost, Unsent)
"""What ``Attempts.after`` is for."""


def _given_up(exc: VirtError, attempts: int, obj: str, phase: str) -> ConnectionFailed:
    """The error after the last attempt at something that a broken connection ended each time."""
    return ConnectionFailed(f"given up after {attempts} attempts: {exc.message}", obj=obj or exc.obj, phase=phase or exc.phase, hint=exc.hint)
