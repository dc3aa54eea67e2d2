# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a description of an image for vSphere may say, and that all that is wrong with one is told at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.poolwright.virt.plugins.module_utils.durations import seconds_of
from ansible_collections.poolwright.virt.plugins.module_utils.errors import ImageRefused, InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.image import (
    ADAPTER_TYPES,
    DISK_TYPES,
    FORMATS,
    GIB,
    VMwareImage,
    bytes_of,
    check_fits,
    disk_manager_adapter,
    size_problems,
)
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.layout import entry_key, sized_name, stem_of

SUM = "sha256:" + "ab" * 32


def problems(**said: object) -> list[str]:
    with pytest.raises(InvalidSpec) as caught:
        VMwareImage(**said)  # type: ignore[arg-type]
    return caught.value.problems


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("https://a.example/d.vmdk?sig=x.iso", "vmdk"),
        ("/srv/Appliance.OVA", "ova"),
        ("[ssd-1] iso/debian.iso", "iso"),
        ("file:///srv/d.img", "raw"),
        ("/srv/d.vhdx", "vhdx"),
    ],
)
def test_the_format_goes_by_the_name(source: str, expected: str) -> None:
    assert VMwareImage(source).format == expected


def test_every_problem_at_once() -> None:
    found = problems(source="relative.iso", checksum="md5:1", disk_type="fat", adapter_type="sata", linked_clone=True, os_type="a b")
    assert len(found) == 6
    assert all(problem.startswith("image.") for problem in found)


@pytest.mark.parametrize(
    ("said", "part"),
    [
        ({"source": "/a"}, "format: missing"),
        ({"source": "/a", "format": "vdi"}, "not one of"),
        ({"source": "/a.iso", "disk_type": "thin"}, "an ISO image has none"),
        ({"source": "/a.iso", "adapter_type": "ide"}, "an ISO image has none"),
        ({"source": "/a.iso", "linked_clone": True}, "no child disks"),
        ({"source": "/a.qcow2", "disk_type": "thin"}, "as streamOptimized, not as thin"),
        ({"source": "/a.ova", "disk_type": "sparse"}, "as streamOptimized"),
        ({"source": "/a.raw", "disk_type": "sparse"}, "no sparse form"),
        ({"source": "[ds] a.vmdk", "checksum": SUM}, "leave the checksum out"),
        ({"source": "/srv/a.qcow2", "checksum": "https://host/SHA256SUMS"}, "is not sha256"),
        ({"source": "[ds] a.ovf"}, "name the disk itself"),
        ({"source": "[ds]", "format": "vmdk"}, "not a file on one"),
        ({"source": "[ds] ../a.vmdk"}, "cannot be a name"),
        ({"source": "ftp://a/b.vmdk"}, "use http, https, file"),
        ({"source": ""}, "is empty"),
    ],
)
def test_what_does_not_go_together(said: dict[str, object], part: str) -> None:
    assert any(part in problem for problem in problems(**said))


def test_where_it_is() -> None:
    assert VMwareImage("[ssd 1] a b/c.vmdk").on_datastore == DatastorePath.of("ssd 1", "a b", "c.vmdk")
    assert VMwareImage("/a.vmdk").on_datastore is None


def test_secrets_are_not_shown() -> None:
    image = VMwareImage("https://user:geheim@a.example/d.vmdk?sig=geheim")
    assert "geheim" not in str(image)
    assert "geheim" not in repr(image)


def test_the_disk_manager_knows_three_adapters() -> None:
    assert {disk_manager_adapter(name) for name in ADAPTER_TYPES} == {"lsiLogic", "busLogic", "ide"}
    assert disk_manager_adapter("paraVirtual") == "lsiLogic"


def test_what_was_made_of_the_same_bytes_differently_is_another_image() -> None:
    one, flat, ide = VMwareImage("/a.raw"), VMwareImage("/a.raw", disk_type="thin"), VMwareImage("/a.raw", adapter_type="ide")
    assert len({image.variant() for image in (one, flat, ide)}) == 3
    assert len({image.key for image in (one, flat, ide)}) == 3
    assert VMwareImage("/a.raw", adapter_type="paraVirtual").key == one.key


def test_an_ovf_is_not_known_by_its_checksum() -> None:
    assert VMwareImage("/a.ovf", SUM).digest is None
    assert VMwareImage("/a.ova", SUM).digest == SUM


@pytest.mark.parametrize("size", [0.0, -1.0, float("nan"), 65_000.0, 1 / 3])
def test_sizes_that_are_none(size: float) -> None:
    assert size_problems(size, VMwareImage("/a.vmdk"))


def test_an_iso_image_has_no_size() -> None:
    assert size_problems(1, VMwareImage("/a.iso"))
    assert not size_problems(None, VMwareImage("/a.iso"))


@given(st.integers(1, 4 * 1024 * 1024), st.integers(1, 4096))
def test_a_disk_is_never_smaller_than_its_image(kib: int, size_gb: int) -> None:
    image = VMwareImage("/a.vmdk")
    if kib * 1024 <= bytes_of(size_gb):
        check_fits(image, kib * 1024, size_gb)
    else:
        with pytest.raises(ImageRefused, match=f"at least {-(-kib * 1024 // GIB)}"):
            check_fits(image, kib * 1024, size_gb)


def test_a_disk_of_half_a_kib_is_refused() -> None:
    with pytest.raises(ImageRefused, match="counts in KiB"):
        check_fits(VMwareImage("/a.vmdk"), 1536, None)


@given(
    source=st.text(max_size=30),
    checksum=st.none() | st.text(max_size=80),
    format=st.sampled_from(("", *FORMATS)) | st.text(max_size=5),
    disk_type=st.sampled_from(("", *DISK_TYPES)) | st.text(max_size=5),
    adapter_type=st.sampled_from(("", *ADAPTER_TYPES)),
)
def test_a_description_is_accepted_or_refused_with_reasons(source: str, checksum: str | None, format: str, disk_type: str, adapter_type: str) -> None:
    try:
        image = VMwareImage(source, checksum, format, disk_type, adapter_type)
    except InvalidSpec as exc:
        assert exc.problems
    else:
        assert image.format in FORMATS
        assert image.variant()


def test_names_in_the_cache_fit_every_datastore() -> None:
    key = entry_key("sha512:" + "0f" * 64, "vmdk-flat-busLogic")
    assert len(key) < 100
    assert stem_of(key) == "0f" * 6
    assert sized_name(key, 20.0) == "0f0f0f0f0f0f.20.vmdk"
    assert sized_name(key, 1.5) == "0f0f0f0f0f0f.1.5.vmdk"


@pytest.mark.parametrize(("text", "seconds"), [("7d", 604800), ("12h", 43200), ("30 m", 1800), ("45s", 45), ("90", 90), ("0", 0), ("1.5h", 5400)])
def test_times(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1d", "7 days", "1d12h"])
def test_what_is_no_time(text: str) -> None:
    assert seconds_of(text) is None
