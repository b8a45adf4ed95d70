"""A panel's own CA is trusted and no other; what is no certificate is refused in words."""

from __future__ import annotations

import hashlib
import ssl
from functools import partial
from types import SimpleNamespace

import pytest
import trio

from span_trio import SpanPanelValidationError
from span_trio.credentials import fingerprint
from span_trio.link import load_trust, tls_context, trust
from tests.unit.link.certificates import certificates, other_ca

NO_CERTIFICATES = {
    "nothing": "",
    "a blank": " \n",
    "some text": "not a certificate",
    "no ASCII": "é",
    "no text": "\ud800",
    "a NUL": "\0",
    "no base64": "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
    "no end": "-----BEGIN CERTIFICATE-----\nAAAA\n",
    "another kind of PEM": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
}


def test_a_context_trusts_one_ca_and_checks_names() -> None:
    context = tls_context(certificates().ca_pem)
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    [only] = context.get_ca_certs(binary_form=True)
    assert only == ssl.PEM_cert_to_DER_cert(certificates().ca_pem)


def test_a_ca_without_a_key_identifier_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def strict(protocol: int) -> ssl.SSLContext:
        """As Python makes it from 3.13 on."""
        context = ssl.SSLContext(protocol)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(trust, "ssl", SimpleNamespace(**{**vars(ssl), "SSLContext": strict}))
    assert not tls_context(certificates().ca_pem).verify_flags & ssl.VERIFY_X509_STRICT


@pytest.mark.parametrize("ca_pem", [certificates().ca_pem, None], ids=["a CA", "whom the system trusts"])
def test_trust_checks_names_unless_told_otherwise(ca_pem: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[ssl.SSLContext] = []

    def load(context: ssl.SSLContext) -> None:
        asked.append(context)

    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", load)
    checking = trio.run(load_trust, ca_pem)
    not_checking = trio.run(partial(load_trust, ca_pem, check_hostname=False))
    assert (checking.check_hostname, not_checking.check_hostname) == (True, False)
    assert {context.verify_mode for context in (checking, not_checking)} == {ssl.CERT_REQUIRED}
    assert asked == ([] if ca_pem else [checking, not_checking])


@pytest.mark.parametrize("text", NO_CERTIFICATES.values(), ids=NO_CERTIFICATES)
def test_what_is_no_certificate_is_not_trusted(text: str) -> None:
    with pytest.raises(SpanPanelValidationError, match="CA is not a PEM certificate"):
        tls_context(text)


@pytest.mark.parametrize("name", sorted(NO_CERTIFICATES.keys() - {"no base64"}))  # which is not looked into
def test_what_is_no_certificate_has_no_fingerprint(name: str) -> None:
    with pytest.raises(SpanPanelValidationError, match="CA is not a PEM certificate"):
        fingerprint(NO_CERTIFICATES[name])


def test_a_fingerprint_is_of_the_first_certificate_whatever_stands_around_it() -> None:
    der = ssl.PEM_cert_to_DER_cert(certificates().ca_pem)
    expected = hashlib.sha256(der).hexdigest()
    assert fingerprint(certificates().ca_pem) == expected
    assert fingerprint(f"a comment\n{certificates().ca_pem}\n{other_ca()}") == expected
    assert fingerprint(other_ca()) != expected
