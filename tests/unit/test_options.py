"""Options: each takes what can be meant and refuses, by its name, what cannot."""

import math
from typing import Any

import attrs
import pytest

from span_trio.errors import SpanPanelError, SpanPanelValidationError
from span_trio.homie import Limits
from span_trio.options import PanelOptions
from span_trio.span import HomieSchema

NAN, INFINITY = math.nan, math.inf
NOT_NUMBERS = [NAN, "1", None, True, 1j, [], object, 10**400]
HASH = "ab" * 32

FIXED_PORTS = ["mqtt_port", "http_port", "https_port"]
PORTS = [*FIXED_PORTS, "mqtts_port", "wss_port", "ws_port"]  # of the last three the panel tells
POSITIVE = ["ready_timeout", "connect_timeout", "step_timeout"]
NOT_NEGATIVE = ["snapshot_interval", "settle", "child_patience", "auth_grace", "close_grace"]
CHOICES = {
    "transport": ["mqtts", "mqtt", "wss", "ws"],
    "source": ["panel", "bridge"],
    "on_ca_change": ["raise", "wait"],
}


def cases(names: list[str], values: list[Any]) -> list[tuple[str, Any]]:
    return [(name, value) for name in names for value in values]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *cases(PORTS, [1, 80, 65_535]),
        *cases(POSITIVE, [1, 0.001, 1e9, INFINITY]),
        *cases(NOT_NEGATIVE, [0, 0.0, 1, 0.001, INFINITY]),
        *((name, value) for name, values in CHOICES.items() for value in values),
        *cases(["max_silence"], [1, 0.001, 60.0, INFINITY]),
        *cases(["edges_held"], [2, 3, 256, 2**20]),
        *cases(["websocket_path"], ["/", "/mqtt", "/a/b?c=d&e", "/~%20"]),
        *cases(["keepalive"], [1, 8, 65_535]),
        *cases(["max_packet"], [1, 2**28]),
        *cases(["domain"], ["ebus", "homie", "a b", "é", "$x", "kitchen/ebus", "a/b/c"]),
        *cases(["schema"], [None, HomieSchema()]),
        *cases(["fetch_schema"], [True, False]),
        *cases(["limits"], [Limits(), Limits(devices=0)]),
        *cases(["ca_sha256"], [None, HASH, HASH.upper(), ":".join(["Ab"] * 32)]),
    ],
)
def test_what_can_be_meant_is_taken_as_it_is(name: str, value: Any) -> None:
    assert getattr(PanelOptions(**{name: value}), name) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *cases(PORTS, [0, -1, 65_536, 80.0, *(value for value in NOT_NUMBERS if value is not None)]),
        *cases(FIXED_PORTS, [None]),
        *cases(POSITIVE, [0, 0.0, -1, -INFINITY, *NOT_NUMBERS]),
        *cases(NOT_NEGATIVE, [-1, -1e-9, -INFINITY, *NOT_NUMBERS]),
        *cases(["transport"], ["MQTT", "tcp", "", None, 1, ["mqtt"], NAN]),
        *cases(["source"], ["broker", "Panel", "", None, 1, ["panel"], NAN]),
        *cases(["on_ca_change"], ["ignore", "Raise", "", None, True, ["wait"], NAN]),
        *cases(["max_silence"], [0, 0.0, -1, -INFINITY, *NOT_NUMBERS]),
        *cases(["edges_held"], [0, -2, 2.0, INFINITY, *NOT_NUMBERS]),
        *cases(["websocket_path"], ["", "mqtt", "/a b", "/é", "/\r\nHost: x", "/\0", None, 5, b"/mqtt"]),
        *cases(["keepalive"], [0, -1, 0.5, 8.0, 65_536, INFINITY, *NOT_NUMBERS]),  # two bytes on the wire
        *cases(["max_packet"], [0, -1, 1.5, INFINITY, *NOT_NUMBERS]),
        *cases(["domain"], ["", "#", "+", "a/", "/a", "a//b", "a/+", "a/#", "a\0b", None, 5, b"ebus"]),
        *cases(["schema"], [{}, "schema", True, HomieSchema]),
        *cases(["fetch_schema"], [None, 0, 1, "yes", []]),
        *cases(["limits"], [None, {}, 512, Limits]),
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
    alone = {"keepalive", "max_packet", "domain", "ca_sha256", "max_silence", "edges_held", "websocket_path"} | {
        "schema",
        "fetch_schema",
        "limits",
    }
    tested = {*PORTS, *POSITIVE, *NOT_NEGATIVE, *CHOICES, *alone}
    assert ruled == tested


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("transport", "tcp", "transport must be one of 'mqtts', 'mqtt', 'wss', 'ws', not 'tcp'"),
        ("source", "broker", "source must be one of 'panel', 'bridge', not 'broker'"),
        ("on_ca_change", "ignore", "on_ca_change must be one of 'raise', 'wait', not 'ignore'"),
        ("max_silence", 0, "max_silence must be a positive number, not 0"),
        ("auth_grace", -1, "auth_grace must be a number, 0 or more, not -1"),
        ("edges_held", 1, "edges_held must be a whole number, 2 or more, not 1"),
        ("websocket_path", "mqtt", "websocket_path must be a path, not 'mqtt'"),
        ("wss_port", 0, "wss_port must be a port number, not 0"),
    ],
)
def test_who_gave_it_is_told_what_can_be_meant(name: str, value: Any, sentence: str) -> None:
    with pytest.raises(SpanPanelValidationError) as caught:
        PanelOptions(**{name: value})
    assert str(caught.value) == sentence


@pytest.mark.parametrize("source", ["panel", "bridge"])
def test_silence_is_limited_whoever_the_broker_belongs_to(source: Any) -> None:
    assert PanelOptions(source=source).max_silence == 60.0


@pytest.mark.parametrize(("transport", "encrypted"), [("mqtts", True), ("wss", True), ("mqtt", False), ("ws", False)])
def test_two_transports_are_encrypted(transport: Any, encrypted: bool) -> None:
    assert PanelOptions(transport=transport).encrypted is encrypted


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
