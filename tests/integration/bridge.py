"""The bridge of `bridge.conf`, which the documentation shows, between two brokers of ours."""

from __future__ import annotations

from pathlib import Path

from tests.integration.broker import ROOT, Broker

__all__ = ["CONFIGURATION", "bridge_to"]

CONFIGURATION = Path(__file__).with_name("bridge.conf")


def bridge_to(panel: Broker, **instead: str) -> list[str]:
    """The lines of `CONFIGURATION` about the panel, for a panel that is ``panel``.

    It logs in over TLS, as with a panel. Some settings otherwise, or not at all: ``name=""``.
    """
    settings = {
        "address": f"{panel.host}:{panel.login_tls_port}",
        "remote_username": ROOT,
        "remote_password": panel.PASSWORD,
        "bridge_cafile": str(panel.folder / "ca.pem"),
        **instead,
    }
    text = CONFIGURATION.read_text()
    lines = [line for line in text[text.index("connection ") :].splitlines() if line and not line.startswith("#")]
    told = [line.split()[0] for line in lines]
    changed = [
        f"{name} {settings.pop(name)}" if name in settings else line for name, line in zip(told, lines, strict=True)
    ]
    added = [f"{name} {value}" for name, value in settings.items()]
    return [line for line in (*changed, *added) if not line.endswith(" ")]
