"""A panel behind a broker that lives: sessions for which `max_silence` is limited."""

from __future__ import annotations

from .helpers import FLOAT, Session, describe, live_session

SILENT = "silent panel: no value for 60 s"
UNHEARD = "silent panel: no value yet"


def bridged(**options: float) -> Session:
    """Live since a value at 0 s, and silent ever since; the edge is taken. What was known before settles at once."""
    session = live_session(**({"max_silence": 60.0, "settle": 0.0} | options))
    session.hear("house/meter/power", "100")
    assert session.edges() == ["online"]
    return session


def unheard() -> Session:
    """All that a broker has retained of a panel, and not a word of the panel itself."""
    return live_session(
        ("house/meter/power/$target", "5"),
        ("car/$state", "ready"),
        ("car/$description", describe({"meter": {"power": FLOAT}}, root="house")),
        ("car/meter/power", "7"),
        children=["car"],
        max_silence=60.0,
        settle=0.0,
    )


def reconnect(session: Session) -> None:
    """The link comes back; the broker has retained everything."""
    session.connect(session.core.epoch + 1)
    session.replay(
        ("house/$state", "ready"),
        ("house/$description", describe({"meter": {"power": FLOAT}})),
        ("house/meter/power", "1"),
    )
    session.complete()
