"""Asking and listening, on a network in memory and under a virtual clock."""

from __future__ import annotations

import itertools
import math
import threading

import attrs
import pytest
import trio
import trio.testing

from span_trio import SpanPanelClosedError, SpanPanelValidationError
from span_trio.discovery import DiscoveredPanel, PanelFinder, discover_panels, discovering_panels
from span_trio.discovery.messages import Kind, Message, Place, Question, Record, encode
from span_trio.simulator import open_simulated_panel
from span_trio.simulator.mdns import announcing
from tests.unit.discovery.network import Cable, Plug, Ports, panel_records

pytestmark = pytest.mark.virtual_time

HERE = "192.168.1.2"


async def next_within(finder: PanelFinder, seconds: float) -> DiscoveredPanel | None:
    with trio.move_on_after(seconds):
        return await anext(finder)
    return None


async def answer_once(plug: Plug, *records: Record) -> None:
    """Say something soon after the first question."""
    await trio.sleep(0.1)
    await plug.say(*records)


# --- finding ---


@pytest.mark.slow
async def test_two_simulated_panels_are_found_each_once() -> None:
    cable = Cable()
    first, second = cable.plug("192.168.1.100"), cable.plug("192.168.1.101")
    async with (
        open_simulated_panel("8") as eight,
        open_simulated_panel("32", build=202603) as old,
        announcing(eight, Ports(), network=first),
        announcing(old, Ports("192.168.1.101", http_port=8081), network=second),
    ):
        async with discovering_panels(network=cable.plug(HERE)) as finder:
            found = [await next_within(finder, 5), await next_within(finder, 5)]
            assert await next_within(finder, 200) is None
            assert set(finder.panels) == set(found)
        assert await discover_panels(network=cable.plug(HERE)) == finder.panels
    by_serial = {panel.serial_number: panel for panel in found if panel is not None}
    assert set(by_serial) == {eight.serial_number, old.serial_number}
    one, other = by_serial[eight.serial_number], by_serial[old.serial_number]
    assert (one.host, one.model, one.https_port) == ("192.168.1.100", "MAIN_32", 443)
    assert one.firmware_version == eight.publisher.release.firmware
    assert (other.host, other.model, other.http_port) == ("192.168.1.101", "SPAN32", 8081)
    assert other.host_names == (f"span-{old.serial_number}.local",)
    assert None not in attrs.astuple(other, recurse=False)


async def test_a_panel_that_comes_later_is_found_by_what_it_announces() -> None:
    cable = Cable()
    late = cable.plug("192.168.1.100")
    async with discovering_panels(network=cable.plug(HERE)) as finder:
        assert await next_within(finder, 1000) is None
        asked = len(cable.questions())
        await late.say(*panel_records())
        panel = await next_within(finder, 1)
        assert panel is not None
        assert panel.serial_number == "nt-1"
        assert all(question.name != "_ebus._tcp.local." for _, q in cable.questions()[asked:] for question in q)


async def test_a_panel_with_a_new_address_comes_again_and_one_that_repeats_itself_does_not() -> None:
    cable = Cable()
    there = cable.plug("192.168.1.100")
    async with discovering_panels(network=cable.plug(HERE)) as finder:
        await there.say(*panel_records())
        assert await next_within(finder, 2) is not None
        await there.say(*panel_records())
        assert await next_within(finder, 60) is None
        await there.say(*panel_records(addresses=("192.168.1.7",)))
        moved = await next_within(finder, 2)
        assert moved is not None
        assert moved.addresses == ("192.168.1.7",)
        assert finder.panels == (moved,)


async def test_what_is_said_piece_by_piece_is_one_panel_once() -> None:
    cable = Cable()
    there = cable.plug("192.168.1.100")
    async with discovering_panels(network=cable.plug(HERE)) as finder:
        for record in panel_records(addresses=("10.0.0.1", "10.0.0.2")):
            await there.say(record)
            await trio.sleep(0.2)
        panel = await next_within(finder, 5)
        assert panel is not None
        assert panel.addresses == ("10.0.0.1", "10.0.0.2")
        assert await next_within(finder, 60) is None


async def test_a_panel_that_never_stops_changing_is_handed_out_all_the_same() -> None:
    cable = Cable()
    there = cable.plug("192.168.1.100")

    async def restless() -> None:
        for number in range(1000):
            await there.say(*panel_records(firmware_version=f"r{number}"))
            await trio.sleep(0.3)

    async with discovering_panels(network=cable.plug(HERE)) as finder, trio.open_nursery() as nursery:
        nursery.start_soon(restless)
        assert await next_within(finder, 3.5) is not None
        assert await next_within(finder, 3.5) is not None
        nursery.cancel_scope.cancel()


async def test_a_panel_that_goes_before_anybody_has_asked_is_not_handed_out() -> None:
    cable = Cable()
    there = cable.plug("192.168.1.100")
    async with discovering_panels(network=cable.plug(HERE)) as finder:
        await there.say(*panel_records())
        await trio.sleep(2)
        assert len(finder.panels) == 1
        await there.say(*[attrs.evolve(record, ttl=0) for record in panel_records()])
        await trio.sleep(1)
        assert finder.panels == ()
        assert await next_within(finder, 60) is None


async def test_lost_packets_cost_time_and_not_the_panel() -> None:
    cable = Cable()
    panel = cable.plug("192.168.1.100", loses=1)  # the first question
    async with open_simulated_panel("8") as simulated, announcing(simulated, Ports(), network=panel):
        await trio.sleep(60)
        here = cable.plug(HERE, loses=1)  # and the first answer
        assert [found.serial_number for found in await discover_panels(network=here)] == [simulated.serial_number]


async def test_what_was_not_said_is_asked_for_at_once_and_once() -> None:
    cable = Cable()
    there = cable.plug("192.168.1.100")
    async with discovering_panels(network=cable.plug(HERE)):
        await trio.sleep(10)
        await there.say(panel_records()[0])
        await trio.sleep(0.2)
        asked = [questions for at, questions in cable.questions() if at > 7.5]
        info = "span-nt-1._device-info._tcp.local."
        assert asked == [(Question(info, Kind.SRV), Question(info, Kind.TXT))]
        await there.say(panel_records()[0])
        await trio.sleep(1)
        assert len([questions for at, questions in cable.questions() if at > 7.5]) == 1
        await there.say(panel_records("nt-2")[0])  # which does not make the first ones new
        await trio.sleep(0.2)
        *_, (_, last) = cable.questions()
        assert {question.name for question in last} == {"span-nt-2._device-info._tcp.local."}


async def test_who_it_is_may_come_a_little_later_than_that_it_is_there() -> None:
    cable = Cable()
    there = cable.plug("192.168.1.100")
    name = "span-nt-1-EBUS._ebus._tcp.local."
    ebus = [
        Record("_ebus._tcp.local.", Kind.PTR, name, flush=False),
        Record(name, Kind.SRV, Place("span-nt-1.local.", 0)),
        Record(name, Kind.TXT, b"\x11homie_domain=ebus"),
        Record("span-nt-1.local.", Kind.A, "192.168.1.100"),
    ]
    async with discovering_panels(network=cable.plug(HERE)) as finder:
        await there.say(*ebus)
        assert await next_within(finder, 1.2) is None
        assert [panel.model for panel in finder.panels] == [None]
        await there.say(*panel_records())
        panel = await next_within(finder, 2)
        assert panel is not None
        assert panel.model == "MAIN_32"
        assert await next_within(finder, 60) is None


async def test_questions_go_out_at_0_1_3_7_seconds_and_ever_more_seldom() -> None:
    cable = Cable()
    began = trio.current_time()
    async with discovering_panels(network=cable.plug(HERE)):
        await trio.sleep(4 * 3600)
    when = [round(at - began) for at, _ in cable.questions()]
    assert when[:6] == [0, 1, 3, 7, 15, 31]
    assert max(later - earlier for earlier, later in itertools.pairwise(when)) == 3600
    assert len(when) < 20
    (_, first), (_, second), *_ = cable.questions()
    browsed = ["_device-info._tcp.local.", "_ebus._tcp.local."]
    assert [(question.name, question.unicast) for question in first] == [(name, True) for name in browsed]
    assert [(question.name, question.unicast) for question in second] == [(name, False) for name in browsed]


async def test_answers_from_another_port_are_not_believed() -> None:
    cable = Cable()
    liar = cable.plug("192.168.1.66", port=40_000)
    async with discovering_panels(network=cable.plug(HERE)) as finder:
        await liar.say(*panel_records())
        assert await next_within(finder, 10) is None


# --- beginning and ending ---


@pytest.mark.parametrize("within", [0.0, -1.0, math.inf, math.nan])
async def test_a_time_that_is_none_is_refused(within: float) -> None:
    with pytest.raises(SpanPanelValidationError, match="within must be"):
        await discover_panels(within, network=Cable().plug(HERE))


async def test_the_one_call_takes_its_time_and_no_more() -> None:
    began = trio.current_time()
    assert await discover_panels(2.5, network=Cable().plug(HERE)) == ()
    assert trio.current_time() - began == pytest.approx(2.5)


async def test_one_call_hands_out_what_has_just_come() -> None:
    cable = Cable()
    there = cable.plug("192.168.1.100")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer_once, there, *panel_records())
        assert len(await discover_panels(0.12, network=cable.plug(HERE))) == 1


async def test_a_finder_whose_block_has_ended_says_so() -> None:
    async with discovering_panels(network=Cable().plug(HERE)) as finder:
        pass
    for _ in range(2):
        with pytest.raises(SpanPanelClosedError):
            await anext(finder)


async def test_a_finder_is_for_one_task() -> None:
    async with discovering_panels(network=Cable().plug(HERE)) as finder, trio.open_nursery() as nursery:
        nursery.start_soon(next_within, finder, 10)
        await trio.testing.wait_all_tasks_blocked(0.0)
        with pytest.raises(trio.BusyResourceError):
            await anext(finder)
        nursery.cancel_scope.cancel()


async def test_cancelling_who_waits_loses_nothing() -> None:
    cable = Cable()
    there = cable.plug("192.168.1.100")
    async with discovering_panels(network=cable.plug(HERE)) as finder:
        assert await next_within(finder, 0.3) is None
        await there.say(*panel_records())
        for _ in range(4):
            assert await next_within(finder, 0.1) is None
        assert await next_within(finder, 1) is not None


@pytest.mark.parametrize("after", [0.0, 0.01, 0.5, 1.02])
async def test_cancelled_at_any_time_nothing_is_left_running(after: float) -> None:
    tasks, threads = trio.lowlevel.current_statistics().tasks_living, threading.active_count()
    with trio.move_on_after(after):
        await discover_panels(network=Cable().plug(HERE))
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    assert threading.active_count() <= threads  # trio keeps idle ones of its own for a while


async def test_the_error_of_the_body_comes_out_as_it_is() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with discovering_panels(network=Cable().plug(HERE)):
            raise KeyError("mine")


# --- the simulated panel ---


async def test_a_simulated_panel_announces_itself_answers_and_says_goodbye() -> None:
    cable = Cable()
    here = cable.plug(HERE)
    async with open_simulated_panel("8") as simulated:
        async with announcing(simulated, Ports(), network=cable.plug("192.168.1.100")):
            await trio.sleep(5)
        announced = [message for _, message in here.got]
    assert not any(message.query for message in announced)
    told = [(record.name, record.kind, record.ttl) for message in announced for record in message.answers]
    host = f"span-{simulated.serial_number}.local."
    assert told.count((host, Kind.A, 120)) == 2
    assert told[-1] == (host, Kind.A, 0)
    assert {ttl for name, _, ttl in told[len(told) // 3 * 2 :]} == {0}


async def ask(
    plug: Plug, *questions: Question, known: tuple[Record, ...] = (), id_: int = 0
) -> list[tuple[str, Message]]:
    plug.got.clear()
    for packet in encode(Message(query=True, questions=questions, answers=known, id=id_)):
        await plug.send(packet)
    await trio.sleep(0.2)
    return plug.got


async def test_how_a_simulated_panel_answers() -> None:
    cable = Cable()
    here, plain = cable.plug(HERE), cable.plug("192.168.1.3", port=40_000)
    async with (
        open_simulated_panel("8") as simulated,
        announcing(simulated, Ports(), network=cable.plug("192.168.1.100")) as announcer,
    ):
        await trio.sleep(2)
        name = f"span-{simulated.serial_number}"
        browse = Question("_EBUS._tcp.local.", Kind.PTR)

        ((to, said),) = await ask(here, browse)
        assert to == "all"
        assert said.answers[0].data == f"{name}-EBUS._ebus._tcp.local."
        assert {record.kind for record in said.answers} == {Kind.PTR, Kind.SRV, Kind.TXT, Kind.A}

        ((to, _),) = await ask(here, attrs.evolve(browse, unicast=True))
        assert to == "one"

        known = [record for record in announcer.records if record.name == "_ebus._tcp.local."]
        assert await ask(here, browse, known=tuple(known)) == []
        assert await ask(here, Question("_printer._tcp.local.", Kind.PTR)) == []

        ((to, said),) = await ask(plain, Question(f"{name}.local.", Kind.ANY), id_=77)
        assert (to, said.id) == ("one", 77)
        assert [(record.data, record.ttl, record.flush) for record in said.answers] == [("192.168.1.100", 10, False)]

        listed = await ask(here, Question("_services._dns-sd._udp.local.", Kind.PTR))
        assert len(listed[0][1].answers) == 7

        await trio.sleep(60)  # what was said to all is long ago: all hear it again
        ((to, _),) = await ask(here, attrs.evolve(browse, unicast=True))
        assert to == "all"


async def test_an_upgraded_and_a_moved_panel_announce_it() -> None:
    cable = Cable()
    async with (
        open_simulated_panel("32", build=202603) as simulated,
        announcing(simulated, Ports(), network=cable.plug("192.168.1.100")) as announcer,
        discovering_panels(network=cable.plug(HERE)) as finder,
    ):
        before = await next_within(finder, 5)
        assert before is not None
        assert before.model == "SPAN32"
        await simulated.reboot(build=202639)
        after = await next_within(finder, 30)
        assert after is not None
        assert (after.serial_number, after.model) == (before.serial_number, "MAIN_32")
        assert after.firmware_version == simulated.publisher.release.firmware
        announcer.addresses = ("192.168.1.7",)
        moved = await next_within(finder, 30)
        assert moved is not None
        assert moved.addresses == ("192.168.1.7",)
        announcer.host = f"span-{simulated.serial_number}-2"
        renamed = await next_within(finder, 30)
        assert renamed is not None
        assert (renamed.serial_number, renamed.host) == (before.serial_number, "192.168.1.7")


async def test_a_flood_of_questions_is_not_waited_for() -> None:
    cable = Cable()
    here = cable.plug(HERE)
    async with (
        open_simulated_panel("8") as simulated,
        announcing(simulated, Ports(), network=cable.plug("192.168.1.100")),
    ):
        for _ in range(500):
            await ask_fast(here)
        assert len(here.got) < 200


async def ask_fast(plug: Plug) -> None:
    for packet in encode(Message(query=True, questions=(Question("_ebus._tcp.local.", Kind.PTR),))):
        await plug.send(packet)
