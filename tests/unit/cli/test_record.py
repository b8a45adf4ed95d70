"""`span-trio record` over a link that a test scripts."""

import io
import json
import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from span_trio.cli import record
from span_trio.cli.connection import Panel
from span_trio.cli.panels import path_of
from span_trio.credentials import SpanCredentials
from span_trio.enums import ConnectionReason
from span_trio.errors import SpanPanelAuthError, SpanPanelConnectionError
from span_trio.homie import Accumulator, Limits, Message, Obstacle, Request
from span_trio.link import LinkEvent, LinkLost, Oversize, ReplayEnd
from span_trio.options import PanelOptions
from span_trio.recording import Redactor, read_recording
from tests.unit.cli.helpers import fails, run

RETAINED: list[Message] = [
    Message("ebus/5/nt-1/$state", b"ready", retain=True),
    Message("ebus/5/nt-1/$description", b'{"nodes": {}, "children": ["bess-1"]}', retain=True),
    Message("ebus/5/nt-1/core/wifi-ssid", b"our house", retain=True),
]
LIVE: list[Message] = [Message("ebus/5/nt-1/core/door", b"OPEN"), Message("ebus/5/nt-1/core/door", b"\xff")]


class FakeLinks:
    """Stands for `find_trust`, `find_serial` and `open_link`; each link does what the script says, and then nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *steps: list[LinkEvent] | BaseException) -> None:
        self.steps = steps
        self.requests: list[Request] = []
        self.given: list[tuple[Any, ...]] = []
        self.asked = False
        self.open = 0
        monkeypatch.setattr(record, "find_trust", self.find_trust)
        monkeypatch.setattr(record, "load_trust", self.load_trust)
        monkeypatch.setattr(record, "open_link", self.open_link)
        monkeypatch.setattr(record, "find_serial", self.find_serial)
        run_for_real = trio.run

        def run_at_once(*arguments: Any, **options: Any) -> Any:
            return run_for_real(*arguments, clock=MockClock(autojump_threshold=0), **options)

        monkeypatch.setattr(trio, "run", run_at_once)

    async def find_trust(self, *_: Any) -> str:
        await trio.lowlevel.checkpoint()
        return "a CA"

    async def load_trust(self, ca_pem: str | None) -> str:
        await trio.lowlevel.checkpoint()
        return f"trust in {ca_pem}"

    @asynccontextmanager
    async def open_link(self, *given: Any) -> AsyncGenerator[Any, None]:
        await trio.lowlevel.checkpoint()
        self.given.append(given)
        if self.steps and isinstance(self.steps[0], BaseException):
            raise self.steps[0]
        self.open += 1
        try:
            yield self
        finally:
            self.open -= 1

    async def find_serial(self, *_: Any) -> str:
        await trio.lowlevel.checkpoint()
        self.asked = True
        return "nt-1"

    def subscribe(self, request: Request) -> None:
        self.requests.append(request)

    async def run(self, send: trio.MemorySendChannel[list[LinkEvent]]) -> None:
        for step in self.steps:
            assert isinstance(step, list)
            await trio.sleep(0.5)
            await send.send(step)
        await trio.sleep_forever()


def lost(reason: ConnectionReason, detail: str) -> LinkLost:
    return LinkLost(Obstacle(reason, detail))


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "recording.jsonl"


def test_what_is_published_is_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    links = FakeLinks(monkeypatch, [RETAINED], [ReplayEnd(passed=True)], [ReplayEnd(passed=True)], [LIVE])
    result = run("record", "panel.local", path, "--serial", "nt-1", "--seconds", 5)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", f"5 messages recorded to {path}\n")
    recorded = list(read_recording(path.read_text(encoding="utf-8").splitlines()))
    assert [message for _, message in recorded] == [*RETAINED, *LIVE]
    assert [t for t, _ in recorded] == [0.5] * 3 + [2.0] * 2
    everybody, child = Request(("ebus/5/+/$description",), may_be_refused=True), Request(("ebus/5/bess-1/#",))
    assert links.requests == [Request(("ebus/5/nt-1/#",)), everybody, child]
    assert (links.asked, links.open) == (False, 0)


def test_of_other_trees_only_what_bears_on_this_one_is_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others: list[Message] = [
        Message("ebus/5/nt-2/$description", b'{"children": ["bess-1"]}', retain=True),
        Message("ebus/5/nt-3/$description", b'{"children": ["bess-3"]}', retain=True),
        Message("ebus/5/bess-3/$description", b'{"root": "nt-3"}', retain=True),
        Message("ebus/5/nt-2/$description", b""),
    ]
    FakeLinks(monkeypatch, [RETAINED], [ReplayEnd(passed=True)], [others])
    run("record", "panel.local", path, "--serial", "nt-1", "--seconds", 5)
    recorded = list(read_recording(path.read_text(encoding="utf-8").splitlines()))
    assert [message for _, message in recorded] == [*RETAINED, others[0], others[3]]


def test_the_broker_is_asked_whose_panel_it_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    links = FakeLinks(monkeypatch, [RETAINED])
    assert run("record", "panel.local", path, "--seconds", 1).exit_code == 0
    assert links.asked
    assert links.requests[0] == Request(("ebus/5/nt-1/#",))
    assert [credentials.serial_number for _, credentials, _, _ in links.given] == [None, "nt-1"]
    assert links.open == 0


@pytest.mark.parametrize(
    ("transport", "tls"), [("mqtts", "trust in a CA"), ("wss", "trust in a CA"), ("mqtt", None), ("ws", None)]
)
def test_whom_to_trust_is_found_out_where_that_matters(
    transport: str, tls: str | None, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = FakeLinks(monkeypatch, [RETAINED])
    run("record", "panel.local", path, "--transport", transport, "--seconds", 1)
    assert [given[3] for given in links.given] == [tls, tls]


def test_redacted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeLinks(monkeypatch, [RETAINED], [ReplayEnd(passed=True)], [LIVE])
    run("record", "panel.local", path, "--serial", "nt-1", "--seconds", 5, "--redact")
    text = path.read_text(encoding="utf-8")
    assert "nt-1" not in text
    assert "our house" not in text
    assert len(lines_of(path)) == 5


CORE = b'{"nodes": {"core": {"type": "energy.ebus.device.distribution-enclosure.core"}}}'
BACKWARDS = [  # a broker replays in any order
    Message("ebus/5/nt-1/core/door", b"OPEN", retain=True),
    Message("ebus/5/nt-1/core/l1-voltage", b"120.5", retain=True),
    Message("ebus/5/nt-1/$description", CORE, retain=True),
]


@pytest.mark.parametrize(
    "steps",
    [[[BACKWARDS], [ReplayEnd(passed=True)], [LIVE]], [[[each]] for each in BACKWARDS]],
    ids=["complete", "cut"],
)
def test_what_is_redacted_is_held_back_until_it_can_be_judged(
    steps: list[list[LinkEvent]], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FakeLinks(monkeypatch, *steps)
    run("record", "panel.local", path, "--serial", "nt-1", "--seconds", 5, "--redact")
    assert [line["payload"] for line in lines_of(path)][:2] == ["OPEN", "120.5"]


def test_i8_what_is_held_back_is_bounded() -> None:
    for limits in (Limits(topics=2), Limits(payload_bytes=50)):
        lines = io.StringIO()
        writer = record._Writer(lines, Redactor("nt-1"), limits)
        writer.write(BACKWARDS[:2], 0.0)
        assert lines.getvalue() == ""
        writer.write(BACKWARDS[2:], 0.0)
        assert lines.getvalue().count("\n") == 3


def test_ctrl_c_is_how_it_ends(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    links = FakeLinks(monkeypatch, [RETAINED], [LIVE])
    interrupt_after(2, monkeypatch)
    result = run("record", "panel.local", path, "--serial", "nt-1")
    assert (result.exit_code, result.stderr) == (0, f"5 messages recorded to {path}\n")
    assert links.open == 0


def test_ctrl_c_before_there_was_anything_records_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeLinks(monkeypatch, KeyboardInterrupt())
    result = run("record", "panel.local", path, "--serial", "nt-1")
    assert (result.exit_code, result.output) == (130, "")
    assert not path.exists()


def interrupt_after(batches: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody presses ctrl-C when so many batches are written: trio raises that in the main task."""

    class Impatient(Accumulator):
        def next_subscription(self) -> Request | None:
            nonlocal batches
            batches -= 1
            if batches < 0:
                raise KeyboardInterrupt
            return super().next_subscription()

    monkeypatch.setattr(record, "Accumulator", Impatient)


@pytest.mark.parametrize(
    ("event", "code", "sentence"),
    [
        (lost(ConnectionReason.LINK_LOST, "the peer closed it"), 3, "the link was lost: the peer closed it"),
        (
            lost(ConnectionReason.REFUSED, "the broker refuses the subscription"),
            4,
            "the broker refuses the subscription to the tree of nt-1",
        ),
    ],
)
def test_what_ends_it_is_one_sentence_and_what_was_there_is_kept(
    event: LinkEvent, code: int, sentence: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = FakeLinks(monkeypatch, [RETAINED], [event])
    assert fails(code, "record", "panel.local", path, "--serial", "nt-1") == sentence
    assert len(lines_of(path)) == 3
    assert links.open == 0


@pytest.mark.parametrize(
    ("error", "code"), [(SpanPanelConnectionError("nobody there"), 3), (SpanPanelAuthError("who are you"), 4)]
)
def test_a_recording_of_before_outlives_a_failed_connect(
    error: Exception, code: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text("worth keeping")
    FakeLinks(monkeypatch, error)
    assert fails(code, "record", "panel.local", path, "--serial", "nt-1") == str(error)
    assert path.read_text() == "worth keeping"


def test_a_message_that_was_too_large_is_left_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeLinks(monkeypatch, [Oversize("ebus/5/nt-1/core/name")], [LIVE])
    run("record", "panel.local", path, "--serial", "nt-1", "--seconds", 2)
    assert len(lines_of(path)) == 2


def test_a_barrier_that_does_not_come_is_asked_for_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    links = FakeLinks(monkeypatch, [RETAINED, ReplayEnd(passed=False)], [LIVE])
    run("record", "panel.local", path, "--serial", "nt-1", "--seconds", 3)
    assert links.requests[1].drop or links.requests[1].filters != links.requests[0].filters


def test_standard_output_may_be_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeLinks(monkeypatch, [LIVE])
    result = run("record", "panel.local", "-", "--serial", "nt-1", "--seconds", 1)
    assert [json.loads(line)["topic"] for line in result.stdout.splitlines()] == ["ebus/5/nt-1/core/door"] * 2


def test_a_file_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    links = FakeLinks(monkeypatch, [LIVE])
    result = run("record", "panel.local", tmp_path / "no" / "such" / "folder", "--serial", "nt-1", "--seconds", 1)
    assert result.exit_code != 0
    assert "No such file or directory" in result.stderr
    assert links.open == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has it")
def test_a_disk_that_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    links = FakeLinks(monkeypatch, [LIVE * 1000])
    assert "No space left on device" in fails(
        1, "record", "panel.local", "/dev/full", "--serial", "nt-1", "--seconds", 1
    )
    assert links.open == 0


@pytest.mark.parametrize("seconds", ["nan", "0", "-1", "soon"])
def test_a_time_that_is_none(seconds: str, path: Path) -> None:
    result = run("record", "panel.local", path, "--seconds", seconds)
    assert result.exit_code == 2
    assert "Invalid value for '--seconds'" in result.stderr


def test_without_an_end_it_records_until_cancelled(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    links = FakeLinks(monkeypatch, [LIVE])
    reported: list[tuple[int, float]] = []

    async def main() -> None:
        with path.open("w", encoding="utf-8") as lines, trio.move_on_after(100):
            await record.record_session(
                Panel("panel.local", SpanCredentials(serial_number="nt-1"), PanelOptions()),
                lines,
                redact=False,
                seconds=math.inf,
                progress=lambda messages, passed: reported.append((messages, passed)),
            )

    trio.run(main)
    assert reported == [(2, 0.5)]
    assert links.open == 0


def test_a_store_without_a_ca_is_pinned_by_a_recording(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = path_of("nt-1")
    stored.write_text(SpanCredentials("nt-1", "me", "secret", host="panel.local").to_json())
    stored.chmod(0o600)
    FakeLinks(monkeypatch, [RETAINED], [ReplayEnd(passed=True)])
    assert run("record", "nt-1", path, "--seconds", 5).exit_code == 0
    assert SpanCredentials.from_json(stored.read_text()).ca_pem == "a CA"
