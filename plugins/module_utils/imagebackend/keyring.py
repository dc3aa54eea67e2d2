# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Ceph's keyring files. What is in them is in no error."""

from __future__ import annotations

import base64
import binascii
import configparser

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec

DEFAULT_USER = "admin"


def key_of(keyring: str, user: str) -> bytes:
    """A user's key as bytes; in the file it is in base64.

    :param user: without ``client.``.
    :raises InvalidSpec: the file cannot be read, or has no key of this user.
    """
    parser = configparser.RawConfigParser(strict=False, comment_prefixes=("#", ";"), allow_no_value=True)
    try:
        with open(keyring, encoding="utf-8") as stream:
            # Ceph indents the lines of a section; to the parser that would be a value that goes on.
            parser.read_string("\n".join(line.strip() for line in stream))
    except (OSError, UnicodeDecodeError, configparser.Error) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is no keyring"
        # Without its cause: the parser's words quote the file.
        raise InvalidSpec([f"keyring: {keyring} cannot be read: {why}"]) from None
    section = f"client.{user}"
    text = parser.get(section, "key", fallback=None) if parser.has_section(section) else None
    if not text:
        users = [name.partition(".")[2] for name in parser.sections() if name.startswith("client.")]
        raise InvalidSpec([f"keyring: {keyring} has no key of the user {user}; it has those of: {', '.join(sorted(users)) or 'nobody'}"])
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidSpec([f"keyring: the key of the user {user} in {keyring} is damaged: it is not in base64"]) from None
