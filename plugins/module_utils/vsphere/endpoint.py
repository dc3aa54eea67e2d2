# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Where a vCenter is and who comes: plain data that never shows a secret."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec

_THUMBPRINT_DIGITS = {40: "sha1", 64: "sha256", 128: "sha512"}


class Secret:
    """A string that shows itself to ``reveal`` only: neither ``repr`` nor ``str`` nor a traceback with local variables has it."""

    __slots__ = ("_value",)

    def __init__(self, value: str = "") -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(...)"

    def __bool__(self) -> bool:
        return bool(self._value)


@dataclass(frozen=True)
class Credentials:
    """A user with a password, or a bearer token of vCenter's single sign-on (a SAML assertion, as XML)."""

    user: str = ""
    password: Secret = field(default_factory=Secret)
    token: Secret = field(default_factory=Secret)

    def __post_init__(self) -> None:
        if bool(self.token) == bool(self.user):
            raise InvalidSpec(["username: give either a user name with its password, or a token"])

    def __str__(self) -> str:
        return self.user or "the bearer of a token"


@dataclass(frozen=True)
class Endpoint:
    """A vCenter's address and how to know that it is the right one.

    ``thumbprint`` is of the server's certificate: SHA-1, SHA-256 or SHA-512 in hexadecimal digits, with or without colons. It stands in
    for a chain to a trusted CA; with ``ca_path`` as well, both must hold. ``timeout`` is how many seconds may pass without a byte.
    """

    host: str
    port: int = 443
    validate_certs: bool = True
    ca_path: str = ""
    thumbprint: str = ""
    proxy_host: str = ""
    proxy_port: int = 8080
    timeout: float = 120.0

    def __post_init__(self) -> None:
        problems = [
            *([] if self.host else ["hostname: missing"]),
            *(f"{name}: {port} is no TCP port" for name, port in (("port", self.port), ("proxy_port", self.proxy_port)) if not 0 < port < 65536),
        ]
        if self.thumbprint and not self.pin[0]:
            problems.append("thumbprint: give 40, 64 or 128 hexadecimal digits (SHA-1, SHA-256 or SHA-512), colons between them or not")
        if problems:
            raise InvalidSpec(problems)

    @property
    def pin(self) -> tuple[str, str]:
        """The thumbprint's algorithm, "" where it is none that is known, and its digits."""
        digits = self.thumbprint.replace(":", "").lower()
        if not re.fullmatch("[0-9a-f]+", digits):
            return "", digits
        return _THUMBPRINT_DIGITS.get(len(digits), ""), digits

    def __str__(self) -> str:
        return self.host if self.port == 443 else f"{self.host}:{self.port}"
