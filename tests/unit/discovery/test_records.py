"""What messages add up to, without a network; and rubbish, which adds up to nothing."""

from __future__ import annotations

import struct
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from span_trio.discovery.messages import MAX_PACKET, Kind, Message, Place, Question, Record, decode, encode
from span_trio.discovery.neighbours import DiscoveredPanel, find_panels, find_questions
from span_trio.discovery.records import Records
from span_trio.discovery.services import SERVICES, name_of, read_text, take_apart
from tests.unit.discovery.network import announcement, panel_records, text

INFO = "span-nt-1._device-info._tcp.local."


def hear(records: Records, *said: Record, interface: int = 2, source: str = "192.168.1.100", now: float = 0.0) -> bool:
    return records.hear(announcement(*said), interface=interface, scope="eth0", source=source, now=now)


def panels_of(*said: Record, **options: Any) -> list[DiscoveredPanel]:
    records = Records()
    hear(records, *said, **options)
    return list(find_panels(records).values())


def service(key: str, port: int, base: str = "span-nt-1", host: str = "span-nt-1.local.") -> list[Record]:
    name = name_of(base, key)
    return [
        Record(SERVICES[key].type, Kind.PTR, name, flush=False),
        Record(name, Kind.SRV, Place(host, port)),
        Record(name, Kind.TXT, text(txtvers="1")),
    ]


def ebus(serial: str = "nt-1", *, suffix: str = "-EBUS", prefix: str = "span-", **more: str) -> list[Record]:
    name = f"{prefix}{serial}{suffix}._ebus._tcp.local."
    return [
        Record("_ebus._tcp.local.", Kind.PTR, name, flush=False),
        Record(name, Kind.SRV, Place("host.local.", 0)),
        Record(name, Kind.TXT, text(homie_domain="ebus", homie_version="5", **more)),
        Record("host.local.", Kind.A, "192.168.1.7"),
    ]


# --- panels ---


def test_a_panel_is_what_its_services_say_together() -> None:
    said = panel_records(
        addresses=("fe80::1", "fd00::2", "10.42.0.1", "192.168.1.100"),
        firmware_version="spanos3/r202639/03",
        hardware_version="2.0",
        eth0_mac="02:00:00:00:00:01",
    )
    ports = {"http": 80, "https": 443, "mqtts": 8883, "ws": 9001, "wss": 9002}
    for key, port in ports.items():
        said += service(key, port)
    (panel,) = panels_of(*said)
    assert (panel.serial_number, panel.model, panel.hardware_version) == ("nt-1", "MAIN_32", "2.0")
    assert panel.firmware_version == "spanos3/r202639/03"
    assert panel.host_names == ("span-nt-1.local",)
    assert panel.addresses == ("192.168.1.100", "10.42.0.1", "fd00::2", "fe80::1%eth0")  # first the one that spoke
    assert panel.host == "192.168.1.100"
    assert {key: getattr(panel, f"{key}_port") for key in ports} == ports
    assert panel.properties["eth0_mac"] == "02:00:00:00:00:01"
    assert panel.to_dict()["addresses"] == list(panel.addresses)


def test_what_was_not_said_is_none() -> None:
    (panel,) = panels_of(*panel_records(model=""))
    assert [panel.model, panel.firmware_version, panel.http_port, panel.wss_port] == [None] * 4


def test_a_port_of_0_is_none() -> None:
    (panel,) = panels_of(*panel_records(), *service("http", 0))
    assert panel.http_port is None


@given(st.randoms(use_true_random=False), st.integers(1, 5))
def test_the_order_and_the_packets_in_which_it_was_said_do_not_matter(random: Any, packets: int) -> None:
    said = [
        *panel_records("nt-1"),
        *service("http", 80),
        *ebus("nt-1"),
        *panel_records("nt-2", addresses=("10.0.0.2",)),
    ]
    whole = panels_of(*said)
    random.shuffle(said)
    records = Records()
    for _ in range(2):  # an address of a host not yet known is asked for, and comes again
        for first in range(packets):
            hear(records, *said[first::packets])
    assert sorted(find_panels(records).values(), key=lambda panel: panel.serial_number) == sorted(
        whole, key=lambda panel: panel.serial_number
    )


def test_one_panel_under_two_names_and_on_two_interfaces_is_one() -> None:
    records = Records()
    hear(records, *panel_records(), interface=2)
    renamed = panel_records(host="span-nt-1-2", addresses=("192.168.2.100",))
    again = [
        attrs.evolve(record, name=record.name.replace("span-nt-1._", "span-nt-1 #2._"))
        if record.kind in {Kind.SRV, Kind.TXT}
        else record
        for record in renamed
    ]
    hear(records, *again, interface=3, source="192.168.2.100")
    (panel,) = find_panels(records).values()
    assert panel.host_names == ("span-nt-1.local", "span-nt-1-2.local")
    assert panel.addresses == ("192.168.1.100", "192.168.2.100")


def test_two_panels_of_one_host_are_two() -> None:
    said = [*panel_records("nt-1", host="box"), *panel_records("nt-2", host="box")]
    said += service("http", 8081, "span-nt-1", "box.local.") + service("http", 8082, "span-nt-2", "box.local.")
    assert {panel.serial_number: panel.http_port for panel in panels_of(*said)} == {"nt-1": 8081, "nt-2": 8082}


@pytest.mark.parametrize("spelled", ["nt-1", "NT-1"])
def test_case_makes_no_other_panel(spelled: str) -> None:
    said = [*panel_records("nt-1"), *ebus(spelled, prefix="SPAN-", suffix="-ebus")]
    assert [panel.serial_number for panel in panels_of(*said)] == ["nt-1"]


# --- who is a panel ---


@pytest.mark.parametrize(
    "info",
    [
        {"manufacturer": "Acme"},
        {"manufacturer": ""},
        *(
            {"serial_number": serial}
            for serial in ("", "../evil", "nt 1", "nt-1\n", "nt/1", "nt-1.evil.org", "\x1b[2J")
        ),
    ],
)
def test_a_device_that_is_not_of_span_or_has_no_serial_number_is_no_panel(info: dict[str, str]) -> None:
    assert panels_of(*panel_records(**info)) == []


def test_another_maker_is_believed_though_the_name_says_span() -> None:
    assert panels_of(*panel_records(manufacturer="Acme"), *ebus("nt-1")) == []


@pytest.mark.parametrize("suffix", ["-EBUS", "-ebus", "", "-EBUS #2", "-EBUS (3)"])
def test_a_simulator_that_announces_ebus_only_has_its_serial_number_in_its_name(suffix: str) -> None:
    (panel,) = panels_of(*ebus("sim-001", suffix=suffix, prefix="SPAN-", httpPort="8081"))
    assert (panel.serial_number, panel.host, panel.http_port) == ("sim-001", "192.168.1.7", 8081)


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1", "\N{SUPERSCRIPT TWO}"])
def test_a_port_that_is_none_is_not_believed(port: str) -> None:
    (panel,) = panels_of(*ebus("sim-001", httpPort=port))
    assert panel.http_port is None


@pytest.mark.parametrize("prefix", ["meter-", ""])
def test_other_ebus_devices_are_no_panels(prefix: str) -> None:
    assert panels_of(*ebus("001", prefix=prefix)) == []


def test_a_panel_without_an_address_is_not_there_yet_and_is_asked_for_one() -> None:
    records = Records()
    hear(records, *panel_records(addresses=()))
    assert find_panels(records) == {}
    asked = find_questions(records)
    assert Question("span-nt-1.local.", Kind.A) in asked
    assert Question("span-nt-1.local.", Kind.AAAA) in asked
    assert Question("span-nt-1-MQTTS._secure-mqtt._tcp.local.", Kind.SRV) in asked


def test_of_a_name_alone_everything_is_asked_and_of_a_stranger_nothing() -> None:
    records = Records()
    hear(records, panel_records()[0], *panel_records("x", manufacturer="Acme"))
    assert find_questions(records) == [Question(INFO, Kind.SRV), Question(INFO, Kind.TXT)]


def test_of_an_ebus_device_it_is_asked_who_made_it() -> None:
    records = Records()
    hear(records, ebus("nt-1")[0])
    assert Question(INFO, Kind.TXT) in find_questions(records)


# --- what changes ---


def test_a_new_address_replaces_the_old_one_on_its_interface_only() -> None:
    records = Records()
    hear(records, *panel_records(), now=0)
    hear(records, *panel_records(addresses=("10.9.9.9",)), interface=3, now=0)
    assert hear(records, *panel_records(addresses=("192.168.1.101",)), now=10)
    (panel,) = find_panels(records).values()
    assert panel.addresses == ("10.9.9.9", "192.168.1.101")


def test_addresses_of_one_breath_do_not_replace_each_other() -> None:
    records = Records()
    hear(records, *panel_records(addresses=("192.168.1.100",)), now=0)
    hear(records, *panel_records(addresses=("192.168.1.101",)), now=0.5)
    (panel,) = find_panels(records).values()
    assert len(panel.addresses) == 2


def test_what_is_repeated_is_no_news() -> None:
    records = Records()
    assert hear(records, *panel_records(), now=0)
    assert not hear(records, *panel_records(), now=50)


def test_new_firmware_wins_over_what_another_interface_repeats() -> None:
    records = Records()
    for interface in (2, 3):
        hear(records, *panel_records(firmware_version="old"), interface=interface, now=interface)
    hear(records, *panel_records(firmware_version="new"), interface=2, now=20)
    hear(records, *panel_records(firmware_version="old"), interface=3, now=30)
    (panel,) = find_panels(records).values()
    assert panel.firmware_version == "new"


def test_a_goodbye_takes_back_what_was_said_on_that_interface() -> None:
    records = Records()
    hear(records, *panel_records())
    assert hear(records, *[attrs.evolve(record, ttl=0) for record in panel_records()], now=1)
    assert find_panels(records) == {}
    assert find_questions(records) == []


def test_what_is_not_heard_for_hours_is_forgotten() -> None:
    records = Records()
    hear(records, *panel_records(), now=0)
    records.forget(2 * 3600)
    assert len(find_panels(records)) == 1
    records.forget(3 * 3600)
    assert find_panels(records) == {}


def test_queries_tell_nothing() -> None:
    records = Records()
    message = Message(query=True, answers=tuple(panel_records()))
    assert not records.hear(message, interface=2, scope="eth0", source="192.168.1.100", now=0)
    assert find_panels(records) == {}


@pytest.mark.slow
def test_a_flood_of_strangers_is_bounded_and_the_panel_comes_back() -> None:
    records = Records()
    hear(records, *panel_records())
    for number in range(3000):
        hear(records, *panel_records(f"x-{number}"))
    assert sum(1 for _ in records.services()) <= 1024
    assert len(find_panels(records)) <= 128
    assert len(find_questions(records)) <= 64
    hear(records, *panel_records("a"))
    assert "a" in find_panels(records)


def test_a_flood_of_addresses_is_bounded() -> None:
    records = Records()
    said = panel_records(addresses=tuple(f"10.0.{n // 256}.{n % 256}" for n in range(400)))
    hear(records, *said)
    (panel,) = find_panels(records).values()
    assert len(panel.addresses) <= 16


def test_a_flood_of_senders_is_bounded_and_only_who_tells_of_a_panel_counts() -> None:
    records = Records()
    for number in range(3000):
        hear(records, *panel_records(), source=f"10.0.{number // 256}.{number % 256}")
    hear(records, Record("printer._ipp._tcp.local.", Kind.SRV, Place("printer.local.", 631)), source="10.9.9.9")
    assert len(records.speakers) == 1024
    assert "10.9.9.9" not in records.speakers


def test_an_absurd_text_is_left_out() -> None:
    assert panels_of(*panel_records(**{f"key{n}": "x" * 200 for n in range(12)})) == []


# --- bytes ---

NAMES = st.sampled_from(
    [
        INFO,
        "_device-info._tcp.local.",
        "_ebus._tcp.local.",
        "span-nt-1-EBUS._ebus._tcp.local.",
        "SPAN-x #2._ebus._tcp.local.",
        "span-nt-1-HTTP-API._http._tcp.local.",
        "span-nt-1.local.",
        "._ebus._tcp.local.",
        "_http._tcp.local.",
    ]
)
TEXTS = st.lists(st.binary(max_size=255).map(lambda entry: bytes([len(entry)]) + entry), max_size=9).map(b"".join)
GOOD_TEXT = st.just(panel_records()[2].data)
RECORDS = st.one_of(
    st.builds(Record, NAMES, st.just(Kind.PTR), NAMES, ttl=st.integers(0, 2**32 - 1), flush=st.booleans()),
    st.builds(Record, NAMES, st.just(Kind.TXT), TEXTS | GOOD_TEXT, ttl=st.integers(0, 9), flush=st.booleans()),
    st.builds(Record, NAMES, st.just(Kind.SRV), st.builds(Place, NAMES, st.integers(0, 65_535)), ttl=st.integers(0, 9)),
    st.builds(Record, NAMES, st.just(Kind.A), st.ip_addresses(v=4).map(str), ttl=st.integers(0, 9)),
    st.builds(Record, NAMES, st.just(Kind.AAAA), st.ip_addresses(v=6).map(str), ttl=st.integers(0, 9)),
)


def label(content: bytes) -> bytes:
    return bytes([len(content)]) + content


RAW_NAMES = st.one_of(
    st.just(b"\xc0\x0c"),
    st.lists(st.binary(min_size=1, max_size=63), max_size=4).map(lambda labels: b"".join(map(label, labels)) + b"\0"),
    st.binary(max_size=63).map(
        lambda first: label(first) + b"".join(map(label, (b"_device-info", b"_tcp", b"local"))) + b"\0"
    ),
    st.binary(max_size=20),
)


@st.composite
def raw_packets(draw: st.DrawFn) -> bytes:
    """Headers that lie, names that point anywhere, records of any type and length."""
    body = b""
    for _ in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from([1, 12, 13, 16, 28, 33, 47, 255, 5, 999]))
        data = draw(st.binary(max_size=60) | RAW_NAMES)
        length = draw(st.just(len(data)) | st.integers(0, 65_535))
        body += draw(RAW_NAMES) + struct.pack(">HHIH", kind, draw(st.sampled_from([1, 0x8001, 3])), 120, length) + data
    counts = draw(st.tuples(*[st.integers(0, 4)] * 4))
    return struct.pack(">HHHHHH", 0, draw(st.sampled_from([0x8400, 0, 0x200])), *counts) + body


@given(st.binary(max_size=400) | raw_packets())
def test_rubbish_never_raises_and_what_can_be_read_can_be_asked_about(packet: bytes) -> None:
    message = decode(packet)
    if message is not None:
        records = Records()
        records.hear(message, interface=1, scope="lo", source="127.0.0.1", now=0.0)
        find_panels(records)
        encode(Message(query=True, questions=tuple(find_questions(records))))
        encode(message)


@given(st.lists(RECORDS, max_size=12), st.data())
def test_wild_records_never_raise_and_a_spoiled_packet_neither(said: list[Record], data: st.DataObject) -> None:
    records = Records()
    for packet in encode(announcement(*said)):
        spoiled = bytearray(packet)
        for place in data.draw(st.lists(st.integers(0, len(packet) - 1), max_size=4)):
            spoiled[place] = data.draw(st.integers(0, 255))
        for candidate in (packet, bytes(spoiled), packet[: data.draw(st.integers(0, len(packet)))]):
            message = decode(candidate)
            if message is not None:
                records.hear(message, interface=1, scope="lo", source="127.0.0.1", now=0.0)
    for panel in find_panels(records).values():
        assert panel.serial_number
        assert panel.host in panel.addresses
    encode(Message(query=True, questions=tuple(find_questions(records))))


@given(st.lists(RECORDS, max_size=12))
def test_what_is_written_is_read(said: list[Record]) -> None:
    spelled = [record for record in said if not record.name.startswith(".")]
    spelled = [record for record in spelled if not str(getattr(record.data, "host", record.data)).startswith(".")]
    read = [
        record for packet in encode(announcement(*spelled)) for record in (decode(packet) or announcement()).answers
    ]
    assert read == spelled


def test_a_packet_as_long_as_may_be_is_read() -> None:
    long = Record(INFO, Kind.TXT, b"\xff" + b"x" * 255)
    packet = b"".join(encode(announcement(*[long] * 3)))
    assert len(packet) < MAX_PACKET
    assert decode(packet) is not None


@given(st.binary(max_size=300))
def test_any_text_is_read(data: bytes) -> None:
    for key, value in read_text(data).items():
        assert key == key.lower()
        assert value


def test_a_text_is_read_as_it_should_be() -> None:
    data = b"".join(map(label, [b"Model=A", b"model=B", b"bare", b"empty=", b"=value", b"bad=\xff", b"x=a=b", b""]))
    assert read_text(data + b"\x09cut=sho") == {
        "model": "A",
        "bad": "\N{REPLACEMENT CHARACTER}",
        "x": "a=b",
        "cut": "sho",
    }


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("span-nt-1-EBUS._ebus._tcp.local.", ("span-nt-1", "ebus")),
        ("Span-NT-1-http-api #12._HTTP._tcp.local.", ("span-nt-1", "http")),
        ("printer._http._tcp.local.", None),
        ("span-nt-1._http._tcp.local.", None),
        ("printer._ebus._tcp.local.", None),
        ("Bob's Mac._device-info._tcp.local.", ("bob's mac", "info")),
        ("span-nt-1._airplay._tcp.local.", None),
        ("_ebus._tcp.local.", None),
    ],
)
def test_names_are_taken_apart(name: str, parts: tuple[str, str] | None) -> None:
    instance = take_apart(name)
    assert (None if instance is None else (instance.base, instance.service)) == parts


@pytest.mark.parametrize("first", [b"span-\xff", b"span..x", b".", b"\xff" * 63])
def test_a_name_that_could_not_be_asked_about_is_dropped(first: bytes) -> None:
    name = label(first) + b"".join(map(label, (b"_device-info", b"_tcp", b"local"))) + b"\0"
    packet = struct.pack(">HHHHHH", 0, 0x8400, 0, 1, 0, 0) + name + struct.pack(">HHIH", 16, 1, 120, 1) + b"\0"
    message = decode(packet)
    assert message is not None
    assert message.answers == ()
