"""The house that the examples of the docs talk to."""

import importlib
from pathlib import Path

import pytest
import trio
import trustme

from span_trio import SpanCredentials
from span_trio.recording import record_line
from tests.examples.house import HOST, PANELS, STORES, House, recording


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """A house in place of the network, and a user's files: credentials and a recording."""
    house = House(trustme.CA())
    monkeypatch.setattr(importlib.import_module("span_trio.link.connect"), "dial", house.dial)
    for place in ("span_trio", "span_trio.onboard", "span_trio.opening"):
        monkeypatch.setattr(f"{place}.download_ca_cert", house.download_ca_cert)
    monkeypatch.setattr("span_trio.register_v2", house.register_v2)
    monkeypatch.setattr("span_trio.onboard.SpanRestClient", house.rest_client)
    for place in ("span_trio", "span_trio.onboard"):
        monkeypatch.setattr(f"{place}.load_credentials", house.load_credentials)
        monkeypatch.setattr(f"{place}.save_credentials", house.save_credentials)
    monkeypatch.setattr("span_trio.service.get_homie_schema", house.get_homie_schema)
    monkeypatch.setattr(trio, "run", house.run)

    (tmp_path / "ca.pem").write_text(house.ca_pem, encoding="utf-8")
    for name, host in STORES.items():
        credentials = SpanCredentials(serial_number=PANELS[host], broker_password="secret", ca_pem=house.ca_pem)
        (tmp_path / name).write_text(credentials.to_json(), encoding="utf-8")
    lines = [record_line(recorded) + "\n" for recorded in recording(PANELS[HOST])]
    (tmp_path / "session.jsonl").write_text("".join(lines), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return house
