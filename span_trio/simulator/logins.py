"""The secrets of a simulated panel, and who may log in to its broker with them."""

from __future__ import annotations

import math
import secrets

import attrs
import trio

from ..credentials import SpanCredentials

__all__ = ["Logins"]

_BAD_PASSWORD = 4


class Logins:
    """Passphrase and password of one panel.

    Attributes:
        passphrase: what registers a client.
        credentials: what opens the panel by MQTT, without a CA.
        stale: how often somebody tried a password from before a rotation.
    """

    def __init__(self, serial_number: str) -> None:
        self.passphrase: str = _new_passphrase()
        self.credentials: SpanCredentials = SpanCredentials(
            serial_number=serial_number, broker_username=serial_number, broker_password=secrets.token_hex(8)
        )
        self.stale: int = 0
        self._old: set[bytes] = set()
        self._from = -math.inf

    def judge(self, username: str | None, password: bytes | None) -> int:
        """The CONNACK code for a login."""
        login = self.credentials.login
        self.stale += password in self._old
        right = (username, password) == (login[0], (login[1] or "").encode())
        return 0 if right and trio.current_time() >= self._from else _BAD_PASSWORD

    def rotate(self, *, late: float) -> None:
        """From now on, others; ``late`` seconds from now, the password lets in."""
        self._old.add((self.credentials.broker_password or "").encode())
        self.passphrase = _new_passphrase()
        self.credentials = attrs.evolve(self.credentials, broker_password=secrets.token_hex(8))
        self._from = trio.current_time() + late


def _new_passphrase() -> str:
    return f"simulated-{secrets.token_hex(4)}"
