"""A panel's own CA is trusted and no other; what is no certificate is refused in words."""

from __future__ import annotations

import hashlib
import ssl

import pytest

from span_trio import SpanPanelValidationError
from span_trio.credentials import fingerprint
from span_trio.link import tls_context
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


def test_a_ca_without_a_key_identifier_is_no_error() -> None:
    assert not tls_context(certificates().ca_pem).verify_flags & ssl.VERIFY_X509_STRICT


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
