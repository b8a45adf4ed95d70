"""No command of a test sees what is stored on this machine; and a panel at every address, for those that command."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from span_trio.cli import asking, control, offers
from tests.unit.cli.control_helpers import Box, run_virtually


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the panels are stored; not there yet."""
    path = tmp_path / "home"
    monkeypatch.setenv("SPAN_TRIO_HOME", str(path))
    for name in ("SPAN_TRIO_PASSWORD", "SPAN_TRIO_PASSPHRASE"):
        monkeypatch.delenv(name, raising=False)
    return path


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Box:
    box = Box()
    for place in (control, offers):
        monkeypatch.setattr(place, "open_span_panel", box.open_span_panel)
        monkeypatch.setattr(place, "run", run_virtually)
    monkeypatch.setattr(control, "ask", box.ask)
    monkeypatch.setattr(asking, "at_terminal", lambda: box.answer is not None)
    return box


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Ctrl-C is heard, though whoever started the tests may have them ignore it, as a shell does in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
