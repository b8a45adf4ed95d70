"""A simulated panel's REST API in memory, seen through httpx."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import attrs
import httpx

from span_trio.simulator import SimulatedPanel, open_simulated_panel
from span_trio.simulator.rest.api import RestState, rest_app


@attrs.frozen
class Api:
    """The API, its state and its panel."""

    panel: SimulatedPanel
    state: RestState
    http: httpx.AsyncClient

    async def ask(self, endpoint: str, token: str | None = None, *, json: Any = None) -> httpx.Response:
        """Ask an endpoint, such as ``GET /status``."""
        method, path = endpoint.split(" ", 1)
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return await self.http.request(method, f"/api/v2{path}", headers=headers, json=json)

    async def register(self, name: object = "me", **fields: Any) -> httpx.Response:
        """Register a client: by the passphrase, unless ``hopPassphrase`` is given, which may be ``None``."""
        return await self.ask(
            "POST /auth/register", json={"name": name, "hopPassphrase": self.panel.passphrase, **fields}
        )

    async def token(self, name: str = "me") -> str:
        """The token of a new client that may do everything."""
        return str((await self.register(name)).json()["accessToken"])

    async def reduced_token(self, name: str = "visitor") -> str:
        """The token of a new client that came by the door."""
        self.state.press_door()
        return str((await self.register(name, hopPassphrase=None)).json()["accessToken"])


@contextlib.asynccontextmanager
async def opened(build: int = 202639, house: str = "8") -> AsyncGenerator[Api, None]:
    """The API of a small house."""
    async with open_simulated_panel(house, build=build) as panel:
        state = RestState("the CA")
        transport = httpx.ASGITransport(rest_app(panel, state))
        async with httpx.AsyncClient(transport=transport, base_url="http://panel", trust_env=False) as http:
            yield Api(panel, state, http)
