# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""A file on the web as one stream, whose reader does not notice that the connection broke: the rest is asked for by range."""

from __future__ import annotations

import http.client
from typing import NoReturn

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import TransferFailed
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource
from ansible_collections.poolwright.virt.plugins.module_utils.images.web import Answer, Validators, open_url

# How often in a row a connection may break without having brought anything.
ATTEMPTS = 4
_PAUSE = 0.25


class ChangedMeanwhile(Exception):
    """There is another version now: what was read so far is void, and the next read begins at its start."""


class Download:
    """Reads what an open answer brings.

    A broken connection is taken up again where it is sure that the rest is of the same version: the server named it exactly (ETag or
    Last-Modified), or a checksum will tell.
    """

    def __init__(self, source: ImageSource, answer: Answer, deadline: Deadline, *, validate_certs: bool = True) -> None:
        self._source = source
        self._answer = answer
        self._deadline = deadline
        self._validate_certs = validate_certs
        self._position = 0
        self._fruitless = 0

    @property
    def size(self) -> int | None:
        """Bytes of the whole file, None where the server does not say."""
        return self._answer.size

    @property
    def validators(self) -> Validators:
        return self._answer.validators

    def read_into(self, view: memoryview) -> int:
        """Fill some of ``view``; 0 at the end.

        :raises ChangedMeanwhile: see there.   :raises TransferFailed: it broke, and cannot be taken up again.
        """
        while True:
            why = ""
            try:
                count = self._answer.stream.readinto(view)
            except (OSError, http.client.HTTPException) as exc:
                count, why = 0, f"the connection broke: {type(exc).__name__}"
            if count:
                self._position += count
                self._fruitless = 0
                return count
            if not why and (self.size is None or self._position == self.size):
                return 0
            self._take_up(why or f"the connection ended after {self._position} of {self.size} bytes")

    def close(self) -> None:
        self._answer.stream.close()

    def _take_up(self, why: str) -> None:
        self.close()
        if self.size is None or not (self.validators.condition or self._source.digest) or self._position > self.size:
            self._give_up(why)
        while True:
            self._fruitless += 1
            if self._fruitless > ATTEMPTS or self._deadline.passed:
                self._give_up(why)
            # The first time at once: most connections break for no reason that lasts.
            self._deadline.clock.sleep(min(self._deadline.remaining, _PAUSE * (2 ** (self._fruitless - 1) - 1)))
            try:
                answer = open_url(
                    self._source.source, self._deadline.remaining, validate_certs=self._validate_certs, start=self._position, version=self.validators
                )
            except TransferFailed as exc:
                if not exc.transient:
                    raise
                continue
            if answer is not None:
                self._go_on(answer)
                return

    def _go_on(self, answer: Answer) -> None:
        before, self._answer = self._answer, answer
        if answer.start == self._position and answer.size == before.size and answer.validators == before.validators:
            return
        # Of another version, or all of it where a part was asked for: from the start, of which the reader has to know.
        same = answer.validators == before.validators and answer.size == before.size
        if answer.start:
            answer.stream.close()
            again = open_url(self._source.source, self._deadline.remaining, validate_certs=self._validate_certs)
            if again is None:
                self._give_up("the file changed while it was read")
            self._answer = again
        self._position = 0
        raise ChangedMeanwhile("the connection broke each time, and the server cannot go on from there" if same else "the file changed each time it was read")

    def _give_up(self, why: str) -> NoReturn:
        raise TransferFailed(why, obj=str(self._source), phase="fetch")
