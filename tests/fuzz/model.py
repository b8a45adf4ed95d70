"""What a panel is, in plain words: the model that the machine holds the library against.

Simple on purpose. It keeps what was said in this epoch as one mapping from topic to payload, and asks all its questions
of that, from scratch. No part of the library but the classes of a snapshot is used: `house` says what a description or
a payload means.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

from span_trio.enums import ConnectionReason
from span_trio.homie import Limits

from .family import Family
from .house import DESCRIPTIONS, PLACES, ROOT, Place, topic
from .said import Said

GONE: Final = {"lost", "disconnected", None}


class ModelEdge(NamedTuple):
    """What of an edge the model foretells."""

    online: bool
    reason: ConnectionReason
    state: str | None
    epoch: int


class Model(Said):
    """One panel, as it must be seen."""

    def __init__(self, limits: Limits, *, settle: float, first: float, later: float, silence: float) -> None:
        super().__init__()
        self.limits = limits
        self.settle, self.first, self.later, self.silence = settle, first, later, silence
        self.epoch = 0
        self.link: ConnectionReason | None = ConnectionReason.UNREACHABLE
        self.edges: list[ModelEdge] = []
        self.was_live = False
        self.live = False
        self._forget()

    def _forget(self) -> None:
        self.heard.clear()
        self.described.clear()
        self.size = 0
        """Bytes of payload kept."""
        self.family = Family()
        self.claims: dict[str, set[str]] = {}
        """Who outside of the tree has had a device, as of the newest description."""
        self.overheard: dict[str, bytes] = {}
        self.suspects: set[str] = set()
        """Devices for which what the broker has retained may be anybody's."""
        self.dropped = self.invalid = 0
        self.overflowed: dict[str, float] = {}
        """Device -> since when it is too much."""
        self.missed: dict[str, float] = {}
        """The same, of those that belong to the tree: since when they are both."""
        # Of subscriptions:
        self.asked: set[str] = set()
        self.wanted: set[str] = set()
        """Devices that were asked for, or are to be."""
        self.overhears = False
        """Whether descriptions come of devices that are not wanted, of which nothing is kept."""
        self.watched = False
        """Whether those were replayed."""
        self.owed: set[str] = set()
        """Devices to be asked for again."""
        self.request: tuple[str, ...] | None = None
        self.whole: set[str] = set()
        self.by_nodes: dict[str, set[str]] = {}
        self.replayed: set[str] = set()
        """Devices whose replay was over, once."""
        self.exhausted: set[str] = set()
        """Devices that were asked for in parts in vain."""
        # Of the lifecycle:
        self.until: dict[str, float] = {}
        """Pending child -> how long to wait for it."""
        self.waiting: set[str] = set()
        """Those of them that are still waited for."""
        self.known = False
        self.away = False
        self.trusted = True
        self.settles_at: float | None = None
        self.unconfirmed: set[str] = set()
        # Of silence:
        self.heard_at: float | None = None
        """When a value came last, in this epoch and since the panel was ready; ``None``: none did."""
        self.expected_at: float | None = None
        """Since when one is awaited."""
        self.silent = False
        self.stocked = False
        """Whether the broker had a value."""
        self.arrives_until: float | None = None
        self.announced = False
        """Whether it was there before it was ready."""

    # --- what happens ---

    @property
    def unheard(self) -> bool:
        return self.silence < float("inf") and self.heard_at is None

    def link_up(self, epoch: int) -> None:
        self.epoch, self.link = epoch, None
        self._forget()
        self._turn_edge()

    def link_down(self, reason: ConnectionReason) -> None:
        self.link = reason
        self._turn_edge()

    def message(self, text: str, payload: bytes, now: float, *, retain: bool) -> None:
        place = PLACES.get(text)
        if place is None or self._is_turned_away(text, place, payload, retain=retain):
            self.dropped += 1
        elif self._is_overheard(text, place, payload):
            self._overhear(place.device, payload, now, live=not retain)
        elif place.kind == "log":
            self.dropped += not self._has_room(place.device) and payload != b""
        elif place.kind == "property":
            self._value(text, payload, now, retain=retain)
        else:
            overflowed, old = set(self.overflowed), self.heard.get(text)
            self._keep(text, payload, now)
            if place.kind == "description" and payload != (old or b""):
                self._relate(place.device, payload, live=not retain)
            is_news = place.kind in {"state", "description"} and payload != (old or b"")
            if is_news and text == topic(f"{ROOT}/$state"):
                if payload != b"ready":
                    self.heard_at, self.expected_at, self.announced = None, now, True
                elif self.announced:
                    self.arrives_until = None
            if is_news or self.overflowed.keys() != overflowed:
                self.judge(now)

    def _is_turned_away(self, text: str, place: Place, payload: bytes, *, retain: bool) -> bool:
        """Of another's device nothing is kept; nor of what is retained for one that was in doubt."""
        if place.kind == "description":
            return False
        if retain and (place.device in self.suspects or self._has_leftovers(place.device)):
            return text in self.heard or payload != b""
        return payload != b"" and self.family.is_anothers(place.device)

    def _has_leftovers(self, device: str) -> bool:
        return device != ROOT and self.family.has_leftovers(device)

    def _is_overheard(self, text: str, place: Place, payload: bytes) -> bool:
        if place.kind != "description" or text in self.heard:
            return False
        return not payload or (self.overhears and place.device not in self.wanted)

    def _overhear(self, device: str, payload: bytes, now: float, *, live: bool) -> None:
        said = DESCRIPTIONS[device].get(payload)
        if payload and said is None:
            self.dropped += 1
            return
        self.overheard[device] = payload
        self.family.hear(device, said, live=live)
        self._review()
        self.judge(now)

    def _relate(self, device: str, payload: bytes, *, live: bool) -> None:
        """Whose a device is counts, though its description may not have fitted."""
        said = DESCRIPTIONS[device].get(payload)
        if said is not None and self.described.get(device) != payload:
            said = said._replace(children=())
        if said is not None or not payload:
            self.family.hear(device, said, live=live)
            self._review()

    def _review(self) -> None:
        """What is kept of devices that are another's, or were for a while, is given up."""
        family = self.family
        lost = {device for device in {*self.devices, *family.doubts} if family.is_anothers(device)}
        before, self.claims = self.claims, {}
        some = self.wanted if self.overhears else family.listed
        for device in {*self.devices, *self.doubts, *some} - {ROOT}:
            self.claims[device] = family.listers(device)
        lost |= {name for name, some in before.items() if some - self.claims.get(name, set()) - {*self.members}}
        self.suspects |= lost
        for text in [text for text in self.heard if PLACES[text].device in lost]:
            if PLACES[text].kind != "description":
                self.size -= len(self.heard.pop(text))
                self.unconfirmed.discard(text)

    @property
    def doubts(self) -> dict[str, bool]:
        return self.family.doubts

    @property
    def members(self) -> list[str]:
        return self.family.members

    def _value(self, text: str, payload: bytes, now: float, *, retain: bool) -> None:
        overflowed, was_silent = set(self.overflowed), self.silent or self.unheard
        long = self.silent or (self.unheard and self.expected_at is not None and now > self.expected_at + 5.0)
        self._keep(text, payload, now)
        if self.overflowed.keys() != overflowed:
            self.judge(now)
        if not self.trusted and text in self.heard and retain:
            self.unconfirmed.add(text)
        elif text in self.unconfirmed:
            self.unconfirmed.discard(text)
            if self.settles_at is not None and not self.awaited:
                self.judge(now)
        if self.silence == float("inf") or text not in self.heard:
            return
        if retain:
            self.stocked = True
        elif PLACES[text].device in self.members and ROOT in self.replayed:
            self.heard_at, self.silent = now, False
            if not self.stocked:
                self.stocked, self.arrives_until = True, now + self.settle
            if was_silent:
                if long:
                    self._doubt(text, now)
                self.judge(now)

    def _doubt(self, text: str, now: float) -> None:
        """The first value after a silence: what came before it is of before, until it comes again."""
        if self.trusted and self.known:
            self.unconfirmed = {each for each in self.heard if PLACES[each].kind == "property"} - {text}
            self.trusted = False
            self.settles_at = now + self.settle if self.state == "ready" else None

    def oversize(self, text: str, now: float) -> None:
        self.dropped += 1
        place = PLACES.get(text)
        if place is not None and place.kind != "log" and self._is_ours(place) and self._has_room(place.device):
            self._overflow(place.device, now)
            self._clear(text, now)
            if place.kind == "description":
                self.family.hear(place.device, None, live=False)
                self._review()
        self.judge(now)

    def _is_ours(self, place: Place) -> bool:
        if place.kind == "description":
            return not self.overhears or place.device in self.wanted
        return not self.family.is_anothers(place.device)

    def _has_room(self, device: str) -> bool:
        return device in self.devices or len(self.devices) < self.limits.devices

    @property
    def devices(self) -> set[str]:
        """Of which something is kept."""
        return {ROOT, *self.overflowed, *(PLACES[text].device for text in self.heard)}

    def _overflow(self, device: str, now: float) -> None:
        self.overflowed.setdefault(device, now)

    def _keep(self, text: str, payload: bytes, now: float) -> None:
        place, old = PLACES[text], self.heard.get(text)
        if not payload:
            self._clear(text, now)
        elif payload != old:
            if not self._has_room(place.device):
                self.dropped += 1
            elif old is None and len(self.heard) >= self.limits.topics:
                self.dropped += 1
                self._overflow(place.device, now)
            elif self.size + len(payload) - len(old or b"") > self.limits.payload_bytes and len(payload) > len(
                old or b""
            ):
                self.dropped += 1
                self._overflow(place.device, now)
                self._clear(text, now)
            else:
                self.heard[text] = payload
                self.size += len(payload) - len(old or b"")
                self._apply(text, payload, now)

    def _clear(self, text: str, now: float) -> None:
        self.unconfirmed.discard(text)
        payload = self.heard.pop(text, None)
        if payload is None:
            return
        self.size -= len(payload)
        if PLACES[text].kind == "description":
            self.described.pop(PLACES[text].device, None)
        if text == topic(f"{ROOT}/$state"):
            self._turn(None, now)

    def _apply(self, text: str, payload: bytes, now: float) -> None:
        place = PLACES[text]
        if place.kind == "description":
            if payload in DESCRIPTIONS[place.device]:
                self.described[place.device] = payload
            else:
                self.dropped += 1
        elif text == topic(f"{ROOT}/$state"):
            self._turn(self.state, now)
        elif place.kind == "property" and place.device == ROOT and self._is_invalid(text):
            self.invalid += 1

    def _is_invalid(self, text: str) -> bool:
        place = PLACES[text]
        return self.shows(text) and self.value(place.node, place.name) is None

    def _turn(self, state: str | None, now: float) -> None:
        """The root's ``$state`` is another."""
        if state in GONE and (self.known or state is not None):
            if not self.away:
                self.unconfirmed = {text for text in self.heard if PLACES[text].kind == "property"}
            self.away, self.trusted, self.settles_at = True, False, None
        elif state not in GONE:
            self.away = False
            self.settles_at = now + self.settle if state == "ready" and not self.trusted else None
        self.known = True

    def look_for_wants(self) -> None:
        """The library is about to be asked what to subscribe to: the descriptions of all come before any child."""
        wanted = self.members
        if not self.watched and (len(self.members) > 1 or self.doubts):
            self.overhears = True
            wanted = [ROOT]
        room = self.limits.devices - len(self.wanted)
        self.wanted.update([device for device in wanted if device not in self.wanted][:room])

    def ask(self, filters: tuple[str, ...]) -> None:
        """The library subscribes."""
        self.request = filters
        devices = {self._device(each) for each in filters} - {"+"}
        self.asked |= devices
        self.owed -= devices

    def _device(self, text: str) -> str:
        return text.split("/")[2]

    def barrier(self, now: float, *, passed: bool) -> None:
        filters, self.request = self.request, None
        assert filters is not None
        device = self._device(filters[0])
        if device == "+":
            self.watched = True
            self.judge(now)
            return
        nodes = {each.split("/")[3] for each in filters if each.endswith("/#")} - {"#"}
        if not nodes and filters[0].endswith("/#"):
            devices = {self._device(each) for each in filters}
            if passed or (len(devices) == 1 and device in self.exhausted):
                self.whole |= devices - self.owed
        elif passed:
            self.by_nodes.setdefault(device, set()).update(nodes)
        elif len(nodes) < 2:
            self.by_nodes.pop(device, None)
            self.exhausted.add(device)
        self.replayed |= self.whole
        self.replayed |= {name for name, nodes in self.by_nodes.items() if self._nodes(name) <= nodes}
        if ROOT in self.replayed and self.expected_at is None:
            self.expected_at = now
        self.judge(now)

    def tick(self, now: float, overflowed: Collection[str]) -> None:
        """Time has passed; ``overflowed`` are the devices that the library has not forgiven."""
        self.silent = self.silent or (self.heard_at is not None and now >= self.heard_at + self.silence)
        if self.arrives_until is not None and now >= self.arrives_until:
            self.arrives_until = None
        for device in set(self.overflowed) - set(overflowed):
            del self.overflowed[device]
            self.owed.add(device)
            self.wanted.discard(device)
            self.whole.discard(device)
            self.by_nodes.pop(device, None)
            self.exhausted.discard(device)
            self.replayed.discard(device)
        self.judge(now)

    # --- what follows from it ---

    @property
    def state(self) -> str | None:
        payload = self.heard.get(topic(f"{ROOT}/$state"))
        return None if payload is None else payload.decode(errors="replace")

    def usable(self, device: str) -> bool:
        said = self.says(device)
        if said is None or device in self.overflowed:
            return False
        if device in self.whole:
            return True
        return device in self.by_nodes and self._nodes(device) <= self.by_nodes[device]

    def _nodes(self, device: str) -> set[str]:
        said = self.says(device)
        return set(said.nodes) if said else set()

    @property
    def pending(self) -> list[str]:
        strangers = [device for device, is_contested in self.doubts.items() if not is_contested]
        return [*(child for child in self.members[1:] if not self.usable(child)), *strangers]

    def shows(self, text: str) -> bool:
        """Whether a topic is a property that its device declares as state."""
        place = PLACES[text]
        said = self.says(place.device)
        node = None if said is None else said.nodes.get(place.node)
        return node is not None and (node.properties is None or place.name in node.properties)

    @property
    def awaited(self) -> list[str]:
        """The values of before that would show."""
        return [text for text in self.unconfirmed if PLACES[text].device in self.members and self.shows(text)]

    def judge(self, now: float) -> None:
        """Something has come, or it is time: see anew what is in the way."""
        patience = self.later if self.was_live else self.first
        self.until = {child: self.until.get(child, now + patience) for child in self.pending}
        self.waiting = {child for child, until in self.until.items() if until > now}
        late = [device for device in self.overflowed if device in self.members and device in self.replayed]
        self.missed = {device: self.missed.get(device, now) for device in late} if self.request is None else {}
        settling = self.settles_at is not None
        if settling and (now >= self.settles_at or not (self.awaited or self.waiting or not self.usable(ROOT))):
            self.trusted, self.settles_at = True, None
        self._turn_edge()

    def _turn_edge(self) -> None:
        reason = self.obstacle
        if (reason is None) != self.live:
            self.live = reason is None
            self.was_live = True
            self.edges.append(ModelEdge(self.live, reason or ConnectionReason.LIVE, self.state, self.epoch))

    @property
    def obstacle(self) -> ConnectionReason | None:
        """What is in the way; ``None`` for nothing."""
        if self.link is not None:
            return self.link
        if ROOT not in self.replayed:
            return ConnectionReason.REPLAY
        if self.state != "ready":
            return ConnectionReason.DEVICE_STATE
        if any(is_contested or device in self.waiting for device, is_contested in self.doubts.items()):
            return ConnectionReason.CONFLICT
        if self.waiting or not self.usable(ROOT):
            return ConnectionReason.PENDING_DEVICE
        if not self.watched and (len(self.members) > 1 or self.doubts):
            return ConnectionReason.REPLAY
        if not self.trusted:
            return ConnectionReason.UNCONFIRMED
        if self.silent or self.unheard:
            return ConnectionReason.SILENT_PANEL
        return None if self.arrives_until is None else ConnectionReason.REPLAY
