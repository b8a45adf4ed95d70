"""What is offered on a flat or a parent/child panel on the bench, and what a command would publish there."""

from __future__ import annotations

from typing import Any

import pytest

from span_trio import Control, OfferedControl, RefusalReason, SpanPanelCommandError
from span_trio.span import DataModel, controls, resolve_command
from tests.unit.span.child_helpers import ChildPanel
from tests.unit.span.helpers import ROOT, FlatPanel

__all__ = ["Bench", "find", "offers", "published", "refusal"]

Bench = FlatPanel | ChildPanel


def _model(panel: Bench) -> DataModel:
    return DataModel.PARENT_CHILD if isinstance(panel, ChildPanel) else DataModel.FLAT


def offers(panel: Bench) -> dict[tuple[Control, str], OfferedControl]:
    """All that is offered, by control and subject; none twice."""
    found = list(controls(panel.forest, ROOT, _model(panel)))
    by_key = {(offered.control, offered.subject): offered for offered in found}
    assert len(by_key) == len(found)
    return by_key


def find(panel: Bench, control: Control, subject: str = ROOT) -> OfferedControl:
    """This one."""
    return offers(panel)[control, subject]


def published(panel: Bench, control: Control, subject: str, wanted: Any) -> tuple[str, bytes]:
    """Device, node and property, and the payload."""
    offered, payload = resolve_command(
        panel.forest, ROOT, _model(panel), control=control, subject=subject, wanted=wanted
    )
    return f"{offered.device_id}/{offered.node_id}/{offered.property_id}", payload


def refusal(panel: Bench, control: Control, subject: str, wanted: Any) -> RefusalReason:
    """Why it is refused; the error is one of those, and nothing else comes out."""
    with pytest.raises(SpanPanelCommandError) as caught:
        published(panel, control, subject, wanted)
    assert str(caught.value).endswith(str(caught.value.reason))
    assert caught.value.__cause__ is None
    return caught.value.reason
