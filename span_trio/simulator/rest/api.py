"""The REST API of a simulated panel, all of it (facts, REST section 2).

The rules of this room:

* What the API knows, and what is wrong with it, is `state`; `answers` reads and writes; the application is here.
* What is asked of a panel that is starting is answered with 502, as the web server in front of it does; after a reboot
  that may last for minutes (`SimulatedPanel.reboot`). After that come faults, then the token, then the endpoint.
* A token that nobody has is 401; one that was got by the door may not do everything, and is told 403.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ..panel import SimulatedPanel
from .answers import error, invalid, read_json, spoilt
from .clients import client_endpoints
from .faults import RestFault
from .state import ENDPOINTS, RestClient, RestState

__all__ = ["ENDPOINTS", "RestClient", "RestFault", "RestState", "rest_app"]

_Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]
_PREFIX: Final = "/api/v2"
_OPEN: Final = frozenset({"GET /status", "GET /certificate/ca", "GET /homie/schema", "POST /auth/register"})
_PROXIMITY_FROM: Final = 202609
_DOCUMENTED_HARDWARE: Final = ("1.2", "2.0")
_FQDN_FROM: Final = 202615
_FQDN: Final = "ebusTlsFqdn"
_LABEL: Final = r"(?!..--)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*\.?", re.IGNORECASE)


def rest_app(panel: SimulatedPanel, state: RestState) -> Starlette:
    """The panel's web application."""
    endpoints: dict[str, _Endpoint] = {
        **_public_endpoints(panel, state),
        **client_endpoints(panel, state),
        **_fqdn_endpoints(panel, state),
    }
    return Starlette(
        routes=[
            Route(
                _PREFIX + path.replace("{name}", "{name:path}"),
                _guarded(name, endpoints[name], panel, state),
                methods=[method],
            )
            for name in ENDPOINTS
            for method, path in [name.split()]
        ]
    )


def _guarded(name: str, endpoint: _Endpoint, panel: SimulatedPanel, state: RestState) -> _Endpoint:
    async def permitted(request: Request) -> Response:
        return (None if name in _OPEN else _stop(name, request, state)) or await endpoint(request)

    async def guarded(request: Request) -> Response:
        if state.starting or not panel.http_up:
            return PlainTextResponse("Bad Gateway", status_code=502)
        fault = state.take_fault(name)
        if fault is None:
            return await permitted(request)
        return spoilt(None if fault.replaces and not fault.done else await permitted(request), fault)

    return guarded


def _stop(name: str, request: Request, state: RestState) -> Response | None:
    """Why a request goes no further, if so."""
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token:
        return error(412 if name == "PUT /auth/passphrase" else 401, "Not authenticated")
    client = state.find_client(token.strip())
    if client is None:
        return error(401, "Invalid token")
    return None if client.may(name) else error(403, "Not allowed for this client")


def _public_endpoints(panel: SimulatedPanel, state: RestState) -> Mapping[str, _Endpoint]:
    async def status(_: Request) -> Response:
        release = panel.publisher.release
        answer: dict[str, Any] = {"serialNumber": panel.serial_number, "firmwareVersion": release.firmware}
        if release.build >= _PROXIMITY_FROM:
            answer["proximityProven"] = state.proximity_proven
        if release.tells_hardware:
            hardware = panel.house.spec.hardware_version
            answer["hardwareVersion"] = hardware if hardware in _DOCUMENTED_HARDWARE else "UNKNOWN"
        return JSONResponse(answer)

    async def certificate(request: Request) -> Response:
        retry_after = state.retry_after(request.client.host if request.client else "")
        if retry_after is not None:
            return JSONResponse(
                {"error": f"Rate limit exceeded: {state.ca_limit} per 1 minute"},
                status_code=429,
                headers={"Retry-After": str(retry_after)},
            )
        headers = {"Cache-Control": "public, max-age=3600", "X-Content-Type-Options": "nosniff"}
        return Response(state.ca_pem, media_type="application/x-pem-file", headers=headers)

    async def schema(_: Request) -> Response:
        return JSONResponse(panel.publisher.schema())

    return {"GET /status": status, "GET /certificate/ca": certificate, "GET /homie/schema": schema}


def _fqdn_endpoints(panel: SimulatedPanel, state: RestState) -> Mapping[str, _Endpoint]:
    def supported() -> bool:
        return panel.publisher.release.build >= _FQDN_FROM

    def change(fqdn: str | None) -> Response:
        changed, state.fqdn = state.fqdn != fqdn, fqdn
        if changed and state.on_fqdn is not None:
            state.on_fqdn()
        return JSONResponse({_FQDN: fqdn})

    async def get(_: Request) -> Response:
        return JSONResponse({_FQDN: state.fqdn}) if supported() else error(404, "Not found")

    async def post(request: Request) -> Response:
        if not supported():  # a defect of that firmware, for all clients
            return error(403, "Not allowed for this client")
        form = await read_json(request)
        build = panel.publisher.release.build
        if form is None:
            return invalid(build, None, "Input should be a valid dictionary", None)
        fqdn = form.get(_FQDN)
        if fqdn is not None and not (isinstance(fqdn, str) and (not fqdn or _NAME.fullmatch(fqdn))):
            return invalid(build, _FQDN, "Input should be a name", fqdn)
        return change(fqdn)

    async def delete(_: Request) -> Response:
        return change(None)

    return {"GET /dns/fqdn": get, "POST /dns/fqdn": post, "DELETE /dns/fqdn": delete}
