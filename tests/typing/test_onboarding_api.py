"""Getting on board, as its users call it; checked by mypy and pyright, never run."""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

from span_trio import (
    PanelOptions,
    SpanCredentials,
    SpanPanel,
    SpanPanelNotStoredError,
    register_panel,
    save_credentials,
)


async def by_the_passphrase() -> str | None:
    credentials = await register_panel("192.168.1.100", passphrase="secret", store="span.json")
    assert_type(credentials, SpanCredentials)
    assert_type(credentials.host, str | None)
    assert_type(credentials.client_name, str | None)
    return credentials.ca_sha256


async def by_the_door(folder: Path) -> SpanCredentials:
    async def shown(sha256: str) -> bool:
        await save_credentials(folder / "shown", SpanCredentials())
        return sha256.startswith("5f2b")

    return await register_panel(
        "panel.home", store=folder / "span.json", name="porch", options=PanelOptions(http_port=8080), confirm=shown
    )


async def rotated(panel: SpanPanel) -> SpanCredentials:
    try:
        return await panel.regenerate_passphrase()
    except SpanPanelNotStoredError as error:
        assert_type(error.credentials, SpanCredentials)
        return error.credentials
