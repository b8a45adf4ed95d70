"""Options: each takes what can be meant and refuses, by its name, what cannot."""

import math
from typing import Any

import attrs
import pytest

from span_trio.errors import SpanPanelError, SpanPanelValidationError
from span_trio.options import PanelOptions

NAN, INFINITY = math.nan, math.inf
NOT_NUMBERS = [NAN, "1", None, True, 1j, [], object]
HASH = "ab" * 32

PORTS = ["mqtts_port", "mqtt_port", "http_port", "https_port"]
POSITIVE = ["ready_timeout", "connect_timeout", "step_timeout"]
NOT_NEGATIVE = ["snapshot_interval", "settle", "child_patience", "close_grace"]


def cases(names: list[str], values: list[Any]) -> list[tuple[str, Any]]:
    return [(name, value) for name in names for value in values]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *cases(PORTS, [1, 80, 65_535]),
        *cases(POSITIVE, [1, 0.001, 1e9, INFINITY]),
        *cases(NOT_NEGATIVE, [0, 0.0, 1, 0.001, INFINITY]),
        *cases(["transport"], ["mqtt", "mqtts"]),
        *cases(["keepalive"], [1, 8, 65_535]),
        *cases(["max_packet"], [1, 2**28]),
        *cases(["domain"], ["ebus", "homie", "a b", "é", "$x"]),
        *cases(["ca_sha256"], [None, HASH, HASH.upper(), ":".join(["Ab"] * 32)]),
    ],
)
def test_what_can_be_meant_is_taken_as_it_is(name: str, value: Any) -> None:
    assert getattr(PanelOptions(**{name: value}), name) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *cases(PORTS, [0, -1, 65_536, 80.0, *(value for value in NOT_NUMBERS if value is not None)]),
        *cases([port for port in PORTS if port != "mqtts_port"], [None]),  # which the panel tells
        *cases(POSITIVE, [0, 0.0, -1, -INFINITY, *NOT_NUMBERS]),
        *cases(NOT_NEGATIVE, [-1, -1e-9, -INFINITY, *NOT_NUMBERS]),
        *cases(["transport"], ["MQTT", "ws", "", None, 1, ["mqtt"], NAN]),
        *cases(["keepalive"], [0, -1, 0.5, 8.0, 65_536, INFINITY, *NOT_NUMBERS]),  # two bytes on the wire
        *cases(["max_packet"], [0, -1, 1.5, INFINITY, *NOT_NUMBERS]),
        *cases(["domain"], ["", "#", "+", "a/b", "a\0b", None, 5, b"ebus"]),
        *cases(["ca_sha256"], ["", "abc", HASH[1:], f"{HASH}00", "g" * 64, f" {HASH}", f"{HASH}\n", 5, b"ab" * 32]),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(SpanPanelValidationError, match=f"^{name} must be .+, not ") as caught:
        PanelOptions(**{name: value})
    assert isinstance(caught.value, SpanPanelError)
    assert isinstance(caught.value, ValueError)


def test_every_option_with_a_rule_is_tested_here() -> None:
    ruled = {field.name for field in attrs.fields(PanelOptions) if field.validator is not None}
    tested = {*PORTS, *POSITIVE, *NOT_NEGATIVE, "transport", "keepalive", "max_packet", "domain", "ca_sha256"}
    assert ruled == tested


def test_options_are_frozen_and_given_by_name() -> None:
    options = PanelOptions()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        options.transport = "mqtt"  # type: ignore[misc]
    with pytest.raises(TypeError):
        PanelOptions("mqtt")  # type: ignore[call-arg]


def test_changing_options_checks_them() -> None:
    with pytest.raises(SpanPanelValidationError, match=r"^snapshot_interval must be"):
        attrs.evolve(PanelOptions(), snapshot_interval=NAN)


def test_the_defaults_find_a_panel_as_it_comes() -> None:
    options = PanelOptions()
    assert (options.transport, options.mqtts_port, options.http_port, options.https_port) == ("mqtts", None, 80, 443)
    assert options.step_timeout <= options.connect_timeout <= options.ready_timeout
