"""Panels of hardware 3.0: what a house may be, what its devices show, and what shared hardware does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import attrs
import pytest

from span_trio.enums import FeedsRole, ShedPriority
from span_trio.errors import SpanPanelValidationError
from span_trio.simulator import HouseSpec, check_build
from span_trio.simulator.firmware.builds import publisher_of
from span_trio.simulator.firmware.parent_child import ParentChildPublisher
from span_trio.simulator.house.devices import BessSpec, LoadKind, MeasuredOutside, OutsideMeterSpec, PvSpec
from span_trio.simulator.house.house import House
from span_trio.simulator.house.houses import built_in, load_house
from span_trio.simulator.house.switchboard import Answer
from tests.unit.simulator.hardware3_helpers import PANEL_3, SHARED, modern_house
from tests.unit.simulator.house_helpers import (
    EVENING,
    HARDWARE_3,
    NOON,
    check_sums,
    circuit,
    circuit_id,
    relay_of,
    small_house,
)

TANDEM = ("circuit-52", "circuit-9")  # of `modern_house`: one position, one relay, one meter


def shown(publisher: ParentChildPublisher) -> dict[str, str]:
    return {topic: payload.decode() for topic, payload in publisher.values().items()}


def watts(publisher: ParentChildPublisher, device: str) -> float:
    return float(shown(publisher)[f"{device}/meter/active-power"])


# --- what a house may be ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spaces", "first", "last"), [(16, 9, 24), (24, 1, 24), (40, 9, 48), (48, 1, 48)], ids=["16", "24", "40", "48"]
)
def test_positions_are_those_of_the_model(spaces: int, first: int, last: int) -> None:
    def house(space: int) -> HouseSpec:
        breaker = None if spaces in {24, 48} else 100
        return HouseSpec(
            serial_number="xg-1",
            spaces=spaces,
            hardware_version="3.0",
            main_breaker_a=breaker,
            circuits=(circuit("Only", space),),
        )

    assert list(house(first).positions) == list(range(first, last + 1))
    house(last)
    for space in {first - 1, last + 1} - {0}:
        with pytest.raises(SpanPanelValidationError, match="circuit 'Only', space: position"):
            house(space)


TWO = (circuit("A", 1), circuit("B", 1, relay_of="A", meter_of="A"))
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a main breaker": ({"main_breaker_a": 200}, "main_breaker_a: an MLO_48 has no main breaker"),
    "no main breaker": ({"spaces": 40, "circuits": ()}, "main_breaker_a: is missing"),
    "a panel of before": ({"spaces": 32, "main_breaker_a": 200}, "model: of hardware 3.0 there are .* no MAIN_32"),
    "an id like the panel's": ({"circuits": (circuit("A", 1, id="xg-1-a"),)}, "id: must be letters, .* not begin like"),
    "an id that is none": ({"circuits": (circuit("A", 1, id="a_b"),)}, "id: must be letters, digits and dashes"),
    "an id of a meter outside": (
        {"circuits": (circuit("A", 1, id="remote-ct-3"),), "outside_meters": (OutsideMeterSpec(number=3),)},
        "two circuits have this id",
    ),
    "an id by its number": (
        {"circuits": (circuit("A", 1, id="circuit-2"), circuit("B", 2))},
        "circuit 'B', id: two circuits have this id",
    ),
    "one position twice": ({"circuits": (circuit("A", 1), circuit("B", 1))}, "'B', space: position 1 is taken by"),
    "a relay of nobody": ({"circuits": (circuit("A", 1, relay_of="X"),)}, "relay_of: there is no circuit 'X'"),
    "a meter of itself": ({"circuits": (circuit("A", 1, meter_of="A"),)}, "meter_of: is its own in any case"),
    "a relay of a follower": (
        {"circuits": (*TWO, circuit("C", 1, relay_of="B"))},
        "circuit 'C', relay_of: 'B' has that of 'A': name that one",
    ),
    "a relay of the battery's": (
        {"circuits": TWO, "bess": BessSpec(nameplate_kwh=1, feed="A")},
        "relay_of: an inverter or a battery shares neither relay nor meter",
    ),
    "a number twice": ({"outside_meters": (OutsideMeterSpec(number=3),) * 2}, "outside_meter 3, number: two meters"),
    "a meter of no sun": (
        {"outside_meters": (OutsideMeterSpec(number=3, measures=MeasuredOutside.SOLAR),)},
        "outside_meter 3, measures: there is no inverter ahead of the panel",
    ),
    "a service of nothing": ({"service_rating_a": 0}, "service_rating_a: must be more than 0"),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_no_panel_of_today_is_is_refused(changes: dict[str, Any], message: str) -> None:
    values = {"serial_number": "xg-1", "spaces": 48, "hardware_version": "3.0", "circuits": ()}
    HouseSpec(**{**values, "circuits": TWO})
    with pytest.raises(SpanPanelValidationError, match=message):
        HouseSpec(**{**values, **changes})


def test_circuits_on_one_position_share_with_one_of_them() -> None:
    three = (circuit("A", 1), circuit("B", 1, relay_of="A"), circuit("C", 1, meter_of="A"))
    spec = HouseSpec(serial_number="xg-1", spaces=48, hardware_version="3.0", circuits=three)
    assert [item.name for item in spec.on_relay_of(three[1])] == ["A", "B"]
    assert [item.name for item in spec.on_meter_of(three[2])] == ["A", "C"]


def test_a_meter_of_something_else_has_no_load() -> None:
    with pytest.raises(SpanPanelValidationError, match="outside_meter 3, load: it measures the grid, and no load"):
        OutsideMeterSpec(number=3, load=LoadKind.FRIDGE)
    with pytest.raises(SpanPanelValidationError, match=r"protection_functions: must be of OVERCURRENT, .*, not 'LUCK'"):
        circuit("A", 1, protection_functions="OVERCURRENT,LUCK")


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"outside_meters": (OutsideMeterSpec(number=3),)}, "outside_meters"),
        ({"service_rating_a": 100}, "service_rating_a"),
        ({"site_name": "Home"}, "site_name"),
        ({"circuits": (circuit("A", 1), circuit("B", 1, relay_of="A"))}, "circuit 'B', relay_of"),
        ({"circuits": (circuit("A", 1, feeds_role=FeedsRole.SOLAR),)}, "circuit 'A', feeds_role"),
        ({"circuits": (circuit("A", 1, dedicated=False),)}, "circuit 'A', dedicated"),
        ({"circuits": (circuit("A", 1, protection_functions="ARC_FAULT"),)}, "circuit 'A', protection_functions"),
        ({"bess": BessSpec(nameplate_kwh=1, silent=True)}, "bess, silent"),
    ],
)
def test_what_only_hardware_3_has_needs_it(changes: dict[str, Any], part: str) -> None:
    values = {"serial_number": "nt-1", "spaces": 32, "main_breaker_a": 200, "circuits": ()}
    with pytest.raises(SpanPanelValidationError, match=f'{part}: needs hardware_version = "3.0"'):
        HouseSpec(**{**values, **changes})


def test_no_earlier_firmware_runs_on_hardware_3() -> None:
    spec = built_in("mlo-48")
    assert check_build(202639, spec) == 202639
    for build in (202627, 202633):
        assert check_build(build) == check_build(build, small_house()) == build
        with pytest.raises(SpanPanelValidationError, match=f"firmware {build} does not run on hardware"):
            publisher_of(House(spec, 1, NOON), build)


def test_house_of_the_guide_is_one(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[3] / "docs" / "how-to" / "simulate.md").read_text("utf-8")
    (text,) = re.findall(r"```toml\n(.*?)```", guide, re.DOTALL)
    path = tmp_path / "mine.toml"
    path.write_text(text, "utf-8")
    spec = load_house(path)
    assert [meter.device_id for meter in spec.outside_meters] == ["remote-ct-3", "remote-ct-4"]
    assert spec.on_relay_of(spec.circuits[0]) == spec.on_meter_of(spec.circuits[1]) == spec.circuits[:2]
    check_sums(House(spec, 1, NOON))


def test_panel_may_not_know_its_model() -> None:
    publisher = ParentChildPublisher(House(modern_house(model="UNKNOWN", main_breaker_a=125), 1, NOON))
    assert shown(publisher)[f"{PANEL_3}/info/model"] == "UNKNOWN"
    assert shown(publisher)[f"{PANEL_3}/breaker/rating"] == "125"


# --- what devices show ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HARDWARE_3)
def test_numbers_have_one_decimal_frequency_two_and_site_any(name: str) -> None:
    house = House(built_in(name), 5, NOON)
    publisher = ParentChildPublisher(house)
    exact = set[str]()
    for second in range(1, 30):
        house.advance(NOON + second)
        for topic, payload in publisher.changes().items():
            if re.search("/(meter|power-flows|soc)/(?!shared)", topic):
                decimals = len(payload.decode().partition(".")[2])
                exact |= {topic.partition("/")[2]} if decimals > 1 else set()
                assert decimals >= 1
                assert payload != b"-0.0"
    assert exact <= {"meter/frequency", "power-flows/site"}
    assert "power-flows/site" in exact


@pytest.mark.parametrize("name", HARDWARE_3)
def test_every_device_but_the_panel_is_named_by_its_id(name: str) -> None:
    publisher = ParentChildPublisher(House(built_in(name), 5, NOON))
    names = {device: json.loads(text)["name"] for device, text in publisher.descriptions().items()}
    assert names.pop(publisher.device_id) == "SPAN Panel eBus Adapter"
    assert all(device == title for device, title in names.items())
    circuits = [device for device in names if not device.startswith(publisher.device_id)]
    assert all(re.fullmatch("circuit-[0-9]+|remote-ct-[0-9]+", device) for device in circuits)
    assert {"pv"}.isdisjoint(device.kind for device in publisher.tree.devices.values())


def test_panel_shows_private_values_of_the_site_and_no_main_breaker() -> None:
    publisher = ParentChildPublisher(House(modern_house(), 1, NOON))
    now = shown(publisher)
    names = ("name", "address-lines", "locality", "latitude", "longitude")
    private = {name: now.get(f"{PANEL_3}/info/{name}") for name in names}
    assert private == {
        "name": "Home",
        "address-lines": "1 Invented Way",
        "locality": None,
        "latitude": "37.77",
        "longitude": "-122.42",
    }
    assert "breaker" not in json.loads(publisher.descriptions()[PANEL_3])["nodes"]
    up = f"{PANEL_3}-lugs-up/connection"
    assert (now[f"{up}/service-rating"], now[f"{up}/overcurrent-protection"]) == ("200", "125")
    assert not [topic for topic in now if topic.startswith(f"{up}/fed-by")]
    assert now[f"{PANEL_3}/pcs/requested-import-limit"] == "200.0"
    assert f"{PANEL_3}/pcs/off-grid-import-limit" not in now


def test_lower_lugs_are_unused_and_silent_without_anything_behind_them() -> None:
    for spec, role in ((modern_house(), "LOADS"), (modern_house(feedthrough=None), "UNUSED")):
        now = shown(ParentChildPublisher(House(spec, 1, NOON)))
        lugs = f"{PANEL_3}-lugs-dn"
        assert now[f"{lugs}/connection/feeds-role"] == role
        assert (f"{lugs}/meter/active-power" in now) == (role == "LOADS")
        assert now[f"{lugs}/meter/current-a"] == now[f"{PANEL_3}-lugs-up/meter/current-a"]


def test_solar_is_a_role_of_a_circuit_and_its_flow_is_shown() -> None:
    house = House(modern_house(), 1, NOON)
    publisher = ParentChildPublisher(house)
    solar = circuit_id(house, "Solar")
    assert shown(publisher)[f"{solar}/connection/feeds-role"] == "SOLAR"
    assert watts(publisher, solar) > 0 > float(shown(publisher)[f"{PANEL_3}/power-flows/pv"])
    assert f"{solar}/connection/feeds-device-id" not in shown(publisher)
    without = attrs.evolve(house.spec, pv=None, bess=None)
    now = shown(ParentChildPublisher(House(without, 1, NOON)))
    assert not {f"{PANEL_3}/power-flows/pv", f"{PANEL_3}/power-flows/battery"} & now.keys()


def test_another_inverter_gives_another_circuit_its_role() -> None:
    before = modern_house()
    roof = circuit("Roof", 20, 30, dipole=True, load=LoadKind.NONE)
    house = House(attrs.evolve(before, circuits=(*before.circuits, roof)), 1, NOON)
    publisher = ParentChildPublisher(house)
    house.fix_sources(fixed=publisher.release.fixes_sources)
    publisher.values()
    house.add_inverter(PvSpec(nameplate_w=500, feed="Roof", serial_number="2"))
    assert list(publisher.refresh().described) == [circuit_id(house, "Roof")]  # locked now
    assert publisher.changes()[f"{circuit_id(house, 'Roof')}/connection/feeds-role"] == b"SOLAR"


def test_battery_names_its_circuit_and_counts_one() -> None:
    house = House(modern_house(bess=BessSpec(nameplate_kwh=10, feed="Battery", mid_serial_number="M-1")), 1, NOON)
    now, battery = shown(ParentChildPublisher(house)), circuit_id(house, "Battery")
    assert now[f"{battery}/connection/feeds-device-id"] == f"{PANEL_3}-tg121348001234"
    assert now[f"{battery}/connection/count"] == "1"
    assert now[f"{PANEL_3}-m-1/info/serial-number"] == "M-1"
    assert (now[f"{battery}/switch/relay-controllable"], now[f"{battery}/switch/relay-requester"]) == ("false", "NONE")


def test_silent_battery_says_neither_charge_nor_islanding() -> None:
    bess = BessSpec(nameplate_kwh=10, feed="Battery", silent=True)
    publisher = ParentChildPublisher(House(modern_house(bess=bess), 1, NOON))
    now, device = shown(publisher), f"{PANEL_3}-tg121348001234"
    missing = ("soc/soc", "soc/soe", "info/model", "info/nameplate-capacity")
    assert not {f"{device}/{name}" for name in missing} & now.keys()
    assert not [topic for topic in now if "shed-forecast" in topic or ("islanding-state" in topic and "mid" in topic)]
    assert now[f"{device}/status/communication-state"] == "OK"
    assert "soc" in json.loads(publisher.descriptions()[device])["nodes"]


def test_charger_has_no_meter_and_its_limit_is_its_maximum() -> None:
    publisher = ParentChildPublisher(House(modern_house(), 1, NOON))
    charger = f"{PANEL_3}-sd-1"
    assert "meter" not in json.loads(publisher.descriptions()[charger])["nodes"]
    now = shown(publisher)
    assert now[f"{charger}/config/user-max-charge-current"] == now[f"{charger}/config/max-charge-current"] == "40"
    assert now[f"{charger}/switch/lock-state"] == "UNLOCKED"


# --- meters outside, and shared ---------------------------------------------------------------------------------------


def test_outside_meters_count_what_is_consumed_as_imported() -> None:
    house = House(modern_house(pv=PvSpec(nameplate_w=9000, feed="Solar"), bess=None), 1, EVENING - 12 * 3600)
    publisher = ParentChildPublisher(house)
    seen = set[bool]()
    for hour in range(1, 13):
        before = shown(publisher)
        house.advance(EVENING - 12 * 3600 + hour * 3600)
        now = shown(publisher)
        flows = house.read().flows
        grid = watts(publisher, "remote-ct-3")
        assert grid == pytest.approx(-flows.grid, abs=0.06)
        assert 0 < watts(publisher, "remote-ct-7") < 60
        seen.add(grid > 0)
        for name in ("imported", "exported"):
            counters = [float(at[f"remote-ct-3/meter/{name}-energy"]) for at in (before, now)]
            assert counters[0] <= counters[1]
        # the load ahead of the panel is the grid's, and not the panel's
        ahead = watts(publisher, "remote-ct-7")
        assert grid - watts(publisher, f"{PANEL_3}-lugs-up") == pytest.approx(ahead, abs=0.2)
    assert seen == {True, False}


def test_load_ahead_of_the_panel_is_dead_in_an_outage() -> None:
    house = House(modern_house(), 1, EVENING)
    house.grid_lost()
    check_sums(house)
    assert [reading.power_w for reading in house.read().outside] == [0, 0]


def test_sun_ahead_of_the_panel_is_exported() -> None:
    meters = (OutsideMeterSpec(number=1, measures=MeasuredOutside.SOLAR),)
    house = House(modern_house(pv=PvSpec(nameplate_w=5000), outside_meters=meters), 1, NOON)
    publisher = ParentChildPublisher(house)
    assert watts(publisher, "remote-ct-1") == pytest.approx(house.read().flows.pv, abs=0.06)
    assert watts(publisher, "remote-ct-1") < -1000


def test_shared_meter_is_one_reading_and_sums_count_it_once() -> None:
    house = House(modern_house(), 1, EVENING)
    publisher = ParentChildPublisher(house)
    for second in range(1, 20):
        house.advance(EVENING + second)
        now = shown(publisher)
        for name in ("active-power", "current", "imported-energy", "exported-energy"):
            assert len({now[f"{device}/meter/{name}"] for device in TANDEM}) == 1
        assert -330 < watts(publisher, TANDEM[0]) < -270
        once = {now.get(f"{item.id}/meter/shared-with-device-ids", item.id): item.id for item in house.circuits}
        del once[TANDEM[0]]  # which is what the other one of the pair names
        drawn = -sum(watts(publisher, device) for device in once.values())
        let_out = watts(publisher, f"{PANEL_3}-lugs-dn")
        assert watts(publisher, f"{PANEL_3}-lugs-up") == pytest.approx(drawn + let_out, abs=0.05 * len(once) + 0.1)
    assert now[f"{TANDEM[0]}/meter/shared-with-device-ids"] == TANDEM[1]
    assert now[f"{TANDEM[0]}/info/spaces"] == now[f"{TANDEM[1]}/info/spaces"] == "12"
    assert now["circuit-10/switch/shared-with-device-ids"] == ",".join(TANDEM)
    assert "circuit-10/meter/shared-with-device-ids" not in now


# --- shared relays, and locks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", range(3))
def test_one_command_moves_every_circuit_of_a_relay(by: int) -> None:
    house = House(modern_house(), 1, NOON)
    publisher = ParentChildPublisher(house)
    publisher.values()
    ids = [circuit_id(house, name) for name in SHARED]
    for state in ("OPEN", "CLOSED"):
        assert publisher.command(f"{ids[by]}/switch/relay", state.encode()).answer is Answer.DONE
        told = publisher.changes()
        assert {told[f"{device}/switch/relay"] for device in ids} == {state.encode()}
        assert {relay_of(house, name) for name in SHARED} == {(state, "USER")}
        check_sums(house)
        assert all(house.read().drawn_w[-3:]) == (state == "CLOSED")


def test_relay_is_locked_for_all_if_it_is_locked_for_one() -> None:
    house = House(modern_house(), 1, NOON)
    publisher = ParentChildPublisher(house)
    house.recommission(circuit_id(house, "Study"), always_on=True)
    assert set(publisher.refresh().described) == {circuit_id(house, name) for name in SHARED}
    for name in SHARED:
        device = circuit_id(house, name)
        assert publisher.command(f"{device}/switch/relay", b"OPEN").answer is Answer.LOCKED
        assert publisher.command(f"{device}/load-shed/priority", b"OFF_GRID").answer is Answer.LOCKED
        assert shown(publisher)[f"{device}/switch/relay-controllable"] == "false"
        assert shown(publisher)[f"{device}/switch/relay-requester"] == "NONE"


def test_shared_relay_is_shed_for_the_circuit_that_must_go_first() -> None:
    house = House(modern_house(), 1, EVENING)
    house.set_priority(circuit_id(house, "Study"), ShedPriority.OFF_GRID)
    house.set_priority(circuit_id(house, "Attic"), ShedPriority.SOC_THRESHOLD)
    house.grid_lost()
    assert house.islanded
    assert {relay_of(house, name) for name in SHARED} == {("OPEN", "BACKUP")}
    for low in (40.0, 60.0):  # the third one comes and goes; the second one holds the relay open
        assert house.battery is not None
        house.battery.held_ws = house.battery.size_ws * low / 100
        house.advance(house.now + 2)
        assert {relay_of(house, name) for name in SHARED} == {("OPEN", "BACKUP")}
    house.grid_back()
    assert {relay_of(house, name) for name in SHARED} == {("CLOSED", "NONE")}


def test_fault_opens_a_locked_relay_and_is_told() -> None:
    house = House(modern_house(), 1, NOON)
    publisher = ParentChildPublisher(house)
    battery = circuit_id(house, "Battery")
    house.relay_fault(battery)
    now = shown(publisher)
    assert (now[f"{battery}/switch/relay"], now[f"{battery}/switch/relay-requester"]) == ("OPEN", "FAULT")
    assert publisher.command(f"{battery}/switch/relay", b"CLOSED").answer is Answer.LOCKED
    check_sums(house)
    with pytest.raises(SpanPanelValidationError, match="there is no circuit 'x'"):
        house.relay_fault("x")
