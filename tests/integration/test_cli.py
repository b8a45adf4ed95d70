"""The program `span-trio` as somebody types it, against a real broker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from span_trio import SpanCredentials, SpanPanelSnapshot
from span_trio.recording import read_recording
from tests.busy import PATIENCE
from tests.integration.broker import ROOT, Broker, Publisher, program, replayed
from tests.ports import held_port

HOST = "127.0.0.1"
PROGRAM = Path(sys.executable).with_name("span-trio")


def span_trio(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(PROGRAM), *map(str, arguments)]
    return subprocess.run(  # noqa: S603 - our own program
        command, capture_output=True, text=True, encoding="utf-8", timeout=PATIENCE, env=environment, check=False
    )


def plain(port: int) -> list[object]:
    return [HOST, "--transport", "mqtt", "--port", port, "--max-silence", "inf"]


def test_snapshot_over_tls_with_stored_credentials(house: Broker, tmp_path: Path) -> None:
    stored = tmp_path / "panel.json"
    stored.touch(0o600)
    stored.write_text(SpanCredentials(serial_number=ROOT, ca_pem=house.ca_pem).to_json())
    done = span_trio(
        "snapshot", HOST, "--credentials", stored, "--port", house.tls_port, "--max-silence", "inf", "--json"
    )
    assert (done.returncode, done.stderr) == (0, "")
    snapshot = SpanPanelSnapshot.from_dict(json.loads(done.stdout))
    assert snapshot.serial_number == ROOT
    assert len(snapshot.circuits) == 24


def test_watch(own: Broker, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(f"{own.PASSWORD}\n")
    command = [str(PROGRAM), "watch", HOST, "--serial", ROOT, "--password-file", str(tmp_path / "password")]
    command += ["--transport", "mqtt", "--port", str(own.login_port), "--snapshots", "2", "--interval", "0"]
    command += ["--max-silence", "inf"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={}) as watching,  # noqa: S603
        Publisher(own.port) as publisher,
    ):
        assert watching.stdout is not None
        assert watching.stdout.readline().endswith("  online\n")
        assert " of 24 circuits closed" in watching.stdout.readline()
        publisher.publish(f"ebus/5/{ROOT}/upstream-lugs/active-power", "12345")
        assert "  grid 12345 W  " in watching.stdout.readline()
        assert watching.stdout.read() == ""
        assert watching.wait(PATIENCE) == 0


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Programs hear ctrl-C, though whoever started the tests may have them ignore it, as a shell does."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_a_recording_to_a_pipe_that_nobody_reads(house: Broker, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    command = [str(PROGRAM), "record", *map(str, plain(house.port)), str(tmp_path / "pipe")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env={}) as recording:  # noqa: S603
        for _ in waiting_for(recording.pid, "wait_for_partner"):
            time.sleep(0.01)
        recording.send_signal(signal.SIGINT)
        assert recording.wait(PATIENCE) == 130


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_watching_into_a_pipe_that_is_full(own: Broker) -> None:
    command = [str(PROGRAM), "watch", *map(str, plain(own.port)), "--json", "--interval", "0"]
    pipe = subprocess.PIPE
    with (
        subprocess.Popen(command, stdout=pipe, stderr=pipe, env={}) as watching,  # noqa: S603
        Publisher(own.port) as publisher,
    ):
        for _ in waiting_for(watching.pid, "pipe_write"):  # which has room for 64 KiB
            publisher.publish(f"ebus/5/{ROOT}/upstream-lugs/active-power", f"{time.monotonic():.3f}")
            time.sleep(0.01)
        watching.send_signal(signal.SIGINT)
        assert watching.wait(PATIENCE) == 130


def waiting_for(pid: int, what: str) -> Iterator[None]:
    """Until a process waits for that in the kernel; or for 5 s, where the kernel does not tell."""
    deadline = time.monotonic() + 5
    while what not in Path(f"/proc/{pid}/wchan").read_text() and time.monotonic() < deadline:
        yield


@pytest.mark.parametrize("redact", [False, True])
def test_record_and_replay(house: Broker, tmp_path: Path, redact: bool) -> None:
    path = tmp_path / "recording.jsonl"
    done = span_trio("record", *plain(house.port), path, "--seconds", "0.3", *(["--redact"] if redact else []))
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"{len(replayed())} messages recorded to {path}\n"
    text = path.read_text(encoding="utf-8")
    assert (ROOT in text) != redact
    assert ("SimulatedNetwork" in text) != redact
    if not redact:
        recorded = {message for _, message in read_recording(text.splitlines())}
        assert recorded == {message for _, message in replayed()}
    played = span_trio("replay", path, "--json")
    assert (played.returncode, played.stderr) == (0, "")
    assert len(json.loads(played.stdout)["circuits"]) == 24


@pytest.mark.parametrize("form", ["%t %p", "%r %t %p", "%I %r %t %p", "%r %U %t %p", None])
def test_a_dump_of_topics_that_mosquitto_sub_printed(house: Broker, tmp_path: Path, form: str | None) -> None:
    path = tmp_path / "dump.txt"
    command = [program("mosquitto_sub"), "-h", HOST, "-p", str(house.port), "-t", "ebus/#", "-W", "1"]
    command += ["-v"] if form is None else ["-F", form]
    with path.open("w") as file:
        subprocess.run(command, stdout=file, stderr=subprocess.DEVNULL, timeout=20, check=False)  # noqa: S603
    played = span_trio("replay", path, "--json")
    assert (played.returncode, played.stderr) == (0, "")
    assert len(json.loads(played.stdout)["circuits"]) == 24


def test_a_wrong_password_is_one_sentence(house: Broker) -> None:
    arguments = ["snapshot", "--serial", ROOT, *plain(house.login_port)]
    done = span_trio(*arguments, SPAN_TRIO_PASSWORD="wrong")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == "span-trio: the broker refuses the login: not authorised\n"
    assert span_trio(*arguments, "--json", SPAN_TRIO_PASSWORD=house.PASSWORD).returncode == 0


def test_nobody_there_is_one_sentence() -> None:
    with held_port() as port:
        done = span_trio("snapshot", *plain(port))
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("span-trio: ")
    assert done.stderr.count("\n") == 1
