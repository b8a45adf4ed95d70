"""Masking descriptions: the structure stays, and every text that says more than what a thing is goes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, cast

from ..homie import (
    ColorFormat,
    Datatype,
    EnumFormat,
    InvalidFormat,
    InvalidPayload,
    NumberFormat,
    parse_format,
)
from ..homie.values import load_json
from ..span.harmless import KNOWN_PROPERTIES, UNITS, is_reference
from ..span.parts import CIRCUIT_TYPE
from ..span.private import PRIVATE
from .placeholders import MASK, Placeholders

__all__ = ["mask_description"]

_CONVENTION: Final = re.compile(r"[0-9.]{1,8}")
_ILLEGAL_FORMAT: Final = ","  # for every datatype that has one
_DATATYPES: Final = frozenset(Datatype)
_Maskers: TypeAlias = Mapping[str, tuple[type[Any], Callable[[Any], Any]]]
"""Key of an object in a description -> the type that its value must have, and what masks it."""


def mask_description(device: str, text: str, names: Placeholders) -> str:
    """The ``$description`` of ``device``, masked. What does not parse is masked whole, and does not parse either."""
    try:
        document = load_json(text)
    except InvalidPayload:
        return MASK
    return json.dumps(_device(device, document, names) if isinstance(document, dict) else [])


def _device(device: str, document: dict[str, Any], names: Placeholders) -> Any:
    kind = document.get("type")
    circuit = kind == CIRCUIT_TYPE

    def name(text: str) -> str:
        if text == device:
            return names.id(text)
        return names.text(text) if circuit else MASK

    def nodes(documents: dict[str, Any]) -> dict[str, Any]:
        return {names.id(node): _object(each, described) for node, each in documents.items()}

    def properties(documents: dict[str, Any]) -> dict[str, Any]:
        return {names.property(each): _property(each, declared, names) for each, declared in documents.items()}

    described: _Maskers = {"type": (str, names.type), "name": (str, _masked), "properties": (dict, properties)}
    return _object(
        document,
        {
            "homie": (str, lambda text: text if _CONVENTION.fullmatch(text) else MASK),
            "version": (int, _kept),
            "type": (str, names.type),
            "name": (str, name),
            "root": (str, names.id),
            "parent": (str, names.id),
            "children": (list, lambda entries: _entries(entries, names.id)),
            "extensions": (list, lambda entries: _entries(entries, names.type)),
            "nodes": (dict, nodes),
        },
    )


def _property(name: str, declared: Any, names: Placeholders) -> Any:
    given = cast("dict[str, Any]", declared) if isinstance(declared, dict) else {}
    datatype, unit = given.get("datatype"), given.get("unit")
    unit = unit if isinstance(unit, str) else ""
    reading = (name in KNOWN_PROPERTIES or unit in UNITS) and name not in PRIVATE
    mask_member = names.spell if is_reference(name) else names.member
    masked = _object(
        declared,
        {
            "datatype": (str, lambda text: text if text in _DATATYPES else MASK),
            "format": (str, lambda text: _format(text, datatype, mask_member, reading=reading)),
            "settable": (bool, _kept),
            "retained": (bool, _kept),
            "unit": (str, lambda text: text if text in UNITS or text == "°" else MASK),
            "name": (str, _masked),
        },
    )
    if given and masked.get("format") == "":
        del masked["format"]
    return masked


def _format(text: str, datatype: Any, mask_member: Callable[[str], str], *, reading: bool) -> str:
    """A format; empty where it must not be kept, and nothing depends on it."""
    if not isinstance(datatype, str) or datatype not in _DATATYPES:
        return ""
    try:
        restriction = parse_format(Datatype(datatype), text)
    except InvalidFormat:
        return _ILLEGAL_FORMAT
    match restriction:
        case EnumFormat(members=members):
            return ",".join(map(mask_member, members))
        case NumberFormat() if reading:
            return text
        case ColorFormat():
            return text
        case _:
            return ""


def _object(document: Any, maskers: _Maskers) -> Any:
    """An object with what is known in it; whatever has the wrong type keeps that, and no content."""
    if not isinstance(document, dict):
        return _empty(document)
    given = cast("dict[str, Any]", document)
    return {
        key: mask(given[key]) if type(given[key]) is kind else _empty(given[key])
        for key, (kind, mask) in maskers.items()
        if key in given
    }


def _entries(entries: list[Any], mask: Callable[[str], str]) -> list[Any]:
    return [mask(each) if isinstance(each, str) else _empty(each) for each in entries]


def _kept(value: Any) -> Any:
    return value


def _masked(_: str) -> str:
    return MASK


def _empty(value: Any) -> Any:
    """Something of the same type that says nothing."""
    if isinstance(value, str):
        return MASK
    return value if value is None or isinstance(value, bool) else type(value)()
