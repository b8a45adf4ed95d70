"""A house as flat firmware publishes it: legal, as declared, and read back equal to the house itself."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from span_trio.enums import DoorState, LimitEnablement, RelativePosition
from span_trio.errors import SpanPanelValidationError
from span_trio.frozenmap import FrozenMap
from span_trio.homie import (
    Datatype,
    DeviceDescription,
    Forest,
    InvalidPayload,
    Message,
    check_format,
    decode_value,
    is_valid_id,
    parse_description,
)
from span_trio.simulator.firmware.flat import FlatPublisher
from span_trio.simulator.firmware.flat_schema import RELEASES, schema_hash
from span_trio.simulator.house.devices import BessSpec, EvseSpec, FeedthroughSpec, PcsSpec, PvSpec
from span_trio.simulator.house.house import House
from span_trio.simulator.house.spec import HouseSpec
from span_trio.simulator.house.switchboard import Answer
from span_trio.snapshot import (
    ExtensionProperty,
    SpanBatterySnapshot,
    SpanCircuitSnapshot,
    SpanEvseSnapshot,
    SpanPanelSnapshot,
    SpanPcsSnapshot,
    SpanPVSnapshot,
)
from span_trio.span import FLAT, FlatBuilder, HomieSchema, NodeType
from span_trio.span.derive import dsm_state, run_config
from tests.unit.simulator.house_helpers import (
    EARLIER,
    EVENING,
    MIDNIGHT,
    NOON,
    Happening,
    circuit_id,
    earlier,
    happenings,
    house_specs,
    plain_house,
    small_house,
)

BUILDS: Final = tuple(RELEASES)
CAPTURED: Final = Path(__file__).parents[2] / "captures" / "flat32.rest.homie-schema.json"


class Reader:
    """What our own client makes of a publisher: a forest and a builder behind it."""

    def __init__(self, publisher: FlatPublisher, *, schema: bool = False) -> None:
        self.publisher = publisher
        self.device = publisher.device_id
        known = HomieSchema.from_json(publisher.schema()) if schema else None
        self.forest = Forest("ebus", fallback=FLAT if known is None else known.over(FLAT))
        self.builder = FlatBuilder(self.device, known)
        self.hear({"$state": b"ready", "$description": publisher.description().encode(), **publisher.values()})

    def hear(self, messages: Mapping[str, bytes]) -> None:
        for suffix, payload in messages.items():
            self.forest.absorb(Message(f"ebus/5/{self.device}/{suffix}", payload), 0.0)

    def snapshot(self) -> SpanPanelSnapshot:
        at: Any = (0.0, 0.0)
        seen = self.builder.build(self.forest, self.forest.take_dirty(), pending=(), seq=1, epoch=1, received_at=at)
        return attrs.evolve(seen, extension_properties=in_order(seen.extension_properties))


def in_order(extensions: Iterable[ExtensionProperty]) -> tuple[ExtensionProperty, ...]:
    """The order of a bare description's properties is no house's."""
    return tuple(sorted(extensions, key=lambda each: (each.node_id, each.property_id)))


def described(publisher: FlatPublisher) -> DeviceDescription:
    return parse_description(publisher.description().encode(), publisher.device_id)


# --- what the house itself says ---------------------------------------------------------------------------------------


def circuits_of(house: House) -> Iterator[SpanCircuitSnapshot]:
    spec, now = house.spec, house.read()
    roles: dict[str, tuple[Any, Any]] = {evse.feed: ("evse", None) for evse in spec.evse}
    if spec.pv is not None and spec.pv.feed is not None:
        roles[spec.pv.feed] = ("pv", spec.pv.relative_position)
    meters = zip(house.circuits, now.drawn_w, now.current_a, now.consumed_wh, now.produced_wh, strict=True)
    for circuit, watts, amps, consumed, produced in meters:
        role, position = roles.get(circuit.spec.name, ("circuit", None))
        yield SpanCircuitSnapshot(
            circuit_id=circuit.id,
            name=circuit.spec.name,
            relay_state=circuit.relay,
            relay_requester=circuit.requester,
            instant_power_w=watts,
            consumed_energy_wh=consumed,
            produced_energy_wh=produced,
            current_a=amps,
            breaker_rating_a=circuit.spec.breaker_a,
            tabs=circuit.spec.tabs,
            is_240v=circuit.spec.dipole,
            priority=circuit.priority,
            is_user_controllable=not circuit.spec.always_on,
            is_sheddable=circuit.sheddable,
            is_never_backup=circuit.spec.never_backup,
            always_on=circuit.spec.always_on,
            device_type=role,
            relative_position=position,
            pcs_managed=circuit.spec.pcs_managed,
            pcs_priority=circuit.spec.pcs_priority,
        )


def extensions_of(house: House, build: int, *, bare: bool) -> Iterator[ExtensionProperty]:
    """What has no field: where the house is, by its clock; and what the lugs hang on, or measure before r202621."""
    spec = house.spec
    yield ExtensionProperty("panel", None, "core", "time-zone", "string", value=spec.time_zone)
    feed = spec.bess.product_name if spec.bess is not None and spec.bess.relative_position == "UPSTREAM" else ""
    yield ExtensionProperty("lugs", "lugs-upstream", "lugs-upstream", "feed", "string", value=feed)
    if spec.feedthrough is None:
        return
    down = ("lugs", "lugs-downstream", "lugs-downstream")
    yield ExtensionProperty(*down, "feed", "string", value=spec.feedthrough.name)
    meter = house.read().upstream  # republished by firmware that knows nothing of the sub-panel
    for name, unit, value in (
        ("active-power", "W", meter.power_w),
        ("imported-energy", "Wh", meter.imported_wh),
        ("exported-energy", "Wh", meter.exported_wh),
    ):
        if build < 202621:
            said = str(value)
            yield ExtensionProperty(*down, name, "string" if bare else "float", None if bare else unit, value=said)


def chargers_of(house: House, build: int, *, bare: bool) -> Iterator[SpanEvseSnapshot]:
    for node, charger in house.chargers.items():
        limits = build >= 202627
        yield SpanEvseSnapshot(
            node_id=charger.spec.serial_number or node,
            device_id=house.spec.device_id,
            feed_circuit_id=circuit_id(house, charger.spec.feed),
            status=charger.status,
            lock_state=charger.lock_state,
            advertised_current_a=charger.advertised_a,
            vendor_name=charger.spec.vendor_name,
            model=charger.spec.product_name,
            part_number=charger.spec.part_number,
            serial_number=charger.spec.serial_number,
            software_version=charger.spec.software_version,
            charge_current_limit_a=charger.limit_a if limits else None,
            charge_current_ceiling_a=charger.spec.max_current_a if limits else None,
            charge_current_limit_settable=limits and not bare,
            effective_charge_current_limit_a=int(charger.advertised_a) if limits else None,
        )


def pcs_of(house: House, build: int) -> SpanPcsSnapshot | None:
    pcs = house.pcs
    if pcs is None:
        return None
    live = build >= 202621
    values: dict[str, Any] = {}
    for field, name in (("feed",) * 2, ("operator", "grid"), ("off_grid", "off-grid"), ("requested",) * 2):
        limit = pcs.limit_a(name) if live else None
        values[f"{field}_import_limit_a"] = limit or 0.0
        values[f"{field}_import_limit_enablement"] = (
            LimitEnablement.UNCONFIGURED if limit is None else LimitEnablement.ENABLED
        )
        values[f"{field}_import_limit_active"] = live and pcs.binding == name
    return SpanPcsSnapshot(
        enabled=live and pcs.binding is not None,
        active=live and pcs.active,
        import_limit_a=(live and pcs.import_limit_a) or 0.0,
        **values,
    )


def expected(house: House, build: int, *, bare: bool = False) -> SpanPanelSnapshot:
    """The snapshot that this house must end in, as far as this build can tell."""
    spec, now, sources = house.spec, house.read(), house.sources
    circuits = {circuit.circuit_id: circuit for circuit in circuits_of(house)}
    taken = {tab for circuit in circuits.values() for tab in circuit.tabs}
    lugs = None if spec.feedthrough is None else now.downstream
    real = lugs if build >= 202621 else None
    islandable = spec.bess is not None and spec.bess.islandable
    dsm = dsm_state(
        has_battery=spec.bess is not None,
        grid_state=sources.grid_state,
        source=sources.dominant,
        grid_powers=(now.upstream.power_w, now.flows.grid),
        islandable=islandable,
    )
    battery, pv = None, None
    if spec.bess is not None:
        battery = SpanBatterySnapshot(
            device_id=spec.device_id,
            feed_circuit_id=None if spec.bess.feed is None else circuit_id(house, spec.bess.feed),
            relative_position=spec.bess.relative_position,
            soc_percentage=now.soc_percent,
            soe_kwh=now.soe_kwh,
            connected=sources.connected or build < 202609,
            nameplate_capacity_kwh=spec.bess.nameplate_kwh,
            vendor_name=spec.bess.vendor_name,
            model=spec.bess.product_name,
            part_number=spec.bess.model,
            serial_number=spec.bess.serial_number,
            software_version=spec.bess.software_version,
        )
    if spec.pv is not None:
        pv = SpanPVSnapshot(
            vendor_name=spec.pv.vendor_name,
            model=spec.pv.product_name,
            serial_number=spec.pv.serial_number,
            software_version=spec.pv.software_version,
            nameplate_capacity_w=spec.pv.nameplate_w,
            feed_circuit_id=None if spec.pv.feed is None else circuit_id(house, spec.pv.feed),
            relative_position=spec.pv.relative_position,
            device_id=spec.device_id,
            node_id="pv" if spec.pv.feed is None else circuit_id(house, spec.pv.feed),
        )
    chargers = {charger.node_id: charger for charger in chargers_of(house, build, bare=bare)}
    return SpanPanelSnapshot(
        serial_number=spec.serial_number,
        firmware_version=f"spanos2/r{build}/05",
        vendor_name="SPAN",
        model=spec.model_name if build >= 202609 else None,
        hardware_version=spec.hardware_version,
        main_relay_state="CLOSED",
        door_state=house.door if build >= 202609 or house.door_moved else DoorState.UNKNOWN,
        eth0_link=spec.ethernet,
        wlan_link=spec.wifi,
        wwan_link=True,
        vendor_cloud="CONNECTED",
        l1_voltage=now.l1_voltage,
        l2_voltage=now.l2_voltage,
        main_breaker_rating_a=spec.main_breaker_a,
        dominant_power_source=sources.dominant,
        grid_islandable=islandable,
        instant_grid_power_w=now.upstream.power_w,
        feedthrough_power_w=real and real.power_w,
        main_meter_energy_consumed_wh=now.upstream.imported_wh,
        main_meter_energy_produced_wh=now.upstream.exported_wh,
        feedthrough_energy_consumed_wh=real and real.imported_wh,
        feedthrough_energy_produced_wh=real and real.exported_wh,
        upstream_l1_current_a=now.l1_current_a,
        upstream_l2_current_a=now.l2_current_a,
        downstream_l1_current_a=lugs and now.l1_current_a,
        downstream_l2_current_a=lugs and now.l2_current_a,
        power_flow_pv=now.flows.pv,
        power_flow_battery=now.flows.battery,
        power_flow_grid=now.flows.grid,
        power_flow_site=now.flows.site,
        grid_state=sources.grid_state if spec.bess is not None else None,
        dsm_state=dsm,
        current_run_config=run_config(dsm, islandable, sources.dominant),
        panel_size=spec.spaces if circuits or build >= 202609 else None,
        first_position=1 if circuits else None,
        last_position=spec.spaces if circuits else None,
        unmapped_tabs=tuple(tab for tab in range(1, spec.spaces + 1) if tab not in taken) if circuits else (),
        circuits=FrozenMap(circuits),
        battery=battery,
        pv=pv,
        pv_inverters=FrozenMap({} if pv is None else {pv.node_id or "": pv}),
        evse=FrozenMap(chargers),
        pcs=pcs_of(house, build),
        extension_properties=in_order(extensions_of(house, build, bare=bare)),
    )


def assert_equal(seen: SpanPanelSnapshot, meant: SpanPanelSnapshot) -> None:
    assert list(seen.changes(meant)) == []  # says where
    assert seen == meant


# --- round trips ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("name", EARLIER)
def test_what_a_client_reads_is_what_the_house_measures(name: str, build: int, bare: bool) -> None:
    house = House(earlier(name), 3, MIDNIGHT + 5 * 3600)
    publisher = FlatPublisher(house, build, bare=bare)
    reader = Reader(publisher, schema=bare)
    assert_equal(reader.snapshot(), expected(house, build, bare=bare))
    for second in range(1, 4):
        house.advance(house.now + second)
        reader.hear(publisher.changes())
        assert_equal(reader.snapshot(), expected(house, build, bare=bare))
    house.grid_lost()
    house.set_door(DoorState.OPEN)
    reader.hear(publisher.changes())
    assert_equal(reader.snapshot(), expected(house, build, bare=bare))


@given(
    spec=house_specs().filter(lambda spec: spec.circuits),
    build=st.sampled_from(BUILDS),
    bare=st.booleans(),
    events=st.lists(st.tuples(st.floats(0, 20), happenings), max_size=8),
)
def test_a_client_follows_any_house_through_whatever_happens(
    spec: HouseSpec, build: int, bare: bool, events: list[tuple[float, Happening]]
) -> None:
    house = House(spec, 1, EVENING)
    publisher = FlatPublisher(house, build, bare=bare)
    reader = Reader(publisher, schema=True)
    for pause, event in events:
        house.advance(house.now + pause)
        event.do(house)
        reader.hear(publisher.changes())
        assert_equal(reader.snapshot(), expected(house, build, bare=bare))
    check_legal(publisher, publisher.values())
    assert publisher.changes() == {}


def test_signs_are_those_of_the_facts() -> None:
    """Frames, in words of their own: facts on the flat schema, section 3."""
    house = House(small_house(bess=BessSpec(nameplate_kwh=10, feed="Battery", soc_percent=90)), 1, EVENING)
    house.advance(EVENING + 120)
    values = {topic: float(payload) for topic, payload in meters(FlatPublisher(house)).items()}

    def of(name: str, what: str) -> float:
        return values[f"{circuit_id(house, name)}/{what}"]

    assert of("Standby", "active-power") < -100  # consumption
    assert of("Standby", "exported-energy") > 0 == of("Standby", "imported-energy")
    assert of("Battery", "active-power") > 100  # gives
    assert values["power-flows/battery"] == -of("Battery", "active-power")
    assert values["power-flows/site"] > 100
    assert values["lugs-downstream/active-power"] > 50  # to the sub-panel
    assert values["power-flows/grid"] == -values["lugs-upstream/active-power"]

    house = House(small_house(bess=None, evse=(), circuits=small_house().circuits), 1, NOON)
    values = {topic: float(payload) for topic, payload in meters(FlatPublisher(house)).items()}
    assert of("Solar", "active-power") > 2000  # generates
    assert values["power-flows/pv"] == -of("Solar", "active-power")
    assert values["power-flows/grid"] > 1000  # exports
    assert values["lugs-upstream/active-power"] == -values["power-flows/grid"]
    assert values["power-flows/battery"] == 0  # and no battery: no proof of hardware
    assert of("Solar", "imported-energy") > 0 == of("Solar", "exported-energy")


def meters(publisher: FlatPublisher) -> dict[str, bytes]:
    wanted = ("active-power", "-energy", "power-flows/")
    return {topic: payload for topic, payload in publisher.values().items() if any(word in topic for word in wanted)}


# --- legal, and as declared -------------------------------------------------------------------------------------------


def check_legal(publisher: FlatPublisher, values: Mapping[str, bytes]) -> None:
    """Every value is declared, has its datatype, and is in its format; ``direction`` is as firmware has it."""
    full = described(FlatPublisher(publisher._house, publisher.release.build))
    for suffix, payload in values.items():
        node, name = suffix.split("/")
        declared = (full.nodes[node].properties or {})[name]
        assert declared.datatype is not None
        value = decode_value(payload, declared.datatype)
        if name == "direction":
            assert isinstance(value, str)
            value = value.upper()
        check_format(value, declared.format)
        assert b"+" not in payload or declared.datatype is Datatype.STRING
        assert payload != b"-0.0"


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("name", EARLIER)
def test_every_value_is_legal_and_as_declared(name: str, build: int) -> None:
    house = House(earlier(name), 5, EVENING)
    publisher = FlatPublisher(house, build)
    check_legal(publisher, publisher.values())
    house.advance(EVENING + 60)
    check_legal(publisher, publisher.changes())


@pytest.mark.parametrize("build", BUILDS)
def test_direction_is_in_lower_case_against_its_own_format(build: int) -> None:
    publisher = FlatPublisher(House(small_house(), 1, NOON), build)
    declared = (described(publisher).nodes["lugs-upstream"].properties or {})["direction"]
    assert publisher.values()["lugs-upstream/direction"] == b"upstream"
    with pytest.raises(InvalidPayload):
        check_format("upstream", declared.format)


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("name", EARLIER)
def test_what_is_declared_is_published_but_for_what_there_is_not(name: str, build: int) -> None:
    spec = earlier(name)
    publisher = FlatPublisher(House(spec, 1, NOON), build)
    declared = {f"{node.id}/{item}" for node in described(publisher).nodes.values() for item in (node.properties or {})}
    missing = {
        *(f"{e.node_id}/user-max-charge-current" for e in spec.evse if e.user_current_a is None and build >= 202627),
        *(f"{kind}/feed" for kind in ("pv", "bess") if (dev := getattr(spec, kind)) is not None and dev.feed is None),
    }
    assert declared - publisher.values().keys() == missing


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("name", EARLIER)
def test_the_description_is_a_full_and_faultless_one(name: str, build: int) -> None:
    spec = earlier(name)
    publisher = FlatPublisher(House(spec, 1, NOON + 0.5), build)
    description = described(publisher)
    assert (description.problems, description.homie) == ((), "5.0")
    assert description.version == NOON * 1000 + 500
    assert description.type == "energy.ebus.device.distribution-enclosure"
    assert description.name == "SPAN Panel eBus Adapter"
    assert (description.children, description.root, description.parent) == ((), None, None)
    assert is_valid_id(publisher.device_id)
    assert all(is_valid_id(node) for node in description.nodes)
    for node in description.nodes.values():
        assert node.name
        assert node.properties
        assert all(declared.name for declared in node.properties.values())
    settable = {
        (node.type, item.id)
        for node in description.nodes.values()
        for item in (node.properties or {}).values()
        if item.settable
    }
    chargers = {(NodeType.EVSE, "user-max-charge-current")} if spec.evse and build >= 202627 else set()
    assert settable == {
        (NodeType.CORE, "dominant-power-source"),
        (NodeType.CIRCUIT, "relay"),
        (NodeType.CIRCUIT, "shed-priority"),
        *chargers,
    }
    space = (description.nodes[publisher._house.circuits[0].id].properties or {})["space"]
    assert space.format_text == f"1:{spec.spaces}:1"


def test_nodes_are_those_that_the_house_has() -> None:
    def nodes(spec: HouseSpec) -> dict[str, str | None]:
        return {node.id: node.type for node in described(FlatPublisher(House(spec, 1, NOON))).nodes.values()}

    bare = {"core": NodeType.CORE, "lugs-upstream": NodeType.LUGS, "power-flows": NodeType.POWER_FLOWS}
    assert nodes(plain_house()) == bare
    spec = small_house(pcs=PcsSpec(feed_limit_a=80))
    assert nodes(spec) == {
        **bare,
        "lugs-downstream": NodeType.LUGS,
        "bess": NodeType.BESS,
        "pv": NodeType.PV,
        "pcs": NodeType.PCS,
        "sd-1": NodeType.EVSE,  # a Drive's node is its serial number
        **{spec.id_of(item): NodeType.CIRCUIT for item in spec.circuits},
    }


def test_a_bare_description_has_types_and_nothing_else() -> None:
    house = House(small_house(), 1, NOON)
    bare, full = FlatPublisher(house, bare=True), FlatPublisher(house)
    document = json.loads(bare.description())
    assert document == {"nodes": {node.id: {"type": node.type} for node in described(full).nodes.values()}}
    assert bare.values() == full.values()


def test_empty_text_is_one_zero_byte() -> None:
    publisher = FlatPublisher(House(small_house(wifi_ssid=""), 1, NOON))
    values = publisher.values()
    assert values["core/wifi-ssid"] == values["lugs-upstream/feed"] == b"\x00"
    assert values["lugs-downstream/feed"] == b"Sub-panel"


def test_a_battery_ahead_of_the_panel_is_what_the_upstream_lugs_are_fed_by() -> None:
    spec = small_house(bess=BessSpec(nameplate_kwh=10, position=RelativePosition.UPSTREAM))
    values = FlatPublisher(House(spec, 1, NOON)).values()
    assert values["lugs-upstream/feed"] == b"Powerwall 2 AC"
    assert values["bess/relative-position"] == b"UPSTREAM"
    assert "bess/feed" not in values


def test_names_of_all_kinds_go_through() -> None:
    circuits = small_house().circuits
    odd = type(circuits[0])(name='Küche "1" / 夜', space=16, breaker_a=15)
    house = House(small_house(circuits=(*circuits, odd)), 1, NOON)
    reader = Reader(FlatPublisher(house))
    assert reader.snapshot().circuits[circuit_id(house, odd.name)].name == odd.name


# --- bursts -----------------------------------------------------------------------------------------------------------


def test_changes_are_what_changed_and_add_up_to_the_values() -> None:
    house = House(earlier("main-32"), 2, EVENING)
    publisher, other = FlatPublisher(house), FlatPublisher(house)
    values = publisher.changes()  # the first time, everything
    assert values == other.values()
    total = 0
    for second in range(1, 120):
        house.advance(EVENING + second)
        if second == 50:
            house.grid_lost()
        changed = publisher.changes()
        assert all(values[topic] != payload for topic, payload in changed.items())
        values |= changed
        total += len(changed)
        assert publisher.changes() == {}
    assert values == other.values() == publisher.values()
    assert 10 < total / 120 < 60


def test_two_publishers_of_one_house_do_not_disturb_each_other() -> None:
    house = House(small_house(), 2, EVENING)
    one, two = FlatPublisher(house), FlatPublisher(house, 202603)
    one.values()
    house.set_relay(circuit_id(house, "Lights"), "OPEN")
    house.advance(EVENING + 5)
    topic = f"{circuit_id(house, 'Lights')}/relay"
    assert two.values()[topic] == one.changes()[topic] == b"OPEN"


# --- commands ---------------------------------------------------------------------------------------------------------


def test_commands_act_on_the_house_and_show_in_the_next_burst() -> None:
    house = House(small_house(), 1, NOON)
    publisher = FlatPublisher(house)
    publisher.values()
    lights, pump, fridge = (circuit_id(house, name) for name in ("Lights", "Pump", "Fridge"))

    def command(topic: str, payload: bytes) -> tuple[Answer, str]:
        result = publisher.command(topic, payload)
        return result.answer, result.value

    assert command(f"{lights}/relay", b"OPEN") == (Answer.DONE, "OPEN")
    changed = publisher.changes()
    assert changed[f"{lights}/relay"] == b"OPEN"
    assert changed[f"{lights}/relay-requester"] == b"USER"
    assert command(f"{lights}/shed-priority", b"NEVER") == (Answer.DONE, "NEVER")
    changed = publisher.changes()
    assert (changed[f"{lights}/shed-priority"], changed[f"{lights}/sheddable"]) == (b"NEVER", b"false")
    assert command("core/dominant-power-source", b"BATTERY") == (Answer.DONE, "BATTERY")
    changed = publisher.changes()
    assert changed["core/dominant-power-source"] == b"BATTERY"
    assert changed[f"{pump}/relay-requester"] == b"NEVER_BACKUP"
    assert command("sd-1/user-max-charge-current", b"16") == (Answer.DONE, "16")
    changed = publisher.changes()
    assert (changed["sd-1/user-max-charge-current"], changed["sd-1/advertised-current"]) == (b"16", b"16.0")
    assert command("sd-1/user-max-charge-current", b"2") == (Answer.CLAMPED, "6")
    publisher.changes()

    refused = {
        (f"{fridge}/relay", b"OPEN"): (Answer.LOCKED, "CLOSED"),
        (f"{pump}/shed-priority", b"NEVER"): (Answer.LOCKED, "OFF_GRID"),
        (f"{lights}/relay", b"BOGUS"): (Answer.INVALID, "OPEN"),
        (f"{lights}/relay", b"\xff"): (Answer.INVALID, "OPEN"),
        (f"{lights}/relay", b""): (Answer.INVALID, "OPEN"),
        (f"{lights}/shed-priority", b"UNKNOWN"): (Answer.INVALID, "NEVER"),
        ("core/dominant-power-source", b"WIND"): (Answer.INVALID, "BATTERY"),
        ("sd-1/user-max-charge-current", b"16.5"): (Answer.INVALID, "6"),
        ("sd-1/user-max-charge-current", b"+16"): (Answer.INVALID, "6"),
        ("sd-1/user-max-charge-current", b""): (Answer.INVALID, "6"),
        ("core/relay", b"OPEN"): (Answer.NO_SUCH, ""),
        (f"{lights}/name", b"Night"): (Answer.NO_SUCH, ""),
        ("sd-1/status", b"CHARGING"): (Answer.NO_SUCH, ""),
        ("unmapped-tab-5/relay", b"OPEN"): (Answer.NO_SUCH, ""),
    }
    for (topic, payload), answer in refused.items():
        assert command(topic, payload) == answer
    assert publisher.changes() == {}  # on the wire, silence


# --- builds -----------------------------------------------------------------------------------------------------------


def test_a_build_that_never_was_is_refused() -> None:
    with pytest.raises(SpanPanelValidationError, match="no flat build 202633: 202603, 202609, 202615, 202621, 202627"):
        FlatPublisher(House(small_house(), 1, NOON), 202633)


def declared_by(build: int) -> dict[str, Any]:
    return FlatPublisher(House(small_house(), 1, NOON), build).schema()["types"]


def test_r202603_declares_what_real_panels_declare() -> None:
    """The hash of the facts: `sha256:d347556a07d98f40`, of a real MAIN_32. And the recorded declarations."""
    publisher = FlatPublisher(House(earlier("main-32"), 1, NOON), 202603)
    schema = publisher.schema()
    assert schema["typesSchemaHash"] == "sha256:d347556a07d98f40"
    recorded = json.loads(CAPTURED.read_text())
    assert recorded["types"][NodeType.PV]["nameplate-capacity"].pop("unit") == "W"  # the simulator had it mended
    types = publisher.schema()["types"]
    assert types[NodeType.PV]["nameplate-capacity"].pop("unit") == "kW"
    assert types == recorded["types"]
    assert schema.keys() == recorded.keys()
    assert (schema["firmwareVersion"], schema["homieDomain"]) == (recorded["firmwareVersion"], "ebus")


@pytest.mark.parametrize("name", EARLIER)
def test_the_schema_is_one_that_our_client_reads(name: str) -> None:
    body = FlatPublisher(House(earlier(name), 1, NOON)).schema()
    schema = HomieSchema.from_json(json.loads(json.dumps(body)))
    assert schema.panel_size == earlier(name).spaces
    assert (schema.data_model_version, schema.firmware_version) == (None, "spanos2/r202627/05")
    assert schema.schema_hash == schema_hash(body["types"])
    body["types"].clear()  # it is the caller's
    assert FlatPublisher(House(earlier(name), 1, NOON)).schema()["types"]


def test_what_each_build_brought() -> None:
    r202603, r202609, r202615, r202621, r202627 = map(declared_by, BUILDS)
    for types in (r202603, r202609, r202615, r202621, r202627):
        old = types is r202603
        assert ("model" in types[NodeType.CORE]) is not old
        assert len(types[NodeType.CORE]) == 17 + (not old)
        assert types[NodeType.CIRCUIT]["active-power"]["unit"] == ("kW" if old else "W")
        assert types[NodeType.PV]["nameplate-capacity"]["unit"] == ("kW" if old else "W")
        assert len(types[NodeType.EVSE]["status"]["format"].split(",")) == (10 if old else 4)
        assert len(types[NodeType.PCS]) == 15
    assert ["UNKNOWN" in types[NodeType.EVSE]["lock-state"]["format"] for types in (r202609, r202615)] == [True, False]
    assert ["max-charge-current" in types[NodeType.EVSE] for types in (r202621, r202627)] == [False, True]
    assert r202615 == r202621
    flags = {
        build: (release.limits_publishers, release.keeps_retained, release.firmware)
        for build, release in RELEASES.items()
    }
    assert flags == {
        202603: (False, False, "spanos2/r202603/05"),
        202609: (False, True, "spanos2/r202609/05"),
        202615: (True, True, "spanos2/r202615/05"),
        202621: (True, True, "spanos2/r202621/05"),
        202627: (True, True, "spanos2/r202627/05"),
    }


def test_r202603_takes_a_power_source_and_does_nothing() -> None:
    house = House(small_house(), 1, NOON)
    result = FlatPublisher(house, 202603).command("core/dominant-power-source", b"BATTERY")
    assert (result.answer, result.value) == (Answer.NO_EFFECT, "GRID")
    assert house.sources.dominant == "GRID"


def test_builds_before_r202627_have_no_charge_limit() -> None:
    house = House(small_house(), 1, NOON)
    publisher = FlatPublisher(house, 202621)
    assert publisher.command("sd-1/user-max-charge-current", b"16").answer is Answer.NO_SUCH
    assert house.chargers["sd-1"].limit_a is None
    assert FlatPublisher(house).command("sd-1/user-max-charge-current", b"x").value == ""


def test_r202603_does_not_know_its_door_until_somebody_moves_it() -> None:
    house = House(small_house(), 1, NOON)
    old, new = FlatPublisher(house, 202603), FlatPublisher(house, 202609)
    assert (old.values()["core/door"], new.values()["core/door"]) == (b"UNKNOWN", b"CLOSED")
    house.set_door(DoorState.OPEN)
    assert old.changes() == new.changes() == {"core/door": b"OPEN"}


def test_r202603_does_not_notice_that_its_battery_is_silent() -> None:
    house = House(small_house(), 1, NOON)
    old, new = FlatPublisher(house, 202603), FlatPublisher(house, 202609)
    house.battery_link_lost()
    house.advance(NOON + 301)
    assert (old.values()["bess/connected"], new.values()["bess/connected"]) == (b"true", b"false")


def test_before_r202621_the_downstream_lugs_carry_the_main_relay_s_figures() -> None:
    house = House(small_house(feedthrough=FeedthroughSpec(watts=100)), 1, NOON)
    old, new = FlatPublisher(house, 202615).values(), FlatPublisher(house, 202621).values()
    for name in ("active-power", "imported-energy", "exported-energy"):
        assert old[f"lugs-downstream/{name}"] == old[f"lugs-upstream/{name}"]
        assert new[f"lugs-downstream/{name}"] != new[f"lugs-upstream/{name}"]
    for name in ("l1-current", "l2-current"):  # the service entrance's, on all firmware
        assert new[f"lugs-downstream/{name}"] == new[f"lugs-upstream/{name}"]


def test_before_r202621_the_power_control_system_is_all_defaults() -> None:
    house = House(small_house(pcs=PcsSpec(feed_limit_a=80, requested_limit_a=60)), 1, NOON)

    def pcs(build: int) -> dict[str, bytes]:
        values = FlatPublisher(house, build).values()
        return {topic.removeprefix("pcs/"): value for topic, value in values.items() if topic.startswith("pcs/")}

    assert set(pcs(202615).values()) == {b"false", b"0.0", b"UNCONFIGURED"}
    live = pcs(202621)
    assert (live["enabled"], live["active"], live["import-limit"]) == (b"true", b"false", b"60.0")
    assert (live["feed-import-limit"], live["feed-import-limit-active"]) == (b"80.0", b"false")
    assert (live["requested-import-limit-enablement"], live["requested-import-limit-active"]) == (b"ENABLED", b"true")
    assert live["grid-import-limit-enablement"] == b"UNCONFIGURED"


def test_two_chargers_are_two_nodes() -> None:
    circuits = small_house().circuits
    second = type(circuits[0])(name="Second", space=13, breaker_a=50, dipole=True)
    chargers = tuple(
        EvseSpec(serial_number=serial, feed=feed, max_current_a=32, user_current_a=limit)
        for serial, feed, limit in (("SD-1", "Charger", None), ("SD-2", "Second", 10))
    )
    spec = small_house(circuits=(*circuits, second), evse=chargers, pv=PvSpec(nameplate_w=500, feed="Solar"))
    house = House(spec, 1, NOON)
    publisher = FlatPublisher(house)
    reader = Reader(publisher)
    assert_equal(reader.snapshot(), expected(house, 202627))
    assert [charger.charge_current_limit_a for charger in reader.snapshot().evse.values()] == [None, 10]
    publisher.command("sd-2/user-max-charge-current", b"12")
    reader.hear(publisher.changes())
    assert [charger.charge_current_limit_a for charger in reader.snapshot().evse.values()] == [None, 12]
