"""Poison in every text that comes over a wire: no command lets it control the terminal, in what it says and logs.

`run` looks at each character of what a command prints. The tests here see to it that there is something to look at.
"""

import io
import json
import re
import sys
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import trio
from trio.testing import memory_stream_pair

from span_trio import PanelOptions, SpanCredentials, SpanPanel, SpanPanelSnapshot, open_span_panel
from span_trio.cli import commands, control, dashboard, offers, output, text
from span_trio.cli.output import Terminal, Text, ask_for
from span_trio.homie import Message
from span_trio.recording import Recorded, find_panel, play, read_recording, record_line
from span_trio.rest.answer import Answer
from span_trio.simulator import Broker, RestFault
from tests.unit.cli.control_helpers import run_virtually
from tests.unit.cli.helpers import CAPTURES, COLD, run
from tests.unit.cli.simulated import Simulated, simulated
from tests.unit.test_wiretext import POISON

TREE: Final = CAPTURES / "parentchild-a-cold.jsonl"
SHOWS: Final = "pwn"
"""What of the poison is printable."""
OWN: Final = re.compile(r"\x1b\[(?:[0-9;]*[mHJK]|\?(?:25|1049)[hl])")
"""What rich writes itself: styles, and where the cursor is."""


def is_number(payload: bytes) -> bool:
    return re.fullmatch(rb"-?[0-9.,]+|true|false", payload) is not None


def poison(message: Message) -> Message:
    """The same with poison in every text; only what a tree would not be read without stays as it is."""
    payload, name = message.payload, message.topic.rpartition("/")[2]
    if name == "$description":
        payload = json.dumps(poisoned(json.loads(payload))).encode()
    elif name not in {"$state", "data-model-version", "direction", "feed", "feeds-device-id"} and not is_number(
        payload
    ):
        payload += POISON.encode(errors="replace")
    return message._replace(payload=payload)


NEEDED: Final = {"$state", "data-model-version", "direction", "feed", "feeds-device-id"}
STRUCTURE: Final = {"type", "datatype", "format", "homie", "root", "parent", "children"}


def poisoned(document: Any) -> Any:
    match document:
        case dict():
            return {key: each if key in STRUCTURE else poisoned(each) for key, each in document.items()}
        case list():
            return [poisoned(each) for each in document]
        case str():
            return document + POISON
        case _:
            return document


def tree(path: Path) -> tuple[str, list[Message]]:
    """A recorded tree, poisoned, and what else a hostile publisher puts beside it."""
    with path.open(encoding="utf-8") as lines:
        messages = [recorded.message for recorded in read_recording(lines) if recorded.message.retain]
    root = find_panel(Recorded(0.0, message) for message in messages)
    data = POISON.encode(errors="replace")
    beside = {
        f"ebus/5/{root}/$alert/loose": data,
        f"ebus/5/{root}/$log/error": data,
        f"ebus/5/{root}/\u202epwn/x": data,
        "ebus/5/\u202epwn/$state": data,
        "ebus/5/stranger/$description": json.dumps({"type": POISON, "name": POISON, "nodes": {POISON: {}}}).encode(),
    }
    return root, [*map(poison, messages), *(Message(topic, payload, retain=True) for topic, payload in beside.items())]


@attrs.define
class Hostile:
    """A broker that carries such a tree, at every address."""

    root: str
    messages: list[Message]
    said_later: tuple[tuple[str, bytes], ...] = ()

    @asynccontextmanager
    async def open_span_panel(self, host: str, **arguments: Any) -> AsyncGenerator[SpanPanel, None]:
        """In place of the real one."""
        broker = Broker()
        for topic, payload, _ in self.messages:
            broker.publish(topic, payload, retain=True)
        failure: BaseException | None = None
        async with trio.open_nursery() as nursery:

            async def dial(*_: Any) -> trio.abc.Stream:
                await trio.lowlevel.checkpoint()
                ours, theirs = memory_stream_pair()
                nursery.start_soon(broker.serve, theirs)
                return ours

            async def go_on() -> None:
                for path, payload in self.said_later:
                    await trio.sleep(2)
                    broker.publish(f"ebus/5/{self.root}/{path}", payload, retain=True)

            arguments["credentials"] = SpanCredentials(serial_number=self.root, broker_password="pw")
            arguments["options"] = PanelOptions(transport="mqtt", max_silence=float("inf"))
            try:
                async with open_span_panel(host, dialer=dial, **arguments) as panel:
                    nursery.start_soon(go_on)
                    yield panel
            except BaseException as error:  # noqa: BLE001 - which this nursery would put into a group
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def fetch_snapshot(self, host: str, **arguments: Any) -> SpanPanelSnapshot:
        async with self.open_span_panel(host, **arguments) as panel:
            return panel.snapshot


@pytest.fixture(params=[COLD, TREE], ids=["flat", "tree"])
def hostile(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Hostile:
    found = Hostile(*tree(request.param))
    for module in (commands, control, offers):
        monkeypatch.setattr(module, "open_span_panel", found.open_span_panel)
        monkeypatch.setattr(module, "run", run_virtually)
    monkeypatch.setattr(commands, "fetch_snapshot", found.fetch_snapshot)
    return found


def circuit_of(hostile: Hostile) -> str:
    (*_, last) = play([Recorded(0.0, message) for message in hostile.messages], hostile.root, PanelOptions())
    assert isinstance(last.what, SpanPanelSnapshot)
    return next(
        each.circuit_id
        for each in last.what.circuits.values()
        if each.is_user_controllable and each.device_type == "circuit"
    )


# --- the panel's tree ---


@pytest.mark.usefixtures("hostile")
def test_snapshot() -> None:
    shown = run("-vv", "snapshot", "h")
    assert shown.exit_code == 0
    assert SHOWS in shown.output
    assert r"\u001b]0;pwn" in run("snapshot", "h", "--json").stdout


def test_watch(hostile: Hostile) -> None:
    hostile.said_later = (
        ("$state", POISON.encode(errors="replace")),
        ("$state", b"ready"),
        ("power-flows/site", b"1.5"),
        ("power-flows/grid", b"2.5"),
    )
    for more in ([], ["--json"]):
        shown = run("-vv", "watch", "h", "--snapshots", "2", "--interval", "0", *more)
        assert shown.exit_code == 0
        assert "offline, device state: \ufffd]0;pwn" in shown.output


@pytest.mark.parametrize("width", [60, 100, 160])
@pytest.mark.usefixtures("hostile")
def test_dashboard(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    terminal = Terminal(file=file, force_terminal=True, color_system="truecolor", width=width, height=60)
    monkeypatch.setattr(commands, "OUT", terminal)
    assert run("watch", "h", "--snapshots", "1").exit_code == 0
    shown = file.getvalue()
    assert SHOWS in shown
    for line in OWN.sub("", shown).split("\n"):
        assert line.isprintable(), ascii(line)


@pytest.mark.usefixtures("hostile")
def test_controls(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SHOWS in run("-vv", "controls", "h").stdout
    file = io.StringIO()
    terminal = Terminal(file=file, force_terminal=True, color_system="truecolor", width=80)
    monkeypatch.setattr(offers, "_out", terminal)
    assert run("controls", "h").exit_code == 0
    assert SHOWS in file.getvalue()
    for line in OWN.sub("", file.getvalue()).split("\n"):
        assert line.isprintable(), ascii(line)


def test_commands_and_their_questions(hostile: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(question: str) -> bool:
        ask_for(question)
        await trio.lowlevel.checkpoint()
        return True

    monkeypatch.setattr(control, "ask", ask)
    monkeypatch.setattr(control, "need_terminal", lambda _: None)
    circuit = circuit_of(hostile)
    shown = run("-vv", "relay", "h", circuit, "open")
    assert shown.exit_code == 10, shown.output
    assert "Open " in shown.stderr
    assert f"It is CLOSED\ufffd]0;{SHOWS}" in shown.stderr  # the question
    assert SHOWS in shown.stdout  # and what came of it
    for arguments in (
        ["priority", "h", circuit, "never"],
        ["charge-limit", "h", "10"],
        ["evse-lock", "h", "locked"],
        ["islanding", "h", "off-grid"],
        ["relay", "h", SHOWS, "open"],
        ["relay", "h", POISON, "open"],
        ["relay", "h", circuit, POISON],
    ):
        assert run("-vv", *arguments).output


def test_replay(hostile: Hostile, tmp_path: Path) -> None:
    lines = [record_line(Recorded(0.0, message)) for message in hostile.messages]
    state = Message(f"ebus/5/{hostile.root}/$state", POISON.encode(errors="replace"))
    path = tmp_path / "recording.jsonl"
    path.write_text("\n".join([*lines, record_line(Recorded(1.0, state))]), encoding="utf-8")
    shown = run("-vv", "replay", path, "--speed", "inf")
    assert shown.exit_code == 1
    assert SHOWS in shown.stdout
    assert SHOWS in shown.stderr
    path.write_text("\n".join([*lines, *lines]).replace(hostile.root, f"{hostile.root}-2"), encoding="utf-8")
    assert run("replay", path, "--speed", "inf", "--json").stdout.isascii()


def test_a_data_model_that_is_refused(hostile: Hostile) -> None:
    version = f"ebus/5/{hostile.root}/info/data-model-version"
    for topic, payload, retain in hostile.messages[:]:
        if topic == version:
            hostile.messages.append(Message(topic, payload + POISON.encode(errors="replace"), retain))
            shown = run("-vv", "snapshot", "h")
            assert shown.exit_code == 1
            assert SHOWS in shown.stderr


# --- whatever a snapshot carries, wherever it comes from ---


def strings(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    match document:
        case dict():
            for key, each in document.items():
                yield from strings(each, (*path, key))
        case list():
            for index, each in enumerate(document):
                yield from strings(each, (*path, index))
        case str():
            yield path
        case _:
            pass


def with_poison(document: Any, path: Iterable[Any]) -> None:
    *above, last = path
    for step in above:
        document = document[step]
    document[last] += POISON


@pytest.mark.parametrize("path", [COLD, TREE], ids=["flat", "tree"])
def test_every_text_of_a_snapshot_is_harmless_in_words_and_pictures(path: Path) -> None:
    with path.open(encoding="utf-8") as lines:
        recording = [recorded for recorded in read_recording(lines) if recorded.message.retain]
    (*_, last) = play(recording, find_panel(recording), PanelOptions())
    assert isinstance(last.what, SpanPanelSnapshot)
    plain = last.what.to_dict()
    fixed = {"device_type"}  # our own words, by which the picture is coloured
    found = [each for each in strings(plain) if each[-1] not in fixed]
    assert len(found) > 100
    for each in found:
        with_poison(plain, each)
    snapshot = SpanPanelSnapshot.from_dict(plain)
    terminal = Terminal(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=160, height=60)
    terminal.print(dashboard.render(snapshot, title=POISON, status=Text(POISON), width=160, height=60))
    terminal.print(text.one_line(snapshot, POISON))
    assert isinstance(terminal.file, io.StringIO)
    shown = terminal.file.getvalue()
    assert shown.count(SHOWS) > 20
    for line in OWN.sub("", shown).split("\n"):
        assert line.isprintable(), ascii(line)


# --- the REST API ---


@pytest.fixture(scope="module")
def panel() -> Iterator[Simulated]:
    with simulated() as found:
        found.where.rest.ca_limit = None
        found.where.rest.certificate_after = 3600
        yield found


REST: Final[dict[str, list[str]]] = {
    "status": ["status", "HOST", "PORTS"],
    "register": ["register", "HOST", "--again", "--yes", "PORTS"],
    "ca verify": ["ca", "verify", "HOST", "PORTS"],
    "clients list": ["clients", "list", "HOST", "PORTS"],
    "clients show": ["clients", "show", "HOST", "OWN", "PORTS"],
    "fqdn get": ["fqdn", "get", "HOST", "PORTS"],
    "fqdn set": ["fqdn", "set", "HOST", "panel.home", "--wait", "0", "PORTS"],
}


@pytest.mark.parametrize("name", REST)
def test_every_field_of_every_answer(name: str, panel: Simulated, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    panel.registered(home)
    panel.do(setattr, panel.where.rest, "fqdn", "panel.home")
    own = panel.stored(home).client_name or ""
    words = {"HOST": [panel.serial if name != "register" else panel.where.host], "PORTS": panel.ports, "OWN": [own]}
    arguments = [each for word in REST[name] for each in words.get(word, [word])]
    paths: dict[tuple[Any, ...], None] = {}
    chosen: list[tuple[Any, ...]] = []
    read: Callable[[Answer], Any] = Answer.json

    def spoilt(answer: Answer) -> Any:
        document = json.loads(json.dumps(dict(read(answer))))
        found = list(strings(document))
        paths.update(dict.fromkeys(found))
        for place in chosen:
            if place in found:
                with_poison(document, place)
        return document

    monkeypatch.setattr(Answer, "json", spoilt)
    environment = {"SPAN_TRIO_PASSPHRASE": panel.panel.passphrase, "COLUMNS": "200"}
    run("-vv", *arguments, environment=environment)
    assert paths or name == "ca verify"
    for place in list(paths):
        chosen[:] = [place]
        assert run("-vv", *arguments, environment=environment).output
        if name == "register":  # what is stored may be good no more
            chosen.clear()
            assert panel.register("--again").exit_code == 0


def test_the_texts_of_refusals(panel: Simulated, home: Path) -> None:
    panel.registered(home)
    body = json.dumps({"detail": [{"loc": [POISON], "msg": POISON, "type": POISON}]}).encode()
    try:
        for fault in (
            RestFault(status=403, detail=POISON),
            RestFault(status=422, body=body),
            RestFault(status=500, body=POISON.encode(errors="replace")),
            RestFault(body=b"<html>" + POISON.encode(errors="replace")),
            RestFault(headers={"Content-Type": "text/pwn"}, status=500),
        ):
            panel.do(panel.where.rest.heal)
            for endpoint in ("GET /status", "GET /auth/clients", "GET /dns/fqdn"):
                panel.do(panel.where.rest.fail, endpoint, fault)
            for name in ("status", "clients list", "fqdn get"):
                words = {"HOST": [panel.serial], "PORTS": panel.ports}
                assert run("-vv", *[each for word in REST[name] for each in words.get(word, [word])]).output
    finally:
        panel.do(panel.where.rest.heal)


def test_the_module_that_prints_is_the_one_that_is_tested() -> None:
    assert commands.OUT is output.OUT
    assert sys.modules["span_trio.cli.output"] is output
