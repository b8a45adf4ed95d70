"""The REST endpoints of a simulated panel that need no token: status, CA, schema, registration (facts, REST section 2).

What is asked of a panel that is starting is answered with 502, as the web server in front of it does; after a reboot
that may last for minutes (`SimulatedPanel.reboot`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias, cast

import attrs
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from .panel import SimulatedPanel

__all__ = ["RestState", "rest_app"]

_Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]
_PREFIX: Final = "/api/v2"
_MAX_BODY: Final = 65_536


@attrs.define
class RestState:
    """What the endpoints say, and what is wrong with them.

    Attributes:
        ca_pem: the certificate that ``/certificate/ca`` hands out.
        mqtts_port: as ``/auth/register`` tells it; likewise ``ws_port`` and ``wss_port``.
        proximity_proven: whether the door was pressed three times.
        starting: answer everything with 502.
        refuse: refuse every registration with this status (401, 403, 422).
        without_password: hand out no broker password (r202639: the panel cannot read its own).
        clients: name of each client registered so far -> when, Unix s.
    """

    ca_pem: str
    mqtts_port: int = 8883
    ws_port: int = 9001
    wss_port: int = 9002
    proximity_proven: bool = False
    starting: bool = False
    refuse: int | None = None
    without_password: bool = False
    clients: dict[str, int] = attrs.field(factory=dict[str, int])


def rest_app(panel: SimulatedPanel, state: RestState) -> Starlette:
    """The panel's web application."""

    async def status(_: Request) -> Response:
        answer: dict[str, Any] = {
            "serialNumber": panel.serial_number,
            "firmwareVersion": panel.publisher.release.firmware,
        }
        if panel.publisher.release.build >= 202609:
            answer["proximityProven"] = state.proximity_proven
        if panel.publisher.release.tells_hardware:
            answer["hardwareVersion"] = panel.house.spec.hardware_version
        return JSONResponse(answer)

    async def certificate(_: Request) -> Response:
        headers = {"Cache-Control": "public, max-age=3600", "X-Content-Type-Options": "nosniff"}
        return Response(state.ca_pem, media_type="application/x-pem-file", headers=headers)

    async def schema(_: Request) -> Response:
        return JSONResponse(panel.publisher.schema())

    async def register(request: Request) -> Response:
        form = await _json(request)
        name = None if form is None else form.get("name")
        if form is None or not isinstance(name, str) or not name:
            return _error(422, "name: field required")
        if state.refuse is not None:
            return _error(state.refuse, "refused")
        passphrase = form.get("hopPassphrase")
        proven = passphrase is None and state.proximity_proven
        if passphrase is None:
            state.proximity_proven = False  # the first registration that relies on the proof consumes it
        if name in state.clients or not (proven or passphrase == panel.passphrase):
            return _error(422 if name in state.clients else 401, "not accepted")
        state.clients[name] = int(time.time())
        secret = None if state.without_password else panel.credentials.broker_password
        return JSONResponse(
            {
                "accessToken": f"simulated.{len(state.clients)}.{name}",
                "tokenType": "bearer",
                "iatMs": state.clients[name] * 1000,
                "hostname": f"span-{panel.serial_number}",
                "serialNumber": panel.serial_number,
                "hopPassphrase": None if state.without_password else panel.passphrase,
                "ebusBrokerUsername": panel.credentials.broker_username,
                "ebusBrokerPassword": secret,
                "ebusBrokerHost": f"span-{panel.serial_number}.local",
                "ebusBrokerMqttsPort": state.mqtts_port,
                "ebusBrokerWsPort": state.ws_port,
                "ebusBrokerWssPort": state.wss_port,
            }
        )

    endpoints: Mapping[tuple[str, str], _Endpoint] = {
        ("GET", "/status"): status,
        ("GET", "/certificate/ca"): certificate,
        ("GET", "/homie/schema"): schema,
        ("POST", "/auth/register"): register,
    }
    return Starlette(
        routes=[
            Route(_PREFIX + path, _while_started(endpoint, panel, state), methods=[method])
            for (method, path), endpoint in endpoints.items()
        ]
    )


def _while_started(endpoint: _Endpoint, panel: SimulatedPanel, state: RestState) -> _Endpoint:
    async def guarded(request: Request) -> Response:
        if state.starting or not panel.http_up:
            return PlainTextResponse("Bad Gateway", status_code=502)
        return await endpoint(request)

    return guarded


async def _json(request: Request) -> dict[str, Any] | None:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY:
            return None
    try:
        document = cast("object", json.loads(body))
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", document) if isinstance(document, dict) else None


def _error(status: int, detail: str) -> Response:
    return JSONResponse({"detail": detail}, status_code=status)
