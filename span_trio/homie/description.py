"""``$description``: what a device says about itself (convention, "Device Attributes").

The rules of this room:

* Liberal: what is missing is the default (public simulators publish nothing but ``nodes: {id: {type}}``), what is
  unknown is ignored.
* A known field of the wrong type, or with an illegal value, costs the smallest object that encloses it (property,
  node, device) and is counted in ``problems``; never more. Of a list, it costs the entry.
* Two fields are the exception, since firmware expresses locks with them: a ``settable`` that is not exactly true
  means *not settable*, a ``retained`` that is not exactly false means *retained*; the property stays.
* A node without a ``properties`` key is *bare*: it accepts every property. With one, the declaration is authoritative.
* Bounded, since it is parsed in one go while nothing else runs: more than ``MAX_BYTES``, or more nodes, properties and
  children than ``MAX_OBJECTS``, make the document malformed. The largest of a real panel has 8 kB and 80 of them.
* What was parsed before is not parsed again: a panel that comes back says what it said.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeGuard, TypeVar

import attrs

from .topics import is_valid_id
from .values import Datatype, Format, InvalidFormat, InvalidPayload, load_json, parse_format

__all__ = [
    "MAX_BYTES",
    "MAX_OBJECTS",
    "DescriptionError",
    "DeviceDescription",
    "NodeDescription",
    "PropertyDescription",
    "parse_description",
    "parse_properties",
]

MAX_BYTES: Final = 256 * 1024
MAX_OBJECTS: Final = 4_096
_MAX_BRACKETS: Final = 4 * MAX_OBJECTS  # arrays and objects of JSON, in what nobody reads included
_KEPT_BRACKETS: Final = 256  # of a document that is remembered when it is parsed: what is parsed takes memory, too
_KEPT_BYTES: Final = 32 * 1024
_T = TypeVar("_T")


class DescriptionError(ValueError):
    """The document describes no device."""


@attrs.frozen
class PropertyDescription:
    """A declared property. ``datatype`` is ``None`` where the declaration has none; ``unit`` is as declared."""

    id: str
    datatype: Datatype | None = None
    name: str | None = None
    format_text: str | None = None
    settable: bool = False
    retained: bool = True
    unit: str | None = None
    format: Format = None


@attrs.frozen
class NodeDescription:
    """A declared node. ``properties`` is ``None`` for a bare node, which accepts every property.

    ``malformed`` are the ids of properties that were left out for what is wrong with them: they are declared, too.
    """

    id: str
    type: str | None = None
    name: str | None = None
    properties: Mapping[str, PropertyDescription] | None = None
    malformed: frozenset[str] = frozenset()


@attrs.frozen
class DeviceDescription:
    """A parsed ``$description``. ``problems`` says, in words, what in the document was left out and why.

    ``malformed`` are the ids of nodes that were left out.
    """

    id: str
    homie: str = "5.0"
    version: int | None = None
    name: str | None = None
    type: str | None = None
    nodes: Mapping[str, NodeDescription] = attrs.field(factory=dict[str, NodeDescription])
    children: tuple[str, ...] = ()
    root: str | None = None
    parent: str | None = None
    extensions: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    malformed: frozenset[str] = frozenset()


def parse_description(payload: bytes, device: str) -> DeviceDescription:
    """Parse the ``$description`` of ``device``.

    Raises:
        DescriptionError: the payload is not a JSON object, a field of the device itself is malformed, the convention
            version is not 5, or the document is larger than ``MAX_BYTES`` or ``MAX_OBJECTS`` allow.
    """
    if len(payload) > MAX_BYTES:
        raise DescriptionError(f"more than {MAX_BYTES} bytes")
    brackets = payload.count(b"{") + payload.count(b"[")
    if brackets > _MAX_BRACKETS:
        raise DescriptionError(f"more than {_MAX_BRACKETS} JSON arrays and objects")
    if brackets <= _KEPT_BRACKETS and len(payload) <= _KEPT_BYTES:
        return _parse_and_remember(payload, device)
    return _parse(payload, device)


@functools.lru_cache(maxsize=256)  # a house has up to 60 devices
def _parse_and_remember(payload: bytes, device: str) -> DeviceDescription:
    return _parse(payload, device)


def _parse(payload: bytes, device: str) -> DeviceDescription:
    try:
        document = load_json(payload.decode())
    except UnicodeDecodeError:
        raise DescriptionError("not UTF-8") from None
    except InvalidPayload as error:
        raise DescriptionError(str(error)) from None
    if not isinstance(document, dict):
        raise DescriptionError("not a JSON object")
    return _Parser().device(document, device)


def parse_properties(documents: Mapping[str, Any]) -> dict[str, PropertyDescription]:
    """Parse property declarations by id, as they stand under ``properties`` (and in a panel's REST schema).

    Raises:
        DescriptionError: there are more of them than any device has.
    """
    parser = _Parser()
    return parser.objects_of(documents, parser.property)


class _Illegal(Exception):
    """A known field with an illegal value: costs the object at hand."""


def _field(document: Mapping[str, Any], name: str, kind: type[Any]) -> Any:
    value = document.get(name)
    if value is None:  # null is not legal, but what it means is plain
        return None
    if type(value) is not kind:  # not isinstance: a bool is no version number
        raise _Illegal(f"{name} is not a {kind.__name__}")
    return value


def _is_object(document: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(document, dict)


class _Parser:
    """One run over one document: collects problems and counts objects."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.objects = 0

    def device(self, document: Mapping[str, Any], device: str) -> DeviceDescription:
        try:
            homie = _field(document, "homie", str) or "5.0"
            if homie.partition(".")[0] != "5":
                raise _Illegal("homie is not 5.x")
            root = self._reference(document, "root")
            documents: dict[str, Any] = _field(document, "nodes", dict) or {}
            nodes = self.objects_of(documents, self._node)
            return DeviceDescription(
                id=device,
                homie=homie,
                version=_field(document, "version", int),
                name=_field(document, "name", str),
                type=_field(document, "type", str),
                nodes=nodes,
                children=self._entries(document, "children", is_valid_id),
                root=root,
                parent=self._reference(document, "parent") or root,
                extensions=self._entries(document, "extensions", bool),
                problems=tuple(self.problems),
                malformed=frozenset(documents) - frozenset(nodes),
            )
        except _Illegal as error:
            raise DescriptionError(str(error)) from None

    def _reference(self, document: Mapping[str, Any], name: str) -> str | None:
        reference: str | None = _field(document, name, str)
        if reference is not None and not is_valid_id(reference):
            raise _Illegal(f"{name} is not an id")
        return reference

    def _entries(self, document: Mapping[str, Any], name: str, valid: Callable[[str], object]) -> tuple[str, ...]:
        entries: dict[str, None] = {}
        for entry in _field(document, name, list) or ():
            self._count()
            if isinstance(entry, str) and valid(entry):
                entries[entry] = None
            else:
                self.problems.append(f"{name}: an illegal entry")
        return tuple(entries)

    def _count(self) -> None:
        self.objects += 1
        if self.objects > MAX_OBJECTS:
            raise DescriptionError(f"more than {MAX_OBJECTS} nodes, properties and children")

    def objects_of(self, documents: Mapping[str, Any], parse: Callable[[str, Mapping[str, Any]], _T]) -> dict[str, _T]:
        """Parse nodes or properties; what is wrong with one costs that one and no other."""
        objects: dict[str, _T] = {}
        for name, document in documents.items():
            self._count()
            try:
                if not is_valid_id(name):
                    raise _Illegal("an illegal id")
                if not _is_object(document):
                    raise _Illegal("not an object")
                objects[name] = parse(name, document)
            except _Illegal as error:
                self.problems.append(f"{name[:64]}: {error}")
        return objects

    def _node(self, node: str, document: Mapping[str, Any]) -> NodeDescription:
        documents: dict[str, Any] | None = _field(document, "properties", dict)
        properties = None if documents is None else self.objects_of(documents, self.property)
        return NodeDescription(
            id=node,
            type=_field(document, "type", str),
            name=_field(document, "name", str),
            properties=properties,
            malformed=frozenset(documents or ()) - frozenset(properties or ()),
        )

    def property(self, name: str, document: Mapping[str, Any]) -> PropertyDescription:
        text = _field(document, "datatype", str)
        form = _field(document, "format", str)
        try:
            datatype = None if text is None else Datatype(text)
            if datatype is Datatype.ENUM and form is None:
                datatype = Datatype.STRING  # the flat schema declares its feed properties so
            restriction = None if datatype is None else parse_format(datatype, form)
        except InvalidFormat as error:
            raise _Illegal(f"format: {error}") from None
        except ValueError:
            raise _Illegal("an unknown datatype") from None
        return PropertyDescription(
            id=name,
            datatype=datatype,
            name=_field(document, "name", str),
            format_text=form,
            settable=self._flag(name, document, "settable", default=False),
            retained=self._flag(name, document, "retained", default=True),
            unit=_field(document, "unit", str),
            format=restriction,
        )

    def _flag(self, owner: str, document: Mapping[str, Any], name: str, *, default: bool) -> bool:
        value = document.get(name, default)
        if value is True or value is False:
            return value
        # Lesson s1 1.1.1: read by truthiness, the text "false" authorised a write.
        self.problems.append(f"{owner}: {name} is neither true nor false")
        return default
