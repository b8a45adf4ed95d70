"""A panel of data model 1.x on its broker: how its devices announce themselves, change, leave, and are upgraded."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

import attrs
import httpx
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from span_trio.errors import SpanPanelValidationError
from span_trio.homie import DeviceState, Forest, Message, parse_description
from span_trio.simulator import SimulatedPanel, open_simulated_panel
from span_trio.simulator.broker.broker import Client
from span_trio.simulator.firmware.parent_child import ParentChildPublisher
from span_trio.simulator.house.devices import LoadKind, PvSpec
from span_trio.simulator.house.spec import HouseSpec
from span_trio.simulator.rest.api import RestState, rest_app
from tests.unit.simulator.house_helpers import NOON, circuit, circuit_id
from tests.unit.simulator.parent_child_helpers import BESS, EVSE, MID, PANEL, PV, full_house

BASE: Final = "ebus/5/"
CHILDREN: Final = frozenset({BESS, MID, PV, EVSE, f"{PANEL}-lugs-up", f"{PANEL}-lugs-dn"})


class Wire:
    """What a subscriber of everything sees, and what our own client keeps of it."""

    def __init__(self, panel: SimulatedPanel) -> None:
        self.panel = panel
        self.seen: list[tuple[str, bytes]] = []
        self.forest = Forest("ebus")
        for topic, payload in panel.broker.retained.items():
            self.forest.absorb(Message(topic, payload, retain=True), 0.0)
        publish = panel.broker.publish

        def watched(topic: str, payload: bytes, *, retain: bool = False, qos: int = 1) -> None:
            self.seen.append((topic.removeprefix(BASE), payload))
            self.forest.absorb(Message(topic, payload), 0.0)
            publish(topic, payload, retain=retain, qos=qos)

        panel.broker.publish = watched  # type: ignore[method-assign]

    def take(self) -> list[tuple[str, bytes]]:
        taken, self.seen = self.seen, []
        return taken

    def announced(self) -> list[str]:
        """Since the last `take`: which devices said what; values are left out."""
        return [
            f"{topic.partition('/')[0]} {'description' if topic.endswith('$description') else payload.decode()}".strip()
            for topic, payload in self.seen
            if "/$" in topic
        ]

    def check(self) -> None:
        """Our client, having heard all of it, knows what one knows that comes now."""
        fresh = Forest("ebus")
        for topic, payload in self.panel.broker.retained.items():
            fresh.absorb(Message(topic, payload, retain=True), 0.0)
        assert fresh.dropped == self.forest.dropped == {}
        assert fresh.members(PANEL) == self.forest.members(PANEL)
        assert set(fresh.members(PANEL)) == set(self.panel.publisher.devices)
        assert fresh.value_topics() == self.forest.value_topics()
        assert fresh.value_topics(shown=True) == fresh.value_topics()
        for device in fresh.members(PANEL):
            one, other = fresh.devices[device], self.forest.devices[device]
            assert one.description == other.description
            assert one.nodes.keys() == other.nodes.keys()
            assert all(node.values == other.nodes[name].values for name, node in one.nodes.items())


def virtual(main: Callable[[], Awaitable[Any]]) -> Any:
    return trio.run(main, clock=MockClock(autojump_threshold=0))


def opened(build: int = 202639, spec: HouseSpec | None = None, *, bare: bool = False) -> Any:
    return open_simulated_panel(
        full_house() if spec is None else spec, build=build, at=dt.datetime.fromtimestamp(NOON, dt.UTC), bare=bare
    )


def value(panel: SimulatedPanel, topic: str) -> str | None:
    found = panel.broker.retained.get(BASE + topic)
    return None if found is None else found.decode()


def send(panel: SimulatedPanel, topic: str, payload: bytes) -> None:
    """As a client does."""
    panel._on_publish(Client("me", None), Message(f"{BASE}{topic}/set", payload))


# --- announcements ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [202633, 202639])
def test_each_device_says_init_description_values_ready_and_the_panel_is_last(build: int) -> None:
    async def main() -> None:
        async with opened(build) as panel:
            wire = Wire(panel)
            panel.start()
            current, said = "", dict[str, list[str]]()
            for topic, payload in wire.take():
                device, _, name = topic.partition("/")
                if device != current:
                    assert device not in said  # in one piece
                    current, said[device] = device, []
                said[device].append(payload.decode() if name == "$state" else name)
            assert list(said)[-1] == PANEL
            assert list(said).index(MID) < list(said).index(BESS)
            assert said.keys() == set(panel.publisher.devices)
            for names in said.values():
                assert (names[0], names[1], names[-1]) == ("init", "$description", "ready")
                assert len(names) > 3
                assert not any(name.startswith("$") for name in names[2:-1])
            wire.check()

    virtual(main)


@pytest.mark.parametrize(
    ("goodbye", "said"), [(..., "disconnected"), ("lost", "lost"), ("disconnected", "disconnected"), (None, "ready")]
)
def test_of_a_panel_that_goes_only_the_panel_says_so(goodbye: Any, said: str) -> None:
    async def main() -> None:
        async with opened() as panel:
            before = dict(panel.broker.retained)
            panel.stop(goodbye)
            await trio.sleep(5)
            after = dict(panel.broker.retained)
            assert after == {**before, f"{BASE}{PANEL}/$state": said.encode()}

    virtual(main)


def test_flat_firmware_says_lost_whatever_ends_it() -> None:
    async def main() -> None:
        async with opened(202627) as panel:
            panel.stop()
            assert value(panel, f"{PANEL}/$state") == "lost"

    virtual(main)


def test_a_restart_announces_everything_anew() -> None:
    async def main() -> None:
        async with opened() as panel:
            panel.lose_child(BESS)
            wire = Wire(panel)
            await panel.restart(away=3, init=False)
            announced = wire.announced()
            assert announced[0] == f"{PANEL} disconnected"
            assert announced[-2:] == [f"{PANEL} description", f"{PANEL} ready"]
            assert f"{BESS} ready" in announced  # it is back
            assert not any(said.endswith(" init") for said in announced)
            assert value(panel, f"{circuit_id(panel.house, 'Battery')}/connection/feeds-device-status") == "OK"
            wire.check()

    virtual(main)


def test_bursts_go_to_all_devices_and_a_bare_tree_is_a_tree() -> None:
    async def main() -> None:
        async with opened(bare=True) as panel:
            wire = Wire(panel)
            await trio.sleep(10)
            assert {PANEL, f"{PANEL}-lugs-up", circuit_id(panel.house, "Solar")} <= {
                topic.partition("/")[0] for topic, _ in wire.take()
            }
            assert set(wire.forest.members(PANEL)) == set(panel.publisher.devices)

    virtual(main)


def test_names_come_late_here_too() -> None:
    async def main() -> None:
        async with opened() as panel:
            panel.names_late = 5
            await panel.reboot(away=1, forget=True)
            lights = circuit_id(panel.house, "Lights")
            assert value(panel, f"{lights}/info/name") is None
            await trio.sleep(6)
            assert value(panel, f"{lights}/info/name") == "Lights"

    virtual(main)


def test_anything_can_be_published_below_any_device() -> None:
    async def main() -> None:
        async with opened() as panel:
            panel.publish("door/state", b"AJAR")
            panel.publish("soc/soc", b"much", device=BESS)
            panel.set_state("sleeping")
            panel.set_state("init", device=EVSE)
            assert [value(panel, topic) for topic in (f"{PANEL}/door/state", f"{BESS}/soc/soc")] == ["AJAR", "much"]
            assert [value(panel, f"{device}/$state") for device in (PANEL, EVSE)] == ["sleeping", "init"]
            panel.clear_values(device=BESS)
            left = {topic.removeprefix(BASE) for topic in panel.broker.retained}
            assert {topic for topic in left if topic.startswith(f"{BESS}/")} == {
                f"{BESS}/$state",
                f"{BESS}/$description",
            }
            panel.clear_values()
            assert all("/$" in topic for topic in panel.broker.retained)

    virtual(main)


# --- commands ---------------------------------------------------------------------------------------------------------


def test_a_command_to_a_child_comes_back_on_its_topics() -> None:
    async def main() -> None:
        async with opened() as panel:
            wire, lights = Wire(panel), circuit_id(panel.house, "Lights")
            panel.relay_delay = 0
            send(panel, f"{lights}/switch/relay", b"OPEN")
            assert dict(wire.take())[f"{lights}/switch/relay-requester"] == b"USER"
            send(panel, f"{EVSE}/config/user-max-charge-current", b"99")
            assert dict(wire.take())[f"{EVSE}/config/user-max-charge-current"] == b"40"
            for topic, payload in (
                (f"{circuit_id(panel.house, 'Solar')}/switch/relay", b"OPEN"),
                (f"{PANEL}/shed/asserted-islanding-state", b"ON_GRID"),
                (f"{lights}/switch/relay", b"UNKNOWN"),
                ("another/switch/relay", b"OPEN"),
            ):
                send(panel, topic, payload)
                assert wire.take() == []

    virtual(main)


def test_others_cannot_publish_into_the_tree_of_any_device() -> None:
    async def main() -> None:
        async with opened() as panel:
            may = [
                panel._may_publish(Client("me", None), topic)
                for topic in (
                    f"{BASE}{BESS}/soc/soc",
                    f"{BASE}{PANEL}/$state",
                    f"{BASE}{EVSE}/config/user-max-charge-current/set",
                    f"{BASE}another/soc/soc",
                    f"homie/5/{PANEL}/$state",
                )
            ]
            assert may == [False, False, True, True, False]

    virtual(main)


def test_a_lost_battery_link_shows_in_its_record_its_own_word_and_what_may_be_asserted() -> None:
    async def main() -> None:
        async with opened() as panel:
            battery, asserted = circuit_id(panel.house, "Battery"), f"{PANEL}/shed/asserted-islanding-state"
            topics = (f"{battery}/connection/feeds-device-status", f"{BESS}/status/communication-state", asserted)

            def told() -> list[str | None]:
                return [value(panel, topic) for topic in topics]

            panel.house.battery_link_lost()
            await trio.sleep(299)
            assert told() == ["OK", "OK", "NONE"]
            await trio.sleep(3)
            assert told() == ["LOST", "LOST", "NONE"]
            send(panel, asserted, b"OFF_GRID")
            assert told() == ["LOST", "LOST", "OFF_GRID"]
            panel.house.battery_link_back()
            await trio.sleep(20)
            assert told() == ["OK", "OK", "OFF_GRID"]
            await trio.sleep(12)
            assert told() == ["OK", "OK", "NONE"]

    virtual(main)


# --- what happens to a tree -------------------------------------------------------------------------------------------


def test_a_circuit_that_is_recommissioned_says_init_and_ready_and_the_panel_says_nothing() -> None:
    async def main() -> None:
        async with opened() as panel:
            wire, lights = Wire(panel), circuit_id(panel.house, "Lights")
            await trio.sleep(3)
            wire.take()
            panel.recommission(lights, name="Lamps", always_on=True)
            assert wire.announced() == [f"{lights} init", f"{lights} description", f"{lights} ready"]
            inside = [topic for topic, _ in wire.take() if topic.startswith(f"{lights}/")][2:-1]
            assert set(inside) == {
                f"{lights}/{name}" for name in ("info/name", "switch/relay-controllable", "switch/relay-requester")
            }
            send(panel, f"{lights}/switch/relay", b"OPEN")
            assert value(panel, f"{lights}/switch/relay") == "CLOSED"
            wire.check()

    virtual(main)


def test_a_circuit_may_fail_to_say_that_it_is_locked_until_the_service_restarts() -> None:
    """Facts, section 4: a defect that was observed."""

    async def main() -> None:
        async with opened() as panel:
            wire, lights = Wire(panel), circuit_id(panel.house, "Lights")
            panel.recommission(lights, redescribe=False, always_on=True)
            assert wire.announced() == []
            assert value(panel, f"{lights}/switch/relay-controllable") == "false"

            def settable() -> bool:
                description = parse_description((value(panel, f"{lights}/$description") or "").encode(), lights)
                return (description.nodes["switch"].properties or {})["relay"].settable

            assert settable()
            await panel.restart(away=1)
            assert not settable()
            wire.check()

    virtual(main)


def test_a_child_that_is_removed_leaves_nothing_behind() -> None:
    async def main() -> None:
        async with opened() as panel:
            wire = Wire(panel)
            panel.remove_child(BESS)
            assert wire.announced() == [f"{PANEL} init", f"{PANEL} description", f"{PANEL} ready", *gone_for_good]
            seen = wire.take()
            gone = [topic for topic, payload in seen if topic.startswith(f"{BESS}/") and not payload]
            assert gone[0] == f"{BESS}/$state"
            assert not any(topic.startswith((f"{BASE}{BESS}/", f"{BASE}{MID}/")) for topic in panel.broker.retained)
            battery = circuit_id(panel.house, "Battery")
            assert (f"{battery}/connection/feeds-device-id", b"") in seen
            assert not {BESS, MID} & set(wire.forest.members(PANEL))
            wire.check()
            await trio.sleep(3)
            wire.check()

            wire.take()
            panel.add_child(BESS)
            assert wire.announced() == [
                f"{device} {said}" for device in (MID, BESS, PANEL) for said in ("init", "description", "ready")
            ]
            assert value(panel, f"{battery}/connection/feeds-device-id") == BESS
            wire.check()

    gone_for_good = [f"{device}{said}" for device in (MID, BESS) for said in ("", " description")]
    virtual(main)


@pytest.mark.parametrize("kind", ["circuit", "pv", "evse", "mid", "lugs"])
def test_any_child_can_be_removed_and_added(kind: str) -> None:
    async def main() -> None:
        async with opened() as panel:
            wire = Wire(panel)
            tree: Any = panel.publisher
            device = next(item for item in tree.tree.devices.values() if item.kind == kind)
            parent = BESS if kind == "mid" else PANEL
            panel.remove_child(device.id)
            assert [said for said in wire.announced() if said.endswith(" ready")] == [f"{parent} ready"]
            wire.check()
            await trio.sleep(2)
            wire.take()
            panel.add_child(device.id)
            assert [said for said in wire.announced() if said.endswith(" ready")] == [
                f"{device.id} ready",
                f"{parent} ready",
            ]
            await trio.sleep(2)
            wire.check()

    virtual(main)


def spare() -> HouseSpec:
    spec = full_house()
    return attrs.evolve(spec, circuits=(*spec.circuits, circuit("More", 13, 30, dipole=True, load=LoadKind.NONE)))


def test_an_inverter_that_is_added_gives_the_first_another_id() -> None:
    async def main() -> None:
        for build, told in ((202633, {PV}), (202639, {f"{PANEL}-202303112233", f"{PANEL}-b2"})):
            async with opened(build, spare()) as panel:
                wire = Wire(panel)
                panel.add_inverter(PvSpec(nameplate_w=3000, feed="More", serial_number="B2"))
                tree: Any = panel.publisher
                assert {item.id for item in tree.tree.devices.values() if item.kind == "pv"} == told
                assert (f"{PANEL} init" in wire.announced()) is (build == 202639)
                named = value(panel, f"{circuit_id(panel.house, 'More')}/connection/feeds-device-id")
                assert named == (PV if build == 202633 else f"{PANEL}-b2")
                wire.check()
                await trio.sleep(2)
                wire.check()

    virtual(main)


@pytest.mark.parametrize("state", ["lost", "disconnected", "init"])
def test_a_child_that_is_away_keeps_what_it_said_and_comes_back_whole(state: str) -> None:
    async def main() -> None:
        async with opened() as panel:
            wire, battery = Wire(panel), circuit_id(panel.house, "Battery")
            panel.lose_child(BESS, state)
            assert wire.announced() == [f"{BESS} {state}"]
            wire.take()
            panel.house.battery_link_lost(0)  # of which its own topics say nothing
            panel.recommission(battery, name="Storage")
            await trio.sleep(60)
            assert not any(topic.startswith(f"{BESS}/") for topic, _ in wire.take())
            assert value(panel, f"{battery}/connection/feeds-device-status") == "LOST"
            panel.house.battery_link_back()
            await trio.sleep(60)
            status = value(panel, f"{battery}/connection/feeds-device-status")
            assert status == ("OK" if state == "init" else "LOST")
            wire.take()
            panel.restore_child(BESS)
            assert wire.announced() == [f"{BESS} init", f"{BESS} description", f"{BESS} ready"]
            assert value(panel, f"{battery}/connection/feeds-device-status") == "OK"
            wire.check()

    virtual(main)


def test_a_charger_that_is_away_obeys_nothing_and_forgets_what_is_no_more() -> None:
    async def main() -> None:
        async with opened() as panel:
            wire, limit = Wire(panel), f"{EVSE}/config/user-max-charge-current"
            send(panel, limit, b"40")
            panel.lose_child(EVSE)
            await trio.sleep(130)  # the limit, which is the ceiling, is none
            send(panel, limit, b"10")
            assert (value(panel, limit), panel.house.chargers["sd-1"].limit_a) == ("40", 40)
            panel.restore_child(EVSE)
            assert value(panel, limit) is None
            wire.check()

    virtual(main)


@pytest.mark.parametrize("build", [202627, 202639])
def test_what_is_no_child_cannot_be_lost_or_removed(build: int) -> None:
    async def main() -> None:
        async with opened(build) as panel:
            for refused in (panel.lose_child, panel.restore_child, panel.remove_child, panel.add_child):
                with pytest.raises(SpanPanelValidationError):
                    refused(PANEL)

    virtual(main)


def test_flat_firmware_recommissions_as_one_device() -> None:
    async def main() -> None:
        async with opened(202627) as panel:
            wire, lights = Wire(panel), circuit_id(panel.house, "Lights")
            panel.recommission(lights, name="Lamps")
            assert wire.announced() == [f"{PANEL} init", f"{PANEL} description", f"{PANEL} ready"]
            assert value(panel, f"{PANEL}/{lights}/name") == "Lamps"
            panel.recommission(lights, breaker_a=20)
            panel.recommission(lights, redescribe=False, name="Lights")
            wire.check()

    virtual(main)


happenings = st.lists(
    st.tuples(
        st.sampled_from(["remove", "add", "lose", "restore", "recommission", "limit", "sleep", "restart"]),
        st.integers(0, 12),
    ),
    max_size=8,
)


@given(build=st.sampled_from([202633, 202639]), events=happenings)
def test_whoever_was_there_all_the_time_knows_what_one_knows_that_comes_now(
    build: int, events: list[tuple[str, int]]
) -> None:
    async def main() -> None:
        async with opened(build) as panel:
            wire = Wire(panel)
            removed: list[str] = []
            for event, number in events:
                await happen(panel, event, number, removed)
            for child in sorted(panel._announcer.away):
                panel.restore_child(child)
            wire.check()

    virtual(main)


async def happen(panel: SimulatedPanel, event: str, number: int, removed: list[str]) -> None:
    publisher = panel.publisher
    assert isinstance(publisher, ParentChildPublisher)
    children = sorted(set(publisher.devices) - {PANEL})
    child = children[number % len(children)] if children else ""
    if event == "remove" and child:
        gone = {child, *([MID] if child == BESS and MID in children else [])}
        panel.remove_child(child)
        removed.append(child)
        assert not gone & set(publisher.devices)
    elif event == "add" and removed:
        panel.add_child(removed.pop(number % len(removed)))
    elif event == "lose" and child:
        panel.lose_child(child, ["lost", "init"][number % 2])
    elif event == "restore" and child in panel._announcer.away:
        panel.restore_child(child)
    elif event == "recommission":
        item = panel.house.circuits[number % len(panel.house.circuits)]
        panel.recommission(item.id, name=f"{item.spec.name}.", pcs_managed=number % 2 == 0 and not item.spec.always_on)
    elif event == "limit":
        panel.house.set_charge_limit("sd-1", 30 + number)
    elif event == "restart":
        await panel.restart(away=1)
    else:
        await trio.sleep(number)


# --- firmware that is upgraded ----------------------------------------------------------------------------------------


def old_topics(panel: SimulatedPanel) -> Iterator[str]:
    return (topic for topic in panel.broker.retained if topic.startswith(f"{BASE}{PANEL}/core/"))


@pytest.mark.parametrize("forget", [False, True])
@pytest.mark.parametrize("build", [202633, 202639])
def test_an_upgrade_in_mid_life_brings_the_tree_and_leaves_old_topics_or_not(build: int, forget: bool) -> None:
    async def main() -> None:
        async with opened(202627) as panel:
            circuits = [item.id for item in panel.house.circuits]
            energy = value(panel, f"{PANEL}/{circuits[0]}/exported-energy")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: panel.reboot(away=10, build=build, forget=forget, http_late=240))
                await trio.sleep(5)
                assert panel.broker.faults.hang_up
                assert not panel.http_up
            assert value(panel, f"{PANEL}/info/data-model-version") == "1.0"
            assert (value(panel, f"{PANEL}/info/firmware-version") or "").startswith(f"spanos3/r{build}/")
            assert bool(list(old_topics(panel))) is not forget
            assert float(value(panel, f"{circuits[0]}/meter/exported-energy") or 0) >= float(energy or 0) > 0
            forest = Forest("ebus")
            for topic, payload in panel.broker.retained.items():
                forest.absorb(Message(topic, payload, retain=True), 0.0)
            assert {*circuits, *CHILDREN, PANEL} == set(forest.members(PANEL))
            assert not panel.http_up
            await trio.sleep(241)
            assert panel.http_up

    virtual(main)


def test_what_r202633_kept_of_a_charger_s_limit_stays_behind() -> None:
    """Facts, section 9: a retained stale can remain."""

    async def main() -> None:
        async with opened(202633) as panel:
            limit = f"{EVSE}/config/user-max-charge-current"
            await panel.reboot(away=1, build=202639)
            assert limit not in panel.publisher.values()
            assert value(panel, limit) == "40"
            solar = panel.house.by_id[circuit_id(panel.house, "Solar")]
            assert solar.fixed
            await panel.restart(away=1, build=202633)
            assert not solar.fixed

    virtual(main)


def test_a_build_that_never_was_stops_nothing() -> None:
    async def main() -> None:
        async with opened() as panel:
            with pytest.raises(SpanPanelValidationError, match="no firmware 202640"):
                await panel.restart(build=202640)
            with pytest.raises(SpanPanelValidationError, match="no firmware 202640"):
                await panel.reboot(build=202640)
            assert value(panel, f"{PANEL}/$state") == DeviceState.READY
            assert panel.http_up

    virtual(main)


def test_the_rest_api_tells_of_the_tree_and_is_late_after_a_reboot() -> None:
    async def main() -> None:
        async with opened(202627) as panel:
            transport = httpx.ASGITransport(rest_app(panel, RestState("ca")))
            async with httpx.AsyncClient(transport=transport, base_url="http://panel") as client:

                async def get(path: str) -> httpx.Response:
                    return await client.get(f"/api/v2/{path}")

                assert "types" in (await get("homie/schema")).json()
                assert "hardwareVersion" not in (await get("status")).json()
                await panel.reboot(away=1, build=202639, http_late=60)
                assert [(await get(path)).status_code for path in ("homie/schema", "status")] == [502, 502]
                await trio.sleep(61)
                schema = (await get("homie/schema")).json()
                assert (schema["dataModelVersion"], "types" in schema) == ("1.0", False)
                assert schema == json.loads(json.dumps(panel.publisher.schema()))
                assert (await get("status")).json() == {
                    "serialNumber": PANEL,
                    "firmwareVersion": "spanos3/r202639/03",
                    "proximityProven": False,
                    "hardwareVersion": "2.0",
                }

    virtual(main)
