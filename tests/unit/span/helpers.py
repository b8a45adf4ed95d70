"""A flat panel on the bench: describe it, publish to it, look at its snapshot.

`FlatPanel` is a panel whose messages a test writes, with a forest and a builder behind it. `HOUSE` is one of
everything; `VALUES` says what each of its properties publishes and where that must show, one line each.
"""

import functools
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from span_trio.homie import Fallback, Forest, Instant, Message
from span_trio.snapshot import SpanPanelSnapshot
from span_trio.span import FLAT, FlatBuilder, HomieSchema

ROOT: Final = "nt-2143-c1akc"
KITCHEN: Final = "ac3dccda46a94b98878a227df6fed588"
SOLAR: Final = "770e2de52c33508a8a9ee8878064b46f"
GARAGE: Final = "9429f828509e58d59cb5f0f9f5fee523"
DRIVE: Final = "sd-2231-00042"  # on hardware, the node id of a SPAN Drive is its serial number

_ENABLEMENT = "UNSPECIFIED,UNCONFIGURED,DISABLED,ENABLED"
_POSITION = "UPSTREAM,DOWNSTREAM,IN_PANEL"
_MAKER = "vendor-name string|product-name string|serial-number string|software-version string"

# What r202627 declares: id, datatype, and what else there is, a property each.
_DECLARED: Final = {
    "distribution-enclosure.core": """
        vendor-name string|serial-number string|hardware-version string|software-version string|wifi-ssid string
        model enum format=MAIN_16,MLO_24,MAIN_32,MAIN_40,MLO_48|door enum format=UNKNOWN,OPEN,CLOSED
        grid-islandable boolean|ethernet boolean|wifi boolean|relay enum format=UNKNOWN,OPEN,CLOSED
        dominant-power-source enum format=GRID,BATTERY,PV,GENERATOR,NONE,UNKNOWN settable
        l1-voltage float unit=V|l2-voltage float unit=V|breaker-rating integer unit=A
        vendor-cloud enum format=UNKNOWN,UNCONNECTED,CONNECTED|postal-code string|time-zone string""",
    "lugs": """
        direction enum format=UPSTREAM,DOWNSTREAM|feed string|l1-current float unit=A|l2-current float unit=A
        active-power float unit=W|imported-energy float unit=Wh|exported-energy float unit=Wh""",
    "circuit": """
        name string|relay enum format=UNKNOWN,OPEN,CLOSED settable|breaker-rating integer unit=A|current float unit=A
        relay-requester enum format=UNKNOWN,NONE,BACKUP,USER,PCS,PCS_FAIL_SAFE,ALWAYS_ON,NEVER_BACKUP,INVERTER,FAULT
        active-power float unit=W|imported-energy float unit=Wh|exported-energy float unit=Wh|dipole boolean
        space integer format=1:32:1|shed-priority enum format=UNKNOWN,OFF_GRID,SOC_THRESHOLD,NEVER settable
        pcs-managed boolean|pcs-priority integer|sheddable boolean|never-backup boolean|always-on boolean""",
    "bess": f"""
        {_MAKER}|model string|nameplate-capacity float unit=kWh|relative-position enum format={_POSITION}|feed enum
        soc float unit=%|soe float unit=kWh|connected boolean|grid-state enum format=UNKNOWN,ON_GRID,OFF_GRID""",
    "pv": f"""
        {_MAKER}|nameplate-capacity float unit=W|relative-position enum format={_POSITION}|feed enum""",
    "evse": f"""
        {_MAKER}|part-number string|feed enum|lock-state enum format=UNLOCKED,LOCKED|advertised-current float unit=A
        status enum format=AVAILABLE,PREPARING,CHARGING,UNAVAILABLE
        max-charge-current integer unit=A|user-max-charge-current integer unit=A settable""",
    "pcs": "enabled boolean|active boolean|import-limit float unit=A|"
    + "|".join(
        f"{limit} float unit=A|{limit}-enablement enum format={_ENABLEMENT}|{limit}-active boolean"
        for limit in ("feed-import-limit", "grid-import-limit", "off-grid-import-limit", "requested-import-limit")
    ),
    "power-flows": "pv float unit=W|battery float unit=W|grid float unit=W|site float unit=W",
}
_DECLARED["lugs.upstream"] = _DECLARED["lugs.downstream"] = _DECLARED["lugs"]

HOUSE: Final[Mapping[str, str]] = {
    "core": "distribution-enclosure.core",
    "lugs-upstream": "lugs",
    "lugs-downstream": "lugs",
    KITCHEN: "circuit",
    SOLAR: "circuit",
    GARAGE: "circuit",
    "bess": "bess",
    "pv": "pv",
    DRIVE: "evse",
    "pcs": "pcs",
    "power-flows": "power-flows",
}
"""Node id -> type (without what all types begin with): one of everything, and three circuits."""
SMALL: Final[Mapping[str, str]] = {"core": HOUSE["core"], KITCHEN: "circuit"}


@functools.cache
def declarations(kind: str) -> Mapping[str, dict[str, Any]]:
    """The properties of a node type, as a `$description` and the REST schema declare them."""
    declared: dict[str, dict[str, Any]] = {}
    for line in _DECLARED[kind].replace("\n", "|").split("|"):
        if line.strip():
            name, datatype, *more = line.split()
            pairs = dict(item.split("=") for item in more if item != "settable")
            declared[name] = {"datatype": datatype, **pairs, **({"settable": True} if "settable" in more else {})}
    return declared


def describe(nodes: Mapping[str, str], *, bare: bool = False, **overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A panel's `$description`, in full as r202627 publishes it, or bare as public simulators do.

    `overrides`: node type -> property id -> declaration, to be merged into those of r202627.
    """
    if bare:
        return {"nodes": {node: {"type": f"energy.ebus.device.{kind}"} for node, kind in nodes.items()}}
    return {
        "homie": "5.0",
        "version": 1787880675281,
        "type": "energy.ebus.device.distribution-enclosure",
        "name": "SPAN Panel eBus Adapter",
        "nodes": {
            node: {
                "type": f"energy.ebus.device.{kind}",
                "properties": {**declarations(kind), **overrides.get(kind.replace(".", "_"), {})},
            }
            for node, kind in nodes.items()
        },
    }


class FlatPanel:
    """A flat panel with a forest and a builder behind it. `publish` what you like, then look at the `snapshot`."""

    def __init__(
        self,
        nodes: Mapping[str, str] = HOUSE,
        *,
        bare: bool = False,
        fallback: Fallback = FLAT,
        schema: HomieSchema | None = None,
        **overrides: Mapping[str, Any],
    ) -> None:
        self.forest = Forest("ebus", fallback=fallback)
        self.builder = FlatBuilder(ROOT, schema)
        self.seq = 0
        self.message("$state", "ready")
        self.message("$description", json.dumps(describe(nodes, bare=bare, **overrides)))

    def message(
        self, path: str, payload: str | bytes, *, retain: bool = False, at: float = 0.0, device: str = ROOT
    ) -> None:
        """Publish to `path` below the device, at `at` (Unix s)."""
        data = payload.encode() if isinstance(payload, str) else payload
        self.forest.absorb(Message(f"ebus/5/{device}/{path}", data, retain), at)

    def publish(
        self, node: str, values: Mapping[str, str | bytes] | None = None, /, **more: str | bytes
    ) -> SpanPanelSnapshot:
        """Publish properties of a node (keywords: `_` for `-`) and look."""
        for name, payload in {
            **(values or {}),
            **{name.replace("_", "-"): value for name, value in more.items()},
        }.items():
            self.message(f"{node}/{name}", payload)
        return self.snapshot()

    def redescribe(self, nodes: Mapping[str, str], **options: Any) -> SpanPanelSnapshot:
        """Publish a new description and look."""
        self.message("$description", json.dumps(describe(nodes, **options)))
        return self.snapshot()

    def snapshot(self) -> SpanPanelSnapshot:
        """A snapshot of now, incremental."""
        self.seq += 1
        return self._build(self.builder)

    def from_scratch(self) -> SpanPanelSnapshot:
        """A snapshot of now by a builder that has seen nothing before; leaves what is dirty alone."""
        return self._build(FlatBuilder(ROOT, self.builder.schema), peek=True)

    def _build(self, builder: FlatBuilder, *, peek: bool = False) -> SpanPanelSnapshot:
        dirty = self.forest.dirty if peek else self.forest.take_dirty()
        now = Instant(float(self.seq), 0.0)
        return builder.build(self.forest, dirty, pending=(), seq=self.seq, epoch=1, received_at=now)


def look(snapshot: Any, path: Iterable[str]) -> Any:
    """What stands at a path of field names and keys, as `Change.path` has them."""
    for step in path:
        snapshot = snapshot[step] if isinstance(snapshot, Mapping) else getattr(snapshot, step)
    return snapshot


class Line(NamedTuple):
    """A property of `HOUSE`: what it publishes, where that shows as what; and another payload, and how that shows."""

    topic: str
    payload: str
    path: tuple[str, ...]
    shows: Any
    other: str
    shows_then: Any


def _lines(node: str, at: tuple[str, ...], table: str) -> list[Line]:
    """Rows of `property | field | payload => what it shows as | another payload => …`; no `=>`: shows as it stands."""
    lines: list[Line] = []
    for row in table.strip().splitlines():
        name, field, first, second = (cell.strip() for cell in row.split("|"))
        payload, shows = _read(first)
        lines.append(Line(f"{node}/{name}", payload, (*at, field), shows, *_read(second)))
    return lines


def _read(cell: str) -> tuple[str, Any]:
    payload, _, shows = cell.partition(" => ")
    try:
        return payload, json.loads(shows or payload)  # numbers, true, false …
    except ValueError:
        return payload, shows or payload


# A value of its own for every property that can have one, so that none can stand in another's place unnoticed.
VALUES: Final[list[Line]] = [
    *_lines(
        "core",
        (),
        """
        serial-number         | serial_number         | nt-2143-c1akd      | nt-2
        software-version      | firmware_version      | spanos2/r202627/05 | x/y
        vendor-name           | vendor_name           | SPAN               | Span
        model                 | model                 | MAIN_32            | MAIN_40
        hardware-version      | hardware_version      | H201               | H202
        relay                 | main_relay_state      | CLOSED             | OPEN
        door                  | door_state            | OPEN               | CLOSED
        ethernet              | eth0_link             | true               | false
        wifi                  | wlan_link             | false              | true
        vendor-cloud          | vendor_cloud          | CONNECTED          | UNCONNECTED
        l1-voltage            | l1_voltage            | 121.25             | 0 => 0.0
        l2-voltage            | l2_voltage            | 119.5              | 118 => 118.0
        breaker-rating        | main_breaker_rating_a | 200                | 150
        dominant-power-source | dominant_power_source | BATTERY            | GENERATOR
        grid-islandable       | grid_islandable       | true               | false
        """,
    ),
    *_lines(
        "lugs-upstream",
        (),
        """
        active-power    | instant_grid_power_w          | 3001.5     | -4 => -4.0
        imported-energy | main_meter_energy_consumed_wh | 8000001.25 | 0 => 0.0
        exported-energy | main_meter_energy_produced_wh | 8000002.5  | 1 => 1.0
        l1-current      | upstream_l1_current_a         | 12.25      | 2 => 2.0
        l2-current      | upstream_l2_current_a         | 13.25      | 3 => 3.0
        """,
    ),
    *_lines(
        "lugs-downstream",
        (),
        """
        active-power    | feedthrough_power_w            | 501.5              | -5 => -5.0
        imported-energy | feedthrough_energy_consumed_wh | 700001 => 700001.0 | 4 => 4.0
        exported-energy | feedthrough_energy_produced_wh | 700002 => 700002.0 | 5 => 5.0
        l1-current      | downstream_l1_current_a        | 14.25              | 6 => 6.0
        l2-current      | downstream_l2_current_a        | 15.25              | 7 => 7.0
        """,
    ),
    *_lines(
        "power-flows",
        (),
        """
        pv      | power_flow_pv      | -2001.5 | 1 => 1.0
        battery | power_flow_battery | 1502.5  | 2 => 2.0
        grid    | power_flow_grid    | -3003.5 | 3 => 3.0
        site    | power_flow_site    | 3502.5  | 4 => 4.0
        """,
    ),
    *_lines(
        KITCHEN,
        ("circuits", KITCHEN),
        """
        name                  | name               | Kitchen         | Hall
        relay                 | relay_state        | OPEN            | CLOSED
        relay/$target         | relay_state_target | CLOSED          | OPEN
        relay-requester       | relay_requester    | PCS             | USER
        active-power          | instant_power_w    | -151.5 => 151.5 | 8 => -8.0
        exported-energy       | consumed_energy_wh | 9001 => 9001.0  | 9003 => 9003.0
        imported-energy       | produced_energy_wh | 9002 => 9002.0  | 9004 => 9004.0
        current               | current_a          | 1.25            | 2.5
        breaker-rating        | breaker_rating_a   | 15              | 20
        space                 | tabs               | 30 => [30, 32]  | 29 => [29, 31]
        dipole                | is_240v            | true            | false
        shed-priority         | priority           | SOC_THRESHOLD   | NEVER
        shed-priority/$target | priority_target    | OFF_GRID        | NEVER
        sheddable             | is_sheddable       | true            | false
        never-backup          | is_never_backup    | false           | true
        always-on             | always_on          | false           | true
        pcs-managed           | pcs_managed        | true            | false
        pcs-priority          | pcs_priority       | 7               | 8
        """,
    ),
    *_lines(
        "bess",
        ("battery",),
        """
        feed               | feed_circuit_id        | f-1 => "f1"    | f-2 => "f2"
        relative-position  | relative_position      | UPSTREAM       | IN_PANEL
        soc                | soc_percentage         | 51.25          | 0 => 0.0
        soe                | soe_kwh                | 6.75           | 7 => 7.0
        connected          | connected              | true           | false
        nameplate-capacity | nameplate_capacity_kwh | 13.5           | 27 => 27.0
        vendor-name        | vendor_name            | Tesla          | B1
        product-name       | model                  | Powerwall 2 AC | B2
        model              | part_number            | 1232100-00-E   | B3
        serial-number      | serial_number          | TG12           | B4
        software-version   | software_version       | 23.44.0        | B5
        """,
    ),
    *_lines("bess", (), "grid-state | grid_state | OFF_GRID | ON_GRID"),
    *_lines(
        "pv",
        ("pv_inverters", SOLAR),
        """
        vendor-name        | vendor_name          | Enphase        | P1
        product-name       | model                | IQ8            | P2
        serial-number      | serial_number        | E-1            | P3
        software-version   | software_version     | 8.2 => "8.2"   | P4
        nameplate-capacity | nameplate_capacity_w | 5000 => 5000.0 | 6000 => 6000.0
        relative-position  | relative_position    | IN_PANEL       | UPSTREAM
        """,
    ),
    *_lines(
        DRIVE,
        ("evse", DRIVE),
        f"""
        feed                            | feed_circuit_id               | {GARAGE}    | {KITCHEN}
        status                          | status                        | CHARGING    | AVAILABLE
        lock-state                      | lock_state                    | LOCKED      | UNLOCKED
        advertised-current              | advertised_current_a          | 31.5        | 6 => 6.0
        vendor-name                     | vendor_name                   | SPAN Inc    | E1
        product-name                    | model                         | SPAN Drive  | E2
        part-number                     | part_number                   | SPN-DRV-001 | E3
        software-version                | software_version              | drive/1     | E5
        user-max-charge-current         | charge_current_limit_a        | 24          | 16
        max-charge-current              | charge_current_ceiling_a      | 48          | 40
        user-max-charge-current/$target | charge_current_limit_target_a | 25          | 26
        """,
    ),
    *_lines(
        "pcs",
        ("pcs",),
        """
        enabled                           | enabled                           | true         | false
        active                            | active                            | false        | true
        import-limit                      | import_limit_a                    | 160.5        | 1 => 1.0
        feed-import-limit                 | feed_import_limit_a               | 161.5        | 2 => 2.0
        feed-import-limit-enablement      | feed_import_limit_enablement      | ENABLED      | DISABLED
        feed-import-limit-active          | feed_import_limit_active          | true         | false
        grid-import-limit                 | operator_import_limit_a           | 162.5        | 3 => 3.0
        grid-import-limit-enablement      | operator_import_limit_enablement  | DISABLED     | ENABLED
        grid-import-limit-active          | operator_import_limit_active      | false        | true
        off-grid-import-limit             | off_grid_import_limit_a           | 163.5        | 4 => 4.0
        off-grid-import-limit-enablement  | off_grid_import_limit_enablement  | UNCONFIGURED | ENABLED
        off-grid-import-limit-active      | off_grid_import_limit_active      | true         | false
        requested-import-limit            | requested_import_limit_a          | 164.5        | 5 => 5.0
        requested-import-limit-enablement | requested_import_limit_enablement | UNSPECIFIED  | ENABLED
        requested-import-limit-active     | requested_import_limit_active     | false        | true
        """,
    ),
]
KEYS: Final[Mapping[str, str]] = {"pv/feed": SOLAR, f"{DRIVE}/serial-number": DRIVE}
"""What else is published: inverter and charger are known by it."""


def full_house(**options: Any) -> FlatPanel:
    """`HOUSE`, with everything in `VALUES` and `KEYS` published."""
    panel = FlatPanel(HOUSE, **options)
    panel.message("lugs-upstream/direction", "UPSTREAM")
    panel.message("lugs-downstream/direction", "DOWNSTREAM")
    for topic, payload in {**KEYS, **{line.topic: line.payload for line in VALUES}}.items():
        panel.message(topic, payload)
    return panel
