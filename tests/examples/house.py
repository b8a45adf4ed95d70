"""The house that the examples talk to: a recorded panel at every address, without a network.

An example opens its panel as a user would, at ``192.168.1.100``. What it gets is `Panel`, the recording of
`tests/captures` on a broker in memory, and its minute of live values is played while the example runs. An example that
never ends is stopped after `House.longest`, as ctrl-C would stop it. All that takes no real time: the clock is virtual
and jumps. (With `House.real_threads` it does not jump, but runs fast: other threads need some real time.)

A recording obeys nobody. An example that commands gets a simulated panel instead: `House.build`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import attrs
import outcome
import trio
import trustme
from trio.testing import MockClock

from span_trio import (
    HomieSchema,
    SpanCredentials,
    SpanPanelCertificateError,
    SpanPanelConnectionError,
    V2AuthResponse,
)
from span_trio.recording import Recorded, read_recording
from span_trio.simulator import CommandFaults, SimulatedPanel, built_in, open_simulated_panel
from tests.unit.link.broker import Broker, Connection, Kind, Packet
from tests.unit.mqtt import packets

__all__ = ["HOST", "PANELS", "STORES", "House", "recording"]

HOST: Final = "192.168.1.100"
PANELS: Final = {HOST: "nt-2143-c1akc", "192.168.1.101": "nt-2143-d2blc"}
"""Address -> serial number. At every other address is the first of them."""
STORES: Final = {"span.json": HOST, "house.json": HOST, "barn.json": "192.168.1.101"}
"""The files that a first start has left, and whose they are."""
CAPTURES: Final = Path(__file__).parents[1] / "captures"
NOON: Final = dt.datetime(2026, 6, 21, 19, tzinfo=dt.UTC)
"""Where the simulated house is."""
RECORDED_SERIAL: Final = "sim-32t-001"

trio_run = trio.run


@cache
def recording(serial_number: str) -> list[Recorded]:
    """The recording, as if of the panel with this serial number."""
    text = (CAPTURES / "flat32-a-cold.jsonl").read_text(encoding="utf-8")
    return list(read_recording(text.replace(RECORDED_SERIAL, serial_number).splitlines()))


@cache
def schema() -> HomieSchema:
    """What the panel's REST API tells."""
    text = (CAPTURES / "flat32.rest.homie-schema.json").read_text(encoding="utf-8")
    return HomieSchema.from_json(json.loads(text))


class Panel:
    """A panel that says what was recorded."""

    def __init__(self, serial_number: str) -> None:
        self._recording = recording(serial_number)
        self.broker = Broker({message.topic: message.payload for _, message in self._recording if message.retain})

    async def live(self, dies: bool) -> None:
        """Say the rest of it, each message when it came; then the last one, once a second, unless it dies."""
        began = trio.current_time()
        said = [recorded for recorded in self._recording if not recorded.message.retain]
        for t, message in said:
            await trio.sleep_until(began + t)
            self.broker.publish(message.topic, message.payload)
        while not dies:
            await trio.sleep(1)
            self.broker.publish(said[-1].message.topic, said[-1].message.payload)


@attrs.frozen
class RestClient:
    """What registering asks of a panel's REST API."""

    house: House
    host: str

    async def register(self, name: str, passphrase: str | None) -> V2AuthResponse:
        """As `span_trio.SpanRestClient.register`."""
        return await self.house.register_v2(self.host, name, passphrase, tls=None)


def _log_in(password: str, connection: Connection, packet: Packet) -> None:
    """Let in who knows the password."""
    granted = packet.texts[-1] == password
    connection.say(packets.connack(0 if granted else 5))
    if not granted:
        connection.hang_up()


@attrs.define
class House:
    """What there is on the network, and how an example is run in it. Hidden blocks in the pages may change it."""

    ca: trustme.CA
    real_threads: bool = False
    """Whether the example starts threads."""
    longest: float = 70.0
    """Seconds that an example may run."""
    hangs_up_after: float | None = None
    """How many seconds after the first subscription the brokers hang up."""
    away_for: float = 0.0
    """How many seconds their addresses refuse then."""
    spared: str | None = None
    """A host whose broker does not."""
    new_password: str | None = None
    """What the brokers ask for from then on: somebody has rotated the passphrase."""
    new_ca: trustme.CA | None = None
    """Whose certificates the panels have from then on."""
    dies: bool = False
    """Whether the panels say nothing more when the recording is over."""
    says: list[tuple[float, str, str]] = attrs.field(factory=list[tuple[float, str, str]])
    """What else the first panel publishes: when, in seconds, on which path below it, and what."""
    tunnel: int | None = None
    """A port on the loopback interface, behind which the panel is, with TLS and on a real clock."""
    build: int | None = None
    """The firmware of a simulated panel that stands at every address instead, and does as it is told."""
    command_faults: CommandFaults = attrs.field(factory=CommandFaults)
    """What is wrong with that."""
    simulated: SimulatedPanel | None = None
    panels: dict[str, Panel] = attrs.field(factory=dict[str, Panel])
    away: set[str] = attrs.field(factory=set[str])
    """The hosts that refuse now."""

    # --- in place of what would need a network ---

    async def dial(self, host: str, port: int, tls: ssl.SSLContext | None, **_: Any) -> trio.abc.Stream:
        """In place of `span_trio.link.dial`."""
        where = host if host in self.panels else HOST
        if where in self.away:
            raise SpanPanelConnectionError(f"connecting to {host}:{port} failed: [Errno 111] Connection refused")
        if tls is not None and ssl.PEM_cert_to_DER_cert(self.ca_pem) not in tls.get_ca_certs(binary_form=True):
            raise SpanPanelCertificateError(f"TLS with {host}:{port} failed: certificate verify failed")
        if self.simulated is not None:
            return await self.simulated.dial(host, port, tls)
        return await self.panels[where].broker.dial(host, port, tls)

    async def download_ca_cert(self, host: str, *, port: int = 80, patience: float = 0) -> str:
        """In place of `span_trio.rest.download_ca_cert`."""
        await trio.lowlevel.checkpoint()
        return self.ca_pem

    async def register_v2(
        self, host: str, name: str, passphrase: str | None = None, *, port: int = 443, tls: ssl.SSLContext | None
    ) -> V2AuthResponse:
        """In place of `span_trio.register_v2`."""
        await trio.lowlevel.checkpoint()
        serial_number = PANELS[host]
        return V2AuthResponse(
            serial_number=serial_number,
            hostname=f"span-{serial_number}.local",
            issued_at_ms=0,
            broker_username=serial_number,
            broker_host=host,
            mqtts_port=8883,
            ws_port=9001,
            wss_port=9002,
            access_token=name,
            broker_password=self.new_password or "secret",
            passphrase=passphrase,
        )

    @contextlib.asynccontextmanager
    async def rest_client(self, host: str, **_: Any) -> AsyncGenerator[RestClient, None]:
        """In place of `span_trio.SpanRestClient`."""
        await trio.lowlevel.checkpoint()
        yield RestClient(self, host)

    async def load_credentials(self, path: str) -> SpanCredentials | None:
        """In place of `span_trio.load_credentials`, which reads in a thread: the virtual clock would run away."""
        await trio.lowlevel.checkpoint()
        stored = SpanCredentials.from_json(Path(path).read_text(encoding="utf-8"))  # noqa: ASYNC240 - on purpose
        if self.simulated is None:
            return stored
        return attrs.evolve(stored, broker_password=self.simulated.credentials.broker_password)

    async def save_credentials(self, path: str, credentials: SpanCredentials) -> None:
        """In place of `span_trio.save_credentials`, likewise."""
        await trio.lowlevel.checkpoint()
        Path(path).write_text(credentials.to_json(), encoding="utf-8")  # noqa: ASYNC240 - on purpose

    async def get_homie_schema(self, host: str, *, port: int = 80, tls: ssl.SSLContext | None = None) -> HomieSchema:
        """In place of `span_trio.rest.get_homie_schema`."""
        await trio.lowlevel.checkpoint()
        return schema()

    @property
    def ca_pem(self) -> str:
        """The panels' CA certificate."""
        return self.ca.cert_pem.bytes().decode()

    # --- running ---

    def run(self, main: Callable[..., Awaitable[Any]], *args: Any, **options: Any) -> Any:
        """In place of `trio.run`: the panels are at work meanwhile."""
        if "clock" not in options and self.tunnel is None:
            options["clock"] = MockClock(rate=5) if self.real_threads else MockClock(autojump_threshold=0)
        return trio_run(partial(self._with_panels, main, *args), **options).unwrap()

    async def _with_panels(self, main: Callable[..., Awaitable[Any]], *args: Any) -> outcome.Outcome[Any]:
        async def for_a_while() -> Any:
            with trio.move_on_after(self.longest):
                return await main(*args)

        self.panels = {host: Panel(serial_number) for host, serial_number in PANELS.items()}
        self.away = set()
        async with trio.open_nursery() as nursery:
            for panel in self.panels.values():
                nursery.start_soon(panel.live, self.dies)
            nursery.start_soon(self._hang_up)
            for said in self.says:
                nursery.start_soon(self._say, *said)
            async with self._tunnel(nursery), self._simulation():
                done = await outcome.acapture(for_a_while)
            nursery.cancel_scope.cancel()
        return done

    async def _say(self, t: float, path: str, payload: str) -> None:
        await trio.sleep(t)
        self.panels[HOST].broker.publish(f"ebus/5/{PANELS[HOST]}/{path}", payload)

    async def _hang_up(self) -> None:
        if self.hangs_up_after is None:
            return
        while not any(connection.filters for connection in self.connections()):  # noqa: ASYNC110 - virtual time
            await trio.sleep(0.1)
        await trio.sleep(self.hangs_up_after)
        self.ca = self.new_ca or self.ca
        hit = self.panels.keys() - {self.spared}
        self.away = hit if self.away_for else set[str]()
        for host in hit:
            broker = self.panels[host].broker
            if self.new_password is not None:
                broker.instead[Kind.CONNECT] = partial(_log_in, self.new_password)
            for connection in broker.connections:
                connection.hang_up()
        await trio.sleep(self.away_for)
        self.away = set()

    def connections(self) -> list[Connection]:
        """Those of the present example, to whichever panel."""
        return [connection for panel in self.panels.values() for connection in panel.broker.connections]

    @contextlib.asynccontextmanager
    async def _simulation(self) -> AsyncGenerator[None, None]:
        if self.build is None:
            yield
            return
        spec = attrs.evolve(built_in("32"), serial_number=PANELS[HOST])
        async with open_simulated_panel(spec, build=self.build, at=NOON) as simulated:
            simulated.command_faults = self.command_faults
            self.simulated = simulated
            yield
            self.simulated = None

    @contextlib.asynccontextmanager
    async def _tunnel(self, nursery: trio.Nursery) -> AsyncGenerator[None, None]:
        if self.tunnel is not None:
            server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.ca.issue_cert(HOST).configure_cert(server)
            serve = partial(trio.serve_ssl_over_tcp, self._serve, self.tunnel, server, host="127.0.0.1")
            await nursery.start(serve)
        yield

    async def _serve(self, stream: trio.abc.Stream) -> None:
        with contextlib.suppress(trio.BrokenResourceError):  # a client may hang up without ceremony
            await self.panels[HOST].broker.serve(stream)
