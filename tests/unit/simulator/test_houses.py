"""Built-in houses, houses from files, and everything that can be wrong with one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from span_trio.enums import RelativePosition, ShedPriority
from span_trio.errors import SpanPanelValidationError
from span_trio.simulator.house.devices import LoadKind, MeasuredOutside
from span_trio.simulator.house.house import House
from span_trio.simulator.house.houses import BUILT_IN, _house, built_in, built_in_text, find_house, load_house
from span_trio.simulator.house.spec import HouseSpec
from span_trio.span import are_tabs_opposite_phase
from span_trio.wiretext import printable
from tests.unit.simulator.house_helpers import NOON

MINIMAL = """
serial_number = "nt-1"
spaces = 16
main_breaker_a = 100

[[circuit]]
name = "Lights"
space = 1
breaker_a = 15
"""
DIPOLE = """
[[circuit]]
name = "Big"
space = 2
breaker_a = 50
dipole = true
"""
TOP = MINIMAL.partition("[[")[0]


Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_house(text: str) -> Path:
        path = tmp_path / "house.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_house


# --- what is right ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_built_in_houses_are_what_their_names_say(name: str) -> None:
    spec = built_in(name)
    assert len({item.name for item in spec.circuits}) == len(spec.circuits) > 4
    for item in spec.circuits:
        if item.dipole:
            assert are_tabs_opposite_phase(*item.tabs)
    assert built_in(name) == spec
    assert House(spec, 0, NOON).read().upstream.power_w != 0
    assert spec.model_name in {name.upper().replace("-", "_"), "MAIN_32"}
    assert spec.hardware_3 == (spec.model_name != "MAIN_32")
    assert (spec.main_breaker_a is None) == spec.model_name.startswith("MLO")


@pytest.mark.parametrize(
    ("short", "name"),
    [("8", "cabin"), ("32", "main-32"), ("16", "main-16"), ("24", "mlo-24"), ("40", "main-40"), ("48", "mlo-48")],
)
def test_short_names_are_the_positions_of_their_panels(short: str, name: str) -> None:
    assert built_in(short) == find_house(short) == built_in(name)
    assert built_in_text(short) == built_in_text(name)
    assert short == "8" or built_in(name).spaces == int(short)


def test_the_built_in_houses_have_something_of_everything() -> None:
    cabin, main_32, main_16, mlo_24, main_40, mlo_48 = map(built_in, BUILT_IN)
    assert (cabin.pv, cabin.bess, cabin.evse, cabin.pcs, cabin.feedthrough) == (None, None, (), None, None)
    assert len(main_32.circuits) == 24
    houses = (main_32, main_16, mlo_24, main_40, mlo_48)
    assert [len(spec.evse) for spec in houses] == [1, 0, 1, 1, 2]
    assert [spec.bess and (spec.bess.relative_position, spec.bess.silent) for spec in houses] == [
        (RelativePosition.IN_PANEL, False),
        None,
        (RelativePosition.IN_PANEL, True),
        None,
        (RelativePosition.IN_PANEL, False),
    ]
    assert [[pv.relative_position for pv in spec.all_pv] for spec in houses] == [
        [RelativePosition.IN_PANEL],
        [],
        [],
        [RelativePosition.IN_PANEL],
        [RelativePosition.IN_PANEL, RelativePosition.UPSTREAM],
    ]
    assert [[meter.measures for meter in spec.outside_meters] for spec in houses] == [
        [],
        [MeasuredOutside.GRID],
        [],
        [MeasuredOutside.GRID, MeasuredOutside.LOAD],
        [MeasuredOutside.GRID, MeasuredOutside.SOLAR],
    ]
    tandems = [item for item in mlo_48.circuits if item.relay_of and item.relay_of == item.meter_of]
    assert [mlo_48.on_relay_of(item)[0].space - item.space for item in tandems] == [0, 0, 0]
    circuits = [item for spec in houses for item in spec.circuits]
    assert {item.priority for item in circuits} == {*ShedPriority} - {ShedPriority.UNKNOWN}
    assert {True, False} == {item.always_on for item in circuits} == {item.never_backup for item in circuits}
    kinds = {spec.load_of(item) for spec in houses for item in spec.circuits}
    assert kinds == set(LoadKind) - {LoadKind.POOL_PUMP}  # that one is behind the downstream lugs
    assert main_40.feedthrough is not None
    assert main_40.feedthrough.load is LoadKind.POOL_PUMP


def test_a_house_may_have_several_inverters(write: Write) -> None:
    text = MINIMAL + DIPOLE + "[pv]\nnameplate_w = 900\nfeed = 'Big'\n[[inverter]]\nnameplate_w = 700\n"
    spec = load_house(write(text))
    assert [(pv.nameplate_w, pv.feed) for pv in spec.all_pv] == [(900, "Big"), (700, None)]
    assert spec.source_ids == {spec.id_of(spec.circuits[1])}


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_copy_of_a_built_in_house_s_file_is_that_house(name: str, write: Write) -> None:
    assert load_house(write(built_in_text(name))) == built_in(name)


def test_a_house_of_another_name_is_refused_with_the_choice() -> None:
    with pytest.raises(SpanPanelValidationError, match="no built-in house '31': choose from cabin, main-32, main-"):
        built_in("31")


def test_a_minimal_file_and_its_defaults(write: Write) -> None:
    spec = load_house(str(write("\ufeff" + MINIMAL.replace("\n", "\r\n"))))
    assert (spec.serial_number, spec.model_name, spec.vendor_name) == ("nt-1", "MAIN_16", "SPAN")
    (only,) = spec.circuits
    assert spec.load_of(only) is LoadKind.OUTLETS
    assert load_house(write(TOP)).circuits == ()


def test_whole_numbers_will_do_where_numbers_are_wanted(write: Write) -> None:
    spec = load_house(write(TOP + "latitude = 40\n" + MINIMAL.removeprefix(TOP)))
    assert (spec.latitude, type(spec.latitude)) == (40.0, float)


def test_serial_numbers_may_be_in_upper_case(write: Write) -> None:
    spec = load_house(write(MINIMAL.replace("nt-1", "NT-1")))
    assert (spec.serial_number, spec.device_id) == ("NT-1", "nt-1")


# --- what is wrong ----------------------------------------------------------------------------------------------------

CIRCUIT = "[[circuit]]\nname = {0!r}\nspace = {1}\nbreaker_a = 20\n"
EVSE = "[[evse]]\nserial_number = 'SD-1'\nfeed = 'Big'\nmax_current_a = 40\n"

WRONG = {
    # the file as such
    "not TOML": ("serial_number =", "is not TOML: "),
    "a bomb of brackets": ("x = " + "[" * 20_000, "is not TOML: "),
    "a number of 5000 digits": ("spaces = " + "9" * 5_000, "is not TOML: "),
    "one table twice": ("[pv]\nnameplate_w = 1\n[pv]\n", "is not TOML: "),
    # keys
    "nothing at all": ("", "serial_number: is missing"),
    "no spaces": ("serial_number = 'x'\nmain_breaker_a = 1\n", "spaces: is missing"),
    "an unknown key": (MINIMAL.replace("spaces", "spades"), "spades: there is no such key; did you mean spaces?"),
    "a key like no other": ("x-y-z = 1\n" + MINIMAL, "x-y-z: there is no such key"),
    "circuits": ("circuits = []\n" + MINIMAL, "circuits: there is no such key; did you mean circuit?"),
    "inverters": ("inverters = []\n" + MINIMAL, "inverters: there is no such key; did you mean inverter?"),
    "a second inverter first": (MINIMAL + "[[inverter]]\nnameplate_w = 1\n", "inverters: are further ones: the first "),
    "an inverter on no circuit": (
        MINIMAL + "[pv]\nnameplate_w = 1\n[[inverter]]\nnameplate_w = 1\nserial_number = 'A'\nfeed = 'X'\n",
        "inverter 'A', feed: there is no circuit 'X'",
    ),
    "chargers": (MINIMAL + "[[evses]]\n", "evses: there is no such key; did you mean evse?"),
    "an unknown key of a circuit": (
        MINIMAL + "braker_a = 1\n",
        "circuit 'Lights', braker_a: there is no such key; did you mean breaker_a?",
    ),
    "an unknown key of a device": (MINIMAL + "[pv]\nwatts = 1\n", "pv, watts: there is no such key"),
    "a circuit without a name": (MINIMAL + "[[circuit]]\nspace = 2\nbreaker_a = 1\n", "circuit 2, name: is missing"),
    "a circuit without a breaker": (MINIMAL + "[[circuit]]\nname = 'X'\nspace = 2\n", "circuit 'X', breaker_a: is mi"),
    "pv without a size": (MINIMAL + "[pv]\n", "pv, nameplate_w: is missing"),
    "bess without a size": (MINIMAL + "[bess]\n", "bess, nameplate_kwh: is missing"),
    "evse without a feed": (MINIMAL + "[[evse]]\nserial_number = 'SD-9'\n", "evse 'SD-9', feed: is missing"),
    # tables
    "two inverters": (MINIMAL + "[[pv]]\nnameplate_w = 1\n[[pv]]\n", "pv: there can be one only: write [pv], not [["),
    "a list of batteries": (MINIMAL + "[[bess]]\n", "bess: there can be one only: write [bess], not [[bess]]"),
    "one charger as a table": (MINIMAL + "[evse]\n", "evse: write [[evse]], once for each"),
    "one circuit as a table": (TOP + "[circuit]\n", "circuit: write [[circuit]], once for each"),
    "pv that is no table": ("pv = 1\n" + MINIMAL, "pv: must be a table"),
    "a circuit that is no table": (TOP + "circuit = [1]\n", "circuit 1: must be a table"),
    # types
    "text for a number": (MINIMAL.replace("16", "'16'"), "spaces: must be a whole number, not '16'"),
    "a fraction of a space": (MINIMAL.replace("16", "16.5"), "spaces: must be a whole number, not 16.5"),
    "true for a number": (MINIMAL.replace("16", "true"), "spaces: must be a whole number, not True"),
    "a number for text": (MINIMAL.replace('"nt-1"', "1"), "serial_number: must be text in quotes, not 1"),
    "a number for a truth": (MINIMAL + "dipole = 1\n", "circuit 'Lights', dipole: must be true or false, not 1"),
    "a name that is a number": (MINIMAL.replace('"Lights"', "5"), "circuit 1, name: must be text in quotes, not 5"),
    "text for watts": (MINIMAL + "watts = 'many'\n", "circuit 'Lights', watts: must be a number, not 'many'"),
    "true for watts": (MINIMAL + "watts = true\n", "circuit 'Lights', watts: must be a number, not True"),
    "no number for watts": (MINIMAL + "watts = nan\n", "circuit 'Lights', watts: must be a number, not nan"),
    "endless watts": (MINIMAL + "watts = inf\n", "circuit 'Lights', watts: must be a number, not inf"),
    "a huge whole number for watts": (MINIMAL + f"watts = {10**400}\n", "circuit 'Lights', watts: must be a number"),
    "a date": (MINIMAL + "name2 = 1979-05-27\n", "circuit 'Lights', name2: there is no such key"),
    "an unknown load": (MINIMAL + "load = 'sauna'\n", "circuit 'Lights', load: must be one of none, standby, lights"),
    "a load in numbers": (MINIMAL + "load = [1]\n", "circuit 'Lights', load: must be one of none"),
    "an unknown priority": (
        MINIMAL + "priority = 'never'\n",
        "circuit 'Lights', priority: must be one of OFF_GRID, SOC_THRESHOLD, NEVER, not 'never'",
    ),
    "priority unknown": (MINIMAL + "priority = 'UNKNOWN'\n", "circuit 'Lights', priority: must be one of OFF_GRID"),
    # values of the house
    "a serial number that is no id": (MINIMAL.replace("nt-1", "nt_1"), "serial_number: must be letters, digits and da"),
    "an empty serial number": (MINIMAL.replace("nt-1", ""), "serial_number: must be letters, digits and dashes"),
    "no space at all": (MINIMAL.replace("16", "0"), "spaces: must be 1 to 200, not 0"),
    "too many spaces": (MINIMAL.replace("16", "201"), "spaces: must be 1 to 200, not 201"),
    "no main breaker": (
        MINIMAL.replace("100", "0"),
        "main_breaker_a: must be more than 0 and at most 1,000,000, not 0",
    ),
    "the wrong model": ("model = 'MAIN_32'\n" + MINIMAL, "model: a MAIN_32 has 32 spaces, not 16"),
    "a model with a comma": ("model = 'A,B'\n" + MINIMAL, "model: must have no comma"),
    "a negative age": ("years = -1\n" + MINIMAL, "years: must be 0 to 100, not -1.0"),
    "north of the pole": ("latitude = 90.5\n" + MINIMAL, "latitude: must be -90 to 90, not 90.5"),
    "around the world": ("longitude = -181\n" + MINIMAL, "longitude: must be -180 to 180, not -181.0"),
    "no such time zone": ("time_zone = 'Mars/Olympus'\n" + MINIMAL, "time_zone: there is no time zone 'Mars/Olympus'"),
    "text that cannot be published": ('wifi_ssid = "a\\u0000b"\n' + MINIMAL, "wifi_ssid: must be printable text, not"),
    "a byte-order mark": ('postal_code = "\\ufeff1"\n' + MINIMAL, "postal_code: must be printable text, not"),
    # values of circuits
    "an empty name": (MINIMAL.replace("Lights", " "), "circuit ' ', name: must not be empty"),
    "a name with a line end": (MINIMAL.replace("Lights", "A\\nB"), "circuit 'A\\nB', name: must be printable text"),
    "space 0": (MINIMAL.replace("space = 1", "space = 0"), "circuit 'Lights', space: must be more than 0"),
    "a rating of 0": (MINIMAL.replace("15", "0"), "circuit 'Lights', breaker_a: must be more than 0"),
    "a negative rating": (MINIMAL.replace("15", "-15"), "circuit 'Lights', breaker_a: must be more than 0"),
    "too large a rating": (
        MINIMAL.replace("15", "1000001"),
        "circuit 'Lights', breaker_a: must be more than 0 and at ",
    ),
    "no watts": (MINIMAL + "watts = 0\n", "circuit 'Lights', watts: must be more than 0"),
    "more than the breaker": (
        MINIMAL + "watts = 1801\n",
        "circuit 'Lights', watts: 1801 W are more than its breaker of 15 A lets through",
    ),
    "two locks": (
        MINIMAL + "always_on = true\nnever_backup = true\n",
        "circuit 'Lights', never_backup: contradicts always_on",
    ),
    "managed and locked": (
        MINIMAL + "always_on = true\npcs_managed = true\n",
        "circuit 'Lights', pcs_managed: contradicts always_on",
    ),
    "a negative rank": (MINIMAL + "pcs_priority = -1\n", "circuit 'Lights', pcs_priority: must be 0 to 1,000,000"),
    "an id that is none": (MINIMAL + "id = 'ABC'\n", "circuit 'Lights', id: must be 32 hex digits in lower case, not"),
    # circuits among each other
    "one name twice": (MINIMAL + CIRCUIT.format("Lights", 2), "circuit 'Lights', name: two circuits have this name"),
    "one id twice": (
        MINIMAL + f"id = '{'a' * 32}'\n" + CIRCUIT.format("B", 2) + f"id = '{'a' * 32}'\n",
        "circuit 'B', id: two circuits have this id",
    ),
    "one position twice": (
        MINIMAL + CIRCUIT.format("B", 1),
        "circuit 'B', space: position 1 is taken by circuit 'Lights'",
    ),
    "the second pole in the way": (
        MINIMAL + DIPOLE + CIRCUIT.format("B", 4),
        "circuit 'B', space: position 4 is taken by circuit 'Big'",
    ),
    "beyond the panel": (MINIMAL + CIRCUIT.format("B", 17), "circuit 'B', space: position 17 is beyond the panel's 16"),
    "the second pole beyond the panel": (
        MINIMAL + DIPOLE.replace("space = 2", "space = 15"),
        "circuit 'Big', space: position 17 is beyond the panel's 16",
    ),
    # devices
    "pv on no circuit": (MINIMAL + "[pv]\nnameplate_w = 1\nfeed = 'X'\n", "pv, feed: there is no circuit 'X'"),
    "bess on no circuit": (MINIMAL + "[bess]\nnameplate_kwh = 1\nfeed = 'X'\n", "bess, feed: there is no circuit 'X'"),
    "evse on no circuit": (MINIMAL + EVSE, "evse 'SD-1', feed: there is no circuit 'Big'"),
    "two devices on a circuit": (
        MINIMAL + DIPOLE + EVSE + "[pv]\nnameplate_w = 1\nfeed = 'Big'\n",
        "evse 'SD-1', feed: circuit 'Big' already feeds pv",
    ),
    "a load beside a device": (
        MINIMAL + DIPOLE + "load = 'oven'\n" + EVSE,
        "circuit 'Big', load: it feeds evse 'SD-1', and nothing else",
    ),
    "watts beside a device": (
        MINIMAL + DIPOLE + "watts = 5\n" + EVSE,
        "circuit 'Big', watts: it feeds evse 'SD-1', and nothing else",
    ),
    "pv of no size": (MINIMAL + "[pv]\nnameplate_w = 0\n", "pv, nameplate_w: must be more than 0"),
    "pv in the panel without a feed": (
        MINIMAL + "[pv]\nnameplate_w = 1\nposition = 'IN_PANEL'\n",
        "pv, position: without a feed it is UPSTREAM or DOWNSTREAM, not IN_PANEL",
    ),
    "bess ahead of the panel with a feed": (
        MINIMAL + DIPOLE + "[bess]\nnameplate_kwh = 1\nfeed = 'Big'\nposition = 'UPSTREAM'\n",
        "bess, position: with a feed it is IN_PANEL or DOWNSTREAM, not UPSTREAM",
    ),
    "behind lugs that are not there": (
        MINIMAL + "[pv]\nnameplate_w = 1\nposition = 'DOWNSTREAM'\n",
        "pv, position: there is nothing behind the downstream lugs: [feedthrough] is missing",
    ),
    "bess of no size": (MINIMAL + "[bess]\nnameplate_kwh = 0\n", "bess, nameplate_kwh: must be more than 0"),
    "bess of no power": (MINIMAL + "[bess]\nnameplate_kwh = 1\npower_w = 0\n", "bess, power_w: must be more than 0"),
    "more than full": (
        MINIMAL + "[bess]\nnameplate_kwh = 1\nsoc_percent = 101\n",
        "bess, soc_percent: must be 0 to 100, not 101.0",
    ),
    "thresholds the wrong way round": (
        MINIMAL + "[bess]\nnameplate_kwh = 1\nshed_percent = 60\n",
        "bess, release_percent: must not be below shed_percent (60)",
    ),
    "a serial number of a charger that is no id": (
        MINIMAL + DIPOLE + EVSE.replace("SD-1", "SD 1"),
        "evse 'SD 1', serial_number: must be letters, digits and dashes",
    ),
    "a charger called core": (
        MINIMAL + DIPOLE + EVSE.replace("SD-1", "Core"),
        "evse 'Core', serial_number: its node id is taken",
    ),
    "two chargers of one name": (
        MINIMAL + DIPOLE + DIPOLE.replace("Big", "B").replace("2", "5") + EVSE + EVSE.replace("Big", "B"),
        "evse 'SD-1', serial_number: its node id is taken",
    ),
    "a weak charger": (MINIMAL + DIPOLE + EVSE.replace("40", "5"), "evse 'SD-1', max_current_a: must be 6 or more"),
    "a charger too strong for its breaker": (
        MINIMAL + DIPOLE + EVSE.replace("40", "51"),
        "evse 'SD-1', max_current_a: is more than the breaker's 50 A",
    ),
    "a limit out of range": (
        MINIMAL + DIPOLE + EVSE + "user_current_a = 41\n",
        "evse 'SD-1', user_current_a: must be 6 to 40",
    ),
    "a car that needs nothing": (MINIMAL + DIPOLE + EVSE + "daily_kwh = 0\n", "evse 'SD-1', daily_kwh: must be more "),
    "the 25th hour": (MINIMAL + DIPOLE + EVSE + "start_hour = 24\n", "evse 'SD-1', start_hour: must be 0 to 24"),
    "a limit of nothing": (MINIMAL + "[pcs]\nfeed_limit_a = 0\n", "pcs, feed_limit_a: must be more than 0"),
    "a nameless sub-panel": (MINIMAL + "[feedthrough]\nname = ''\n", "feedthrough, name: must not be empty"),
    "a sub-panel without watts": (MINIMAL + "[feedthrough]\nwatts = 0\n", "feedthrough, watts: must be more than 0"),
}


@pytest.mark.parametrize(("text", "complaint"), WRONG.values(), ids=WRONG.keys())
def test_whatever_is_wrong_with_a_file_is_said_with_file_table_and_key(
    text: str,
    complaint: str,
    write: Write,
) -> None:
    path = write(text)
    with pytest.raises(SpanPanelValidationError) as caught:
        load_house(path)
    assert str(caught.value).startswith(f"{path}: {complaint}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["missing.toml", ".", "a\0b"])
def test_a_file_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    path = os.path.join(tmp_path, name)  # noqa: PTH118 - a Path would not have the zero byte
    with pytest.raises(SpanPanelValidationError) as caught:
        load_house(path)
    assert str(caught.value).startswith(printable(f"{path}: cannot be read: "))


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "house.toml"
    path.write_bytes(b"serial_number = '\xff'")
    with pytest.raises(SpanPanelValidationError, match="is not UTF-8 text"):
        load_house(path)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "x", "OFF_GRID", "Lights"]),
        lambda inner: (
            st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["name", "feed"]), inner, max_size=2)
        ),
        max_leaves=3,
    ),
    st.sampled_from(
        [*(field.name for field in attrs.fields(HouseSpec)), "circuit", "pv", "bess", "evse", "pcs", "feedthrough"]
    ),
)
def test_no_value_of_any_key_raises_anything_else(value: object, key: str) -> None:
    document: dict[str, object] = {"serial_number": "nt-1", "spaces": 16, "main_breaker_a": 100, key: value}
    with contextlib.suppress(SpanPanelValidationError):
        _house(document)


def test_the_simulator_works_on_a_machine_that_knows_no_time_zones(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("span_trio.simulator.house.weather._zone", lambda _name: None)
    spec = load_house(write("time_zone = 'Mars/Olympus'\n" + MINIMAL))
    house = House(spec, 1, NOON)
    house.advance(NOON + 3)
    assert house.read().upstream.power_w > 0
