# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What libvirt needs for a guest's disks on Ceph, besides their place.

QEMU gets a user's key from a secret of libvirt's, which gets it here, from the user's keyring on the same host. There is one for each user
of each cluster, for all guests of the host. It is private: nobody reads it back through libvirt. It stays when guests go.
"""

from __future__ import annotations

import uuid as uuids
from dataclasses import dataclass, field, replace

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec, NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.ceph import cluster_id
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.keyring import DEFAULT_USER, key_of
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DiskOptions
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host

_USAGE = "ceph"
# 9 does not pass a namespace on to QEMU, which then looks for the image in the pool itself.
_NAMESPACES_SINCE = 10_000_000
_UUIDS = uuids.UUID("d2f2a0c6-7b35-5f0b-8f43-51b7f3f3a9c4")


@dataclass(frozen=True)
class CephSecret:
    """A secret as it is to be. ``name`` is what libvirt knows it by; ``missing`` tells that it is not there yet."""

    user: str
    name: str
    uuid: str
    missing: bool
    value: bytes = field(repr=False)

    def put(self, host: Host) -> None:
        """Make it if it is not there, and give it its value, which may have changed: a private one tells nobody."""
        host.secrets.create(_USAGE, self.name, self.value, private=True, uuid=self.uuid)


def check_location(host: Host, backend: str, location: str) -> None:
    """:raises InvalidSpec: this libvirt cannot reach what is there."""
    if backend == "rbd" and "/" in location and host.versions().libvirt < _NAMESPACES_SINCE:
        pool = location.partition("/")[0]
        raise InvalidSpec([f"location: this libvirt does not pass an RBD namespace on to QEMU, so guests cannot use {location}; use the pool itself: {pool}"])


def with_secret(host: Host, options: DiskOptions) -> tuple[DiskOptions, CephSecret | None]:
    """A disk's options with the secret that libvirt needs for it, and that secret if it is ours to look after. Changes nothing.

    A secret that the options name themselves has to be there. Without a keyring the cluster is taken to ask for no key.

    :raises InvalidSpec: the keyring or the cluster's configuration cannot be used.
    :raises NotFound: the host has no such secret.
    """
    if options.secret:
        if not host.secrets.has(options.secret):
            hint = "define it first (virsh secret-define), or give keyring in its place, and it is made"
            raise NotFound(f"the host has no secret {options.secret}", obj=options.secret, phase="check", hint=hint)
        return options, None
    if not options.keyring:
        return options, None
    user = options.user or DEFAULT_USER
    value = key_of(options.keyring, user)
    name = f"client.{user} at {cluster_id(options.conf)}"
    found = host.secrets.find(_USAGE, name)
    # One that follows from the name: what is predicted for a guest is what it gets, and it can move to another host as it is.
    uuid = found or str(uuids.uuid5(_UUIDS, name))
    return replace(options, user=user, secret=uuid), CephSecret(user, name, uuid, found is None, value)
