# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What a base machine says about itself: of which image it has a copy, and whether that is whole. Pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.layout import is_dead, made_since

FOLDER = "poolwright-images"
"""The folder of the base machines, below the datacenter's folder of machines."""
KEY = "poolwright.base"
ABANDONED_SECONDS = 3600.0
"""After this time, what a process elsewhere left counts as left behind: whether that process lives cannot be told from here."""

_VERSION = 1
_DIGITS = 16
# Names of machines have 80 characters at most, and one that is being made has nine more.
_DATASTORE_CHARACTERS = 30


@dataclass(frozen=True)
class BaseMark:
    """In the ``extraConfig`` of a base machine. Sizes in bytes.

    ``key`` is the image's in the cache: its digest, and what it was taken for. ``digest`` is "" where its bytes were never read, ``source``
    is without credentials. ``adapter`` is the kind of its disk's controller, ``datastore`` the datastore's id, ``size`` its disk's.
    ``maker`` is the work that made it; until it is ``complete`` nobody uses it.
    """

    key: str
    adapter: str
    datastore: str
    size: int
    digest: str = ""
    source: str = ""
    virtual_size: int = 0
    maker: str = ""
    complete: bool = False

    @property
    def identity(self) -> tuple[str, str, str, int]:
        return self.key, self.adapter, self.datastore, self.size

    def name_on(self, datastore: str) -> str:
        """The machine's name: digest, size in KiB and datastore, and a few digits of all that tells it from others.

        :param datastore: the datastore's name.
        """
        digits = self.key.split("-")[1][:_DIGITS]
        rest = hashlib.sha256(repr(self.identity).encode()).hexdigest()[:8]
        return f"{digits}-{self.size // 1024}K-{datastore[:_DATASTORE_CHARACTERS]}-{rest}"

    def is_abandoned(self, now: float) -> bool:
        """Whether it was left half-made, as far as can be told."""
        since = made_since(self.maker)
        return not self.complete and (since is None or is_dead(self.maker) or now - since > ABANDONED_SECONDS)

    def completed(self) -> BaseMark:
        return replace(self, complete=True)

    @property
    def options(self) -> dict[str, str]:
        """For ``extraConfig``."""
        return {KEY: json.dumps({"version": _VERSION, **asdict(self)}, sort_keys=True)}


def read_base_mark(extra_config: Any) -> BaseMark | None:
    """From a machine's ``extraConfig``; None where it says nothing of the kind."""
    text = next((str(option.value) for option in extra_config or () if option.key == KEY), "")
    try:
        data = json.loads(text)
        known = {field.name for field in fields(BaseMark)}
        return BaseMark(**{key: value for key, value in data.items() if key in known}) if data["version"] == _VERSION else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
