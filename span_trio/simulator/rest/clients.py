"""The REST endpoints about clients and secrets: registration, list, passphrase (facts, REST sections 4 and 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..panel import SimulatedPanel
from .answers import error, invalid, read_json
from .state import RestClient, RestState

__all__ = ["client_endpoints"]

_UNREADABLE: Final = "Dashboard password is not available"
_TEXTS: Final = ("name", "description", "otp", "dashboardPassword", "hopPassphrase")


class _Clients:
    def __init__(self, panel: SimulatedPanel, state: RestState) -> None:
        self._panel = panel
        self._state = state

    # --- registration ---

    async def register(self, request: Request) -> Response:
        if not self._state.serial_known:
            return error(503, "Serial number is not available yet")
        form = await read_json(request)
        if form is None:
            return self._invalid(None, "Input should be a valid dictionary", None)
        by_door = form.get("hopPassphrase") is None
        if by_door and self._state.door_waits and not self._state.proximity_proven:
            await self._state.wait_for_door()
        # The first registration that relies on the proof consumes it, whatever becomes of it.
        proven = by_door and self._state.use_proof()
        return self._refusal(form, by_door=by_door, proven=proven) or self._accept(form, full=not by_door)

    def _refusal(self, form: Mapping[str, Any], *, by_door: bool, proven: bool) -> Response | None:
        for field in _TEXTS:
            if form.get(field) is not None and not isinstance(form[field], str):
                return self._invalid(field, "Input should be a valid string", form[field])
        if not form.get("name"):
            return self._invalid("name", "Field required", dict(form))
        if self._state.refuse is not None:
            return error(self._state.refuse, "refused")
        if form["name"] in self._state.clients:
            return self._invalid(None, "Client already exists", dict(form))
        if by_door:
            return None if proven else error(403, "Proximity is not proven")
        if self._state.passphrase_unreadable:
            return error(422, _UNREADABLE)
        return None if form["hopPassphrase"] == self._panel.passphrase else error(401, "Wrong passphrase")

    def _accept(self, form: Mapping[str, Any], *, full: bool) -> Response:
        state, panel = self._state, self._panel
        client = state.add_client(form["name"], full=full, description=form.get("description"))
        return JSONResponse(
            {
                "accessToken": client.token,
                "tokenType": "bearer",
                "iatMs": client.issued_at * 1000,
                "hostname": f"span-{panel.serial_number}",
                "serialNumber": panel.serial_number,
                "hopPassphrase": None if state.without_password else panel.passphrase,
                "ebusBrokerUsername": panel.credentials.broker_username,
                "ebusBrokerPassword": None if state.without_password else panel.credentials.broker_password,
                "ebusBrokerHost": f"span-{panel.serial_number}.local",
                "ebusBrokerMqttsPort": state.mqtts_port,
                "ebusBrokerWsPort": state.ws_port,
                "ebusBrokerWssPort": state.wss_port,
            }
        )

    def _invalid(self, field: str | None, why: str, given: object) -> Response:
        return invalid(self._panel.publisher.release.build, field, why, given)

    # --- the list ---

    async def list_all(self, _: Request) -> Response:
        clients = {name: client.as_json() for name, client in self._state.clients.items()}
        return JSONResponse({"clients": clients})

    async def show(self, request: Request) -> Response:
        return self._told(request, self._state.clients.get(request.path_params["name"]))

    async def delete(self, request: Request) -> Response:
        return self._told(request, self._state.clients.pop(request.path_params["name"], None))

    def _told(self, request: Request, client: RestClient | None) -> Response:
        if client is None:
            return self._invalid(None, "No such client", request.path_params["name"])
        return JSONResponse(client.as_json())

    # --- the passphrase ---

    async def rotate(self, _: Request) -> Response:
        self._panel.rotate_passphrase(drop=self._state.broker_drops, late=self._state.broker_late)
        return JSONResponse(
            {"ebusBrokerPassword": self._panel.credentials.broker_password, "hopPassphrase": self._panel.passphrase}
        )


def client_endpoints(panel: SimulatedPanel, state: RestState) -> Mapping[str, Any]:
    """These endpoints, by their names in `ENDPOINTS`."""
    clients = _Clients(panel, state)
    return {
        "POST /auth/register": clients.register,
        "GET /auth/clients": clients.list_all,
        "GET /auth/clients/{name}": clients.show,
        "DELETE /auth/clients/{name}": clients.delete,
        "PUT /auth/passphrase": clients.rotate,
    }
