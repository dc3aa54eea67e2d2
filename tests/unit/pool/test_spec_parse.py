# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bad requests are refused whole, each fault with its place and remedy."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.pool.spec import Share, spec_hash
from ansible_collections.poolwright.virt.plugins.module_utils.pool.spec_parse import parse_pools
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Check, Clone


def refused(*pools: dict[str, Any], needs_image: bool = False) -> list[str]:
    with pytest.raises(InvalidSpec) as caught:
        parse_pools(list(pools), state="present", needs_image=needs_image)
    return caught.value.problems


def parsed(**pool: Any) -> Any:
    return parse_pools([{"name": "ci", "size": 1, **pool}], state="present", needs_image=False)[0]


@pytest.mark.parametrize(
    ("pool", "said"),
    [
        ({"size": -1}, "size: -1 is not between 0 and 10000"),
        ({"size": 10_001}, "size: 10001 is not between"),
        ({"size": None}, "size: is missing"),
        ({"cpus": 0}, "cpus: 0 is not between"),
        ({"memory_mb": 1}, "memory_mb: 1 is not between"),
        ({"disk": {"size_gb": 0}}, "disk.size_gb: 0 is not above 0"),
        ({"disk": {"location": "disks"}}, "disk.location: 'disks' is no absolute path"),
        ({"disk": {"location": "/srv/../etc"}}, "disk.location: '/srv/../etc' is no absolute path without '..'"),
        ({"networks": [{}]}, "networks[0]: give either network or bridge"),
        ({"networks": [{"network": "a", "bridge": "b"}]}, "networks[0]: give either network or bridge"),
        ({"networks": [{"network": "<x/>"}]}, "networks[0].network: '<x/>' is no name of a network"),
        ({"networks": [{"bridge": "../br0"}]}, "networks[0].bridge: '../br0' is no name of a network"),
        ({"ready": {"check": "tcp"}}, "ready.check: tcp needs a machine with a network"),
        ({"ready": {"port": 0}}, "ready.port: 0 is not between 1 and 65535"),
        ({"ready": {"timeout": 0}}, "ready.timeout: 0 is not between"),
        ({"power": "off", "ready": {"check": "running"}}, "ready.check: running cannot be met by machines that are kept off"),
        ({"hostname": "a b"}, "hostname: 'a b' is no host name"),
        ({"ssh_keys": ["ssh-ed25519"]}, "ssh_keys[0]: is no public key"),
        ({"ssh_keys": ["ssh-ed25519 AAAA\nssh-rsa BBBB"]}, "ssh_keys[0]: is no public key"),
        ({"max_unavailable": "many"}, "max_unavailable: 'many' is neither a number"),
        ({"max_unavailable": "101%"}, "max_unavailable: 101% is not between"),
        ({"prefix": "x" * 62}, "prefix: machine names would have 64 characters"),
        ({"image": {"source": "disk.qcow2"}}, "image.source: 'disk.qcow2' is neither a URL nor an absolute path"),
        ({"image": {"source": "/x", "checksum": "md5:00"}}, "image.checksum: md5 can be forged"),
    ],
)
def test_a_fault_is_named_with_its_pool_and_key(pool: dict[str, Any], said: str) -> None:
    (problem,) = refused({"name": "ci", "size": 1, **pool})
    assert problem.startswith(f"pools[0] 'ci': {said}")


@pytest.mark.parametrize("name", ["", "a b", "../ci", "ci/x", "<ci>", "ci&", 'ci"', "-ci", "ci-", "ci.x", "ci\n", "ä"])
def test_a_name_that_is_no_host_name_label_is_refused(name: str) -> None:
    assert "is no host name label" in refused({"name": name, "size": 1})[0]


def test_every_fault_of_every_pool_is_told_at_once() -> None:
    problems = refused({"name": "ci", "size": -1, "cpus": 0}, {"name": "x y", "size": 1}, {"name": "ok", "size": 1, "memory_mb": 0})
    assert [problem.split(":")[0] for problem in problems].count("pools[0] 'ci'") == 2
    assert any(problem.startswith("pools[1] 'x y'") for problem in problems)
    assert any(problem.startswith("pools[2] 'ok': memory_mb") for problem in problems)


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ({"name": "ci"}, {"name": "ci"}, "another pool of this call has it"),
        ({"name": "ci"}, {"name": "CI"}, "another pool of this call has it"),
        ({"name": "ci"}, {"name": "x", "prefix": "ci"}, "both would claim ci-1"),
        ({"name": "ci"}, {"name": "ci-1"}, "'ci-1' is the name of a machine of pool 'ci'"),
        ({"name": "ci-12"}, {"name": "ci"}, "'ci-12' is the name of a machine of pool 'ci'"),
    ],
)
def test_pools_that_would_claim_the_same_names_are_refused(first: dict[str, Any], second: dict[str, Any], said: str) -> None:
    (problem,) = refused({**first, "size": 1}, {**second, "size": 1})
    assert said in problem


def test_pools_whose_names_only_look_alike_are_accepted() -> None:
    assert len(parse_pools([{"name": "ci", "size": 1}, {"name": "ci-x", "size": 1}], state="present", needs_image=False)) == 2


def test_an_image_is_asked_for_where_machines_are_made_from_one() -> None:
    assert "image: is missing" in refused({"name": "ci", "size": 1}, needs_image=True)[0]
    assert parse_pools([{"name": "ci", "size": 0}], state="present", needs_image=True)[0].size == 0


def test_an_absent_pool_needs_no_more_than_its_name() -> None:
    (spec,) = parse_pools([{"name": "ci", "state": "absent"}], state="present", needs_image=True)
    assert (spec.present, spec.wanted) == (False, 0)


def test_user_data_is_not_shown_by_repr() -> None:
    assert "s3cret" not in repr(parsed(user_data="password: s3cret"))


def test_the_readiness_check_defaults_to_the_kept_power_state() -> None:
    assert parsed().ready.check is Check.RUNNING
    assert parsed(power="off").ready.check is Check.NONE


def test_the_spec_hash_covers_what_takes_a_rebuild_and_nothing_else() -> None:
    digest = "sha256:" + "a" * 64
    image = {"source": "/a.qcow2", "checksum": digest}
    base = spec_hash(parsed(image=image).machine)
    same = [
        parsed(image={"source": "https://mirror.example/b.qcow2", "checksum": digest.upper().replace("SHA", "sha")}),
        parsed(image=image, size=5, on_unhealthy="start", max_unavailable="1"),
        parsed(image=image, power="off"),
    ]
    other = [
        parsed(image={"source": "/b.qcow2"}),
        parsed(image={**image, "format": "raw"}),
        parsed(image=image, cpus=2),
        parsed(image=image, memory_mb=512),
        parsed(image=image, disk={"size_gb": 3}),
        parsed(image=image, networks=[{"network": "default"}]),
        parsed(image=image, user_data="x"),
        parsed(image=image, ssh_keys=["ssh-ed25519 AAAA me"]),
        parsed(image=image, hostname="{name}"),
    ]
    assert {spec_hash(spec.machine) for spec in same} == {base}
    assert len({spec_hash(spec.machine) for spec in other} | {base}) == len(other) + 1


@given(st.integers(0, 10_000), st.integers(0, 100))
def test_a_share_never_exceeds_what_it_is_a_share_of(total: int, percent: int) -> None:
    assert 0 <= Share.parse(f"{percent}%").of(total) <= total
    assert Share.parse(f" {percent} ").of(total) == percent


@pytest.mark.parametrize("text", ["", "-1", "1.5", "%", "x%", "1e3", "-5%"])
def test_a_share_is_a_number_or_a_percentage(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Share.parse(text)


def placed(**pool: Any) -> Any:
    return parse_pools([{"name": "ci", "size": 1, **pool}], state="present", needs_image=True, templates=True)[0].machine


def test_a_template_stands_in_for_an_image() -> None:
    machine = placed(template="debian", folder="/pools/ci/", cluster="C0", networks=[{"network": "VM Network (old)"}])
    assert (machine.template, machine.clone, machine.image) == ("debian", Clone.LINKED, None)
    assert (machine.placement.folder, machine.placement.cluster) == ("pools/ci", "C0")
    assert machine.networks[0].model == "vmxnet3"


@pytest.mark.parametrize(
    ("pool", "said"),
    [
        ({}, "template: is missing; name the template, or the machine"),
        ({"template": "t", "image": {"source": "/x"}}, "template: give either template or image"),
        ({"template": None, "clone": "full"}, "clone: says how machines come from a template or an image"),
        ({"image": {"source": "/x"}, "clone": "instant"}, "clone: an instant clone is forked from a running machine"),
        ({"image": {"source": "/x", "format": "ova", "disk_type": "sparse"}}, "image.disk_type: ova reaches a datastore as streamOptimized"),
        ({"image": {"source": "[ds] x.vmdk", "checksum": "sha256:" + "0" * 64}}, "image.checksum: what is on a datastore is copied there"),
        ({"image": {"source": "/x"}, "disk": {"size_gb": 0.1}}, "disk.size_gb: 0.1 is no whole number of KiB"),
        ({"template": "t", "folder": "a/../b"}, "folder: 'a/../b' has '.' or '..' in it"),
        ({"template": "t", "disk": {"backend": "qcow2"}}, "disk.backend: is for KVM hosts"),
        ({"template": "t", "networks": [{"bridge": "br0"}]}, "networks[0].bridge: is for KVM hosts"),
        ({"template": "t", "networks": [{"network": "n", "model": "virtio"}]}, "networks[0].model: 'virtio' is no card of this hypervisor"),
    ],
)
def test_what_does_not_go_with_templates_is_named(pool: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        placed(**pool)
    assert caught.value.problems[0].startswith(f"pools[0] 'ci': {said}")


@pytest.mark.parametrize("key", ["template", "clone", "folder", "cluster", "host", "resource_pool", "datastore"])
def test_what_is_for_vsphere_only_is_refused_elsewhere(key: str) -> None:
    (problem,) = refused({"name": "ci", "size": 1, key: "full"})
    assert problem == f"pools[0] 'ci': {key}: is for provider: vsphere only; leave it out"


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ({"format": "vmdk"}, "image.format: vmdk is for provider: vsphere only; convert the disk: qemu-img convert -O qcow2 OLD NEW"),
        ({"format": "ova"}, "image.format: ova is for provider: vsphere only; convert the disk: qemu-img convert -O qcow2 OLD NEW"),
        ({"disk_type": "sparse"}, "image.disk_type: is for provider: vsphere only; leave it out"),
        ({"adapter_type": "ide"}, "image.adapter_type: is for provider: vsphere only; leave it out"),
    ],
)
def test_what_images_have_for_vsphere_only_is_refused_elsewhere(image: dict[str, str], said: str) -> None:
    (problem,) = refused({"name": "ci", "size": 1, "image": {"source": "/x", **image}})
    assert problem == f"pools[0] 'ci': {said}"


@pytest.mark.parametrize(
    ("image", "form"),
    [
        ({"source": "/images/debian.img"}, "qcow2"),
        ({"source": "https://example.org/debian.VMDK?token=x"}, "vmdk"),
        ({"source": "/images/machine.ova"}, "ova"),
        ({"source": "[LocalDS_0] debian/debian.vmdk"}, "vmdk"),
        ({"source": "/images/debian.vmdk", "format": "raw"}, "raw"),
    ],
)
def test_an_images_format_goes_by_its_name_where_that_says_vsphere(image: dict[str, str], form: str) -> None:
    machine = placed(image=image)
    assert (machine.image, machine.vmware_image.format) == (None, form)


def test_a_machine_is_rebuilt_when_its_image_or_what_is_made_of_it_changes() -> None:
    first = {"source": "/a.vmdk", "checksum": "sha256:" + "0" * 64}
    others = [{**first, "checksum": None}, {**first, "adapter_type": "ide"}, {**first, "disk_type": "sparse"}, {**first, "format": "raw"}]
    assert spec_hash(placed(image=first)) == spec_hash(placed(image={**first, "source": "/b.vmdk"}))
    assert len({spec_hash(placed(image=one)) for one in [first, *others]} | {spec_hash(placed(image=first, clone="full"))}) == 6


def test_a_machine_is_rebuilt_when_its_template_or_place_changes_but_not_its_folder() -> None:
    first = placed(template="debian", folder="a", cluster="C0")
    assert spec_hash(first) == spec_hash(placed(template="debian", folder="b", cluster="C0"))
    others = [placed(template="other", cluster="C0"), placed(template="debian", cluster="C1"), placed(template="debian", cluster="C0", clone="full")]
    assert len({spec_hash(one) for one in [first, *others]}) == 4


def test_machines_made_before_there_were_templates_are_not_outdated() -> None:
    assert spec_hash(parsed(cpus=2, networks=[{"network": "default"}]).machine) == "639b5657f5e624f2"
