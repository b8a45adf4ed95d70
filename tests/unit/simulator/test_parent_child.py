"""A house as firmware of data model 1.x publishes it: the tables of the facts, legal, and by build."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Final

import attrs
import pytest

from span_trio.enums import RelativePosition, ShedPriority
from span_trio.errors import SpanPanelValidationError
from span_trio.homie import (
    is_valid_id,
)
from span_trio.simulator.firmware.builds import BUILDS, check_build, publisher_of
from span_trio.simulator.firmware.flat import FlatPublisher
from span_trio.simulator.firmware.flat_schema import schema_hash
from span_trio.simulator.firmware.parent_child import ParentChildPublisher
from span_trio.simulator.firmware.parent_child_schema import RELEASES
from span_trio.simulator.house.devices import BessSpec, EvseSpec, LoadKind, PcsSpec, PvSpec
from span_trio.simulator.house.house import House
from span_trio.simulator.house.switchboard import Answer
from tests.unit.simulator.house_helpers import (
    EARLIER,
    EVENING,
    HARDWARE_3,
    NOON,
    circuit,
    circuit_id,
    earlier,
    plain_house,
    small_house,
)
from tests.unit.simulator.parent_child_helpers import (
    BESS,
    EVSE,
    MID,
    PANEL,
    PV,
    check_legal,
    declared,
    described,
    forest_of,
    full_house,
)

LIMITS: Final = ("feed", "operator", "off-grid", "requested")
RELAY: Final = "UNKNOWN,OPEN,CLOSED"
HEALTH: Final = "OK,LOST,DEGRADED"

Row = tuple[str, str, str]  # datatype, unit, format

TABLES: Final[Mapping[str, Mapping[str, Row]]] = {  # facts on 1.x, section 3
    "distribution-enclosure": {
        **{f"info/{name}": ("string", "", "") for name in ("vendor-name", "serial-number", "hardware-version")},
        "info/firmware-version": ("string", "", ""),
        "info/data-model-version": ("string", "", ""),
        "info/model": ("enum", "", "MAIN_16,MLO_24,MAIN_32,MAIN_40,MLO_48"),
        "door/state": ("enum", "", RELAY),
        "status/relay": ("enum", "", RELAY),
        "status/ethernet": ("boolean", "", ""),
        "status/wifi": ("boolean", "", ""),
        "status/wifi-ssid": ("string", "", ""),
        "status/postal-code": ("string", "", ""),
        "status/time-zone": ("string", "", ""),
        "status/cloud-connection": ("enum", "", "UNKNOWN,UNCONNECTED,CONNECTED"),
        "meter/voltage-a": ("float", "V", ""),
        "meter/voltage-b": ("float", "V", ""),
        "breaker/rating": ("integer", "A", ""),
        **{f"power-flows/{name}": ("float", "W", "") for name in ("pv", "battery", "grid", "site")},
        "pcs/enabled": ("boolean", "", ""),
        "pcs/active": ("boolean", "", ""),
        "pcs/import-limit": ("float", "A", ""),
        "pcs/binding-constraint": ("enum", "", "FSR,DOE,VOLTAGE,OFF_GRID,REQUESTED,OPERATOR,NONE,UNKNOWN"),
        **{f"pcs/{name}-import-limit": ("float", "A", "") for name in LIMITS},
        **{
            f"pcs/{name}-import-limit-enablement": ("enum", "", "UNSPECIFIED,UNCONFIGURED,DISABLED,ENABLED")
            for name in LIMITS
        },
        **{f"pcs/{name}-import-limit-active": ("boolean", "", "") for name in LIMITS},
        "shed-forecast/total-time-remaining": ("integer", "min", ""),
        "shed-forecast/time-to-priority-shed": ("integer", "min", ""),
        "shed-forecast/full-charge-total-time-remaining": ("integer", "min", ""),
        "shed-forecast/full-charge-time-to-priority-shed": ("integer", "min", ""),
        "shed-forecast/confidence": ("enum", "", "LOW,MEDIUM,HIGH"),
        "shed/asserted-islanding-state": ("enum", "", "NONE,ON_GRID,OFF_GRID"),
        "shed/policy": ("json", "", "*"),
    },
    "lugs": {
        "info/direction": ("enum", "", "UPSTREAM,DOWNSTREAM"),
        "meter/current-a": ("float", "A", ""),
        "meter/current-b": ("float", "A", ""),
        "meter/active-power": ("float", "W", ""),
        "meter/imported-energy": ("float", "Wh", ""),
        "meter/exported-energy": ("float", "Wh", ""),
        **{
            f"connection/{role}-device-{what}": ("string", "", "")
            for role in ("fed-by", "feeds")
            for what in ("id", "type")
        },
        "connection/fed-by-device-status": ("enum", "", HEALTH),
        "connection/feeds-device-status": ("enum", "", HEALTH),
        "connection/count": ("integer", "", ""),
    },
    "circuit": {
        "info/name": ("string", "", ""),
        "info/spaces": ("string", "", ""),
        "switch/relay": ("enum", "", RELAY),
        "switch/relay-requester": ("enum", "", "UNKNOWN,NONE,LOAD_SHED,USER,PCS,CONFIGURATION,FAULT"),
        "switch/relay-controllable": ("boolean", "", ""),
        "breaker/rating": ("integer", "A", ""),
        "breaker/poles": ("integer", "", "1:4:1"),
        "meter/current": ("float", "A", ""),
        "meter/active-power": ("float", "W", ""),
        "meter/imported-energy": ("float", "Wh", ""),
        "meter/exported-energy": ("float", "Wh", ""),
        "load-shed/priority": ("enum", "", "UNKNOWN,OFF_GRID,SOC_THRESHOLD,NEVER"),
        "pcs/managed": ("boolean", "", ""),
        "pcs/priority": ("integer", "", ""),
        "connection/feeds-device-id": ("string", "", ""),
        "connection/feeds-device-type": ("string", "", ""),
        "connection/feeds-device-status": ("enum", "", HEALTH),
        "connection/count": ("integer", "", ""),
    },
    "bess": {
        **{f"info/{name}": ("string", "", "") for name in ("vendor-name", "model", "part-number", "serial-number")},
        "info/firmware-version": ("string", "", ""),
        "info/nameplate-capacity": ("float", "kWh", ""),
        "soc/soc": ("float", "%", ""),
        "soc/soe": ("float", "kWh", ""),
        "meter/active-power": ("float", "W", ""),
        "status/communication-state": ("enum", "", "OK,DEGRADED,LOST,UNKNOWN"),
    },
    "mid": {
        **{f"info/{name}": ("string", "", "") for name in ("vendor-name", "serial-number", "model")},
        "info/firmware-version": ("string", "", ""),
        "info/hardware-version": ("string", "", ""),
        "grid/islanding-state": ("enum", "", "ON_GRID,OFF_GRID,UNKNOWN"),
        "grid/grid-state": ("enum", "", "UP,DOWN,DEGRADED,UNKNOWN"),
        "grid/grid-forming-entity": ("string", "", ""),
    },
    "pv": {
        **{f"info/{name}": ("string", "", "") for name in ("vendor-name", "model", "serial-number")},
        "info/firmware-version": ("string", "", ""),
        "info/nominal-power": ("float", "W", ""),
    },
    "evse": {
        **{f"info/{name}": ("string", "", "") for name in ("vendor-name", "model", "part-number", "serial-number")},
        "info/firmware-version": ("string", "", ""),
        "switch/lock-state": ("enum", "", "UNLOCKED,LOCKED"),
        "status/status": ("enum", "", "AVAILABLE,PREPARING,CHARGING,UNAVAILABLE"),
        "meter/advertised-current": ("float", "A", ""),
        "config/max-charge-current": ("integer", "A", ""),
        "config/user-max-charge-current": ("integer", "A", "6:40"),
    },
}
SETTABLE: Final = {  # section 4: exactly four
    ("circuit", "switch/relay"),
    ("circuit", "load-shed/priority"),
    ("distribution-enclosure", "shed/asserted-islanding-state"),
    ("evse", "config/user-max-charge-current"),
}


# --- the tables -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", RELEASES)
def test_devices_declare_what_the_facts_list_and_nothing_else(build: int) -> None:
    publisher = ParentChildPublisher(House(full_house(), 1, NOON), build)
    kinds: set[str] = set()
    for description in described(publisher).values():
        assert description.type is not None
        kind = description.type.removeprefix("energy.ebus.device.")
        kinds.add(kind)
        found = declared(description)
        assert found.keys() == TABLES[kind].keys()
        for name, (datatype, unit, form) in TABLES[kind].items():
            assert (found[name].datatype, found[name].unit or "") == (datatype, unit)
            assert form in {"*", found[name].format_text or ""}
            assert not found[name].settable or (kind, name) in SETTABLE
        for node in description.nodes.values():
            assert node.type == f"energy.ebus.capability.{node.id}"
    assert kinds == TABLES.keys()


@pytest.mark.parametrize(
    ("name", "build"), [*itertools.product(EARLIER, RELEASES), *itertools.product(HARDWARE_3, [202639])]
)
def test_every_value_is_legal_and_as_declared(name: str, build: int) -> None:
    house = House(earlier(name), 5, EVENING)
    publisher = ParentChildPublisher(house, build)
    check_legal(publisher)
    house.advance(EVENING + 60)
    house.grid_lost()
    check_legal(publisher)


@pytest.mark.parametrize("build", RELEASES)
def test_what_is_never_valued_is_not_and_all_else_is(build: int) -> None:
    publisher = ParentChildPublisher(House(full_house(), 1, NOON), build)
    valued: dict[str, set[str]] = {}
    for topic in publisher.values():
        device, _, name = topic.partition("/")
        valued.setdefault(publisher.tree.by_id[device].kind, set()).add(name)
    silent = {kind: table.keys() - valued[kind] for kind, table in TABLES.items()}
    records = {"connection/fed-by-device-id", "connection/fed-by-device-type", "connection/fed-by-device-status"}
    feeds = {name.replace("fed-by", "feeds") for name in records}
    own_limit = set() if build == 202633 else {"config/user-max-charge-current"}
    assert silent == {
        "distribution-enclosure": set(),
        "lugs": {"connection/count"} | records | feeds,  # fed by the utility; behind it, nothing is ever named
        "circuit": {"connection/count", "pcs/priority"},  # which is valued while managed
        "bess": set(),
        "mid": {"info/serial-number", "info/model", "info/firmware-version", "info/hardware-version"},
        "pv": set(),
        "evse": own_limit,
    }


def test_the_tree_has_the_ids_and_parents_of_the_facts() -> None:
    house = House(full_house(), 1, NOON)
    publisher = ParentChildPublisher(house)
    found = described(publisher)
    circuits = [item.id for item in house.circuits]
    assert list(found)[-1] == PANEL
    assert list(found).index(MID) < list(found).index(BESS)
    assert set(found) == {PANEL, f"{PANEL}-lugs-up", f"{PANEL}-lugs-dn", *circuits, BESS, MID, PV, EVSE}
    assert set(found[PANEL].children) == set(found) - {PANEL, MID}
    assert found[BESS].children == (MID,)
    for device, description in found.items():
        assert is_valid_id(device)
        assert (description.problems, description.homie, description.version) == ((), "5.0", NOON * 1000)
        parent = {PANEL: None, MID: BESS}.get(device, PANEL)
        assert (description.root, description.parent) == (parent and PANEL, parent)
        assert description.name
    assert forest_of(publisher).members(PANEL)[0] == PANEL
    assert set(forest_of(publisher).members(PANEL)) == set(found)


def test_a_circuit_s_id_is_that_of_flat_firmware() -> None:
    house = House(full_house(), 1, NOON)
    flat = described(FlatPublisher(house))[PANEL]
    circuits = {device.id for device in ParentChildPublisher(house).tree.devices.values() if device.kind == "circuit"}
    assert circuits == {node.id for node in flat.nodes.values() if node.type == "energy.ebus.device.circuit"}


def test_what_a_house_has_not_is_no_device_and_no_node() -> None:
    found = described(ParentChildPublisher(House(plain_house(100.0), 1, NOON)))
    assert len(found) == 3  # panel, upstream lugs, circuit
    nodes = found["nt-2-plain"].nodes.keys()
    assert nodes == {"info", "door", "status", "meter", "breaker", "power-flows"}


def test_odd_serial_numbers_make_ids_that_are_legal_and_unlike() -> None:
    charger = EvseSpec(serial_number="SN-12", feed="Charger", max_current_a=40)
    bess = BessSpec(nameplate_kwh=10, feed="Battery", serial_number="SN/12 ")
    pv = PvSpec(nameplate_w=3000, feed="Solar", product_name="夜", serial_number="")
    publisher = ParentChildPublisher(House(full_house(bess=bess, evse=(charger,), pv=pv), 1, NOON))
    assert {f"{PANEL}-sn-12", f"{PANEL}-sn-12-2", f"{PANEL}-pv"} < set(publisher.devices)
    assert f"{PANEL}-pv/info/serial-number" not in publisher.values()  # absent, not empty
    check_legal(publisher)


def test_a_bare_description_has_types_and_relatives_and_nothing_else() -> None:
    house = House(full_house(), 1, NOON)
    bare, full = ParentChildPublisher(house, bare=True), ParentChildPublisher(house)
    for device, text in bare.descriptions().items():
        document, whole = json.loads(text), json.loads(full.descriptions()[device])
        nodes = {node: {"type": found["type"]} for node, found in whole["nodes"].items()}
        wanted = {key: whole[key] for key in ("type", "children", "root", "parent") if key in whole}
        assert document == {**wanted, "nodes": nodes}
    assert bare.values() == full.values()


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", RELEASES)
def test_signs_and_sums_are_those_of_the_facts(build: int) -> None:
    """Sections 7 and 9; and those of flat firmware, whose words are the same."""
    bess = BessSpec(nameplate_kwh=10, feed="Battery", soc_percent=90)
    house = House(full_house(bess=bess), 1, EVENING)
    house.advance(EVENING + 120)
    publisher, flat = ParentChildPublisher(house, build), FlatPublisher(house).values()
    values = {topic: float(payload) for topic, payload in publisher.values().items() if is_meter(topic)}
    charging = values[f"{PANEL}/power-flows/battery"]
    assert charging < -100
    assert values[f"{BESS}/meter/active-power"] == (charging if build == 202633 else -charging)
    assert values[f"{circuit_id(house, 'Battery')}/meter/active-power"] == -charging
    circuits = [values[f"{item.id}/meter/active-power"] for item in house.circuits]
    up, down = (values[f"{PANEL}-lugs-{end}/meter/active-power"] for end in ("up", "dn"))
    assert up + sum(circuits) - down == 0
    assert sum(values[f"{PANEL}/power-flows/{flow}"] for flow in ("pv", "battery", "grid", "site")) == 0
    for item in house.circuits:
        for name in ("current", "active-power", "imported-energy", "exported-energy"):
            assert values[f"{item.id}/meter/{name}"] == float(flat[f"{item.id}/{name}"])
    for end, node in (("up", "lugs-upstream"), ("dn", "lugs-downstream")):
        for name, old in (("current-a", "l1-current"), ("current-b", "l2-current"), ("active-power",) * 2):
            assert values[f"{PANEL}-lugs-{end}/meter/{name}"] == float(flat[f"{node}/{old}"])


def is_meter(topic: str) -> bool:
    return "/meter/" in topic or "/power-flows/" in topic


@pytest.mark.parametrize("build", RELEASES)
def test_a_circuit_says_what_flat_firmware_said_in_other_words(build: int) -> None:
    """Section 8."""
    spec = full_house()
    managed = attrs.evolve(spec.circuits[0], pcs_managed=True, pcs_priority=7, priority=ShedPriority.OFF_GRID)
    house = House(attrs.evolve(spec, circuits=(managed, *spec.circuits[1:])), 1, NOON)
    publisher = ParentChildPublisher(house, build)
    publisher.values()
    house.grid_lost()

    def shown(name: str) -> dict[str, str]:
        prefix = f"{circuit_id(house, name)}/"
        values = publisher.values().items()
        return {topic.removeprefix(prefix): value.decode() for topic, value in values if topic.startswith(prefix)}

    lights, fridge, pump, solar = map(shown, ("Lights", "Fridge", "Pump", "Solar"))
    assert (lights["switch/relay"], lights["switch/relay-requester"]) == ("OPEN", "LOAD_SHED")
    assert (lights["pcs/managed"], lights["pcs/priority"]) == ("true", "7")
    assert (lights["info/spaces"], lights["breaker/poles"]) == ("1", "1")
    assert (solar["info/spaces"], solar["breaker/poles"]) == ("3,5", "2")
    assert (fridge["switch/relay-controllable"], fridge["switch/relay-requester"]) == ("false", "CONFIGURATION")
    assert (pump["switch/relay-controllable"], pump["switch/relay-requester"]) == ("true", "CONFIGURATION")
    assert (pump["pcs/managed"], "pcs/priority" in pump) == ("false", False)


def test_pcs_s_rank_is_valued_only_while_managed() -> None:
    house = House(full_house(), 1, NOON)
    publisher = ParentChildPublisher(house)
    lights = circuit_id(house, "Lights")
    assert f"{lights}/pcs/priority" not in publisher.values()
    house.recommission(lights, pcs_managed=True, pcs_priority=3)
    assert publisher.changes()[f"{lights}/pcs/priority"] == b"3"
    house.recommission(lights, pcs_managed=False)
    changed = publisher.changes()
    assert (changed[f"{lights}/pcs/priority"], changed[f"{lights}/pcs/managed"]) == (b"", b"false")
    assert publisher.changes() == {}


@pytest.mark.parametrize("build", RELEASES)
def test_locks_are_said_by_not_saying_settable(build: int) -> None:
    house = House(full_house(), 1, NOON)
    publisher = ParentChildPublisher(house, build)

    def locks(name: str) -> tuple[bool, bool]:
        text = publisher.descriptions()[circuit_id(house, name)]
        nodes = json.loads(text)["nodes"]
        found = nodes["switch"]["properties"]["relay"], nodes["load-shed"]["properties"]["priority"]
        assert all(item.get("settable", True) is True for item in found)
        return "settable" not in found[0], "settable" not in found[1]

    sources = (False, False) if build == 202633 else (True, True)
    assert locks("Lights") == locks("Charger") == (False, False)
    assert locks("Fridge") == (True, False)  # a locked relay, and a priority that can be set
    assert locks("Pump") == (False, True)  # and the reverse
    assert locks("Solar") == locks("Battery") == sources


def test_r202639_locks_the_circuits_of_inverters_and_battery() -> None:
    circuits = [attrs.evolve(item, priority=ShedPriority.OFF_GRID) for item in small_house().circuits]
    house = House(full_house(circuits=tuple(circuits)), 1, NOON)
    old, new = ParentChildPublisher(house, 202633), ParentChildPublisher(house, 202639)
    solar = circuit_id(house, "Solar")
    names = ("switch/relay-controllable", "switch/relay-requester", "load-shed/priority")
    assert [old.values()[f"{solar}/{name}"] for name in names] == [b"true", b"NONE", b"OFF_GRID"]
    assert [new.values()[f"{solar}/{name}"] for name in names] == [b"false", b"CONFIGURATION", b"NEVER"]
    for topic, payload in (("switch/relay", b"OPEN"), ("load-shed/priority", b"SOC_THRESHOLD")):
        assert new.command(f"{solar}/{topic}", payload).answer is Answer.LOCKED
    assert house.by_id[solar].closed
    assert old.command(f"{solar}/switch/relay", b"OPEN").answer is Answer.DONE


def test_a_house_whose_sources_are_fixed_neither_sheds_nor_opens_them() -> None:
    circuits = [
        attrs.evolve(item, priority=ShedPriority.OFF_GRID, pcs_managed=not item.always_on)
        for item in small_house().circuits
    ]
    house = House(full_house(circuits=tuple(circuits), pcs=PcsSpec(feed_limit_a=1)), 1, NOON)
    solar = house.by_id[circuit_id(house, "Solar")]
    house.set_relay(solar.id, "OPEN")
    house.fix_sources(fixed=True)
    assert (solar.closed, solar.requester, solar.sheddable) == (True, "ALWAYS_ON", False)
    assert house.set_relay(solar.id, "OPEN").answer is house.set_priority(solar.id, "NEVER").answer is Answer.LOCKED
    house.grid_lost()
    house.advance(NOON + 30)
    assert solar.closed
    house.fix_sources(fixed=False)
    assert solar.requester != "ALWAYS_ON"
    assert solar.priority == "OFF_GRID"


def test_connection_records_say_what_feeds_what() -> None:
    """Section 6."""
    house = House(full_house(), 1, NOON)
    values = ParentChildPublisher(house).values()
    records = {
        topic.removesuffix("/connection/feeds-device-id"): payload.decode()
        for topic, payload in values.items()
        if topic.endswith("feeds-device-id")
    }
    wanted = {"Solar": PV, "Battery": BESS, "Charger": EVSE}
    assert records == {circuit_id(house, name): device for name, device in wanted.items()}
    solar = circuit_id(house, "Solar")
    assert values[f"{solar}/connection/feeds-device-type"] == b"energy.ebus.device.pv"
    assert values[f"{solar}/connection/feeds-device-status"] == b"OK"


@pytest.mark.parametrize(("name", "device"), [("bess", BESS), ("pv", PV)])
def test_what_is_ahead_of_the_panel_feeds_its_upstream_lugs(name: str, device: str) -> None:
    ahead = {
        "bess": BessSpec(nameplate_kwh=10, position=RelativePosition.UPSTREAM),
        "pv": PvSpec(nameplate_w=4000, position=RelativePosition.UPSTREAM),
    }
    values = ParentChildPublisher(House(full_house(**{"bess": None, "pv": None, name: ahead[name]}), 1, NOON)).values()
    lugs = f"{PANEL}-lugs-up/connection/fed-by-device"
    assert values[f"{lugs}-id"] == device.encode()
    assert values[f"{lugs}-type"] == f"energy.ebus.device.{name}".encode()
    assert values[f"{lugs}-status"] == b"OK"


def test_what_is_behind_the_panel_is_named_nowhere() -> None:
    bess = BessSpec(nameplate_kwh=10, position=RelativePosition.DOWNSTREAM)
    values = ParentChildPublisher(House(full_house(bess=bess), 1, NOON)).values()
    assert f"{BESS}/soc/soc" in values
    assert BESS.encode() not in values.values()


@pytest.mark.parametrize(
    ("limit", "constraint"),
    [
        ({"feed_limit_a": 80}, "FSR"),
        ({"grid_limit_a": 80}, "OPERATOR"),
        ({"requested_limit_a": 80}, "REQUESTED"),
        ({"off_grid_limit_a": 80}, "OFF_GRID"),
        ({}, "NONE"),
    ],
)
def test_the_limit_that_binds_is_named(limit: dict[str, float], constraint: str) -> None:
    house = House(full_house(pcs=PcsSpec(**limit)), 1, NOON)
    house.grid_lost()
    values = {topic.removeprefix(f"{PANEL}/pcs/"): v for topic, v in ParentChildPublisher(house).values().items()}
    name = {"FSR": "feed"}.get(constraint, constraint.lower().replace("_", "-"))
    assert values["binding-constraint"] == constraint.encode()
    assert values["import-limit"] == (b"80.0" if limit else b"0.0")
    assert values["enabled"] == (b"true" if limit else b"false")
    for other in LIMITS:
        mine = other == name
        assert values[f"{other}-import-limit"] == (b"80.0" if mine else b"0.0")
        assert values[f"{other}-import-limit-enablement"] == (b"ENABLED" if mine else b"UNCONFIGURED")
        assert values[f"{other}-import-limit-active"] == (b"true" if mine else b"false")


def test_shedding_is_a_policy_and_a_forecast() -> None:
    """Section 5."""
    house = House(full_house(bess=BessSpec(nameplate_kwh=10, feed="Battery", soc_percent=60)), 1, EVENING)
    publisher = ParentChildPublisher(house)
    values = {topic.removeprefix(f"{PANEL}/"): value for topic, value in publisher.values().items()}
    assert json.loads(values["shed/policy"]) == {
        "algorithm": "soc-priority.v1",
        "parameters": {"soc-threshold-shed": 49, "soc-threshold-release": 51},
    }
    times = [
        int(values[f"shed-forecast/{name}"])
        for name in (
            "time-to-priority-shed",
            "total-time-remaining",
            "full-charge-time-to-priority-shed",
            "full-charge-total-time-remaining",
        )
    ]
    assert 0 < times[0] < times[1] < times[3] <= 4320
    assert times[0] < times[2] < times[3]
    assert values["shed-forecast/confidence"] == b"HIGH"
    house.battery_link_lost(0)
    assert publisher.changes()[f"{PANEL}/shed-forecast/confidence"] == b"LOW"


def test_the_grid_switch_names_what_forms_the_grid() -> None:
    house = House(full_house(), 1, NOON)
    publisher = ParentChildPublisher(house)

    def grid() -> list[bytes | None]:
        values = publisher.values()
        return [values.get(f"{MID}/grid/{name}") for name in ("islanding-state", "grid-state", "grid-forming-entity")]

    assert grid() == [b"ON_GRID", b"UNKNOWN", b"GRID"]
    house.grid_lost()
    assert grid() == [b"OFF_GRID", b"UNKNOWN", BESS.encode()]
    house.set_relay(circuit_id(house, "Battery"), "OPEN")  # and all is dark
    assert grid() == [b"OFF_GRID", b"UNKNOWN", None]


def test_a_grid_switch_behind_a_remote_meter_was_silent_at_r202633() -> None:
    bess = BessSpec(nameplate_kwh=10, feed="Battery", vendor_name="Enphase", remote_meter=True)
    house = House(full_house(bess=bess), 1, NOON)
    for build, silent in ((202633, True), (202639, False)):
        values = ParentChildPublisher(house, build).values()
        assert (f"{MID}/grid/islanding-state" not in values) is silent
        assert (f"{MID}/grid/grid-forming-entity" not in values) is silent
        assert values[f"{MID}/grid/grid-state"] == b"UNKNOWN"


# --- builds, schema ---------------------------------------------------------------------------------------------------


def test_a_build_that_never_was_is_refused() -> None:
    house = House(small_house(), 1, NOON)
    with pytest.raises(SpanPanelValidationError, match="no parent/child build 202627: 202633, 202639"):
        ParentChildPublisher(house, 202627)
    with pytest.raises(SpanPanelValidationError, match=r"no firmware 202640: choose from 202603, .*, 202639"):
        publisher_of(house, 202640)
    assert [publisher_of(house, build).release.firmware for build in BUILDS[-3:]] == [
        "spanos2/r202627/05",
        "spanos3/r202633/02",
        "spanos3/r202639/03",
    ]
    assert check_build(202633) == 202633


@pytest.mark.parametrize("build", RELEASES)
def test_the_schema_is_a_superset_of_what_is_described(build: int) -> None:
    publisher = ParentChildPublisher(House(full_house(), 1, NOON), build)
    body = publisher.schema()
    assert body.keys() == {
        "firmwareVersion",
        "homieDomain",
        "homieVersion",
        "dataModelVersion",
        "deviceClasses",
        "deviceClassesSchemaHash",
    }
    assert (body["dataModelVersion"], body["homieVersion"], body["homieDomain"]) == ("1.0", 5, "ebus")
    assert body["deviceClassesSchemaHash"] == schema_hash(body["deviceClasses"])
    assert body["deviceClasses"].keys() == TABLES.keys()
    assert body["deviceClasses"]["distribution-enclosure"].keys() > {"doe"}
    for device, description in described(publisher).items():
        classes = body["deviceClasses"][publisher.tree.by_id[device].kind]
        for name, found in declared(description).items():
            node, _, item = name.partition("/")
            assert classes[node][item]["datatype"] == found.datatype
    body["deviceClasses"].clear()  # it is the caller's
    assert publisher.schema()["deviceClasses"]


def test_a_panel_of_no_known_size_lists_its_model() -> None:
    house = House(
        attrs.evolve(
            full_house(), circuits=(circuit("One", 1, load=LoadKind.LIGHTS),), spaces=8, pv=None, bess=None, evse=()
        ),
        1,
        NOON,
    )
    publisher = ParentChildPublisher(house)
    assert publisher.values()[f"{PANEL}/info/model"] == b"MAIN_8"
    check_legal(publisher)
