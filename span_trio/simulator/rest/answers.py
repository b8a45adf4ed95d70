"""Requests read, and answers made: JSON, errors as each build of firmware says them, and answers that are spoilt."""

from __future__ import annotations

import http
import json
from typing import Any, Final, cast

import trio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from .faults import RestFault

__all__ = ["error", "invalid", "read_json", "spoilt"]

_MAX_BODY: Final = 65_536
_EARLY_HINTS: Final = 103
_TEXT_FROM: Final = 202639  # the build from which on errors are texts


async def read_json(request: Request) -> dict[str, Any] | None:
    """The body, which is to be a JSON object of at most 64 KiB."""
    body = b""
    async for chunk in request.stream():  # to its end: who leaves early leaves it to the garbage collector
        body += chunk[: _MAX_BODY + 1 - len(body)]
    if len(body) > _MAX_BODY:
        return None
    try:
        document = cast("object", json.loads(body))
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", document) if isinstance(document, dict) else None


def error(status: int, detail: str) -> Response:
    """An error with a text."""
    return JSONResponse({"detail": detail}, status_code=status)


def invalid(build: int, field: str | None, why: str, given: object) -> Response:
    """422: up to r202633 with what was submitted, secrets included; a mere text later (lesson D, "422 echoes").

    Args:
        build: of the firmware.
        field: of the body; ``None``: the body itself.
        why: in words.
        given: what was submitted, as JSON has it.
    """
    if build >= _TEXT_FROM:
        return error(422, f"{field or 'body'}: {why}")
    loc = ["body"] if field is None else ["body", field]
    said = why if isinstance(given, dict) else f"{why}: {given}"
    return JSONResponse({"detail": [{"type": "value_error", "loc": loc, "msg": said, "input": given}]}, status_code=422)


def spoilt(answer: Response | None, fault: RestFault) -> Response:
    """What comes of an answer, if one was made, under a fault."""
    own = answer is not None and (fault.status is None or fault.status < 400)
    status = fault.status or (answer.status_code if answer is not None else 400 if fault.detail is not None else 200)
    headers = {"content-type": "application/json"}
    if fault.body is not None:
        body = fault.body
    elif fault.detail is not None or (status >= 400 and not own):
        text = _phrase(status) if fault.detail is None else fault.detail
        body = json.dumps({"detail": text}).encode()
    elif answer is not None:
        body = bytes(answer.body)
        headers = {key: value for key, value in answer.headers.items() if key != "content-length"}
    else:
        body = b""
    if status in {204, 304}:
        body = b""
    headers |= {key.lower(): value for key, value in fault.headers.items()}
    return _Spoilt(body[: fault.keep], status, headers, fault)


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:  # there is none of that number
        return "Error"


class _Spoilt(Response):
    """Bytes on their way through a fault."""

    def __init__(self, body: bytes, status: int, headers: dict[str, str], fault: RestFault) -> None:
        super().__init__(body, status, headers)
        self._fault = fault
        if fault.cut is not None:
            self.headers["content-length"] = str(max(len(body), fault.cut + 1))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, or as much of it as the fault lets through."""
        await trio.sleep(self._fault.delay)
        if self._fault.hang_up:
            # hypercorn hangs up on an application that ends within its answer, which this begins: clients ignore it
            await send({"type": "http.response.start", "status": _EARLY_HINTS, "headers": []})
            return
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        body = bytes(self.body)[: self._fault.cut]
        if self._fault.drip is None:
            await send({"type": "http.response.body", "body": body, "more_body": True})
        else:
            for byte in body:
                await trio.sleep(1 / self._fault.drip)
                await send({"type": "http.response.body", "body": bytes([byte]), "more_body": True})
        if self._fault.cut is None:
            await send({"type": "http.response.body", "body": b""})
