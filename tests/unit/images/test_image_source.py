# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A source's description: what is refused, and what never shows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource, redact

DIGITS = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("/images/disk.qcow2", "/images/disk.qcow2"),
        ("/images/50% #1?.qcow2", "/images/50% #1?.qcow2"),
        ("file:///images/a%20b.qcow2", "/images/a b.qcow2"),
        ("file://localhost/images/disk.qcow2", "/images/disk.qcow2"),
    ],
)
def test_local_sources_lead_to_a_path(source: str, path: str) -> None:
    image = ImageSource(source)
    assert image.problems() == []
    assert (image.is_remote, image.path) == (False, path)


@pytest.mark.parametrize("source", ["http://host/disk", "HTTPS://user:pw@host:8443/disk?token=x", "https://[::1]/disk"])
def test_web_sources_are_remote(source: str) -> None:
    assert ImageSource(source).problems() == []
    assert ImageSource(source).is_remote


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("", "empty"),
        ("disk.qcow2", "neither"),
        ("../disk.qcow2", "neither"),
        ("ftp://host/disk", "scheme ftp"),
        ("nbd://host/disk", "scheme nbd"),
        ("json:{}", "neither"),
        ("http:///disk", "no host"),
        ("http://host:99999/disk", "not a valid URL"),
        ("http://[::1/disk", "not a valid URL"),
        ("http://host/a b", "spaces"),
        ("http://host/a\r\nX: y", "control"),
        ("file://elsewhere/disk", "another host"),
        ("file:///disk?x", "query"),
    ],
)
def test_other_sources_are_refused_with_their_place(source: str, why: str) -> None:
    (problem,) = ImageSource(source).problems("pools[0].image")
    assert problem.startswith("pools[0].image.source: ")
    assert why in problem


@pytest.mark.parametrize("checksum", [None, f"sha256:{DIGITS}", f"SHA256:{DIGITS.upper()}", f"sha512:{DIGITS * 2}"])
def test_strong_checksums_are_taken_in_any_case(checksum: str | None) -> None:
    image = ImageSource("/disk", checksum)
    assert image.problems() == []
    assert image.digest == (checksum.lower() if checksum else None)


@pytest.mark.parametrize(
    ("checksum", "why"),
    [
        (f"md5:{DIGITS[:32]}", "forged"),
        (f"sha1:{DIGITS[:40]}", "forged"),
        (DIGITS, "is not sha256"),
        ("sha256:", "64 hex digits"),
        (f"sha256:{DIGITS[:-1]}x", "64 hex digits"),
        (f"sha512:{DIGITS}", "128 hex digits"),
        ("sha256:../../etc/passwd", "64 hex digits"),
    ],
)
def test_other_checksums_are_refused(checksum: str, why: str) -> None:
    (problem,) = ImageSource("/disk", checksum).problems()
    assert why in problem


@pytest.mark.parametrize("checksum", ["https://host/SUMS", "/srv/SUMS", "file:///srv/SUMS", "sha256:https://host/SUMS", "SHA512:/srv/SUMS"])
def test_a_checksum_may_be_in_a_file(checksum: str) -> None:
    image = ImageSource("/disk", checksum)
    assert image.problems() == []
    assert (image.digest, image.algorithm) == (None, "sha256")
    assert image.checksum_file is not None and image.checksum_file.name == "SUMS"
    # Where nobody would read it, it is none.
    (problem,) = image.problems(referring=False)
    assert problem.startswith("image.checksum: ")


@pytest.mark.parametrize(
    ("source", "checksum", "why"),
    [
        ("/disk", "https://host/", "names no file"),
        ("/disk", "ftp://jane:hunter2@host/SUMS", "has the scheme ftp"),
        ("/images/", "https://host/SUMS", "only the checksum itself"),
        ("/images/", None, "is missing"),
    ],
)
def test_a_file_of_checksums_has_to_be_one_that_can_be_read(source: str, checksum: str | None, why: str) -> None:
    (problem,) = ImageSource(source, checksum).problems()
    assert problem.startswith("image.checksum: ")
    assert why in problem
    assert "hunter2" not in problem + repr(ImageSource(source, checksum))


def test_all_faults_are_told_at_once() -> None:
    assert [problem.partition(":")[0] for problem in ImageSource("x", "y", "z").problems()] == ["image.source", "image.checksum", "image.format"]


def test_credentials_never_show() -> None:
    image = ImageSource("https://jane:hunter2@host/disk.qcow2?X-Signature=s3cret#f")
    assert str(image) == "https://***@host/disk.qcow2?***"
    assert "hunter2" not in repr(image)
    assert "s3cret" not in repr(image)


@given(st.text())
def test_any_text_is_judged_without_an_error(text: str) -> None:
    for source in (text, f"http://{text}", f"file://{text}"):
        redact(source)
        ImageSource(source, text, text).problems()


@given(st.text("abcdefgh:@/?#[]", min_size=1))
def test_what_stands_before_an_at_sign_never_shows(text: str) -> None:
    for user in ("s3cret", f"{text}:s3cret"):
        source = f"https://{user}@host/x"
        if not ImageSource(source).problems() and "/" not in user and "?" not in user and "#" not in user:
            assert "s3cret" not in redact(source)
