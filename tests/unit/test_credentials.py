"""Credentials: there and back, who logs in as whom, and no secret anywhere but in the fields."""

import json
import traceback
from typing import Any

import attrs
import pytest

from span_trio.credentials import SpanCredentials
from span_trio.errors import SpanPanelError, SpanPanelValidationError

SECRET = "correct-horse-battery"
FULL = SpanCredentials(
    serial_number="nt-2143-c1akc",
    broker_username="somebody",
    broker_password=f"{SECRET}-1",
    ca_pem=f"-----BEGIN CERTIFICATE-----\n{SECRET}-2",
    access_token=f"{SECRET}-3",
    passphrase=f"{SECRET}-4 \udcff é",
)


def everything_about(error: BaseException) -> str:
    """What a log, a crash reporter or a debugger would show of an error, and of all that hangs on it."""
    shown = "".join(traceback.format_exception(error))
    while error.__context__ is not None:
        error = error.__context__
        shown += f"{error!r} {vars(error)} {getattr(error, 'doc', '')} {getattr(error, 'object', '')}"
    return shown


# --- there and back ---


def test_json_and_back() -> None:
    assert SpanCredentials.from_json(FULL.to_json()) == FULL


def test_nothing_and_back() -> None:
    assert SpanCredentials.from_json(SpanCredentials().to_json()) == SpanCredentials()
    assert SpanCredentials.from_json("{}") == SpanCredentials()


def test_unknown_keys_are_ignored() -> None:
    assert SpanCredentials.from_json('{"passphrase": "p", "of": {"the": "future"}}') == SpanCredentials(passphrase="p")


# --- who logs in ---


@pytest.mark.parametrize(
    ("credentials", "login"),
    [
        (SpanCredentials(), (None, None)),
        (SpanCredentials(serial_number="nt-1"), (None, None)),  # no password: the serial is no user name
        (SpanCredentials(broker_username="me"), ("me", None)),
        (SpanCredentials(serial_number="nt-1", broker_password="p"), ("nt-1", "p")),
        (SpanCredentials(serial_number="nt-1", broker_username="me", broker_password="p"), ("me", "p")),
        (SpanCredentials(broker_password="p"), (None, "p")),
    ],
)
def test_the_login(credentials: SpanCredentials, login: tuple[str | None, str | None]) -> None:
    assert credentials.login == login


# --- what cannot be meant ---


@pytest.mark.parametrize("name", [field.name for field in attrs.fields(SpanCredentials)])
@pytest.mark.parametrize("value", [-5, 70_000, b"bytes", ["list"], True, {}])
def test_what_is_neither_text_nor_port_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(SpanPanelValidationError, match=f"^{name} must be"):
        SpanCredentials(**{name: value})
    if not isinstance(value, bytes):
        with pytest.raises(SpanPanelValidationError, match=f"^{name} must be"):
            SpanCredentials.from_json(json.dumps({name: value}))


@pytest.mark.parametrize("serial", ["", "#", "+", "a/b", "NT-2143-C1AKC", "nt 1", "nt-1\n", "\0"])
def test_a_serial_number_that_no_panel_can_have_is_refused(serial: str) -> None:
    with pytest.raises(SpanPanelValidationError, match="serial_number"):
        SpanCredentials(serial_number=serial)


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "5", '"text"', "{", f'{{"passphrase": "{SECRET}"', "[" * 100_000, "\0", "<html>"]
)
def test_what_is_no_json_object_is_refused(text: str) -> None:
    with pytest.raises(SpanPanelValidationError, match="not a JSON object"):
        SpanCredentials.from_json(text)


def test_a_validation_error_is_a_span_panel_error_and_a_value_error() -> None:
    with pytest.raises(SpanPanelError) as caught:
        SpanCredentials.from_json("")
    assert isinstance(caught.value, ValueError)


# --- no secret anywhere ---


def test_no_secret_is_in_the_repr_or_the_str() -> None:
    assert SECRET not in f"{FULL!r} {FULL} {[FULL]}"
    assert "nt-2143-c1akc" in repr(FULL)


@pytest.mark.parametrize(
    "text",
    [
        f'{{"passphrase": "{SECRET}"',
        f'["{SECRET}"]',
        f'"{SECRET}"',
        f'{{"passphrase": ["{SECRET}"]}}',
        f'{{"broker_password": {{"{SECRET}": 1}}, "access_token": 5}}',
        f'{{"serial_number": "{SECRET} "}}',  # somebody mixed up two lines
    ],
)
def test_no_error_quotes_the_text(text: str) -> None:
    with pytest.raises(SpanPanelValidationError) as caught:
        SpanCredentials.from_json(text)
    assert SECRET not in f"{caught.value} {caught.value!r} {vars(caught.value)}"
    assert SECRET not in everything_about(caught.value)


def test_no_error_quotes_a_field() -> None:
    with pytest.raises(SpanPanelValidationError) as caught:
        SpanCredentials(passphrase=[SECRET], serial_number="ok")  # type: ignore[arg-type]
    assert SECRET not in everything_about(caught.value)
