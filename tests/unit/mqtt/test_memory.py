"""paho runs on two buffers, or says at import that it no longer does."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import paho.mqtt
import paho.mqtt.client
import pytest
from paho.mqtt.enums import MQTTErrorCode

from span_trio.mqtt.memory import MemoryClient, MemorySocket, check_hook


def test_a_memory_socket_reads_what_is_there_and_never_waits() -> None:
    socket = MemorySocket()
    socket.incoming += b"abc"
    assert socket.recv(2) == b"ab"
    assert socket.recv(2) == b"c"
    with pytest.raises(BlockingIOError):
        socket.recv(2)


def test_a_memory_socket_keeps_what_was_sent_after_it_was_closed() -> None:
    socket = MemorySocket()
    socket.setblocking(False)
    assert socket.send(b"ab") == 2
    assert socket.send(bytearray(b"c")) == 1
    socket.close()
    assert socket.outgoing == b"abc"


def test_a_memory_socket_is_no_file() -> None:
    assert MemorySocket().fileno() < 0


def test_the_check_passes_with_the_paho_that_is_here() -> None:
    check_hook()


def assert_check_fails() -> BaseException | None:
    """The check fails and names the version of paho; returns the cause."""
    with pytest.raises(ImportError, match=f"paho-mqtt {paho.mqtt.__version__}") as caught:
        check_hook()
    return caught.value.__cause__


def test_a_paho_whose_hook_has_another_name_is_found_out_and_looks_up_no_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(MemoryClient, "_create_socket")  # so paho makes a real socket, as if it did not know ours
    assert isinstance(assert_check_fails(), UnicodeError)  # raised before the resolver is asked


def test_a_paho_that_reads_its_socket_in_another_way_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(MemorySocket, "recv")
    assert_check_fails()


@pytest.mark.parametrize("method", ["loop_write", "loop_read"])
def test_a_paho_that_does_nothing_is_found_out(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(client: paho.mqtt.client.Client) -> MQTTErrorCode:
        if isinstance(client, MemoryClient):
            client.memory.incoming.clear()
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    monkeypatch.setattr(paho.mqtt.client.Client, method, nothing)
    assert_check_fails()


@pytest.mark.slow
def test_importing_starts_no_thread_and_opens_nothing() -> None:
    script = """
        import os, sys, threading

        def opened():
            return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

        def watch(event, arguments):
            if event.startswith(("socket.", "_thread.start")):
                used.append(event)

        used = []
        before = threading.enumerate(), opened()
        sys.addaudithook(watch)
        import span_trio.mqtt
        assert (threading.enumerate(), opened()) == before
        assert not used, used
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)  # noqa: S603 - a script of our own
