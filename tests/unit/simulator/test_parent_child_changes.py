"""What changes in a house, as firmware of data model 1.x tells it: bursts, commands, inverters, descriptions."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from span_trio.enums import ShedPriority
from span_trio.errors import SpanPanelValidationError
from span_trio.homie import (
    parse_description,
)
from span_trio.simulator.firmware.builds import BUILDS, publisher_of
from span_trio.simulator.firmware.parent_child import ParentChildPublisher
from span_trio.simulator.firmware.parent_child_schema import RELEASES
from span_trio.simulator.house.devices import BessSpec, LoadKind, PvSpec
from span_trio.simulator.house.house import House
from span_trio.simulator.house.houses import built_in
from span_trio.simulator.house.spec import HouseSpec
from span_trio.simulator.house.switchboard import Answer
from tests.unit.simulator.hardware3_helpers import modern_specs
from tests.unit.simulator.house_helpers import (
    EVENING,
    NOON,
    Happening,
    circuit,
    circuit_id,
    happenings,
    house_specs,
    plain_house,
)
from tests.unit.simulator.parent_child_helpers import (
    BESS,
    EVSE,
    MID,
    PANEL,
    PV,
    check_legal,
    full_house,
)

# --- several inverters ------------------------------------------------------------------------------------------------


def two_inverters() -> HouseSpec:
    spec = full_house()
    more = circuit("More Solar", 13, 30, dipole=True, load=LoadKind.NONE)
    second = PvSpec(nameplate_w=3000, feed="More Solar", product_name="IQ8PLUS-72-2-US", serial_number="B 2")
    return attrs.evolve(spec, circuits=(*spec.circuits, more), inverters=(second,))


def test_r202639_has_a_device_for_each_inverter_and_their_ids_are_others() -> None:
    house = House(two_inverters(), 1, NOON)

    def told(build: int) -> tuple[set[str], dict[str, str]]:
        publisher = ParentChildPublisher(house, build)
        values = publisher.values()
        check_legal(publisher)
        feeds = {
            name: values[f"{circuit_id(house, name)}/connection/feeds-device-id"].decode()
            for name in ("Solar", "More Solar")
        }
        return {device.id for device in publisher.tree.devices.values() if device.kind == "pv"}, feeds

    assert told(202633) == ({PV}, {"Solar": PV, "More Solar": PV})
    one, two = f"{PANEL}-202303112233", f"{PANEL}-b-2"
    assert told(202639) == ({one, two}, {"Solar": one, "More Solar": two})
    values = ParentChildPublisher(house).values()
    assert [values[f"{device}/info/nominal-power"] for device in (one, two)] == [b"6000.0", b"3000.0"]


def test_two_inverters_make_what_both_make_and_the_last_steps_back_first() -> None:
    house = House(two_inverters(), 1, NOON)

    def made() -> list[float]:
        found = dict(zip(house.by_id, house.read().drawn_w, strict=True))
        return [-found[circuit_id(house, name)] for name in ("Solar", "More Solar")]

    one, two = made()
    assert one == pytest.approx(2 * two, rel=0.01)
    assert one + two == -house.read().flows.pv > 3000
    house.set_relay(circuit_id(house, "Solar"), "OPEN")
    assert made() == [0, two]
    assert house.read().flows.pv == -two
    house.set_relay(circuit_id(house, "Solar"), "CLOSED")
    house = House(attrs.evolve(two_inverters(), bess=BessSpec(nameplate_kwh=10, feed="Battery", power_w=4000)), 1, NOON)
    house.grid_lost()  # off grid, the battery takes 4 kW at most
    one, two = made()
    assert two < 0.4 * one
    assert one + two == house.read().flows.site + house.read().flows.battery


def test_an_inverter_can_be_added_to_a_house_that_runs() -> None:
    spec = two_inverters()
    house = House(attrs.evolve(spec, inverters=()), 1, NOON)
    before = house.read().flows.pv
    house.advance(NOON + 10)
    house.add_inverter(spec.inverters[0])
    house.advance(NOON + 40)
    now = house.read()
    assert now.flows.pv < before - 1000
    assert now.flows.pv + now.flows.battery + now.flows.grid + now.flows.site == 0
    index = [item.id for item in house.circuits].index(circuit_id(house, "More Solar"))
    assert now.produced_wh[index] > 0 == now.consumed_wh[index]
    with pytest.raises(SpanPanelValidationError, match="already feeds"):
        house.add_inverter(spec.inverters[0])
    dark = House(plain_house(100.0, 100.0), 1, NOON)
    dark.add_inverter(PvSpec(nameplate_w=2000))
    dark.advance(NOON + 5)
    assert dark.read().flows.pv < -500
    with pytest.raises(SpanPanelValidationError, match="the first is pv"):
        plain_house(inverters=(PvSpec(nameplate_w=1),))


# --- bursts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", RELEASES)
@given(
    spec=house_specs().filter(lambda spec: spec.circuits),
    events=st.lists(st.tuples(st.floats(0, 200), happenings), max_size=6),
)
def test_changes_add_up_to_the_values_whatever_happens(
    spec: HouseSpec, build: int, events: list[tuple[float, Happening]]
) -> None:
    check_changes(spec, build, events)


@given(
    spec=modern_specs().filter(lambda spec: spec.circuits),
    events=st.lists(st.tuples(st.floats(0, 200), happenings), max_size=6),
)
def test_changes_add_up_to_the_values_on_hardware_3(spec: HouseSpec, events: list[tuple[float, Happening]]) -> None:
    check_changes(spec, 202639, events)


def check_changes(spec: HouseSpec, build: int, events: list[tuple[float, Happening]]) -> None:
    house = House(spec, 1, EVENING)
    publisher, other = ParentChildPublisher(house, build), ParentChildPublisher(house, build)
    values = publisher.changes()  # the first time, everything
    other.changes()  # so that it sees limits as early
    for pause, event in events:
        house.advance(house.now + pause)
        event.do(house)
        changed = publisher.changes()
        if not publisher.release.resends:
            assert all(values.get(topic) != payload for topic, payload in changed.items())
        values = {topic: payload for topic, payload in {**values, **changed}.items() if payload}
        assert values == other.values()
        assert publisher.changes() == {}
    check_legal(publisher)


def test_r202633_sends_what_has_not_changed_with_what_has_and_r202639_does_not() -> None:
    house = House(built_in("32"), 2, EVENING)
    old, new = ParentChildPublisher(house, 202633), ParentChildPublisher(house, 202639)
    before, _ = old.values(), new.values()
    house.advance(EVENING + 1)
    sent, few = old.changes(), new.changes()
    same = {topic for topic, payload in sent.items() if before[topic] == payload}
    assert same
    assert sent.keys() - same == few.keys()
    assert {topic.rpartition("/")[0] for topic in sent} == {topic.rpartition("/")[0] for topic in few}


# --- commands ---------------------------------------------------------------------------------------------------------


def test_four_properties_can_be_set_and_show_in_the_next_burst() -> None:
    """Section 4."""
    house = House(full_house(), 1, NOON)
    publisher = ParentChildPublisher(house)
    publisher.values()
    lights, fridge, pump = (circuit_id(house, name) for name in ("Lights", "Fridge", "Pump"))

    def command(topic: str, payload: bytes) -> tuple[Answer, str]:
        result = publisher.command(topic, payload)
        return result.answer, result.value

    assert command(f"{lights}/switch/relay", b"OPEN") == (Answer.DONE, "OPEN")
    changed = publisher.changes()
    assert (changed[f"{lights}/switch/relay"], changed[f"{lights}/switch/relay-requester"]) == (b"OPEN", b"USER")
    assert command(f"{lights}/load-shed/priority", b"NEVER") == (Answer.DONE, "NEVER")
    assert publisher.changes() == {f"{lights}/load-shed/priority": b"NEVER"}
    assert command(f"{EVSE}/config/user-max-charge-current", b"16") == (Answer.DONE, "16")
    changed = publisher.changes()
    assert changed[f"{EVSE}/config/user-max-charge-current"] == b"16"
    assert changed[f"{EVSE}/meter/advertised-current"] == b"16.0"
    assert command(f"{EVSE}/config/user-max-charge-current", b"2") == (Answer.CLAMPED, "6")
    publisher.changes()

    refused = {
        (f"{lights}/switch/relay", b"UNKNOWN"): (Answer.INVALID, "OPEN"),
        (f"{lights}/load-shed/priority", b"UNKNOWN"): (Answer.INVALID, "NEVER"),
        (f"{fridge}/switch/relay", b"OPEN"): (Answer.LOCKED, "CLOSED"),
        (f"{pump}/load-shed/priority", b"NEVER"): (Answer.LOCKED, "OFF_GRID"),
        (f"{PANEL}/shed/asserted-islanding-state", b"ON_GRID"): (Answer.NOT_NOW, "NONE"),
        (f"{PANEL}/shed/asserted-islanding-state", b"NONE"): (Answer.INVALID, "NONE"),
        (f"{PANEL}/shed/policy", b"{}"): (Answer.NO_SUCH, ""),
        (f"{EVSE}/config/user-max-charge-current", b"16.5"): (Answer.INVALID, "6"),
        (f"{EVSE}/config/max-charge-current", b"16"): (Answer.NO_SUCH, ""),
        (f"{PANEL}/core/dominant-power-source", b"GRID"): (Answer.NO_SUCH, ""),
        ("nobody/switch/relay", b"OPEN"): (Answer.NO_SUCH, ""),
        ("", b""): (Answer.NO_SUCH, ""),
    }
    for (topic, payload), answer in refused.items():
        assert command(topic, payload) == answer
    assert publisher.changes() == {}  # on the wire, silence


def test_what_was_so_already_is_echoed_by_r202633_alone() -> None:
    house = House(full_house(), 1, NOON)
    topic = f"{circuit_id(house, 'Lights')}/load-shed/priority"
    for build, echo in ((202633, {topic: b"SOC_THRESHOLD"}), (202639, {})):
        publisher = ParentChildPublisher(house, build)
        publisher.values()
        assert publisher.command(topic, b"SOC_THRESHOLD").answer is Answer.UNCHANGED
        assert publisher.changes() == echo


def test_an_islanding_state_is_asserted_while_the_battery_is_not_heard() -> None:
    house = House(full_house(), 1, NOON)
    publisher = ParentChildPublisher(house)
    publisher.values()
    asserted = f"{PANEL}/shed/asserted-islanding-state"
    house.battery_link_lost()
    house.advance(NOON + 299)
    assert publisher.command(asserted, b"OFF_GRID").answer is Answer.NOT_NOW  # it has not noticed yet
    house.advance(NOON + 301)
    changed = publisher.changes()
    battery = circuit_id(house, "Battery")
    assert changed[f"{BESS}/status/communication-state"] == b"LOST"
    assert changed[f"{battery}/connection/feeds-device-status"] == b"LOST"
    assert publisher.command(asserted, b"OFF_GRID").answer is Answer.DONE
    changed = publisher.changes()
    assert changed[asserted] == b"OFF_GRID"
    charger = circuit_id(house, "Charger")
    assert changed[f"{charger}/switch/relay-requester"] == b"LOAD_SHED"  # it sheds by it
    assert publisher.command(asserted, b"ON_GRID").answer is Answer.DONE
    assert publisher.command(asserted, b"ON_GRID").answer is Answer.UNCHANGED
    assert publisher.changes()[f"{charger}/switch/relay"] == b"CLOSED"
    house.battery_link_back()
    assert publisher.changes()[f"{BESS}/status/communication-state"] == b"OK"
    house.advance(NOON + 329)
    assert asserted not in publisher.changes()
    house.advance(NOON + 332)
    assert publisher.changes()[asserted] == b"NONE"


def test_an_assertion_outlives_a_link_that_comes_and_goes() -> None:
    house = House(full_house(), 1, NOON)
    house.battery_link_lost(0)
    assert house.assert_islanding("ON_GRID").accepted
    house.battery_link_back()
    house.advance(NOON + 20)
    house.battery_link_lost(0)
    house.advance(NOON + 60)
    assert house.sources.asserted_islanding == "ON_GRID"
    house.battery_link_back()
    house.advance(NOON + 91)
    assert house.sources.asserted_islanding is None
    house.grid_lost()
    house.battery_link_lost(0)
    house.assert_islanding("OFF_GRID")
    assert house.sources.dominant == "BATTERY"
    assert House(plain_house(100.0), 1, NOON).assert_islanding("ON_GRID").answer is Answer.NO_SUCH


# --- a charger's limit ------------------------------------------------------------------------------------------------


def test_the_user_s_limit_is_the_ceiling_at_r202633_and_absent_at_r202639_until_one_is_set() -> None:
    house = House(full_house(), 1, NOON)
    old, new = ParentChildPublisher(house, 202633), ParentChildPublisher(house, 202639)
    topic = f"{EVSE}/config/user-max-charge-current"
    assert (old.values()[topic], new.values().get(topic)) == (b"40", None)
    house.set_charge_limit("sd-1", 12)
    assert old.changes()[topic] == new.changes()[topic] == b"12"
    house.set_charge_limit("sd-1", 40)
    assert new.changes()[topic] == b"40"
    house.advance(NOON + 119)
    assert topic not in new.changes()
    new.refresh()  # which does not make it forget since when
    house.advance(NOON + 121)
    assert new.changes()[topic] == b""  # it equals the ceiling: cleared after two minutes
    assert topic not in new.values()
    assert topic not in new.changes()
    assert old.values()[topic] == b"40"
    house.set_charge_limit("sd-1", 16)
    assert new.changes()[topic] == b"16"


# --- descriptions that change -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", BUILDS)
def test_what_is_described_as_before_keeps_its_description(build: int) -> None:
    house = House(full_house(), 1, NOON)
    publisher = publisher_of(house, build)
    before = publisher.descriptions()
    house.advance(NOON + 10)
    change = publisher.refresh()
    assert (change.described, list(change.gone)) == ({}, [])
    assert publisher.descriptions() == before
    values = publisher.values()
    publisher.refresh()
    assert publisher.changes() == {}
    assert publisher.values() == values


@pytest.mark.parametrize(("build", "renamed"), [(202633, 1), (202639, 0)])
def test_circuit_is_described_again_for_its_label_on_r202633_only(build: int, renamed: int) -> None:
    publisher = ParentChildPublisher(house := House(full_house(), 1, NOON), build)
    lights = circuit_id(house, "Lights")
    house.recommission(lights, name="Lamps")
    assert [json.loads(text)["name"] for text in publisher.refresh().described.values()] == ["Lamps"] * renamed


def test_a_circuit_that_is_recommissioned_is_described_anew_and_nothing_else_is() -> None:
    house = House(full_house(), 1, NOON)
    publisher = ParentChildPublisher(house)
    publisher.values()
    lights = circuit_id(house, "Lights")
    for number in (1, 2):  # at the same moment: the version goes up all the same
        house.recommission(lights, always_on=number == 1)
        change = publisher.refresh()
        assert (list(change.described), list(change.gone)) == ([lights], [])
        assert json.loads(change.described[lights])["version"] == NOON * 1000 + number
    house.recommission(lights, name="Lamps", always_on=True, breaker_a=20, priority=ShedPriority.OFF_GRID)
    change = publisher.refresh(keep=[lights])
    assert change.described == {}
    changed = {topic.removeprefix(f"{lights}/"): value for topic, value in publisher.changes().items()}
    assert changed == {
        "info/name": b"Lamps",
        "breaker/rating": b"20",
        "switch/relay-controllable": b"false",
        "switch/relay-requester": b"CONFIGURATION",
        "load-shed/priority": b"OFF_GRID",
    }
    assert json.loads(publisher.refresh().described[lights])["name"] == lights  # its label is ``info/name``


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [({"space": 9}, "space cannot be changed"), ({"name": ""}, "must not be empty"), ({"breaker_a": 0}, "breaker_a")],
)
def test_what_cannot_be_recommissioned_is_refused(changes: dict[str, Any], complaint: str) -> None:
    house = House(full_house(), 1, NOON)
    with pytest.raises(SpanPanelValidationError, match=complaint):
        house.recommission(circuit_id(house, "Lights"), **changes)
    with pytest.raises(SpanPanelValidationError, match="no circuit 'x'"):
        house.recommission("x")


def test_a_battery_that_is_withdrawn_takes_its_switch_and_its_nodes_along() -> None:
    house = House(full_house(), 1, NOON)
    publisher = ParentChildPublisher(house)
    values = publisher.values()
    publisher.withdraw(BESS)
    change = publisher.refresh()
    assert list(change.described) == [PANEL]
    assert set(change.gone) == {BESS, MID}
    panel = parse_description(change.described[PANEL].encode(), PANEL)
    assert not {BESS, MID} & set(panel.children)
    assert not {"shed", "shed-forecast"} & panel.nodes.keys()
    changed = publisher.changes()
    assert set(changed.values()) == {b""}
    record = f"{circuit_id(house, 'Battery')}/connection/"
    assert all(topic.startswith((record, f"{PANEL}/shed")) for topic in changed)
    left = {topic: payload for topic, payload in values.items() if not topic.startswith((BESS, MID))}
    assert {topic: payload for topic, payload in {**left, **changed}.items() if payload} == publisher.values()
    check_legal(publisher)
    publisher.commission(BESS)
    change = publisher.refresh()
    assert list(change.described) == [MID, BESS, PANEL]
    assert {**left, **publisher.changes()}.keys() == values.keys()
    assert publisher.values() == values


@pytest.mark.parametrize("device", [PANEL, "nobody", ""])
def test_what_is_no_child_cannot_be_withdrawn(device: str) -> None:
    publisher = ParentChildPublisher(House(full_house(), 1, NOON))
    for refused in (publisher.withdraw, publisher.commission, publisher.child):
        with pytest.raises(SpanPanelValidationError):
            refused(device)
