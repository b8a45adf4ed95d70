"""Payloads: what is a value and what is not, in both directions."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from span_trio.homie import (
    Color,
    ColorFormat,
    Datatype,
    EnumFormat,
    Format,
    InvalidFormat,
    InvalidPayload,
    NumberFormat,
    Value,
    check_format,
    decode_value,
    encode_value,
    parse_format,
)

from .helpers import FEWER

INTEGER, FLOAT, BOOLEAN = Datatype.INTEGER, Datatype.FLOAT, Datatype.BOOLEAN
STRING, ENUM, COLOR = Datatype.STRING, Datatype.ENUM, Datatype.COLOR
DATETIME, DURATION, JSON = Datatype.DATETIME, Datatype.DURATION, Datatype.JSON


def exact(value: Value) -> tuple[type, str]:
    """What tells 1, 1.0 and True apart, inside of JSON too, and 0.0 from -0.0."""
    return type(value), repr(value)


# --- reading ----------------------------------------------------------------------------------------------------------

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
NOON_IN_OTHER_WORDS = [
    *(b"2026-03-01 12:00:00Z", b"2026-03-01t12:00:00z", b"20260301T120000Z", b"2026-03-01T12Z", b"2026-03-01T12:00Z"),
    *(b"2026-060T12:00:00Z", b"2026060T120000Z", b"2026-W09-7T12:00:00Z", b"2026W097T1200Z"),
    *(b"2026-03-01T12:00:00,0Z", b"2026-03-01T12:00:00+00", b"2026-03-01T12:00:00-0000"),
]

VALID: list[tuple[Datatype, bytes, Value]] = [
    (INTEGER, b"21", 21),
    (INTEGER, b"0", 0),
    (INTEGER, b"-0", 0),
    (INTEGER, b"007", 7),
    (INTEGER, b"0" * 1_000 + b"5", 5),
    (INTEGER, b"-" + b"0" * 40 + b"9223372036854775808", -(2**63)),
    (INTEGER, b"-0.0", 0),
    (INTEGER, b"-9223372036854775808", -(2**63)),
    (INTEGER, b"9223372036854775807", 2**63 - 1),
    (INTEGER, b"3037.0", 3037),  # firmware writes integers so
    (INTEGER, b"9007199254740993.0", 2**53 + 1),  # a float would make it ...992
    (INTEGER, b"-12.", -12),
    (FLOAT, b"21.5", 21.5),
    (FLOAT, b"-1.2e-3", -0.0012),
    (FLOAT, b"1E3", 1000.0),
    (FLOAT, b"5", 5.0),
    (FLOAT, b"5.", 5.0),
    (FLOAT, b".5", 0.5),
    (FLOAT, b"1.0083333333333333", 1.0083333333333333),
    (FLOAT, b"-0.0", 0.0),
    (FLOAT, b"1e-400", 0.0),  # the nearest binary64 there is
    (FLOAT, f"{-(2.0**-1074):.1074f}".encode(), -(2.0**-1074)),  # the longest exact binary64 there is
    (FLOAT, f"{1.7976931348623157e308:f}".encode(), 1.7976931348623157e308),
    (BOOLEAN, b"true", True),
    (BOOLEAN, b"false", False),
    (STRING, b"Kitchen", "Kitchen"),
    (STRING, b"\x00", ""),
    (STRING, b" ", " "),
    (STRING, b"a\x00", "a\x00"),
    (STRING, "Küche ⚡".encode(), "Küche ⚡"),
    (ENUM, b"CLOSED", "CLOSED"),
    (ENUM, b" closed ", " closed "),
    (COLOR, b"rgb,100,100,100", Color("rgb", (100.0, 100.0, 100.0))),
    (COLOR, b"rgb,0,0.5,255", Color("rgb", (0.0, 0.5, 255.0))),
    (COLOR, b"hsv,300,50,75", Color("hsv", (300.0, 50.0, 75.0))),
    (COLOR, b"hsv,360,100,100", Color("hsv", (360.0, 100.0, 100.0))),
    (COLOR, b"xyz,0.25,0.34", Color("xyz", (0.25, 0.34))),
    (COLOR, b"xyz,0.9,0.8", Color("xyz", (0.9, 0.8))),  # z would be less than 0: it is what the device says
    (DATETIME, b"2026-03-01T12:00:00Z", dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)),
    (DATETIME, b"2026-03-01T12:00:00.25", dt.datetime(2026, 3, 1, 12, 0, 0, 250_000)),  # noqa: DTZ001 - it says no zone
    *((DATETIME, text, NOON) for text in NOON_IN_OTHER_WORDS),
    (DATETIME, b"2026-02-28T24:00:00Z", dt.datetime(2026, 3, 1, tzinfo=dt.UTC)),
    (DATETIME, b"2016-12-31T23:59:60Z", dt.datetime(2017, 1, 1, tzinfo=dt.UTC)),
    (DATETIME, b"2026-03-01T12:00:00.1234567-00:00", NOON + dt.timedelta(microseconds=123_456)),
    (DATETIME, b"2024-366T00Z", dt.datetime(2024, 12, 31, tzinfo=dt.UTC)),
    (DATETIME, b"2020-W53-7T00:00:00Z", dt.datetime(2021, 1, 3, tzinfo=dt.UTC)),
    (DURATION, b"PT1.5S", dt.timedelta(seconds=1.5)),
    (DURATION, b"PT0,0000019S", dt.timedelta(microseconds=1)),
    (DURATION, b"PT00000000000000000005M", dt.timedelta(minutes=5)),
    (DURATION, b"PT12H5M46S", dt.timedelta(hours=12, minutes=5, seconds=46)),
    (DURATION, b"PT5M", dt.timedelta(minutes=5)),
    (DURATION, b"PT", dt.timedelta()),
    (DURATION, b"PT999999999H999999999M999999999S", dt.timedelta(0, 999_999_999 * 3661)),
    (JSON, b'{"algorithm":"x"}', {"algorithm": "x"}),
    (JSON, b"[]", []),
    (JSON, b"[-0.0, -0]", [0.0, 0]),
    (JSON, b' [1, 2.5, true, null, "a"] ', [1, 2.5, True, None, "a"]),
]


@pytest.mark.parametrize(("datatype", "payload", "value"), VALID)
def test_a_valid_payload_is_a_value(datatype: Datatype, payload: bytes, value: Value) -> None:
    assert exact(decode_value(payload, datatype)) == exact(value)


ARABIC_DIGITS = "\u0661\u0662\u0663".encode()
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
NOT_UTF_8 = b"caf\xe9"

INVALID: dict[Datatype, list[bytes]] = {
    INTEGER: [
        *(b"-", b"+5", b" 5", b"5 ", b"5.5", b"--5", b"1_000", b"0x10", b"true", b"NaN", b"1,5", b"5\n"),
        *(b"-9223372036854775809", b"9223372036854775808", b"9" * 21, b"1e19", b"1e400", b"9" * 5000),
        *(b"2.99999999999999999999", b"1e-1", b"1.0.0", b".0"),
    ],
    FLOAT: [
        *(b"-", b".", b"e5", b"+5", b" 7.5 ", b"1,5", b"1e+3", b"1e", b"1.2.3", b"1_000", b"0x10", b"true"),
        *(b"NaN", b"nan", b"inf", b"-inf", b"Infinity", b"1e400", b"-1e400", b"7.5\n", b"9" * 5000),
    ],
    BOOLEAN: [b"TRUE", b"True", b"1", b"0", b"yes", b" true", b"maybe"],
    STRING: [],
    ENUM: [],
    COLOR: [
        *(b"rgb", b"rgb,1,2", b"rgb,1,2,3,4", b"rgb, 1,2,3", b"RGB,1,2,3", b"rgb,1,2,", b"rgb,256,0,0", b"rgb,-1,0,0"),
        *(b"hsv,361,0,0", b"hsv,0,101,0", b"xyz,0.5,1.01", b"xyz,0.1,0.2,0.7", b"cmyk,1,2,3,4", b"rgb,nan,0,0", b",,"),
        *(b"rgb,0,256,0", b"rgb,0,0,256", b"hsv,0,0,101", b"hsv,-1,0,0", b"xyz,1.01,0.5", b"xyz,-0.1,0.5"),
    ],
    DATETIME: [
        *(b"yesterday", b"2026-13-01T00:00:00", b"1772366400", b"12:00:00", b"2026-03-01T12:00:00+24:00"),
        *(b"2026-03-01", b"2026-060", b"2026-W09-7"),  # at which time?
        *(b"2026-03-01x12:00:00Z", b"2026-03-01\xc3\xa912:00:00Z", b"2026-03-0112:00:00Z", b"2026-03-01T12:00:00 Z"),
        *(b"2026-03-01T24:00:01Z", b"2026-03-01T25:00Z", b"2026-03-01T12:60Z", b"2026-03-01T12:00:61Z"),
        *(b"2026-000T12:00Z", b"2026-366T12:00Z", b"2026-W54-1T12:00Z", b"2026-W00-1T12:00Z", b"2026-W09-8T12:00Z"),
        *(b"2026-02-29T12:00Z", b"0000-01-01T00:00Z", b"9999-12-31T24:00Z", b"2026-03-01T12:00:00+00:60"),
        *(
            b"2026-03-01T12:00:00+00:53:28",
            b"2026-03-01T12.5Z",
            b"9999-365T24:00:00Z",
            b"9999-366T00Z",
            b"+2026-03-01T12:00Z",
        ),
    ],
    DURATION: [
        *(
            b"5M",
            b"P1D",
            b"PT1.5M",
            b"PT.5S",
            b"PT1.S",
            b"PT-5S",
            b"PT5",
            b"PT5S5M",
            b"pt5m",
            b"PT5M ",
            b"PT" + b"9" * 20 + b"H",
        ),
        *(b"P1DT2H", b"P", b"PT" + b"0" * 21 + b"S", b"PT99999999999999S"),
        b"PT" + ARABIC_DIGITS + b"S",
    ],
    JSON: [
        *(b"5", b'"x"', b"null", b"true", b"[1,]", b"{a:1}", b"[NaN]", b"[Infinity]", b"[-Infinity]", b"[1e400]"),
        *(b"[" * 200_000, b'{"a":' * 200_000, b"[" + b"9" * 5000 + b"]"),
    ],
}
NEVER = {  # whatever the datatype
    "zero-length": b"",
    "not UTF-8": NOT_UTF_8,
    "byte-order mark": BYTE_ORDER_MARK + b"5",
}
ONLY_TEXT = {"0x00": b"\x00", "Arabic digits": ARABIC_DIGITS}


@pytest.mark.parametrize(
    ("datatype", "payload"),
    [
        pytest.param(datatype, payload, id=f"{datatype}-{payload[:24]!r}")
        for datatype in INVALID
        for payload in INVALID[datatype]
    ],
)
def test_an_invalid_payload_is_no_value(datatype: Datatype, payload: bytes) -> None:
    with pytest.raises(InvalidPayload):
        decode_value(payload, datatype)


@pytest.mark.parametrize("payload", NEVER.values(), ids=NEVER)
@pytest.mark.parametrize("datatype", Datatype)
def test_some_payloads_are_a_value_of_no_datatype(datatype: Datatype, payload: bytes) -> None:
    with pytest.raises(InvalidPayload):
        decode_value(payload, datatype)


@pytest.mark.parametrize("datatype", [datatype for datatype in Datatype if datatype is not STRING])
def test_the_byte_0x00_is_the_empty_string_of_string_properties_only(datatype: Datatype) -> None:
    with pytest.raises(InvalidPayload):
        decode_value(b"\x00", datatype)


@pytest.mark.parametrize("datatype", [datatype for datatype in Datatype if datatype not in {STRING, ENUM}])
def test_other_peoples_digits_are_no_digits(datatype: Datatype) -> None:
    with pytest.raises(InvalidPayload):
        decode_value(ARABIC_DIGITS, datatype)


NEARLY = st.text("0123456789-+.eE_, :TPZHMS[]{}\"'truefalsnNaIirgbhvxyz\u0661", max_size=24).map(str.encode)


@given(st.binary(max_size=24) | NEARLY, st.sampled_from(Datatype))
def test_no_payload_raises_anything_but_invalid_payload(payload: bytes, datatype: Datatype) -> None:
    try:
        value = decode_value(payload, datatype)
    except InvalidPayload:
        return
    numbers = value.components if isinstance(value, Color) else (value,)
    for number in numbers:
        assert not isinstance(number, float) or (
            math.isfinite(number) and math.copysign(1, number or 1) == (1 if number >= 0 else -1)
        )


# --- formats ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("datatype", "text", "restriction"),
    [
        (INTEGER, "1:32:1", NumberFormat(1, 32, 1)),
        (INTEGER, ":", NumberFormat()),
        (INTEGER, "0:", NumberFormat(minimum=0)),
        (INTEGER, ":10", NumberFormat(maximum=10)),
        (INTEGER, "5:5", NumberFormat(5, 5)),
        (INTEGER, "2:6:2", NumberFormat(2, 6, 2)),
        (FLOAT, "-1.5:2.5e1:0.25", NumberFormat(-1.5, 25, 0.25)),
        (FLOAT, "::0.1", NumberFormat(step=0.1)),
        (FLOAT, "0:1:", NumberFormat(0, 1)),
        (ENUM, "UNKNOWN,OPEN,CLOSED", EnumFormat(("UNKNOWN", "OPEN", "CLOSED"))),
        (ENUM, "on, off", EnumFormat(("on", " off"))),
        (ENUM, "one", EnumFormat(("one",))),
        (COLOR, "rgb,hsv", ColorFormat(("rgb", "hsv"))),
        (COLOR, "xyz", ColorFormat(("xyz",))),
        (COLOR, "hsv,xyz,rgb", ColorFormat(("hsv", "xyz", "rgb"))),
        (BOOLEAN, "open,closed", None),
        (BOOLEAN, "on,on", None),  # nothing hangs on them
        (JSON, '{"type": "array"}', None),
        (JSON, "not a schema", None),
        (STRING, "whatever", None),
        (DATETIME, "whatever", None),
        (DURATION, "whatever", None),
    ],
)
def test_a_format_is_parsed(datatype: Datatype, text: str, restriction: Format) -> None:
    assert parse_format(datatype, text) == restriction


@pytest.mark.parametrize("datatype", Datatype)
def test_no_format_restricts_nothing(datatype: Datatype) -> None:
    assert parse_format(datatype, None) is None


@pytest.mark.parametrize(
    ("datatype", "text"),
    [
        *(
            (number, text)
            for number in (INTEGER, FLOAT)
            for text in ("", "5", "1:2:3:4", "a:b", "2:1", "0:1:0", "0:1:-1")
        ),
        *((FLOAT, text) for text in ("nan:", ":inf", " 0:1", "0:1e400", "+0:1")),
        *((ENUM, text) for text in ("", ",", "a,", "a,,b", "a,b,a")),
        *((COLOR, text) for text in ("", "cmyk", "rgb,rgb", "rgb, hsv")),
        *((BOOLEAN, text) for text in ("", "on", "a,b,c", ",on", "on,", ",")),
    ],
)
def test_an_illegal_format_is_an_error(datatype: Datatype, text: str) -> None:
    with pytest.raises(InvalidFormat):
        parse_format(datatype, text)


@pytest.mark.parametrize(
    ("value", "restriction"),
    [
        ("CLOSED", EnumFormat(("OPEN", "CLOSED"))),
        (1, NumberFormat(1, 32)),
        (32, NumberFormat(1, 32)),
        (-5.5, NumberFormat(maximum=0)),
        (10**6, NumberFormat(minimum=0)),
        (Color("hsv", (1, 2, 3)), ColorFormat(("rgb", "hsv"))),
        ("anything", None),
        ("text", NumberFormat(1, 32)),  # the datatype is another question
    ],
)
def test_a_value_may_be_inside_its_format(value: Value, restriction: Format) -> None:
    check_format(value, restriction)


@pytest.mark.parametrize(
    ("value", "restriction", "words"),
    [
        ("BOGUS", EnumFormat(("OPEN", "CLOSED")), "not one of OPEN, CLOSED"),
        ("closed", EnumFormat(("OPEN", "CLOSED")), "not one of OPEN, CLOSED"),
        (0, NumberFormat(1, 32), r"outside 1\.\.32"),
        (32.5, NumberFormat(1, 32), r"outside 1\.\.32"),
        (-1, NumberFormat(minimum=0), r"outside 0\.\.$"),
        (1, NumberFormat(maximum=0), r"outside \.\.0"),
        (Color("xyz", (0, 0)), ColorFormat(("rgb", "hsv")), "not a color in rgb, hsv"),
        ("rgb", ColorFormat(("rgb",)), "not a color in rgb"),
    ],
)
def test_a_value_outside_its_format_is_refused_in_words(value: Value, restriction: Format, words: str) -> None:
    with pytest.raises(InvalidPayload, match=words):
        check_format(value, restriction)


# --- writing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "datatype", "payload"),
    [
        (21, INTEGER, b"21"),
        (-(2**63), INTEGER, b"-9223372036854775808"),
        (21.5, FLOAT, b"21.5"),
        (5, FLOAT, b"5.0"),
        (-0.0, FLOAT, b"0.0"),
        (1e300, FLOAT, b"1e300"),  # Homie knows no plus sign
        (1e-300, FLOAT, b"1e-300"),
        (True, BOOLEAN, b"true"),
        (False, BOOLEAN, b"false"),
        ("Küche", STRING, "Küche".encode()),
        ("", STRING, b"\x00"),
        ("CLOSED", ENUM, b"CLOSED"),
        (Color("rgb", (100, 0.5, 255)), COLOR, b"rgb,100,0.5,255"),
        (Color("xyz", (0.12345678, 0.00001)), COLOR, b"xyz,0.12345678,1e-05"),
        (dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC), DATETIME, b"2026-03-01T12:00:00+00:00"),
        (dt.timedelta(hours=12, minutes=5, seconds=46), DURATION, b"PT43546S"),
        (dt.timedelta(), DURATION, b"PT0S"),
        (Color("xyz", (0.1, 0.9)), COLOR, b"xyz,0.1,0.9"),
        (Color("rgb", (-0.0, 0, 0)), COLOR, b"rgb,0,0,0"),
        ({"algorithm": "x", "on": True}, JSON, b'{"algorithm":"x","on":true}'),
        ([], JSON, b"[]"),
    ],
)
def test_a_value_is_written(value: Value, datatype: Datatype, payload: bytes) -> None:
    assert encode_value(value, datatype) == payload


CIRCULAR: list[Any] = []
CIRCULAR.append(CIRCULAR)


@pytest.mark.parametrize(
    ("value", "datatype"),
    [
        (True, INTEGER),
        (True, FLOAT),
        (True, STRING),
        (1, BOOLEAN),
        ("true", BOOLEAN),
        (1.0, INTEGER),
        ("1", INTEGER),
        (None, INTEGER),
        (2**63, INTEGER),
        pytest.param(10**5000, INTEGER, id="10**5000"),
        pytest.param(10**400, FLOAT, id="10**400"),
        (2**53 + 1, FLOAT),  # a float would make it ...992
        (math.nan, FLOAT),
        (-math.inf, FLOAT),
        (5, STRING),
        ("\x00", STRING),  # would be read as the empty string
        ("\ufeffa", STRING),
        ("\ud800", STRING),
        ("", ENUM),
        ("\x00", ENUM),
        ("\ud800", ENUM),
        ("rgb,1,2,3", COLOR),
        (Color("rgb", (1, 2)), COLOR),
        (Color("rgb", (1, 2, 256)), COLOR),
        (Color("rgb", (1, 2, math.nan)), COLOR),
        (Color("cmyk", (1, 2, 3, 4)), COLOR),
        (Color("xyz", (0.9, 0.8)), COLOR),  # is read, and never written
        (dt.datetime(2026, 3, 1, tzinfo=dt.timezone(dt.timedelta(seconds=3208))), DATETIME),
        (dt.date(2026, 3, 1), DATETIME),
        ("2026-03-01T12:00:00Z", DATETIME),
        (5, DURATION),
        (dt.timedelta(seconds=-1), DURATION),
        (dt.timedelta(seconds=-0.5), DURATION),
        (dt.timedelta(seconds=1.5), DURATION),
        (dt.timedelta.max, DURATION),
        ("[]", JSON),
        ((), JSON),
        ([math.nan], JSON),
        ([object()], JSON),
        ({1: "a key that is no text"}, JSON),
        ([{(): "nor this"}], JSON),
        pytest.param(CIRCULAR, JSON, id="circular"),
    ],
)
def test_what_cannot_be_written_as_it_is_is_refused(value: Any, datatype: Datatype) -> None:
    with pytest.raises(InvalidPayload):
        encode_value(value, datatype)


def test_what_is_nested_too_deeply_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]

    with pytest.raises(InvalidPayload):
        encode_value(deep, JSON)


@pytest.mark.parametrize(
    ("value", "datatype", "text", "payload"),
    [
        (2, INTEGER, "2:6:2", b"2"),
        (3, INTEGER, "2:6:2", b"4"),  # a half goes up
        (3.2, INTEGER, "2:6:2", b"4"),
        (5.9, INTEGER, "2:6:2", b"6"),
        (1, INTEGER, "2:6:2", b"2"),  # rounded first: 1 is no longer outside
        (6.9, INTEGER, "2:6:2", b"6"),
        (-3, INTEGER, ":10:4", b"-2"),  # no minimum: the maximum is the base
        (7, INTEGER, "::5", b"5"),
        (2**53 + 1, INTEGER, "::1", b"9007199254740993"),
        (0.3, FLOAT, "0:0.3:0.1", b"0.3"),
        (0.34, FLOAT, "0:1:0.1", b"0.3"),
        (-0.04, FLOAT, "::0.1", b"0.0"),
        (7, FLOAT, "0:10:2.5", b"7.5"),
        (12, INTEGER, "6:48", b"12"),
    ],
)
def test_a_number_is_rounded_to_its_step(value: float, datatype: Datatype, text: str, payload: bytes) -> None:
    assert encode_value(value, datatype, parse_format(datatype, text)) == payload


def test_the_value_of_now_is_the_base_of_the_steps_where_the_format_has_no_end() -> None:
    assert encode_value(10, INTEGER, parse_format(INTEGER, "::5"), current=3) == b"8"
    assert encode_value(10, INTEGER, parse_format(INTEGER, "1::5"), current=3) == b"11"


@pytest.mark.parametrize(
    ("value", "datatype", "text"),
    [
        (0.9, INTEGER, "2:6:2"),
        (7, INTEGER, "2:6:2"),  # a half goes up, and out
        (48.5, FLOAT, "6:48"),
        (2.4, INTEGER, "0:5:0.5"),  # 2.5 is on the step, and no integer
        (math.nan, FLOAT, "0:1:0.1"),
        (math.inf, FLOAT, "0:1:0.1"),
        pytest.param(10**400, FLOAT, "::2", id="10**400"),
        pytest.param(10**5000, INTEGER, "::2", id="10**5000"),
        (True, INTEGER, "0:5:1"),
        ("5", INTEGER, "0:5:1"),
        ("BOGUS", ENUM, "OPEN,CLOSED"),
        (Color("xyz", (0, 0)), COLOR, "rgb,hsv"),
    ],
)
def test_what_is_outside_its_format_is_never_written(value: Any, datatype: Datatype, text: str) -> None:
    with pytest.raises(InvalidPayload):
        encode_value(value, datatype, parse_format(datatype, text))


FINITE = st.floats(allow_nan=False, allow_infinity=False)
UTC_OFFSETS = st.none() | st.integers(-1439, 1439).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | FINITE | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
WRITABLE: dict[Datatype, st.SearchStrategy[Any]] = {
    INTEGER: st.integers(-(2**63), 2**63 - 1),
    FLOAT: FINITE,
    BOOLEAN: st.booleans(),
    STRING: st.text().filter(lambda text: text != "\x00" and not text.startswith("\ufeff")),
    ENUM: st.text(min_size=1).filter(lambda text: text != "\x00" and not text.startswith("\ufeff")),
    COLOR: st.builds(Color, st.just("rgb"), st.tuples(*[st.floats(0, 255)] * 3))
    | st.builds(Color, st.just("hsv"), st.tuples(st.floats(0, 360), st.floats(0, 100), st.floats(0, 100)))
    | st.builds(Color, st.just("xyz"), st.tuples(st.floats(0, 0.5), st.floats(0, 0.5))),
    DATETIME: st.datetimes(timezones=UTC_OFFSETS),
    DURATION: st.integers(0, 10**9 - 1).map(lambda seconds: dt.timedelta(seconds=seconds)),
    JSON: st.lists(DOCUMENTS, max_size=3) | st.dictionaries(st.text(), DOCUMENTS, max_size=3),
}


@pytest.mark.slow
@pytest.mark.parametrize("datatype", Datatype)
@FEWER
@given(data=st.data())
def test_what_is_written_is_read_back(datatype: Datatype, data: st.DataObject) -> None:
    value = data.draw(WRITABLE[datatype])

    assert decode_value(encode_value(value, datatype), datatype) == value


@given(FINITE, st.floats(-1000, 1000), st.floats(0, 1000), st.sampled_from([0.1, 0.25, 0.5, 1, 2, 3]))
def test_a_written_number_is_on_a_step_and_inside(value: float, low: float, width: float, step: float) -> None:
    restriction = NumberFormat(low, low + width, step)
    try:
        written = decode_value(encode_value(value, FLOAT, restriction), FLOAT)
    except InvalidPayload:
        assert not low <= value <= low + width - step / 2
        return
    assert isinstance(written, float)
    assert low <= written <= low + width
    assert abs(written - value) <= step * 0.5001
    steps = (written - low) / step
    assert abs(steps - round(steps)) < 1e-6
