"""What the reference takes from the code: docstrings, signatures, and tables of values that would go stale by hand."""

from __future__ import annotations

import contextlib
import enum
import functools
import importlib
import pkgutil
import re
import types
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import span_trio
from docutils import nodes
from span_trio.broadcast import EdgeReader, UpdateReader, ValueReader
from span_trio.homie import Event, Lifecycle
from span_trio.homie.lifecycle import TRANSITIONS
from span_trio.span import child_fields, fields
from span_trio.span.parts import Kind
from span_trio.span.tables import Table
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import NoUri
from sphinx.ext.napoleon import Config, GoogleDocstring
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective, SphinxRole

NOT_MADE = {span_trio.SpanPanel, ValueReader, EdgeReader, UpdateReader}

PUBLIC = ("span_trio", "span_trio.homie", "span_trio.link", "span_trio.recording", "span_trio.rest", "span_trio.enums")
"""Where names are documented, the best place first."""


# --- docstrings and signatures ----------------------------------------------------------------------------------------


def sections(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Google's sections to what Sphinx reads. (Napoleon by itself takes "W: so many" on a field for a type.)"""
    if lines and lines[0].startswith("Alias for field number"):  # a NamedTuple's, and no docstring
        lines.clear()
    if what == "data":
        lines[:] = _comment_of(name) or lines
        if isinstance(thing, (str, types.UnionType)):  # of other aliases Sphinx tells by itself
            plain = re.sub(r"[\w.]+[.](?=\w)", "", str(thing))
            lines += ["", f"Alias of ``{plain}``."]
    what = "method" if what in {"attribute", "property", "data"} else what
    lines[:] = Sections(lines, Config(), app, what, name, thing, options).lines()
    default = _default(name)
    if default is not None:
        text = "\n".join(lines).rstrip()
        lines[:] = f"{text} Default: ``{default}``.".strip().splitlines()


class Sections(GoogleDocstring):
    """Attributes with their types in the signature; and a Returns section is all text."""

    def _parse_attributes_section(self, section: str) -> list[str]:
        lines: list[str] = []
        for name, kind, (first, *more) in self._consume_fields():
            annotation = kind or self._lookup_annotation(name)
            lines += [f".. attribute:: {name}", *([f"   :type: {annotation}"] if annotation else []), ""]
            lines += [*self._indent([first[:1].upper() + first[1:], *more], 3), ""]
        return lines

    def _consume_returns_section(self, preprocess_types: bool = False) -> list[tuple[str, str, list[str]]]:
        lines = self._dedent(self._consume_to_next_section())
        return [("", "", lines)] if lines else []


def _comment_of(name: str) -> list[str]:
    """The text below a name of a module, or one that a package only passes on: a type alias has no docstring."""
    place, _, name = name.rpartition(".")
    rooms = pkgutil.iter_modules(getattr(importlib.import_module(place), "__path__", ()), place + ".")
    for module in (place, *(room.name for room in rooms)):
        found = ModuleAnalyzer.for_module(module).find_attr_docs().get(("", name))
        if found:
            return found
    return []


def _default(name: str) -> str | None:
    """What a field of one of the classes of settings is by itself."""
    owner, _, field = name.rpartition(".")
    for cls in (span_trio.PanelOptions, span_trio.homie.Limits):
        if owner.rpartition(".")[2] == cls.__name__ and hasattr(attrs.fields(cls), field):
            return repr(getattr(cls(), field))
    return None


def signature(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, arguments: str | None, result: str | None
) -> tuple[str | None, str | None] | None:
    """Leave out what nobody types: how a snapshot, an enum or an error is made, and what a manager is in truth."""
    if what in {"class", "exception"}:
        is_protocol = getattr(thing, "_is_protocol", False)
        not_made = issubclass(thing, (enum.Enum, BaseException)) or thing in NOT_MADE or is_protocol
        # A class of fields: they are listed below, with their types; and attrs hides the defaults from Sphinx.
        if not_made or attrs.has(thing) or hasattr(thing, "_fields"):
            return "", None
        return _alias(arguments), None
    if "AsyncGenerator" in (result or ""):
        result = None
    return _alias(arguments), _alias(result)


def _alias(text: str | None) -> str | None:
    """``TypeAliasForwardRef('this')`` is what Sphinx makes of an alias that may be ``None``."""
    return text and re.sub(r"TypeAliasForwardRef\('(.+?)'\)", r"\1", text)


# --- names ------------------------------------------------------------------------------------------------------------


@functools.cache
def public_names() -> dict[str, str]:
    """The full name of each thing in the module that defines it -> the one it is documented by."""
    names: dict[str, str] = {}
    for place in PUBLIC:
        module = importlib.import_module(place)
        for name in module.__all__:
            thing = getattr(module, name)
            if hasattr(thing, "__qualname__") and hasattr(thing, "__module__"):
                names.setdefault(f"{thing.__module__}.{thing.__qualname__}", f"{place}.{name}")
    return names


def _candidates(node: pending_xref) -> Iterator[str]:
    target, module, owner = node["reftarget"], node.get("py:module"), node.get("py:class")
    scopes = [f"{module}.{owner}", module, *PUBLIC]
    for full in (target, *(f"{scope}.{target}" for scope in scopes if scope)):
        yield full
        parts = full.split(".")
        for length in range(len(parts), 1, -1):
            found = public_names().get(".".join(parts[:length]))
            if found is not None:
                yield ".".join([found, *parts[length:]])


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, contents: nodes.TextElement) -> Any:
    """Find a name by where it is documented, if it was said by where it is defined, or by less."""
    if node.get("refdomain") != "py":
        return None
    domain = env.domains.python_domain
    for name in _candidates(node):
        if name in domain.objects:
            with contextlib.suppress(NoUri):
                return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", name, node, contents)
    return None


# --- values -----------------------------------------------------------------------------------------------------------


def literal(text: str) -> nodes.Node:
    """A word of code."""
    return nodes.literal(text, text)


def _shown(value: Any) -> str:
    return f"{value:_}" if type(value) is int and value > 65_535 else repr(value)


def table(head: list[str], rows: list[list[nodes.Node]]) -> nodes.table:
    """A plain table."""
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=1) for _ in head]
    cells = [[nodes.entry("", nodes.paragraph("", "", item)) for item in row] for row in rows]
    group += nodes.thead("", nodes.row("", *(nodes.entry("", nodes.paragraph(text=text)) for text in head)))
    group += nodes.tbody("", *(nodes.row("", *row) for row in cells))
    return nodes.table("", group, classes=["docutils", "align-default"])


class TransitionTable(SphinxDirective):
    """The lifecycle's transitions: a row for each state, a column for each event."""

    def run(self) -> list[nodes.Node]:
        rows: list[list[nodes.Node]] = []
        for state in Lifecycle:
            targets = (TRANSITIONS[state].get(event) for event in Event)
            rows.append([literal(state.name), *(literal(to.name) if to else nodes.Text("-") for to in targets)])
        return [table(["", *(event.name for event in Event)], rows)]


class Settings(SphinxDirective):
    """The fields of a class of settings and what they are by themselves."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        module, _, name = self.arguments[0].rpartition(".")
        cls = getattr(importlib.import_module(module), name)
        defaults = cls()
        rows: list[list[nodes.Node]] = []
        for field in attrs.fields(cls):
            value = getattr(defaults, field.name)
            if not attrs.has(type(value)):
                reference, _ = self.parse_inline(f"{{py:attr}}`~{self.arguments[0]}.{field.name}`")
                rows.append([reference[0], literal(_shown(value))])
        return [table(["option", "default"], rows)]


Sources = dict[str, tuple[str, str]]
"""Field -> where it is in the flat schema, and in the parent/child one."""

_FED = "the record that names it: `connection/feeds-device-id`, or the lugs' `fed-by-device-id`"
_LINK = "that record's `…-device-status`"
_COMPUTED = "*computed*"
_LIMIT = "`config/user-max-charge-current` or `charge-limit/owner-limit`"
_CEILING = "`config/max-charge-current` or `charge-limit/installer-max`"
OTHERWISE: Mapping[type[Any], Sources] = {  # what no line of a table tells, or not all of
    span_trio.SpanPanelSnapshot: {
        "serial_number": ("`core/serial-number`", "panel `info/serial-number`"),
        "dominant_power_source": ("`core/dominant-power-source`", "MID `grid/grid-forming-entity`, by what that is"),
        "grid_islandable": ("`core/grid-islandable`", "any `grid-forming/capable`; SPAN publishes none"),
        "grid_state": ("`bess/grid-state`", "panel `shed/asserted-islanding-state`, else MID `grid/islanding-state`"),
        "dsm_state": (_COMPUTED, _COMPUTED),
        "current_run_config": (_COMPUTED, _COMPUTED),
        "panel_size": ("by the format of `circuit/space`, else by `core/model`", "by panel `info/model`"),
        "first_position": ("as `panel_size`", "as `panel_size`"),
        "last_position": ("as `panel_size`", "as `panel_size`"),
        "unmapped_tabs": (_COMPUTED, _COMPUTED),
        "lugs_at_service_entrance": ("", "upstream lugs `connection/fed-by-device-id`, `connection/service-rating`"),
    },
    span_trio.SpanCircuitSnapshot: {
        "circuit_id": ("the node's id, without dashes", "the device's id"),
        "measures_outside_panel": ("", "whether the device declares no `info/spaces`"),
        "feeds": ("", "`connection/feeds-device-id`, `-type`, `-status`"),
        "fed_by": ("", "`connection/fed-by-device-id`, `-type`, `-status`"),
        "is_user_controllable": ("not `always-on`", "`switch/relay` settable, and `switch/relay-controllable`"),
        "is_never_backup": ("`never-backup`", "`load-shed/priority` OFF_GRID and not settable"),
        "always_on": ("`always-on`", "not `switch/relay-controllable`, while the relay is not open"),
        "device_type": ("what names it as its `feed`", "what its `connection/feeds-device-id` names"),
        "relative_position": ("that one's `relative-position`", "of that record"),
    },
    span_trio.SpanBatterySnapshot: {
        "device_id": ("the panel's id", "the device's id"),
        "feed_circuit_id": ("`feed`", _FED),
        "relative_position": ("`relative-position`", "of that record"),
        "connected": ("`connected`", _LINK),
    },
    span_trio.SpanPVSnapshot: {
        "feed_circuit_id": ("`feed`", _FED),
        "relative_position": ("`relative-position`", "of that record"),
        "connected": ("", _LINK),
        "device_id": ("the panel's id", "the device's id"),
        "node_id": ("the feeding circuit's id, else the node's", "the feeding circuit's id, else the device's"),
    },
    span_trio.SpanEvseSnapshot: {
        "node_id": (
            "`serial-number` if no other has it, else the node's id",
            "`info/serial-number` if no other has it, else the device's id",
        ),
        "device_id": ("the panel's id", "the device's id"),
        "lock_state_settable": ("`lock-state` settable", "`switch/lock-state` settable"),
        "feed_circuit_id": ("`feed`", _FED),
        "connected": ("", _LINK),
        "charge_current_limit_a": ("`user-max-charge-current`", _LIMIT),
        "charge_current_ceiling_a": ("`max-charge-current`", _CEILING),
        "charge_current_limit_target_a": ("`user-max-charge-current/$target`", "the same property's `$target`"),
        "charge_current_limit_settable": ("`user-max-charge-current` settable", "the same property is settable"),
        "effective_charge_current_limit_a": (_COMPUTED, _COMPUTED),
    },
    span_trio.SpanMidSnapshot: {
        "node_id": ("", "`info/serial-number`, else the device's id"),
        "device_id": ("", "the device's id"),
        "grid_forming_device_name": ("", "vendor and model of the device that it names, or that circuit's name"),
    },
}
_SKIPPED = {  # the parts, and what is about the snapshot
    *("circuits", "battery", "pv", "pv_inverters", "evse", "pcs", "mid", "adopted_devices", "extension_properties"),
    *("alerts", "away_devices", "pending_devices", "seq", "epoch", "received_at"),
}


def _paths(table: Table | None, field: str, prefix: str = "") -> str:
    step = None if table is None else table.get(field)
    suffix = "/$target" if field.endswith("_target") else ""
    return ", ".join(f"`{prefix}{name}{suffix}`" for name in (() if step is None else step.names))


def _panel_sources() -> Sources:
    """Of the panel's own fields, which come from several nodes and devices."""
    found: Sources = {}
    for field in child_fields.PANEL:
        flat = _paths(fields.CORE, field, "core/") or _paths(fields.FLOWS, field, "power-flows/")
        found[field] = flat, f"panel {_paths(child_fields.PANEL, field)}"
    for side, lugs in (("upstream", child_fields.UPSTREAM), ("downstream", child_fields.DOWNSTREAM)):
        for field in lugs:
            name = fields.LUGS[field][1] if field in fields.LUGS else None
            found[field] = "" if name is None else f"`lugs-{side}/{name}`", f"{side} lugs {_paths(lugs, field)}"
    return found


class BothSchemas(SphinxDirective):
    """Where each field of a snapshot class comes from, in either schema; an error for one that nobody tells of."""

    required_arguments = 1
    tables: Mapping[type[Any], tuple[Table | None, Table]] = {
        span_trio.SpanCircuitSnapshot: (fields.CIRCUIT, child_fields.TABLES[Kind.CIRCUIT][0]),
        span_trio.SpanBatterySnapshot: (fields.BATTERY, child_fields.TABLES[Kind.BESS][0]),
        span_trio.SpanPVSnapshot: (fields.PV, child_fields.TABLES[Kind.PV][0]),
        span_trio.SpanEvseSnapshot: (fields.EVSE, child_fields.TABLES[Kind.EVSE][0]),
        span_trio.SpanPcsSnapshot: (fields.PCS, child_fields.PCS),
        span_trio.SpanMidSnapshot: (None, child_fields.TABLES[Kind.MID][0]),
    }

    def run(self) -> list[nodes.Node]:
        cls = getattr(span_trio, self.arguments[0])
        told = _panel_sources() if cls is span_trio.SpanPanelSnapshot else {}
        if cls in self.tables:
            flat, child = self.tables[cls]
            told = {field: (_paths(flat, field), _paths(child, field)) for field in child}
        told |= OTHERWISE.get(cls, {})
        rows: list[list[nodes.Node]] = []
        for field in attrs.fields(cls):
            if field.name not in _SKIPPED:
                sources = told.get(field.name, ("", ""))
                if not any(sources):
                    raise self.error(f"{cls.__name__}.{field.name} comes from nowhere")
                name = f"{{py:attr}}`~span_trio.{cls.__name__}.{field.name}`"
                rows.append([self._inline(text or "-") for text in (name, *sources)])
        return [table(["field", "flat", "parent/child"], rows)]

    def _inline(self, text: str) -> nodes.Node:
        parsed, _ = self.parse_inline(text)
        return nodes.inline("", "", *parsed)


class Constant(SphinxRole):
    """The value of a constant, by its full name."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        module, _, name = self.text.rpartition(".")
        value = getattr(importlib.import_module(module), name)
        return [literal(_shown(value))], []


def setup(app: Sphinx) -> dict[str, Any]:
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", sections)
    app.connect("autodoc-process-signature", signature)
    app.connect("missing-reference", resolve)
    app.add_directive("transitions", TransitionTable)
    app.add_directive("settings", Settings)
    app.add_directive("both-schemas", BothSchemas)
    app.add_role("constant", Constant())
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
