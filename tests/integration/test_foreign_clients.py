"""Other people's programs read the simulated panel, and span-panel-api reads in it what we do."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from span_trio import PanelOptions, SpanPanelSnapshot, fetch_snapshot, load_credentials

PEER = "span-panel-api==2.6.4"


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """`span-trio simulate` in a process of its own, in a house in which nothing moves for a while."""
    credentials = tmp_path_factory.mktemp("box") / "box.json"
    ports = [f"--{name}-port=0" for name in ("mqtt", "mqtts", "ws", "wss", "http", "https")]
    command = [
        str(Path(sys.executable).with_name("span-trio")),
        "simulate",
        "--speed",
        "0.001",
        "--at",
        "2026-06-21T12:00",
    ]
    with subprocess.Popen(  # noqa: S603 - our own
        [*command, *ports, "--credentials", str(credentials)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        yield {**told, "credentials": credentials}
        process.terminate()


def ours(box: dict[str, Any]) -> SpanPanelSnapshot:
    async def main() -> SpanPanelSnapshot:
        credentials = await load_credentials(box["credentials"])
        return await fetch_snapshot(box["host"], credentials=credentials, options=PanelOptions(max_silence=math.inf))

    return trio.run(main)


def test_mosquitto_sub_reads_the_house(box: dict[str, Any]) -> None:
    subscriber = shutil.which("mosquitto_sub")
    assert subscriber is not None, "mosquitto-clients is not installed"
    login = ["-u", box["username"], "-P", box["password"]]
    done = subprocess.run(  # noqa: S603 - a test's own
        [subscriber, "-h", box["host"], "-p", str(box["mqtt_port"]), *login, "-t", "ebus/#", "-v", "-W", "3"],
        capture_output=True,
        text=True,
        check=False,
    )
    topics = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    snapshot = ours(box)
    root = f"ebus/5/{box['serial_number']}"
    assert topics[f"{root}/$state"] == "ready"
    for circuit in snapshot.circuits.values():
        assert topics[f"{root}/{circuit.circuit_id}/name"] == circuit.name


def test_mosquitto_sub_with_a_wrong_password_is_refused(box: dict[str, Any]) -> None:
    done = subprocess.run(  # noqa: S603 - a test's own
        [
            "mosquitto_sub",
            "-h",
            box["host"],
            "-p",
            str(box["mqtt_port"]),
            "-u",
            "me",
            "-P",
            "wrong",
            "-t",
            "#",
            "-W",
            "3",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "Refused" in done.stderr


# --- span-panel-api ---

READ = """
import asyncio, dataclasses, json, sys
from span_panel_api import MqttClientConfig, SpanMqttClient, register_v2

async def main(box):
    auth = await register_v2(box["host"], "peer", box["passphrase"], port=box["http_port"])
    config = MqttClientConfig(
        broker_host=box["host"], username=auth.ebus_broker_username, password=auth.ebus_broker_password,
        mqtts_port=box["mqtts_port"], ws_port=1, wss_port=1, transport="tcp", use_tls=True,
    )
    client = SpanMqttClient(box["host"], box["serial_number"], config, panel_http_port=box["http_port"])
    await client.connect()
    snapshot = await client.get_snapshot()
    print(json.dumps(dataclasses.asdict(snapshot)))
    await client.close()

asyncio.run(main(json.loads(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has span-panel-api, in an environment of its own."""
    home = tmp_path_factory.mktemp("peer")
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", PEER], check=True)  # noqa: S603
    return python


# What they have under another name, or otherwise on purpose (docs, "coming from span-panel-api").
_RENAMED_BATTERY = {"soe_percentage": "soc_percentage", "product_name": "model", "model": "part_number"}
_RENAMED = {"product_name": "model"}
_OTHERWISE = {"proximity_proven", "uptime_s", "circuits", "battery", "pv", "evse", "tabs"}
_NOT_COMPARED = {"energy_accum_update_time_s", "instant_power_update_time_s"}


def compare(theirs: dict[str, Any], mine: dict[str, Any], where: str, renamed: dict[str, str]) -> list[str]:
    """The fields that both have, and that differ."""
    differences = []
    for name, value in theirs.items():
        own = renamed.get(name, name)
        if name in _OTHERWISE | _NOT_COMPARED or own not in mine:
            continue
        if mine[own] is None and value in (0, 0.0, "", False, "UNKNOWN"):
            continue  # theirs made something up: that is what we do otherwise
        if mine[own] != value:
            differences.append(f"{where}.{name}: {value!r} is {mine[own]!r} here")
    return differences


def test_span_panel_api_reads_what_we_read(box: dict[str, Any], peer: Path) -> None:
    told = {key: value for key, value in box.items() if key != "credentials"}
    done = subprocess.run([peer, "-c", READ, json.dumps(told)], capture_output=True, text=True, timeout=90, check=False)  # noqa: S603 - likewise
    assert done.returncode == 0, done.stderr
    theirs, mine = json.loads(done.stdout.splitlines()[-1]), ours(box).to_dict()
    differences = compare(theirs, mine, "panel", {})
    circuits = {key: circuit for key, circuit in theirs["circuits"].items() if not key.startswith("unmapped")}
    assert circuits.keys() == mine["circuits"].keys()
    for key, circuit in circuits.items():
        differences += compare(circuit, mine["circuits"][key], key, {})
        assert circuit["tabs"] == mine["circuits"][key]["tabs"]
    assert sorted(mine["unmapped_tabs"]) == sorted(
        int(key.rpartition("_")[2]) for key in theirs["circuits"] if key.startswith("unmapped")
    )
    differences += compare(theirs["battery"], mine["battery"], "battery", _RENAMED_BATTERY)
    differences += compare(theirs["pv"], mine["pv"], "pv", _RENAMED)
    assert theirs["evse"].keys() == mine["evse"].keys()
    for key, charger in theirs["evse"].items():
        differences += compare(charger, mine["evse"][key], key, _RENAMED)
    assert differences == []
