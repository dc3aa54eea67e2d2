# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The right vCenter, by its certificate, or none; directly or through a proxy; by password or by token."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils import errors
from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.endpoint import Credentials, Endpoint, Secret
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.transport import CertificateRefused, NotVsphere
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM
from ansible_collections.poolwright.virt.tests.contract.labs.vcenter import VCenter
from ansible_collections.poolwright.virt.tests.integration.vsphere.staging import ActingClock, Way

TOKEN = """<saml2:Assertion xmlns:saml2="urn:oasis:names:tc:SAML:2.0:assertion"><saml2:Subject><saml2:NameID>robot@vsphere.local</saml2:NameID>
</saml2:Subject></saml2:Assertion>"""


def thumbprint(vcenter: VCenter, algorithm: str) -> str:
    certificate = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((vcenter.host, vcenter.port)))
    return hashlib.new(algorithm, certificate).hexdigest()


def name_of(vim: VIM) -> str:
    with vim:
        return str(vim.get_properties(vim.content.rootFolder, ["name"])["name"])


@pytest.fixture
def way(vcenter: VCenter) -> Iterator[Way]:
    made = Way((vcenter.host, vcenter.port), proxy=True)
    made.open()
    yield made
    made.close()


def refused(vcenter: VCenter, **endpoint: Any) -> errors.VirtError:
    clock = ActingClock()
    with pytest.raises(CertificateRefused) as caught:
        name_of(vcenter.vim(clock=clock, **endpoint))
    assert clock.slept == 0, "it is not tried again"
    assert vcenter.calls().total == 0, "nothing is said to a server that is not the right one"
    return caught.value


def test_a_certificate_of_a_known_ca_is_accepted(vcenter: VCenter) -> None:
    assert name_of(vcenter.vim()) == "Datacenters"
    assert vcenter.calls().connections == 1, "one for all calls"


def test_one_of_an_unknown_ca_is_refused_with_how_to_mend_it(vcenter: VCenter) -> None:
    error = refused(vcenter, ca_path="")
    assert error.config and "ca_path" in error.hint and "thumbprint" in error.hint


def test_a_ca_that_cannot_be_read_is_named(vcenter: VCenter, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for path in (tmp_path / "missing.pem", tmp_path / "ca.pem"):
        assert refused(vcenter, ca_path=str(path)).obj == str(path)


def test_a_certificate_for_another_name_is_refused(vcenter: VCenter) -> None:
    way = Way((vcenter.host, vcenter.port), host="127.0.0.2")
    way.open()
    try:
        assert "127.0.0.2" in refused(vcenter, host=way.host, port=way.port).message
    finally:
        way.close()


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
def test_a_thumbprint_stands_in_for_the_ca(vcenter: VCenter, algorithm: str) -> None:
    assert name_of(vcenter.vim(ca_path="", thumbprint=thumbprint(vcenter, algorithm).upper())) == "Datacenters"


@pytest.mark.parametrize("ca_is_known", [True, False])
def test_a_wrong_thumbprint_is_refused_even_where_the_ca_is_known(vcenter: VCenter, ca_is_known: bool) -> None:
    error = refused(vcenter, thumbprint="ab" * 32, **({} if ca_is_known else {"ca_path": ""}))
    assert thumbprint(vcenter, "sha256") in error.message


def test_a_thumbprint_does_not_stand_in_for_a_ca_that_is_named(vcenter: VCenter, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    authorities = ssl.create_default_context().get_ca_certs(binary_form=True)
    assert authorities, "this machine knows no CA"
    other.write_text(ssl.DER_cert_to_PEM_cert(authorities[0]))
    refused(vcenter, ca_path=str(other), thumbprint=thumbprint(vcenter, "sha256"))


def test_nothing_is_checked_where_that_is_asked_for(vcenter: VCenter) -> None:
    assert name_of(vcenter.vim(ca_path="", validate_certs=False)) == "Datacenters"


def test_all_goes_through_the_proxy_and_the_certificate_is_still_the_servers(vcenter: VCenter, way: Way) -> None:
    through: dict[str, Any] = {"proxy_host": way.host, "proxy_port": way.port}
    assert name_of(vcenter.vim(**through)) == "Datacenters"
    assert way.asked_for == [f"CONNECT {vcenter.host}:{vcenter.port} HTTP/1.{way.asked_for[0][-1]}"]
    vcenter.forget_calls()
    assert "ca_path" in refused(vcenter, ca_path="", **through).hint


def test_a_host_that_does_not_answer_is_told_with_what_to_correct(vcenter: VCenter) -> None:
    clock = ActingClock()
    with pytest.raises(errors.ConnectionFailed, match="given up") as caught:
        name_of(vcenter.vim(port=1, clock=clock))
    assert "hostname and port" in caught.value.hint and caught.value.obj == "127.0.0.1:1"
    with pytest.raises(errors.ConnectionFailed) as caught:
        name_of(vcenter.vim(proxy_host="127.0.0.1", proxy_port=1, clock=clock))
    assert "proxy" in caught.value.hint


def test_a_web_server_is_no_vcenter(vcenter: VCenter) -> None:
    vim = vcenter.vim()
    vcenter.chaos("RetrieveServiceContent", "not-found")
    with pytest.raises(NotVsphere, match="404"):
        name_of(vim)
    assert vcenter.calls().total == 1


def test_a_token_logs_in_like_a_password_and_shows_as_little(vcenter: VCenter) -> None:
    clock = Clock()
    vim = VIM(Endpoint(vcenter.host, vcenter.port, ca_path=vcenter.ca_path), Credentials(token=Secret(TOKEN)), clock, Stats(clock))
    assert "robot" not in repr(vars(vim))
    assert name_of(vim) == "Datacenters"
    calls = vcenter.calls()
    assert (calls["LoginByToken"], calls["Login"], calls["Logout"]) == (1, 0, 1)


def test_a_refused_token_is_a_refused_login(vcenter: VCenter) -> None:
    clock = Clock()
    vim = VIM(Endpoint(vcenter.host, vcenter.port, ca_path=vcenter.ca_path), Credentials(token=Secret("<nothing/>")), clock, Stats(clock))
    with pytest.raises(errors.AuthenticationFailed):
        name_of(vim)
    assert vcenter.calls()["LoginByToken"] == 1
