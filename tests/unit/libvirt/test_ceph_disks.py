# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Keys of Ceph's users in libvirt: its own secret driver, which here runs inside this process."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock
from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec, NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.ceph import cluster_id
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.keyring import key_of
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DiskOptions
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.registry import disk_image
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.ceph_disks import with_secret
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.event_loop import run_event_loop
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.keys import Keys
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Check, DiskSpec, MachineSpec, PoolTemplate, ReadyCheck
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats

KEY = b"sixteen bytes of"
TEXT = base64.b64encode(KEY).decode()
ELSEWHERE = "11111111-2222-4333-8444-555555555555"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the driver keeps what it has; a process can have it once."""
    return tmp_path_factory.mktemp("libvirt")


@pytest.fixture(scope="module")
def host(root: Path) -> Iterator[Host]:
    run_event_loop()
    with contextlib.closing(Host(f"secret:///embed?root={root}", Clock(), Stats(Clock()))) as made:
        yield made


@pytest.fixture
def options(tmp_path: Path, request: pytest.FixtureRequest) -> DiskOptions:
    """Of a cluster that no other case has."""
    conf, keyring = tmp_path / "ceph.conf", tmp_path / "keyring"
    conf.write_text(f"[global]\n  mon host = {request.function.__name__.replace('_', '-')}\n")
    keyring.write_text(f'[client.guests]\n\tkey = {TEXT}\n\tcaps mon = "profile rbd"\n[client.other]\n\tkey = {TEXT}\n')
    return DiskOptions(conf=str(conf), user="guests", keyring=str(keyring))


def value_of(root: Path, uuid: str) -> bytes:
    """As libvirt keeps it for when it starts again."""
    (path,) = root.rglob(f"{uuid}.base64")
    return base64.b64decode(path.read_text())


def test_a_key_gets_a_secret_that_is_private_and_found_again(host: Host, options: DiskOptions, root: Path) -> None:
    found, secret = with_secret(host, options)
    assert secret is not None and secret.missing
    assert (found.secret, found.user, secret.name) == (secret.uuid, "guests", f"client.guests at {cluster_id(options.conf)}")
    assert not host.secrets.has(secret.uuid)
    secret.put(host)
    assert value_of(root, secret.uuid) == KEY
    (definition,) = root.rglob(f"{secret.uuid}.xml")
    assert "private='yes'" in definition.read_text() and TEXT not in definition.read_text()
    again, same = with_secret(host, options)
    assert again == found and same is not None and (same.uuid, same.missing) == (secret.uuid, False)
    assert disk_image("rbd", "rbd", "d", found).libvirt_info().secret == ("guests", secret.uuid)


def test_a_key_that_was_changed_is_given_to_the_same_secret(host: Host, options: DiskOptions, root: Path) -> None:
    _found, secret = with_secret(host, options)
    assert secret is not None
    secret.put(host)
    Path(options.keyring).write_text(Path(options.keyring).read_text().replace(TEXT, base64.b64encode(b"another key").decode()))
    _found, newer = with_secret(host, options)
    assert newer is not None and newer.uuid == secret.uuid
    newer.put(host)
    assert value_of(root, secret.uuid) == b"another key"


def test_users_and_clusters_have_secrets_of_their_own(host: Host, options: DiskOptions, tmp_path: Path) -> None:
    conf = tmp_path / "second.conf"
    conf.write_text("[global]\nfsid = 0A0B0C0D-0000-0000-0000-000000000001\nmon_host = 192.0.2.77\n")
    variants = [options, DiskOptions(conf=options.conf, user="other", keyring=options.keyring)]
    variants.append(DiskOptions(conf=str(conf), user="guests", keyring=options.keyring))
    uuids = set()
    for one in variants:
        _found, secret = with_secret(host, one)
        assert secret is not None
        secret.put(host)
        uuids.add(secret.uuid)
    assert len(uuids) == 3
    assert cluster_id(str(conf)) == "0a0b0c0d-0000-0000-0000-000000000001"


def test_the_user_is_the_tools_own_where_none_is_named(host: Host, options: DiskOptions, tmp_path: Path) -> None:
    keyring = tmp_path / "admin"
    keyring.write_text(f"[client.admin]\nkey = {TEXT}\n")
    found, secret = with_secret(host, DiskOptions(conf=options.conf, keyring=str(keyring)))
    assert secret is not None and (found.user, secret.user) == ("admin", "admin")


def test_a_secret_that_somebody_else_looks_after_is_used_as_it_is(host: Host, options: DiskOptions) -> None:
    named = DiskOptions(conf=options.conf, user="guests", secret=ELSEWHERE)
    with pytest.raises(NotFound, match="has no secret"):
        with_secret(host, named)
    host.secrets.create("ceph", "theirs", b"x", uuid=ELSEWHERE)
    assert with_secret(host, named) == (named, None)


def test_without_a_keyring_nobody_asks_for_a_key(host: Host, options: DiskOptions) -> None:
    plain = DiskOptions(conf=options.conf, user="guests")
    assert with_secret(host, plain) == (plain, None)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (None, "No such file"),
        (f"key = {TEXT}\n", "is no keyring"),
        (f"[client.else]\nkey = {TEXT}\n", "it has those of: else"),
        ("[client.guests]\n", "has no key of the user guests"),
        (f"[client.guests]\nkey = ?{TEXT}\n", "not in base64"),
    ],
)
def test_a_keyring_that_cannot_be_used_is_said_without_what_is_in_it(tmp_path: Path, said: str | None, why: str) -> None:
    keyring = tmp_path / "keyring"
    if said is not None:
        keyring.write_text(said)
    with pytest.raises(InvalidSpec, match=why) as caught:
        key_of(str(keyring), "guests")
    assert TEXT not in str(caught.value) and caught.value.__cause__ is None


def test_no_key_is_shown(host: Host, options: DiskOptions) -> None:
    _found, secret = with_secret(host, options)
    assert secret is not None
    assert TEXT not in repr(secret) and str(KEY) not in repr(secret)


def test_the_machines_of_a_pool_get_their_secrets_with_the_first_of_them(host: Host, options: DiskOptions, root: Path) -> None:
    plain, keyed = DiskSpec(), DiskSpec(backend="rbd", location="rbd", options=options)
    template = PoolTemplate("keyed", "keyed", MachineSpec(image=ImageSource("/i.qcow2"), disk=keyed, disks=(plain, keyed)), ReadyCheck(Check.RUNNING))
    keys = Keys(host)
    keys.check(template)
    _options, secret = with_secret(host, options)
    assert secret is not None and secret.missing
    given = keys.give(template)
    assert value_of(root, secret.uuid) == KEY
    assert [disk.options.secret for disk in (given.machine.disk, *given.machine.disks)] == [secret.uuid, "", secret.uuid]
    assert keys.give(template) is given
    other = replace(template, machine=replace(template.machine, disk=plain, disks=()))
    assert keys.give(other) == other
    wrong = replace(keyed, options=replace(options, keyring="/none"))
    with pytest.raises(InvalidSpec, match="No such file") as caught:
        keys.check(replace(template, machine=replace(template.machine, disks=(wrong,))))
    assert caught.value.places[0] == "disks[0]"
