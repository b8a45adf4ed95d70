"""A program that uses everything public, as its author's type checkers see it. Never run."""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Literal, assert_type

import trio

from span_trio import (
    AdoptedDevice,
    AdoptedProperty,
    Change,
    CommunicationState,
    ConnectionEdge,
    ConnectionReason,
    DetectionResult,
    DominantPowerSource,
    DoorState,
    DsmState,
    EvseStatus,
    ExtensionProperty,
    FeedsRole,
    FieldMetadata,
    FieldPresence,
    ForecastConfidence,
    GridState,
    HomieSchema,
    Instant,
    IslandingAssertion,
    LimitEnablement,
    LinkStatus,
    LockState,
    MidGridState,
    Obstacle,
    PanelOptions,
    PanelStatistics,
    PhaseDistribution,
    RegisteredClient,
    RelativePosition,
    RelayRequester,
    RelayState,
    RotatedPassphrase,
    RunConfig,
    SchemaChange,
    SchemaChangeKind,
    ShedPriority,
    SpanBatterySnapshot,
    SpanCircuitSnapshot,
    SpanConnectionSnapshot,
    SpanCredentials,
    SpanEvseSnapshot,
    SpanMidSnapshot,
    SpanPanel,
    SpanPanelAPIError,
    SpanPanelAuthError,
    SpanPanelCertificateError,
    SpanPanelClosedError,
    SpanPanelConnectionError,
    SpanPanelDataModelError,
    SpanPanelError,
    SpanPanelFaultError,
    SpanPanelInternalError,
    SpanPanelOutcomeUnknownError,
    SpanPanelPrivilegeError,
    SpanPanelRateLimitError,
    SpanPanelServerError,
    SpanPanelSnapshot,
    SpanPanelStaleDataError,
    SpanPanelTimeoutError,
    SpanPanelUnsupportedError,
    SpanPanelUpdate,
    SpanPanelValidationError,
    SpanPcsSnapshot,
    SpanPVSnapshot,
    SpanRestClient,
    V2AuthResponse,
    V2StatusInfo,
    VendorCloud,
    are_tabs_opposite_phase,
    delete_client,
    delete_fqdn,
    detect_api_version,
    download_ca_cert,
    fetch_snapshot,
    get_client,
    get_fqdn,
    get_homie_schema,
    get_phase_distribution,
    get_tab_phase,
    get_v2_status,
    group_by_meter,
    list_clients,
    load_credentials,
    open_span_panel,
    regenerate_passphrase,
    register_fqdn,
    register_v2,
    save_credentials,
    schema_changes,
    suggest_balanced_pairing,
    validate_solar_tabs,
)
from span_trio.broadcast import EdgeReader, UpdateReader, ValueReader
from span_trio.frozenmap import FrozenMap

# --- opening ---


def settings() -> tuple[SpanCredentials, PanelOptions]:
    credentials = SpanCredentials(
        serial_number="nt-2143-c1akc",
        broker_username=None,
        broker_password="secret",
        ca_pem="-----BEGIN CERTIFICATE-----",
        access_token=None,
        passphrase=None,
    )
    assert_type(credentials.serial_number, str | None)
    assert_type(credentials.broker_password, str | None)
    assert_type(credentials.login, tuple[str | None, str | None])
    assert_type(credentials.to_json(), str)
    assert_type(SpanCredentials.from_json("{}"), SpanCredentials)
    options = PanelOptions(
        transport="mqtt",
        mqtt_port=1883,
        mqtts_port=8883,
        ws_port=None,
        wss_port=9002,
        websocket_path="/mqtt",
        source="bridge",
        max_silence=60,
        auth_grace=900,
        on_ca_change="wait",
        edges_held=16,
        http_port=80,
        https_port=443,
        ca_sha256=None,
        domain="ebus",
        schema=HomieSchema(),
        fetch_schema=False,
        snapshot_interval=0.5,
        ready_timeout=10,
        keepalive=8,
        max_packet=2**20,
    )
    assert_type(options.transport, Literal["mqtts", "mqtt", "wss", "ws"])
    assert_type(options.source, Literal["panel", "bridge"])
    assert_type(options.on_ca_change, Literal["raise", "wait"])
    assert_type(options.max_silence, float)
    assert_type(options.snapshot_interval, float)
    assert_type(options.keepalive, int)
    assert_type(options.ca_sha256, str | None)
    return credentials, options


def wrong_settings() -> None:
    PanelOptions(transport="tcp")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    PanelOptions("mqtt")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    PanelOptions(snapshot_interval="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    PanelOptions().domain = "home"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    PanelOptions(source="broker")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    SpanCredentials(serial_number=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_span_panel("host", SpanCredentials())  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def tunnel(host: str, port: int, tls: ssl.SSLContext | None) -> trio.abc.Stream:
    assert_type(tls, ssl.SSLContext | None)
    return await trio.open_tcp_stream(host, port)


async def use() -> None:
    credentials, options = settings()
    opening = open_span_panel("192.168.1.100", credentials=credentials, options=options, dialer=tunnel)
    managed: AbstractAsyncContextManager[SpanPanel] = opening
    async with managed as panel:
        assert_type(panel, SpanPanel)
        assert_type(panel.host, str)
        assert_type(panel.serial_number, str)
        assert_type(panel.snapshot, SpanPanelSnapshot)
        assert_type(panel.live, bool)
        assert_type(panel.live_since, Instant | None)
        assert_type(panel.obstacle, Obstacle | None)
        assert_type(await panel.ping(), float)
        assert_type(panel.snapshot_interval, float)
        panel.snapshot_interval = 2
        panel.live = True  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
        counters(panel.statistics())
        reader = panel.snapshots()
        assert_type(reader, ValueReader[SpanPanelSnapshot, ConnectionEdge])
        assert_type(reader.skipped, int)
        async for snapshot in reader:
            assert_type(snapshot, SpanPanelSnapshot)
            look(snapshot)
            break
        await follow(panel)
        await waiting(panel)
    async with open_span_panel("192.168.1.100", store=Path("span.json"), passphrase="secret") as panel:
        assert_type(panel, SpanPanel)
    async with open_span_panel("192.168.1.100", credentials=fetched) as panel:
        assert_type(panel, SpanPanel)
    assert_type(await fetch_snapshot("192.168.1.100"), SpanPanelSnapshot)
    await fetch_snapshot("192.168.1.100", credentials=credentials, options=options, dialer=tunnel)


async def fetched() -> SpanCredentials:
    await trio.lowlevel.checkpoint()
    return SpanCredentials()


# --- following ---


async def follow(panel: SpanPanel) -> None:
    edges = panel.edges()
    assert_type(edges, EdgeReader[SpanPanelSnapshot, ConnectionEdge])
    assert_type(edges.missed, int)
    async for edge in edges:
        assert_type(edge, ConnectionEdge)
        told(edge)
        break
    updates = panel.updates()
    assert_type(updates, UpdateReader[SpanPanelSnapshot, ConnectionEdge])
    assert_type((updates.missed, updates.skipped), tuple[int, int])
    async for update in updates:
        assert_type(update, SpanPanelSnapshot | ConnectionEdge)
        named: SpanPanelUpdate = update
        matched(named)
        branched(named)


def matched(update: SpanPanelUpdate) -> str:
    match update:
        case ConnectionEdge(online=True):
            assert_type(update, ConnectionEdge)
            return "online"
        case ConnectionEdge(reason=ConnectionReason.DEVICE_STATE, state=state):
            assert_type(state, str | None)
            return state or "not published"
        case ConnectionEdge(reason=reason):
            assert_type(reason, ConnectionReason)
            return reason
        case SpanPanelSnapshot():
            assert_type(update, SpanPanelSnapshot)
            return update.serial_number
    # No return here: that these are all is for the type checkers to find.


def branched(update: SpanPanelUpdate) -> None:
    if isinstance(update, ConnectionEdge):
        assert_type(update, ConnectionEdge)
    else:
        assert_type(update, SpanPanelSnapshot)


def told(edge: ConnectionEdge) -> None:
    assert_type(edge.online, bool)
    assert_type(edge.reason, ConnectionReason)
    assert_type(edge.detail, str)
    assert_type(edge.state, str | None)
    assert_type(edge.epoch, int)
    assert_type(edge.at, Instant)
    assert_type(edge.at.monotonic, float)
    assert_type(edge.missed, int)
    edge.online = False  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def advice(reason: ConnectionReason) -> str:
    """Every member; the set is closed, and type checkers know it."""
    match reason:
        case ConnectionReason.UNREACHABLE | ConnectionReason.LINK_LOST | ConnectionReason.SILENT_PEER:
            return "look at the network"
        case ConnectionReason.CERTIFICATE | ConnectionReason.CA_CHANGED | ConnectionReason.REFUSED:
            return "look at the credentials"
        case ConnectionReason.PROGRAM_PAUSED:
            return "find what blocks the loop"
        case ConnectionReason.CONFLICT:
            return "give each panel a prefix of its own"
        case ConnectionReason.PROTOCOL_ERROR:
            return "look at the broker"
        case ConnectionReason.REPLAY | ConnectionReason.UNCONFIRMED | ConnectionReason.PENDING_DEVICE:
            return "wait"
        case ConnectionReason.DEVICE_STATE | ConnectionReason.SILENT_PANEL | ConnectionReason.DATA_MODEL:
            return "look at the panel"
        case ConnectionReason.LIVE:
            text: str = reason
            return text


async def waiting(panel: SpanPanel) -> None:
    await panel.wait_live()
    await panel.wait_live(held_for=5)
    snapshot = await panel.wait_for(lambda seen: (seen.instant_grid_power_w or 0.0) > 0.0, held_for=2.5)
    assert_type(snapshot, SpanPanelSnapshot)
    await panel.wait_for(lambda seen: seen.nonsense)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownLambdaType, reportUnknownMemberType]
    if panel.obstacle is not None:
        reason, detail = panel.obstacle
        assert_type(reason, ConnectionReason)
        assert_type(detail, str)


def metadata(panel: SpanPanel) -> str:
    found = panel.field_metadata()["circuit.instant_power_w"]
    assert_type(found, FieldMetadata)
    assert_type(found.unit, str | None)
    assert_type(found.datatype, str | None)
    match found.presence:
        case FieldPresence.DECLARED:
            return "declared"
        case FieldPresence.UNDECLARED | FieldPresence.NO_DEVICE:
            return "not"


def counters(statistics: PanelStatistics) -> None:
    assert_type(statistics.data_model, str | None)
    assert_type(statistics.messages, int)
    assert_type(statistics.bytes_received, int)
    assert_type(statistics.bytes_sent, int)
    assert_type(statistics.dropped, Mapping[str, int])
    assert_type(statistics.snapshots, int)
    assert_type(statistics.epochs, int)
    assert_type(statistics.replays_assumed, int)
    assert_type(statistics.devices, int)
    assert_type(statistics.topics, int)
    assert_type(statistics.last_message_age, float | None)


async def rest(context: ssl.SSLContext) -> None:
    assert_type(await download_ca_cert("192.168.1.100", port=80), str)
    schema = await get_homie_schema("192.168.1.100", port=443, tls=context)
    assert_type(schema, HomieSchema)
    assert_type(schema.panel_size, int | None)
    assert_type(schema.firmware_version, str | None)
    assert_type(HomieSchema.from_json({}), HomieSchema)
    status = await get_v2_status("192.168.1.100")
    assert_type(status, V2StatusInfo)
    assert_type(status.serial_number, str)
    assert_type(status.proximity_proven, bool | None)


async def register(context: ssl.SSLContext) -> None:
    answer = await register_v2("192.168.1.100", "a-name", "secret", port=443, tls=context)
    assert_type(answer, V2AuthResponse)
    assert_type(answer.access_token, str)
    assert_type(answer.broker_password, str | None)
    credentials = answer.credentials(ca_pem="-----BEGIN CERTIFICATE-----")
    assert_type(credentials, SpanCredentials)
    assert_type(credentials.mqtts_port, int | None)
    await save_credentials("span.json", credentials)
    await save_credentials(Path("span.json"), credentials)
    assert_type(await load_credentials("span.json"), SpanCredentials | None)


async def rest_client(context: ssl.SSLContext) -> None:
    async with SpanRestClient(
        "192.168.1.100", ca_pem="-----BEGIN CERTIFICATE-----", token="ey", http_port=80, https_port=443, timeout=5
    ) as panel:
        assert_type(panel, SpanRestClient)
        assert_type(await panel.get_status(), V2StatusInfo)
        assert_type(await panel.download_ca_cert(), str)
        assert_type(await panel.get_schema(), HomieSchema)
        assert_type(await panel.register("a-name", "secret"), V2AuthResponse)
        assert_type(await panel.list_clients(), tuple[RegisteredClient, ...])
        assert_type(await panel.get_client("a-name"), RegisteredClient)
        assert_type(await panel.delete_client("a-name"), RegisteredClient)
        assert_type(await panel.regenerate_passphrase(), RotatedPassphrase)
        assert_type(await panel.get_fqdn(), str | None)
        assert_type(await panel.register_fqdn("panel.home"), str | None)
        await panel.delete_fqdn()
    async with SpanRestClient("127.0.0.1", tls=None, insecure=True, patience=0):
        pass
    async with SpanRestClient("127.0.0.1", tls=context, timeout=None):
        pass


async def one_call(context: ssl.SSLContext, ca_pem: str | None) -> None:
    found = await detect_api_version("192.168.1.100", port=80, timeout=2)
    assert_type(found, DetectionResult)
    assert_type(found.api_version, Literal["v1", "v2"] | None)
    assert_type(found.status_info, V2StatusInfo | None)
    assert_type(found.error, SpanPanelError | None)
    assert_type(found.probe_failed, bool)
    (client,) = await list_clients("192.168.1.100", "ey", ca_pem=ca_pem)
    assert_type(client.description, str | None)
    assert_type(client.issued_at, int | None)
    assert_type(client.allowed_endpoint_groups, Mapping[str, tuple[str, ...]])
    assert_type(await get_client("192.168.1.100", "ey", "a-name", tls=context), RegisteredClient)
    assert_type(await delete_client("192.168.1.100", "ey", "a-name", tls=context, port=8443), RegisteredClient)
    rotated = await regenerate_passphrase("192.168.1.100", "ey", insecure=True)
    assert_type(rotated.broker_password, str)
    assert_type(rotated.passphrase, str)
    assert_type(await register_fqdn("192.168.1.100", "ey", "panel.home", ca_pem=ca_pem), str | None)
    assert_type(await get_fqdn("192.168.1.100", "ey", ca_pem=ca_pem, patience=0), str | None)
    await delete_fqdn("192.168.1.100", "ey", ca_pem=ca_pem)


def upgraded(old: HomieSchema, new: HomieSchema) -> Iterator[str]:
    assert_type(schema_changes(old, new), tuple[SchemaChange, ...])
    for change in schema_changes(old, new):
        assert_type(change.kind, SchemaChangeKind)
        assert_type(change.attribute, str | None)
        assert_type(change.old, str | bool | None)
        yield change.path


async def refused(panel: SpanRestClient) -> float | None:
    try:
        await panel.regenerate_passphrase()
    except (SpanPanelPrivilegeError, SpanPanelUnsupportedError, SpanPanelFaultError):
        return None
    except SpanPanelOutcomeUnknownError as error:
        assert_type(error.status, int | None)
    except SpanPanelRateLimitError as error:
        assert_type(error.retry_after, float | None)
        return error.retry_after
    return 0


# --- what can go wrong ---


async def careful() -> SpanPanelSnapshot | None:
    await trio.lowlevel.checkpoint()
    try:
        return await fetch_snapshot("192.168.1.100")
    except SpanPanelAuthError:
        return None
    except SpanPanelTimeoutError as error:
        assert_type(error.missing, tuple[str, ...])
    except SpanPanelStaleDataError as error:
        assert_type(error.reason, ConnectionReason)
        assert_type(error.detail, str)
    except SpanPanelServerError as error:
        assert_type(error.status, int | None)
    except SpanPanelAPIError as error:
        assert_type(error.endpoint, str)
    except SpanPanelCertificateError as error:
        assert_type(error.trusted_sha256, str | None)
        assert_type(error.advertised_sha256, str | None)
        assert_type(error.answered, bool)
    except SpanPanelDataModelError as error:
        assert_type(error.version, str)
    except (SpanPanelConnectionError, SpanPanelClosedError, SpanPanelInternalError) as error:
        base: SpanPanelError = error
        raise base from None
    except SpanPanelValidationError as error:
        meant: ValueError = error
        raise meant from None
    return None


# --- what a snapshot holds ---


def look(snapshot: SpanPanelSnapshot) -> None:
    assert_type(snapshot.serial_number, str)
    assert_type(snapshot.firmware_version, str | None)
    assert_type(snapshot.main_relay_state, RelayState | str)
    assert_type(snapshot.door_state, DoorState | str)
    assert_type(snapshot.vendor_cloud, VendorCloud | str | None)
    assert_type(snapshot.dominant_power_source, DominantPowerSource | str | None)
    assert_type(snapshot.grid_state, GridState | str | None)
    assert_type(snapshot.dsm_state, DsmState | str)
    assert_type(snapshot.current_run_config, RunConfig | str)
    assert_type(snapshot.instant_grid_power_w, float | None)
    assert_type(snapshot.panel_size, int | None)
    assert_type(snapshot.first_position, int | None)
    assert_type(snapshot.asserted_islanding_state, IslandingAssertion | str | None)
    assert_type(snapshot.upstream_fed_by, SpanConnectionSnapshot | None)
    assert_type(snapshot.alerts, FrozenMap[str, FrozenMap[str, str]])
    assert_type(snapshot.unmapped_tabs, tuple[int, ...])
    assert_type(snapshot.circuits, FrozenMap[str, SpanCircuitSnapshot])
    assert_type(snapshot.battery, SpanBatterySnapshot | None)
    assert_type(snapshot.pv, SpanPVSnapshot | None)
    assert_type(snapshot.pv_inverters, FrozenMap[str, SpanPVSnapshot])
    assert_type(snapshot.evse, FrozenMap[str, SpanEvseSnapshot])
    assert_type(snapshot.pcs, SpanPcsSnapshot | None)
    assert_type(snapshot.mid, SpanMidSnapshot | None)
    assert_type(snapshot.shed_forecast_confidence, ForecastConfidence | str | None)
    assert_type(snapshot.adopted_devices, tuple[AdoptedDevice, ...])
    assert_type(snapshot.extension_properties, tuple[ExtensionProperty, ...])
    assert_type(snapshot.pending_devices, tuple[str, ...])
    assert_type(snapshot.seq, int)
    assert_type(snapshot.epoch, int)
    assert_type(snapshot.received_at, Instant)
    assert_type(snapshot.received_at.wall, float)
    assert_type(snapshot.to_dict(), dict[str, Any])
    assert_type(SpanPanelSnapshot.from_dict({}), SpanPanelSnapshot)
    assert_type(snapshot.unmapped_circuits(), FrozenMap[str, SpanCircuitSnapshot])
    snapshot.serial_number = "x"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    assert_type(group_by_meter(snapshot.circuits), tuple[tuple[SpanCircuitSnapshot, ...], ...])
    for circuit_id, circuit in snapshot.circuits.items():
        assert_type(circuit_id, str)
        parts(circuit)


def parts(circuit: SpanCircuitSnapshot) -> None:
    assert_type(circuit.relay_state, RelayState | str)
    assert_type(circuit.relay_requester, RelayRequester | str)
    assert_type(circuit.priority, ShedPriority | str)
    assert_type(circuit.instant_power_w, float | None)
    assert_type(circuit.tabs, tuple[int, ...])
    assert_type(circuit.measures_outside_panel, bool)
    assert_type(circuit.relay_shared_with, tuple[str, ...] | None)
    assert_type(circuit.feeds_role, FeedsRole | str | None)
    if circuit.feeds is not None:
        assert_type(circuit.feeds.status, LinkStatus | str | None)
    assert_type(circuit.device_type, Literal["circuit", "pv", "evse"])
    assert_type(circuit.relative_position, RelativePosition | str | None)
    assert_type(RelayState.of(circuit.relay_state), RelayState)
    wire_text: str = RelayState.CLOSED
    assert_type(circuit.relay_state == wire_text, bool)


def devices(
    battery: SpanBatterySnapshot, charger: SpanEvseSnapshot, mid: SpanMidSnapshot, pcs: SpanPcsSnapshot
) -> None:
    assert_type(battery.communication_state, CommunicationState | str | None)
    assert_type(battery.soc_percentage, float | None)
    assert_type(charger.status, EvseStatus | str)
    assert_type(charger.lock_state, LockState | str)
    assert_type(mid.grid_state, MidGridState | str | None)
    assert_type(pcs.feed_import_limit_enablement, LimitEnablement | str | None)


def strangers(device: AdoptedDevice, extension: ExtensionProperty) -> None:
    assert_type(device.properties, tuple[AdoptedProperty, ...])
    assert_type(extension.value, str | None)


def compare(new: SpanPanelSnapshot, old: SpanPanelSnapshot) -> None:
    changes = new.changes(old)
    assert_type(changes, Iterator[Change])
    for change in changes:
        assert_type(change.path, tuple[str, ...])
    for path, _, _ in new.changes(old):
        assert_type(".".join(path), str)


# --- phases ---


def phases(tabs: list[int]) -> None:
    assert_type(are_tabs_opposite_phase(1, 3), bool)
    assert_type(get_tab_phase(1), Literal["L1", "L2"])
    assert_type(get_phase_distribution(tabs), PhaseDistribution)
    assert_type(suggest_balanced_pairing(tabs), list[tuple[int, int]])
    assert_type(validate_solar_tabs(1, 3), tuple[bool, str])
