"""A panel at every address, for the commands that command."""

import pytest

from span_trio.cli import control, offers
from tests.unit.cli.control_helpers import Box, run_virtually


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Box:
    box = Box()
    for place in (control, offers):
        monkeypatch.setattr(place, "open_span_panel", box.open_span_panel)
        monkeypatch.setattr(place, "run", run_virtually)
    monkeypatch.setattr(control, "ask", box.ask)
    monkeypatch.setattr(control, "_at_terminal", lambda: box.answer is not None)
    return box
