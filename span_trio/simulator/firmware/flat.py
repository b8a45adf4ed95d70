"""A house as flat firmware publishes it (r202603 to r202627): description, values, commands, schema. Pure.

The rules of this room:

* Topics are suffixes below ``ebus/5/<device>/`` (``core/door``); payloads are bytes, legal Homie, ready to be sent.
* Frames are turned here, once: a circuit that draws has a negative ``active-power``, and what it consumed is its
  ``exported-energy``, because the wire takes the panel's view.
* What an older build does not have, or does wrong, is said in `FlatRelease` and done here; the house knows no builds.
* One oddity is on purpose: all flat firmware publishes ``direction`` in lower case, against its own format.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from ...enums import Control, DoorState, LimitEnablement, RelayState, VendorCloud
from ...span import NodeType
from ..house.house import House
from ..house.meters import Readings
from ..house.pcs import LIMITS
from ..house.switchboard import NO_SUCH, Answer, CommandResult
from .controls import Setting, judge, obey
from .flat_schema import DEVICE_TYPE, FlatRelease, NodeTypes, flat_release, node_types, schema_hash
from .publishing import Burst, Habits, TreeChange, as_json, topics_of

__all__ = ["FlatPublisher"]

_OF_CIRCUITS: Final[Mapping[str, Control]] = {"relay": Control.RELAY, "shed-priority": Control.PRIORITY}


class FlatPublisher:
    """Publishes a house as flat firmware does.

    Args:
        house: what is published. Other publishers may publish it as well.
        build: of the firmware; see `RELEASES`.
        bare: describe nothing but the nodes and their types, as public simulators do.

    Attributes:
        release: what this build is like.
        habits: how it announces itself.
        device_id: the panel's Homie device.
        prefix: of all topics.
        devices: the ids of all devices: one.
        topics: of the meters.
        due: never: nothing changes by itself.

    Raises:
        SpanPanelValidationError: there is no such build.
    """

    def __init__(self, house: House, build: int = 202627, *, bare: bool = False) -> None:
        spec = house.spec
        self.release: Final[FlatRelease] = flat_release(build)
        self.habits: Final = Habits()
        self.device_id: Final = spec.device_id
        self.prefix: Final = f"{spec.device_id}/"
        self.devices: Final = (spec.device_id,)
        self._house: Final = house
        self._bare: Final = bare
        self._types: Final[NodeTypes] = node_types(self.release, spec.spaces, spec.model_name)
        self._nodes = dict(self._list_nodes())
        self._version = int(house.now * 1000)
        self._description = self._describe()
        self.due: Final = math.inf
        self.topics: Final = tuple(self._list_meters())
        self._burst: Final = Burst(house, self)

    # --- description --------------------------------------------------------------------------------------------------

    def _list_nodes(self) -> Iterator[tuple[str, tuple[str, str]]]:
        """Node id, type and name."""
        spec = self._house.spec
        yield "core", (NodeType.CORE, "Panel")
        yield "lugs-upstream", (NodeType.LUGS, "Upstream lugs")
        if spec.feedthrough is not None:
            yield "lugs-downstream", (NodeType.LUGS, "Downstream lugs")
        for circuit in self._house.circuits:
            yield circuit.id, (NodeType.CIRCUIT, circuit.spec.name)
        if spec.bess is not None:
            yield "bess", (NodeType.BESS, "Battery")
        if spec.pv is not None:
            yield "pv", (NodeType.PV, "Solar")
        for evse in spec.evse:
            yield evse.node_id, (NodeType.EVSE, evse.product_name)
        if spec.pcs is not None:
            yield "pcs", (NodeType.PCS, "PowerUp")
        yield "power-flows", (NodeType.POWER_FLOWS, "Power flows")

    def _describe(self) -> str:
        if self._bare:
            return as_json({"nodes": {node: {"type": kind} for node, (kind, _) in self._nodes.items()}})
        return as_json(
            {
                "homie": "5.0",
                "version": self._version,
                "type": DEVICE_TYPE,
                "name": "SPAN Panel eBus Adapter",
                "nodes": {
                    node: {"name": name, "type": kind, "properties": self._types[kind]}
                    for node, (kind, name) in self._nodes.items()
                },
                "children": [],
                "extensions": [],
            }
        )

    def description(self) -> str:
        """The ``$description``; its version is the time at which the house was described, in ms."""
        return self._description

    def descriptions(self) -> Mapping[str, str]:
        """As `Publisher.descriptions`: one device."""
        return {self.device_id: self._description}

    def refresh(self, *, keep: Iterable[str] = ()) -> TreeChange:
        """As `Publisher.refresh`: nodes may have other names; what else may change is no part of a description."""
        self._nodes = dict(self._list_nodes())
        if self.device_id in keep or self._describe() == self._description:
            return TreeChange({}, ())
        self._version = max(self._version + 1, int(self._house.now * 1000))
        self._description = self._describe()
        return TreeChange(self.descriptions(), ())

    def schema(self) -> dict[str, Any]:
        """The answer to ``GET /api/v2/homie/schema``; yours to keep."""
        return {
            "firmwareVersion": self.release.firmware,
            "homieDomain": "ebus",
            "homieVersion": 5,
            "typesSchemaHash": schema_hash(self._types),
            "types": copy.deepcopy(self._types),
        }

    # --- values -------------------------------------------------------------------------------------------------------

    def values(self) -> dict[str, bytes]:
        """As `Publisher.values`."""
        return self._burst.values()

    def changes(self) -> dict[str, bytes]:
        """As `Publisher.changes`."""
        return self._burst.changes()

    def _list_meters(self) -> Iterator[str]:
        """The topics of `read`, in its order."""
        spec, circuits = self._house.spec, self._house.circuits
        for name in ("active-power", "current", "exported-energy", "imported-energy"):
            yield from (f"{circuit.id}/{name}" for circuit in circuits)
        yield from ("core/l1-voltage", "core/l2-voltage")
        yield from (f"power-flows/{flow}" for flow in ("pv", "battery", "grid", "site"))
        for node in ("lugs-upstream", "lugs-downstream"):
            if node in self._nodes:
                for name in ("active-power", "imported-energy", "exported-energy", "l1-current", "l2-current"):
                    yield f"{node}/{name}"
        if spec.bess is not None:
            yield from ("bess/soc", "bess/soe")

    def read(self, now: Readings) -> list[float]:
        """What the meters show, in the wire's frames, in the order of `topics`."""
        up, flows = now.upstream, now.flows
        meters = [
            *[0.0 - watts for watts in now.drawn_w],
            *now.current_a,
            *now.consumed_wh,
            *now.produced_wh,
            *(now.l1_voltage, now.l2_voltage),
            *(flows.pv, flows.battery, flows.grid, flows.site),
            *(up.power_w, up.imported_wh, up.exported_wh, now.l1_current_a, now.l2_current_a),
        ]
        if "lugs-downstream" in self._nodes:
            down = now.downstream if self.release.real_feedthrough else up
            meters += (down.power_w, down.imported_wh, down.exported_wh, now.l1_current_a, now.l2_current_a)
        if "bess" in self._nodes:
            meters += (now.soc_percent, now.soe_kwh)
        return meters

    # --- what is seldom different -------------------------------------------------------------------------------------

    def states(self) -> Iterator[tuple[str, bytes]]:
        """Everything else: topics and payloads."""
        yield from topics_of(self._fact_nodes())
        yield from topics_of(self._state_nodes())

    def _state_nodes(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        house, release = self._house, self.release
        sources = house.sources
        yield (
            "core",
            {
                "door": house.door if release.reads_door or house.door_moved else DoorState.UNKNOWN,
                "dominant-power-source": sources.dominant,
            },
        )
        for circuit in house.circuits:
            yield (
                circuit.id,
                {
                    "relay": circuit.relay,
                    "relay-requester": circuit.requester,
                    "shed-priority": circuit.priority,
                    "sheddable": circuit.sheddable,
                },
            )
        if house.battery is not None:
            connected = sources.connected or not release.notices_silence
            yield "bess", {"connected": connected, "grid-state": sources.grid_state}
        for node, charger in house.chargers.items():
            limits = {
                "max-charge-current": charger.spec.max_current_a,
                "user-max-charge-current": charger.limit_a,
            }
            yield (
                node,
                {
                    "lock-state": charger.lock_state,
                    "status": charger.status,
                    "advertised-current": charger.advertised_a,
                    **(limits if release.charge_limits else {}),
                },
            )
        if "pcs" in self._nodes:
            yield "pcs", dict(self._pcs())

    def _pcs(self) -> Iterator[tuple[str, bool | float | str]]:
        pcs = self._house.pcs if self.release.live_pcs else None
        yield "enabled", pcs is not None and pcs.binding is not None
        yield "active", pcs is not None and pcs.active
        yield "import-limit", float((pcs and pcs.import_limit_a) or 0.0)
        for name in LIMITS:
            limit = None if pcs is None else pcs.limit_a(name)
            yield f"{name}-import-limit", float(limit or 0.0)
            yield (
                f"{name}-import-limit-enablement",
                LimitEnablement.UNCONFIGURED if limit is None else LimitEnablement.ENABLED,
            )
            yield f"{name}-import-limit-active", pcs is not None and pcs.binding == name

    def _fact_nodes(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        spec = self._house.spec
        ids = {circuit.name: spec.id_of(circuit) for circuit in spec.circuits}
        yield (
            "core",
            {
                "vendor-name": spec.vendor_name,
                "model": spec.model_name if self.release.has_model else None,
                "serial-number": spec.serial_number,
                "hardware-version": spec.hardware_version,
                "software-version": self.release.firmware,
                "grid-islandable": spec.bess is not None and spec.bess.islandable,
                "relay": RelayState.CLOSED,
                "breaker-rating": spec.main_breaker_a,
                "ethernet": spec.ethernet,
                "wifi": spec.wifi,
                "wifi-ssid": spec.wifi_ssid,
                "vendor-cloud": VendorCloud.CONNECTED,
                "postal-code": spec.postal_code,
                "time-zone": spec.time_zone,
            },
        )
        ahead = spec.bess is not None and spec.bess.relative_position == "UPSTREAM"
        yield (
            "lugs-upstream",
            {"direction": "upstream", "feed": spec.bess.product_name if spec.bess is not None and ahead else ""},
        )
        if spec.feedthrough is not None:
            yield "lugs-downstream", {"direction": "downstream", "feed": spec.feedthrough.name}
        for circuit in self._house.circuits:
            yield (
                circuit.id,
                {
                    "name": circuit.spec.name,
                    "breaker-rating": circuit.spec.breaker_a,
                    "space": circuit.spec.space,
                    "dipole": circuit.spec.dipole,
                    "pcs-managed": circuit.spec.pcs_managed,
                    "pcs-priority": circuit.spec.pcs_priority,
                    "never-backup": circuit.spec.never_backup,
                    "always-on": circuit.spec.always_on,
                },
            )
        if spec.bess is not None:
            bess = spec.bess
            yield (
                "bess",
                {
                    **_maker(bess),
                    "model": bess.model,
                    "nameplate-capacity": float(bess.nameplate_kwh),
                    "relative-position": bess.relative_position,
                    "feed": ids.get(bess.feed or ""),
                },
            )
        if spec.pv is not None:
            yield (
                "pv",
                {
                    **_maker(spec.pv),
                    "nameplate-capacity": float(spec.pv.nameplate_w),
                    "relative-position": spec.pv.relative_position,
                    "feed": ids.get(spec.pv.feed or ""),
                },
            )
        for evse in spec.evse:
            yield evse.node_id, {**_maker(evse), "part-number": evse.part_number, "feed": ids[evse.feed]}

    # --- commands -----------------------------------------------------------------------------------------------------

    def setting(self, topic: str) -> Setting | None:
        """As `Publisher.setting`."""
        node, _, name = topic.partition("/")
        if node in self._house.by_id and name in _OF_CIRCUITS:
            return Setting(_OF_CIRCUITS[name], node)
        if topic == "core/dominant-power-source":
            return Setting(Control.DOMINANT_POWER_SOURCE)
        if node in self._house.chargers and name == "user-max-charge-current" and self.release.charge_limits:
            return Setting(Control.CHARGE_LIMIT, node)
        return None

    def judge(self, topic: str, payload: bytes) -> CommandResult:
        """As `Publisher.judge`."""
        setting = self.setting(topic)
        if setting is None:
            return NO_SUCH
        if setting.control is Control.DOMINANT_POWER_SOURCE and not self.release.obeys_dominant_source:
            return CommandResult(Answer.NO_EFFECT, self._house.sources.dominant)
        return judge(self._house, setting, payload.decode(errors="replace"))

    def command(self, topic: str, payload: bytes) -> CommandResult:
        """As `Publisher.command`."""
        setting, result = self.setting(topic), self.judge(topic, payload)
        if setting is not None and result.accepted:
            obey(self._house, setting, payload.decode())
        return result

    def repeat(self, topic: str) -> None:
        """As `Publisher.repeat`."""
        self._burst.repeat(topic)


def _maker(device: Any) -> Mapping[str, str]:
    return {
        "vendor-name": device.vendor_name,
        "product-name": device.product_name,
        "serial-number": device.serial_number,
        "software-version": device.software_version,
    }
