"""Recordings that may be handed on: masked by an allow-list, and still played like the original.

The rules of this room:

* What is not known to be harmless is masked: a text stays only if it is a member of an enum, the name of a circuit, or
  of a property on the list in `span.harmless`; a number only if it is a reading; a description keeps its structure,
  and loses every text that says more than what a thing is.
* Ids and serial numbers are replaced by the same placeholder wherever they occur: topics, children, references,
  values.
* What was invalid stays invalid, and what was absent stays absent: a redacted recording plays to the same edges, and
  to the same snapshots but for what is masked. A masked number is not a number any more, so it shows as ``None``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final, cast

from ..homie import (
    Datatype,
    DescriptionError,
    DeviceDescription,
    DeviceState,
    EnumFormat,
    InvalidPayload,
    Message,
    PropertyDescription,
    Topic,
    TopicError,
    TopicKind,
    decode_value,
    parse_description,
    parse_topic,
)
from ..homie.topics import LOG_LEVELS
from ..homie.values import load_json
from ..span import FALLBACK
from ..span.harmless import JSON_KEYS, KNOWN_PROPERTIES, MEMBERS, TEXTS, UNITS, is_reference
from ..span.parts import CIRCUIT_TYPE
from ..span.private import PRIVATE
from .descriptions import mask_description
from .lines import Recorded
from .placeholders import LONGEST, MASK, Placeholders

__all__ = ["Redactor"]

_STATES: Final = frozenset(DeviceState)
_MOST_DEVICES: Final = 512  # as many as a forest holds
_ATTRIBUTES: Final = frozenset({"$state", "$description", "$alert", "$log", "$target", "$broadcast"})
_ALGORITHM: Final = re.compile(r"[a-z]+(?:-[a-z]+)*\.v[0-9]{1,3}")
_SPACES: Final = re.compile(r"[0-9]{1,4}(?: ?, ?[0-9]{1,4})*")


class Redactor:
    """Masks what tells whose panel it is, message by message.

    Call it with one `Recorded` after the other. It reads what it masks, so it knows an enum, or a circuit's name, by
    the device's description once that has come: `learn` the first messages before you redact them if values may come
    before descriptions (the replay of a broker has no order). Until then such a value is masked.

    Args:
        serial_number: the panel's.
        domain: the first levels of its topics.
    """

    def __init__(self, serial_number: str, *, domain: str = "ebus") -> None:
        self._levels = domain.count("/") + 1
        self._names = Placeholders(serial_number)
        self._devices: dict[str, DeviceDescription] = {}

    def learn(self, messages: Iterable[Message]) -> None:
        """Read the descriptions, ids and serial numbers in messages that will be redacted later."""
        ids: set[str] = set()
        serials: set[str] = set()
        for topic, payload, _ in messages:
            try:
                found = parse_topic(topic, levels=self._levels)
            except TopicError:
                continue
            ids.update(each for each in (found.device, found.node) if each)
            if found.kind is TopicKind.DESCRIPTION:
                ids.update(self._describe(found.device, payload))
            elif "serial" in found.name and len(payload) <= LONGEST:
                serials.add(payload.decode(errors="ignore"))
        self._names.learn(ids, serials)

    def _describe(self, device: str, payload: bytes) -> Iterable[str]:
        try:
            described = parse_description(payload, device)
        except DescriptionError:
            return ()
        if device in self._devices or len(self._devices) < _MOST_DEVICES:
            self._devices[device] = described
        return (*described.nodes, *described.children, *(filter(None, (described.root, described.parent))))

    def __call__(self, recorded: Recorded) -> Recorded:
        """Return the same message without what is private."""
        message = recorded.message
        self.learn([message])
        try:
            topic = parse_topic(message.topic, levels=self._levels)
        except TopicError:
            topic = None
        payload = self._payload(topic, message.payload) if message.payload else b""
        return recorded._replace(message=Message(self._topic(message.topic), payload, message.retain))

    # --- topics ---

    def _topic(self, text: str) -> str:
        every = text.split("/")
        domain, rest = every[: self._levels], every[self._levels :]
        shown = [level if level in {"ebus", "homie"} else self._names.id(level) for level in domain]
        return "/".join([*shown, *self._segments(rest)])

    def _segments(self, segments: list[str]) -> list[str]:
        match segments:
            case ["5", device, node, name, *rest] if not device.startswith("$") and not node.startswith("$"):
                suffix = [each if each in {"set", "$target"} else self._names.id(each) for each in rest]
                return ["5", self._names.id(device), self._names.id(node), self._names.property(name), *suffix]
            case [version, *rest]:
                kept = _ATTRIBUTES | LOG_LEVELS
                version = version if version == "5" else self._names.id(version)
                return [version, *(each if each in kept else self._names.id(each) for each in rest)]
            case _:
                return []

    # --- payloads ---

    def _payload(self, topic: Topic | None, payload: bytes) -> bytes:
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            return MASK.encode()
        if topic is None:
            return MASK.encode()
        match topic.kind:
            case TopicKind.PROPERTY | TopicKind.TARGET | TopicKind.SET:
                return self._value(topic, text).encode()
            case TopicKind.DESCRIPTION:
                return mask_description(topic.device, text, self._names).encode()
            case TopicKind.STATE if text in _STATES:
                return payload
            case _:
                return MASK.encode()

    def _value(self, topic: Topic, text: str) -> str:
        name, declared = topic.name, self._declaration(topic)
        if text == "\0":  # the empty string
            return text
        if "serial" in name:
            return self._names.spell(text)
        if name in PRIVATE or len(text) > 65_536:
            return MASK
        if name == "name" and self._is_circuit(topic):
            return self._names.text(text)
        match None if declared is None else declared.datatype:
            case (Datatype.BOOLEAN | Datatype.INTEGER | Datatype.FLOAT) as datatype if _is_valid(text, datatype):
                unit = None if declared is None else declared.unit
                return text if datatype is Datatype.BOOLEAN or name in KNOWN_PROPERTIES or unit in UNITS else MASK
            case Datatype.ENUM if not is_reference(name) and _is_of(text, declared):
                return ",".join(map(self._names.member, text.split(",")))
            case Datatype.JSON:
                return self._json(text)
            case _:
                pass
        return self._string(name, text)

    def _declaration(self, topic: Topic) -> PropertyDescription | None:
        described = self._devices.get(topic.device)
        node = None if described is None else described.nodes.get(topic.node)
        if node is None:
            return None
        if node.properties is None:
            return FALLBACK.get(node.type or "", {}).get(topic.name)
        return node.properties.get(topic.name)

    def _is_circuit(self, topic: Topic) -> bool:
        described = self._devices.get(topic.device)
        node = None if described is None else described.nodes.get(topic.node)
        if described is None or node is None:
            return False
        return CIRCUIT_TYPE in {described.type, node.type}

    def _string(self, name: str, text: str) -> str:
        parts = text.split(",")
        if is_reference(name) or all(self._names.knows(part.strip()) for part in parts):
            return ",".join(part if part in MEMBERS else self._names.spell(part) for part in parts)
        if name.endswith("-device-type"):
            return self._names.type(text)
        if name in TEXTS:
            return self._names.text(text)
        harmless = (name in KNOWN_PROPERTIES and text in MEMBERS) or (name == "spaces" and _SPACES.fullmatch(text))
        return text if harmless else MASK

    def _json(self, text: str) -> str:
        try:
            value = load_json(text)
            masked = self._walk(value, known=True)
        except (InvalidPayload, RecursionError):
            return MASK
        return text if masked == value else json.dumps(masked)

    def _walk(self, value: Any, *, known: bool) -> Any:
        elements = value
        match value:
            case dict():
                entries = cast("dict[str, Any]", value).items()
                return {
                    key if key in JSON_KEYS else self._names.spell(key): self._walk(each, known=key in JSON_KEYS)
                    for key, each in entries
                }
            case list():
                return [self._walk(each, known=known) for each in elements]
            case str():
                if self._names.knows(value):
                    return self._names.spell(value)
                return value if known and _ALGORITHM.fullmatch(value) else MASK
            case bool() | None:
                return value
            case _:
                return value if known else None


def _is_of(text: str, declared: PropertyDescription | None) -> bool:
    """Whether it is a member of a declared enum, or several with commas between them."""
    members = declared.format.members if declared is not None and isinstance(declared.format, EnumFormat) else ()
    return all(part in members for part in text.split(","))


def _is_valid(text: str, datatype: Datatype) -> bool:
    try:
        decode_value(text.encode(), datatype)
    except InvalidPayload:
        return False
    return True
