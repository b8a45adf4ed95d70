"""The options by which a command finds a panel's REST API, and what such commands share."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs
import click
import trio

from ..credentials import SpanCredentials
from ..errors import SpanPanelAPIError, SpanPanelError, SpanPanelNotStoredError, SpanPanelValidationError
from ..onboard import find_ca
from ..options import PanelOptions
from ..rest import SpanRestClient, download_ca_cert
from .output import note
from .panels import find_stored, read_credentials

__all__ = [
    "JSON",
    "PORTS",
    "YES",
    "RestPanel",
    "fetch_ca",
    "given_options",
    "rest_options",
    "to_the_end",
    "unsaved",
]

_T = TypeVar("_T")

JSON: Final = click.option("--json", "as_json", is_flag=True, help="As JSON.")
YES: Final = click.option("--yes", "-y", is_flag=True, help="Do not ask.")
PORTS: Final = (
    click.option("--http-port", type=click.IntRange(1, 65_535), default=80, show_default=True, help="Of the REST API."),
    click.option("--https-port", type=click.IntRange(1, 65_535), default=443, show_default=True, help="Likewise."),
)
_OPTIONS: Final = (
    click.argument("host"),
    click.option(
        "--credentials",
        "credentials_file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="JSON file as SpanCredentials.to_json() makes it. [default: those that are stored for HOST]",
    ),
    click.option("--no-store", is_flag=True, help="Whatever is stored for HOST, do not use it."),
    *PORTS,
)


@attrs.frozen
class RestPanel:
    """Where a panel's REST API is, and what is known of the panel.

    Attributes:
        host: the panel's.
        credentials: empty, if there are none.
        options: the ports.
        file: where the credentials come from; ``None``: there are none.
    """

    host: str
    credentials: SpanCredentials
    options: PanelOptions
    file: Path | None = None

    @property
    def name(self) -> str:
        """What to call it in a command."""
        return self.credentials.serial_number or self.host

    @property
    def how(self) -> dict[str, Any]:
        """The options of a one-shot call: over TLS if there is a CA to trust."""
        if self.credentials.ca_pem is None:
            return {"port": self.options.http_port}
        return {"ca_pem": self.credentials.ca_pem, "port": self.options.https_port}

    def open(self) -> SpanRestClient:
        """A client that may do what needs a token.

        Raises:
            SpanPanelValidationError: there is no token, or no CA.
        """
        credentials = self.credentials
        if self.file is None:
            raise SpanPanelValidationError(f"no credentials for {self.host}: span-trio register {self.host}")
        for what, value in (("access token", credentials.access_token), ("CA certificate", credentials.ca_pem)):
            if value is None:
                raise SpanPanelValidationError(f"the credentials in {self.file} hold no {what}")
        return SpanRestClient(
            self.host,
            ca_pem=credentials.ca_pem,
            token=credentials.access_token,
            http_port=self.options.http_port,
            https_port=self.options.https_port,
        )


def given_options(options: tuple[Callable[[Any], Any], ...], command: Any) -> Any:
    """Give a command options, in their order."""
    for option in reversed(options):
        command = option(command)
    return command


def rest_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command all of them; it gets one `RestPanel` in their place."""

    @functools.wraps(command)
    def with_panel(
        *, host: str, credentials_file: Path | None, no_store: bool, http_port: int, https_port: int, **others: Any
    ) -> None:
        credentials, file = SpanCredentials(), credentials_file
        if file is not None:
            credentials = read_credentials(file)
        elif not no_store and (stored := find_stored(host)) is not None:
            host, file, credentials = stored.host, stored.path, stored.credentials
        options = PanelOptions(http_port=http_port, https_port=https_port)
        command(panel=RestPanel(host, credentials, options, file), **others)

    with_all: Callable[..., None] = given_options(_OPTIONS, with_panel)
    return with_all


async def fetch_ca(host: str, options: PanelOptions) -> str:
    """The CA that a panel hands out, in the clear; the expected one, if the options say which.

    Raises:
        SpanPanelError: as `find_ca`.
    """
    if options.ca_sha256 is None:
        return await download_ca_cert(host, port=options.http_port)
    ca_pem = await find_ca(host, SpanCredentials(), options)
    if ca_pem is None:
        raise SpanPanelAPIError(f"{host} hands out no CA")
    return ca_pem


async def to_the_end(function: Callable[[], Awaitable[_T]]) -> _T:
    """Await it in a task of its own, which ctrl-C cannot tear: it is cancelled, and what is irrevocable waits that out.

    Raises:
        KeyboardInterrupt: it came to nothing because of that.
    """
    results: list[_T] = []
    errors: list[Exception] = []

    @trio.lowlevel.enable_ki_protection
    async def task() -> None:
        try:
            results.append(await function())
        except Exception as error:  # noqa: BLE001 - raised below, and in no group
            errors.append(error)

    interrupted = False
    try:
        async with trio.open_nursery() as nursery:  # noqa: ASYNC112 - ctrl-C hits the main task
            nursery.start_soon(task)
    except* KeyboardInterrupt:
        interrupted = True
    if errors:
        raise errors[0]
    if not results:
        raise KeyboardInterrupt
    if interrupted:
        note("span-trio: interrupted too late: it is done")
    return results[0]


def unsaved(error: SpanPanelNotStoredError) -> SpanPanelError:
    """Put the only copy of new credentials where it can be put, and say where."""
    try:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".json", prefix="span-", delete=False) as file:
            file.write(error.credentials.to_json())
    except OSError as second:
        lost = f"{error}, nor in {tempfile.gettempdir()} ({second.strerror}): they are lost; register again"
        return SpanPanelValidationError(lost)
    return SpanPanelValidationError(f"{error}; they are in {file.name}: move them to where they belong")
