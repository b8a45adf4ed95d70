"""``status`` and ``ca``: who a panel says that it is, and whether it is the one that is trusted."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import click

from ..credentials import fingerprint
from ..errors import SpanPanelCertificateError, SpanPanelError, SpanPanelValidationError
from ..rest import SpanRestClient, V2StatusInfo, detect_api_version, download_ca_cert
from .connection import run
from .output import note, say, say_json
from .panels import read_text
from .rest import JSON, RestPanel, fetch_ca, rest_options

__all__ = ["ChangedCaError", "ca", "status"]

_DOOR: Final[Mapping[bool | None, str]] = {
    True: "pressed three times, which registers one client",
    False: "not pressed",
    None: "unknown (the panel does not tell)",
}


class ChangedCaError(SpanPanelCertificateError):
    """The panel hands out another CA than the one that is trusted."""


# --- status -----------------------------------------------------------------------------------------------------------


@click.command()
@rest_options
@JSON
def status(panel: RestPanel, as_json: bool) -> None:
    """Ask the panel at HOST who it is. That needs no credentials.

    With stored ones it is asked over TLS, and proves that it is the one that was registered with. The exit code is 3 if
    nobody answers.
    """
    found = run(partial(detect_api_version, panel.host, **panel.how))
    if found.api_version is None:
        raise found.error or SpanPanelError(f"what {panel.host} is, is not known")
    info: V2StatusInfo | None = found.status_info
    told: dict[str, Any] = {"host": panel.host, "api_version": found.api_version, "proven": "ca_pem" in panel.how}
    if info is not None:
        told |= attrs.asdict(info)
    if as_json:
        say_json(told)
        return
    lines: list[tuple[str, str]] = [("api version", found.api_version)]
    if info is not None:
        lines += [
            ("serial number", info.serial_number),
            ("firmware", info.firmware_version),
            ("hardware", info.hardware_version or "-"),
            ("door", _DOOR[info.proximity_proven]),
        ]
    lines.append(("proven", "by the CA that is stored" if told["proven"] else "no: asked in the clear"))
    for name, value in lines:
        say(f"{name + ':':15}{value}")


# --- the CA -----------------------------------------------------------------------------------------------------------


@click.group()
def ca() -> None:
    """The certificate of the panel's own CA, by which it is known."""


@ca.command()
@rest_options
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it to a file.")
@click.option("--ca-sha256", help="The fingerprint that it must have.")
@JSON
def fetch(panel: RestPanel, out: Path | None, ca_sha256: str | None, as_json: bool) -> None:
    """Fetch the certificate that the panel at HOST hands out, as PEM; its fingerprint goes to stderr.

    It comes in the clear: compare the fingerprint before you trust it.
    """
    options = attrs.evolve(panel.options, ca_sha256=ca_sha256)
    ca_pem = run(fetch_ca, panel.host, options)
    sha256 = fingerprint(ca_pem)
    trusted = panel.credentials.ca_sha256
    note(f"SHA-256 {sha256}")
    if trusted not in {None, sha256}:
        note(f"which is another one than the one that is stored, SHA-256 {trusted}")
    if out is not None:
        try:
            out.write_text(ca_pem, encoding="utf-8")
        except OSError as error:
            raise SpanPanelValidationError(f"cannot write {out}: {error.strerror}") from None
    if as_json:
        say_json({"host": panel.host, "ca_sha256": sha256, "ca_pem": ca_pem})
    elif out is None:
        for line in ca_pem.splitlines():
            say(line)


@ca.command()
@rest_options
@click.option("--ca", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Another one, PEM.")
@JSON
def verify(panel: RestPanel, file: Path | None, as_json: bool) -> None:
    """See whether the panel at HOST still has the CA that is stored for it, and proves it with a certificate.

    The exit code is 5 if it hands out another CA (a firmware upgrade or a factory reset makes one, or it is not your
    panel), and 3 if that cannot be found out or its certificate is not good for HOST.
    """
    ca_pem = panel.credentials.ca_pem if file is None else read_text(file)
    if ca_pem is None:
        raise SpanPanelValidationError(f"no CA is stored for {panel.host}: give one with --ca")
    trusted = fingerprint(ca_pem)
    advertised = fingerprint(run(partial(download_ca_cert, panel.host, port=panel.options.http_port)))
    same = trusted == advertised
    info: V2StatusInfo | None = run(_prove, panel, ca_pem) if same else None
    if as_json:
        told = {"host": panel.host, "verified": same, "trusted_sha256": trusted, "advertised_sha256": advertised}
        say_json(told)
    if info is None:
        raise ChangedCaError(
            f"{panel.host} hands out another CA (SHA-256 {advertised}) than the one that is trusted ({trusted})",
            trusted_sha256=trusted,
            advertised_sha256=advertised,
        )
    if not as_json:
        say(f"{info.serial_number} at {panel.host} has the CA that is trusted, SHA-256 {trusted}")


async def _prove(panel: RestPanel, ca_pem: str) -> V2StatusInfo:
    async with SpanRestClient(panel.host, ca_pem=ca_pem, https_port=panel.options.https_port) as rest:
        return await rest.get_status()
