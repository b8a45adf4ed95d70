"""What is landed on a panel: specs of inverter, battery, chargers, power control, and what is behind or beside it.

The rules of this room:

* A spec that exists can be simulated: every constructor refuses what cannot be meant, with an error that names the
  part and the field, in the words of a house file (``bess, power_w: …``).
* Names are those of a house file's keys, and units stand in them: power in W, the size of a battery in kWh.
* A device is landed on a circuit (``feed``, by the circuit's name), or it is outside of the panel: ahead of it
  (``UPSTREAM``) or behind its downstream lugs (``DOWNSTREAM``).
"""

from __future__ import annotations

import enum
from typing import Any, Final, NoReturn

import attrs

from ...enums import RelativePosition
from ...errors import SpanPanelValidationError
from ...homie import is_valid_id

__all__ = [
    "MIN_CHARGE_A",
    "MOST",
    "BessSpec",
    "EvseSpec",
    "FeedthroughSpec",
    "LoadKind",
    "MeasuredOutside",
    "OutsideMeterSpec",
    "PcsSpec",
    "PvSpec",
    "need_positive",
    "need_text",
    "refuse",
]

MOST: Final = 1_000_000
"""Of whatever it is: no house has more, and all sums stay exact."""
MIN_CHARGE_A: Final = 6
"""Of the standard that chargers and cars talk by, A."""


class LoadKind(enum.StrEnum):
    """What hangs on a circuit, and so how its power goes through the day."""

    NONE = "none"
    STANDBY = "standby"
    LIGHTS = "lights"
    OUTLETS = "outlets"
    OFFICE = "office"
    FRIDGE = "fridge"
    SUMP_PUMP = "sump-pump"
    HVAC = "hvac"
    WATER_HEATER = "water-heater"
    OVEN = "oven"
    MICROWAVE = "microwave"
    DISHWASHER = "dishwasher"
    WASHER = "washer"
    DRYER = "dryer"
    POOL_PUMP = "pool-pump"


def refuse(part: str, key: str, problem: str) -> NoReturn:
    """Say what in a house cannot be meant; ``part`` is empty for the house itself.

    Raises:
        SpanPanelValidationError: always.
    """
    raise SpanPanelValidationError(f"{part}, {key}: {problem}" if part else f"{key}: {problem}")


def need_positive(part: str, **values: float | None) -> None:
    """Refuse what is 0, negative, not a number, or more than any house has."""
    for key, value in values.items():
        if value is not None and not 0 < value <= MOST:
            refuse(part, key, f"must be more than 0 and at most {MOST:,}, not {value}")


def _need_percent(part: str, **values: float) -> None:
    for key, value in values.items():
        if not 0 <= value <= 100:
            refuse(part, key, f"must be 0 to 100, not {value}")


def need_text(part: str, spec: Any) -> None:
    """Refuse a spec with text that cannot be published; and one without a name."""
    for key, value in attrs.asdict(spec, recurse=False).items():
        if isinstance(value, str) and not value.isprintable():
            refuse(part, key, f"must be printable text, not {value!r}")
        if key == "name" and not value.strip():
            refuse(part, key, "must not be empty")


def _position_of(part: str, feed: str | None, position: RelativePosition | None) -> RelativePosition:
    """Where a device is; on a circuit, some publishers call that DOWNSTREAM."""
    fits = (
        (RelativePosition.UPSTREAM, RelativePosition.DOWNSTREAM)
        if feed is None
        else (RelativePosition.IN_PANEL, RelativePosition.DOWNSTREAM)
    )
    if position is None:
        return fits[0]
    if position not in fits:
        where = "without a feed" if feed is None else "with a feed"
        refuse(part, "position", f"{where} it is {fits[0]} or {fits[1]}, not {position}")
    return position


@attrs.frozen(kw_only=True)
class PvSpec:
    """An inverter with its panels. ``nameplate_w`` is their size, W."""

    nameplate_w: float
    feed: str | None = None
    position: RelativePosition | None = None
    vendor_name: str = "Enphase"
    product_name: str = "IQ8PLUS-72-2-US"
    serial_number: str = "202303112233"
    software_version: str = "8.2.4264"

    def __attrs_post_init__(self) -> None:
        need_text("pv", self)
        need_positive("pv", nameplate_w=self.nameplate_w)
        _position_of("pv", self.feed, self.position)

    @property
    def relative_position(self) -> RelativePosition:
        """Where it is, seen from the panel."""
        return _position_of("pv", self.feed, self.position)


@attrs.frozen(kw_only=True)
class BessSpec:
    """A battery with its inverter and the switch that makes an island of the house.

    Attributes:
        nameplate_kwh: what it holds, kWh.
        power_w: what it can take and give, W.
        feed: the circuit that it is landed on, if any.
        position: where it is otherwise.
        soc_percent: how full it is at first, %.
        reserve_percent: what it keeps for an outage, %.
        islandable: whether it can carry the house without the grid.
        shed_percent: off grid and below this, circuits of the priority SOC_THRESHOLD are shed.
        release_percent: above this, they come back.
        model: the SKU; the designation is ``product_name``.
        mid_serial_number: of its grid switch, if it is known: then the switch's id is made from it.
        remote_meter: it is Enphase's, with a Remote Meter: r202633 knows nothing of its grid switch.
        silent: the panel knows neither its state of charge nor its grid switch's state; hardware 3.0 only.
    """

    nameplate_kwh: float
    power_w: float = 5000.0
    feed: str | None = None
    position: RelativePosition | None = None
    soc_percent: float = 65.0
    reserve_percent: float = 20.0
    islandable: bool = True
    remote_meter: bool = False
    silent: bool = False
    mid_serial_number: str = ""
    shed_percent: float = 49.0
    release_percent: float = 51.0
    vendor_name: str = "Tesla"
    product_name: str = "Powerwall 2 AC"
    model: str = "1232100-00-E"
    serial_number: str = "TG121348001234"
    software_version: str = "23.44.0"

    def __attrs_post_init__(self) -> None:
        need_text("bess", self)
        need_positive("bess", nameplate_kwh=self.nameplate_kwh, power_w=self.power_w)
        _need_percent(
            "bess",
            soc_percent=self.soc_percent,
            reserve_percent=self.reserve_percent,
            shed_percent=self.shed_percent,
            release_percent=self.release_percent,
        )
        if self.release_percent < self.shed_percent:
            refuse("bess", "release_percent", f"must not be below shed_percent ({self.shed_percent:g})")
        _position_of("bess", self.feed, self.position)

    @property
    def relative_position(self) -> RelativePosition:
        """Where it is, seen from the panel."""
        return _position_of("bess", self.feed, self.position)


@attrs.frozen(kw_only=True)
class EvseSpec:
    """A charger, and the habits of the car that it charges.

    Attributes:
        serial_number: of the Drive; in lower case, its node id.
        feed: the circuit that feeds it.
        max_current_a: the commissioned ceiling, A.
        user_current_a: the user's limit, A, if one was set.
        daily_kwh: what the car needs on a usual day, kWh.
        start_hour: when the car begins to charge if it can, local time.
    """

    serial_number: str
    feed: str
    max_current_a: int
    user_current_a: int | None = None
    daily_kwh: float = 12.0
    start_hour: float = 23.0
    vendor_name: str = "SPAN"
    product_name: str = "SPAN Drive"
    part_number: str = "1-00800-11"
    software_version: str = "1.4.2"

    def __attrs_post_init__(self) -> None:
        part = self.part
        need_text(part, self)
        if not is_valid_id(self.node_id):
            refuse(part, "serial_number", "must be letters, digits and dashes")
        if self.max_current_a < MIN_CHARGE_A:
            refuse(part, "max_current_a", f"must be {MIN_CHARGE_A} or more, not {self.max_current_a}")
        if self.user_current_a is not None and not MIN_CHARGE_A <= self.user_current_a <= self.max_current_a:
            refuse(part, "user_current_a", f"must be {MIN_CHARGE_A} to {self.max_current_a}")
        need_positive(part, daily_kwh=self.daily_kwh)
        if not 0 <= self.start_hour < 24:
            refuse(part, "start_hour", f"must be 0 to 24, not {self.start_hour:g}")

    @property
    def part(self) -> str:
        """How errors call it."""
        return f"evse {self.serial_number!r}"

    @property
    def node_id(self) -> str:
        """Its id on the wire."""
        return self.serial_number.lower()


@attrs.frozen(kw_only=True)
class PcsSpec:
    """The power control system: limits (A, at the service entrance), each of them in use if it is given."""

    feed_limit_a: float | None = None
    grid_limit_a: float | None = None
    off_grid_limit_a: float | None = None
    requested_limit_a: float | None = None

    def __attrs_post_init__(self) -> None:
        need_positive(
            "pcs",
            feed_limit_a=self.feed_limit_a,
            grid_limit_a=self.grid_limit_a,
            off_grid_limit_a=self.off_grid_limit_a,
            requested_limit_a=self.requested_limit_a,
        )


@attrs.frozen(kw_only=True)
class FeedthroughSpec:
    """What hangs on the downstream lugs."""

    name: str = "Sub-panel"
    load: LoadKind = LoadKind.OUTLETS
    watts: float | None = None

    def __attrs_post_init__(self) -> None:
        need_text("feedthrough", self)
        need_positive("feedthrough", watts=self.watts)


class MeasuredOutside(enum.StrEnum):
    """What a meter outside the panel measures."""

    GRID = "grid"
    """The service entrance: everything that the house takes from the utility, and gives back."""
    SOLAR = "solar"
    """The inverters ahead of the panel."""
    LOAD = "load"
    """A load ahead of the panel."""


@attrs.frozen(kw_only=True)
class OutsideMeterSpec:
    """A meter outside the panel (hardware 3.0): no circuit, though it is published as one.

    Attributes:
        number: its id is ``remote-ct-<number>``.
        measures: see `MeasuredOutside`.
        load: where it measures a load, which one; outlets if nothing is said.
        watts: how much that draws while it is on; what is typical of it if nothing is said.
    """

    number: int
    measures: MeasuredOutside = MeasuredOutside.GRID
    load: LoadKind | None = None
    watts: float | None = None

    def __attrs_post_init__(self) -> None:
        need_positive(self.part, number=self.number, watts=self.watts)
        if self.measures is not MeasuredOutside.LOAD:
            for key in ("load", "watts"):
                if getattr(self, key) is not None:
                    refuse(self.part, key, f"it measures the {self.measures}, and no load")

    @property
    def part(self) -> str:
        """How errors call it."""
        return f"outside_meter {self.number}"

    @property
    def device_id(self) -> str:
        """Its id on the wire."""
        return f"remote-ct-{self.number}"
