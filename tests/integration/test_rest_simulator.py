"""A simulated panel's REST API on real ports, for programs that are not ours: urllib and mosquitto_sub."""

from __future__ import annotations

import json
import ssl
import urllib.request
from functools import partial
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, cast
from urllib.error import HTTPError

import trio

from span_trio.simulator import Listening, listening, open_simulated_panel
from tests.busy import PATIENCE
from tests.integration.broker import program


async def ask(
    base: str, method: str, path: str, *, token: str | None = None, body: Any = None, ca: str | None = None
) -> tuple[int, bytes]:
    """Status and body of one request, in a thread."""
    headers = {"Content-Type": "application/json"} | ({} if token is None else {"Authorization": f"Bearer {token}"})
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{base}/api/v2{path}", data, headers, method=method)  # noqa: S310 - a test's own
    context = None if ca is None else ssl.create_default_context(cadata=ca)
    if context is not None:
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT

    def fetch() -> tuple[int, bytes]:
        try:
            with cast("HTTPResponse", urllib.request.urlopen(request, context=context, timeout=10)) as answer:  # noqa: S310 - likewise
                return answer.status, answer.read()
        except HTTPError as error:
            with error:
                return error.code, error.read()

    return await trio.to_thread.run_sync(fetch)


def watching(where: Listening, ca: Path, username: str, password: str, *more: str) -> list[str]:
    login = ("-u", username, "-P", password, "--cafile", str(ca))
    return [program("mosquitto_sub"), "-h", where.host, "-p", str(where.mqtts_port), *login, "-t", "ebus/#", *more]


async def runs(command: list[str]) -> int:
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    return done.returncode


async def test_on_board_and_through_a_rotation(tmp_path: Path) -> None:
    async with (
        open_simulated_panel("8", build=202639) as panel,
        listening(panel) as where,
        trio.open_nursery() as nursery,
    ):
        http, https = f"http://{where.host}:{where.http_port}", f"https://{where.host}:{where.https_port}"
        status, pem = await ask(http, "GET", "/certificate/ca")
        assert status == 200
        ca = tmp_path / "ca.pem"
        await trio.Path(ca).write_bytes(pem)
        asking = partial(ask, https, ca=pem.decode())
        _, answer = await asking("POST", "/auth/register", body={"name": "me", "hopPassphrase": panel.passphrase})
        told = json.loads(answer)
        username, old, token = (told[key] for key in ("ebusBrokerUsername", "ebusBrokerPassword", "accessToken"))
        assert json.loads((await asking("GET", "/homie/schema"))[1])["homieDomain"] == "ebus"
        assert await runs(watching(where, ca, username, old, "-C", "1")) == 0

        nursery.start_soon(runs, watching(where, ca, username, old, "-i", "watcher"))
        with trio.fail_after(PATIENCE):
            while "watcher" not in panel.broker.sessions:  # noqa: ASYNC110 - nobody tells
                await trio.sleep(0.02)
        status, answer = await asking("PUT", "/auth/passphrase", token=token)
        new = json.loads(answer)["ebusBrokerPassword"]
        assert (status, new != old) == (200, True)
        assert not panel.broker.sessions
        assert await runs(watching(where, ca, username, old, "-C", "1"))
        assert await runs(watching(where, ca, username, new, "-C", "1")) == 0
        assert (await asking("GET", "/auth/clients", token=token))[0] == 200
        assert (await asking("GET", "/auth/clients", token="stale"))[0] == 401
