"""What a snapshot must say, read by hand off what was published: this, and nothing else (I5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from span_trio.frozenmap import FrozenMap
from span_trio.snapshot import ExtensionProperty, SpanCircuitSnapshot, SpanPanelSnapshot, SpanPVSnapshot

from .house import DESCRIPTIONS, KINDS, ROOT, SIZE, Described, Node, decode, topic

__all__ = ["Said"]

_SUBJECTS = {"lugs": "lugs", "circuit": "circuit", "pv": "pv"}


class Said:
    """The newest payload of every topic in this epoch."""

    def __init__(self) -> None:
        self.heard: dict[str, bytes] = {}
        self.described: dict[str, bytes] = {}
        """The newest well-formed description of each device."""

    @property
    def pending(self) -> list[str]:
        """The children that are not usable; the model knows."""
        raise NotImplementedError

    def says(self, device: str) -> Described | None:
        payload = self.described.get(device)
        return None if payload is None else DESCRIPTIONS[device][payload]

    def value(self, node: str, name: str, *, tail: str = "") -> Any:
        """What a property of the root says; ``None`` for nothing."""
        payload = self.heard.get(topic(f"{ROOT}/{node}/{name}{tail}"))
        described = self._node(node)
        if payload is None or described is None:
            return None
        if described.properties is None:
            return decode(payload, KINDS[described.kind].get(name, "string"))
        return decode(payload, described.properties[name]) if name in described.properties else None

    def _node(self, node: str) -> Node | None:
        said = self.says(ROOT)
        return None if said is None else said.nodes.get(node)

    def _number(self, node: str, name: str) -> float | None:
        value = self.value(node, name)
        if isinstance(value, str):
            value = decode(value.encode(), "float")
        return None if value is None else float(value)

    def _text(self, node: str, name: str, otherwise: str | None, *, tail: str = "") -> Any:
        value = self.value(node, name, tail=tail)
        return value if value and isinstance(value, str) else otherwise

    def _kind(self, kind: str) -> Iterator[str]:
        said = self.says(ROOT)
        return (name for name, node in (said.nodes if said else {}).items() if node.kind == kind)

    def _circuit(self, node: str, feed: str | None, position: str | None) -> SpanCircuitSnapshot:
        power, space = self._number(node, "active-power"), self.value(node, "space")
        fed = feed == node
        return SpanCircuitSnapshot(
            circuit_id=node,
            name=self.value(node, "name"),
            relay_state=self._text(node, "relay", "UNKNOWN"),
            relay_state_target=self._text(node, "relay", None, tail="/$target"),
            instant_power_w=None if power is None else 0.0 - power,
            consumed_energy_wh=self._number(node, "exported-energy"),
            produced_energy_wh=self._number(node, "imported-energy"),
            tabs=() if space is None or space < 1 else (space,),
            is_user_controllable=True,
            device_type="pv" if fed else "circuit",
            relative_position=position if fed else None,
        )

    def snapshot(self) -> SpanPanelSnapshot:
        """What a snapshot of now must say: this, and nothing else."""
        feed = self._text("pv", "feed", "").replace("-", "").lower() or None
        position = self._text("pv", "relative-position", None)
        circuits = {node: self._circuit(node, feed, position) for node in self._kind("circuit")}
        keys = [feed or node for node in self._kind("pv")]  # there is one
        inverters = {
            key: SpanPVSnapshot(feed_circuit_id=feed, relative_position=position, device_id=ROOT, node_id=key)
            for key in keys
        }
        at_grid = self._text("up", "direction", "").upper() == "UPSTREAM"
        size = SIZE if any(self._tells_size(node) for node in circuits) else None
        taken = {tab for circuit in circuits.values() for tab in circuit.tabs}
        return SpanPanelSnapshot(
            serial_number=ROOT,
            door_state=self._text("core", "door", "UNKNOWN"),
            main_breaker_rating_a=self.value("core", "breaker-rating"),
            instant_grid_power_w=self._number("up", "active-power") if at_grid else None,
            main_meter_energy_consumed_wh=self._number("up", "imported-energy") if at_grid else None,
            feedthrough_power_w=self._downstream("active-power"),
            feedthrough_energy_consumed_wh=self._downstream("imported-energy"),
            panel_size=size,
            first_position=size and 1,
            last_position=size,
            unmapped_tabs=tuple(tab for tab in range(1, (size or 0) + 1) if tab not in taken),
            circuits=FrozenMap(circuits),
            pv=next(iter(inverters.values()), None),
            pv_inverters=FrozenMap(inverters),
            extension_properties=tuple(self._extensions(at_grid=at_grid)),
            alerts=FrozenMap(self._alerts()),
            pending_devices=tuple(self.pending),
        )

    def _alerts(self) -> dict[str, FrozenMap[str, str]]:
        payload = self.heard.get(topic(f"{ROOT}/$alert/hot"))
        return {} if payload is None else {ROOT: FrozenMap({"hot": payload.decode(errors="replace")})}

    def _extensions(self, *, at_grid: bool) -> Iterator[ExtensionProperty]:
        """What is said of no field: of things, of what nobody knows, and of lugs while nobody knows which they are."""
        said = self.says(ROOT)
        placed = at_grid or self._text("up", "direction", "").upper() == "DOWNSTREAM"
        for name, node in ({} if said is None else said.nodes).items():
            fields = set() if node.kind == "thing" or (node.kind == "lugs" and not placed) else KINDS[node.kind].keys()
            for of in sorted(self._published(name)) if node.properties is None else node.properties:
                payload = self.heard.get(topic(f"{ROOT}/{name}/{of}"))
                if of in fields or payload is None or (node.properties is None and self.value(name, of) is None):
                    continue
                kind = _SUBJECTS.get(node.kind, "panel")
                datatype = "string" if node.properties is None else node.properties[of]
                yield ExtensionProperty(
                    kind,
                    None if kind == "panel" else name,
                    name,
                    of,
                    datatype,
                    format="A,B" if datatype == "enum" else None,
                    value="" if payload == b"\0" else payload.decode(errors="replace"),
                )

    def _published(self, node: str) -> set[str]:
        prefix = topic(f"{ROOT}/{node}/")
        tails = {heard.removeprefix(prefix) for heard in self.heard if heard.startswith(prefix)}
        return {tail for tail in tails if "/" not in tail}

    def _downstream(self, name: str) -> float | None:
        at_sub_panel = self._text("up", "direction", "").upper() == "DOWNSTREAM"
        return self._number("up", name) if at_sub_panel else None

    def _tells_size(self, node: str) -> bool:
        described = self._node(node)
        return described is not None and described.tells_size
