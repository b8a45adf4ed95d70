"""Credentials in a file: what is refused, what is replaced, and that no file keeps anybody waiting."""

from __future__ import annotations

import logging
import math
import os
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from span_trio import (
    ConnectionReason,
    PanelOptions,
    SpanCredentials,
    SpanPanelTimeoutError,
    SpanPanelValidationError,
    load_credentials,
    open_span_panel,
    save_credentials,
)
from span_trio import store as store_module
from span_trio.store import check_store
from tests.unit.link.broker import Broker
from tests.unit.link.house import house
from tests.unit.span.helpers import ROOT
from tests.unit.test_credentials import everything_about

SECRET = "correct-horse-battery"
STORED = SpanCredentials(serial_number=ROOT, broker_username="me", broker_password=SECRET)
OPTIONS = PanelOptions(transport="mqtt", max_silence=math.inf)
posix = pytest.mark.skipif(os.name == "nt", reason="modes and links of files as POSIX has them")


@pytest.fixture(autouse=True)
def unwarned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_warned", set[str]())


@pytest.fixture
def interruptible() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Mount:
    """A file system whose server does not answer: whoever reads or flushes waits, until it is mended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers = threading.Event()
        self.asked = threading.Event()
        self.waiting = 0
        self._monkeypatch = monkeypatch

    def hang(self, what: str, where: Any = store_module) -> None:
        real: Callable[..., Any] = getattr(where, what)

        def wait(*arguments: Any) -> Any:
            self.waiting += 1
            self.asked.set()
            self.answers.wait()
            return real(*arguments)

        self._monkeypatch.setattr(where, what, wait)


@pytest.fixture
def mount(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mount]:
    made = Mount(monkeypatch)
    yield made
    made.answers.set()


def names(folder: Path) -> list[str]:
    """Of all that is in it."""
    return sorted(path.name for path in folder.rglob("*"))


async def refused(path: Path) -> str:
    """Why a store is refused, which takes no time."""
    with trio.fail_after(5), pytest.raises(SpanPanelValidationError) as caught:
        await load_credentials(path)
    assert SECRET not in everything_about(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


# --- what is no store -------------------------------------------------------------------------------------------------


@posix
async def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    assert "no regular file" in await refused(path)
    with trio.fail_after(5), pytest.raises(SpanPanelValidationError, match="no regular file"):
        async with open_span_panel("panel", store=path, options=OPTIONS):
            pass
    for write in (check_store(path), save_credentials(path, STORED)):
        with pytest.raises(SpanPanelValidationError, match="no regular file"):
            await write
    assert stat.S_ISFIFO(path.stat().st_mode)


@posix
async def test_a_pipe_that_somebody_writes_to_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    both = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    os.write(both, STORED.to_json().encode())
    assert "no regular file" in await refused(path)
    assert os.read(both, 10**6) == STORED.to_json().encode()
    os.close(both)


@posix
async def test_a_device_is_refused_and_so_is_a_directory(tmp_path: Path) -> None:
    assert "no regular file" in await refused(Path("/dev/zero"))
    assert "a directory" in await refused(tmp_path)


async def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(2**20 + 1)
    path.chmod(0o600)
    assert "too large" in await refused(path)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
async def test_what_is_not_utf_8_is_refused_and_in_no_exception(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "span.json"
    path.write_bytes(f'{{"passphrase": "{SECRET} é"}}'.encode(encoding))
    path.chmod(0o600)
    assert "not UTF-8" in await refused(path)


# --- what others may do -----------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
async def test_a_store_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "span.json"
    await save_credentials(path, STORED)
    path.chmod(mode)
    assert f"others may write to it (mode {mode:04o})" in await refused(path)
    await save_credentials(path, STORED)  # which mends it
    assert await load_credentials(path) == STORED


@posix
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o444])
async def test_a_store_that_others_may_read_is_warned_of_once(
    tmp_path: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "span.json"
    await save_credentials(path, STORED)
    path.chmod(mode)
    for _ in range(3):
        assert await load_credentials(path) == STORED
    assert [record.getMessage() for record in caplog.records] == [
        f"others may read {path} (mode {mode:04o}), which holds secrets: chmod 600"
    ]


@posix
@pytest.mark.parametrize("mode", [0o600, 0o400])
async def test_a_store_of_ones_own_is_not_spoken_of(
    tmp_path: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    path = tmp_path / "span.json"
    await save_credentials(path, STORED)
    path.chmod(mode)
    assert await load_credentials(path) == STORED
    assert caplog.text == ""


@posix
async def test_a_store_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "span.json"
    await save_credentials(path, STORED)
    mine = path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    if mine:
        assert "another user" in await refused(path)
    else:  # of root: who may write to everything
        assert await load_credentials(path) == STORED
        os.chown(path, 4712, 4712)
        assert "another user" in await refused(path)


@posix
async def test_root_keeps_a_store_for_whom_it_belongs_to(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root may give files away")
    path = tmp_path / "span.json"
    await save_credentials(path, STORED)
    os.chown(path, 4711, 4712)
    await save_credentials(path, attrs.evolve(STORED, passphrase="new"))
    status = path.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (4711, 4712, 0o600)


# --- links ------------------------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("exists", [True, False])
async def test_saving_through_a_link_replaces_what_it_leads_to(tmp_path: Path, exists: bool) -> None:
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "span.json", tmp_path / "link.json"
    link.symlink_to(Path("there") / "span.json")
    if exists:
        await save_credentials(target, STORED)
    new = attrs.evolve(STORED, broker_password="new")
    await check_store(link)
    await save_credentials(link, new)
    assert link.is_symlink()
    assert SECRET not in target.read_text()
    assert await load_credentials(target) == await load_credentials(link) == new
    assert names(tmp_path) == ["link.json", "span.json", "there"]


@posix
async def test_links_that_lead_to_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert "cannot read" in await refused(tmp_path / "a")
    with pytest.raises(SpanPanelValidationError, match="cannot write"):
        await save_credentials(tmp_path / "a", STORED)


# --- whether it can be written ----------------------------------------------------------------------------------------


async def test_checking_a_store_leaves_nothing_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "span.json"
    await check_store(path)
    assert names(tmp_path) == []
    await save_credentials(path, STORED)
    before = path.stat()
    await check_store(path)
    assert path.stat() == before
    assert names(tmp_path) == ["span.json"]


async def test_checking_finds_what_saving_would_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpanPanelValidationError, match="No such file"):
        await check_store(tmp_path / "no" / "where")
    with pytest.raises(SpanPanelValidationError, match="directory"):
        await check_store(tmp_path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SpanPanelValidationError, match="No space left"):
        await check_store(tmp_path / "span.json")
    assert names(tmp_path) == []


@posix
async def test_a_file_that_is_a_mount_cannot_be_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a container has it, that was given one file."""
    path = tmp_path / "span.json"
    await save_credentials(path, STORED)
    real = Path.stat

    def elsewhere(self: Path, **options: Any) -> Any:
        found = real(self, **options)
        return os.stat_result((*found[:2], found.st_dev + 1, *found[3:])) if self.name == "span.json" else found

    monkeypatch.setattr(Path, "stat", elsewhere)
    with pytest.raises(SpanPanelValidationError, match="mount its directory"):
        await check_store(path)


# --- what does not answer ---------------------------------------------------------------------------------------------


async def test_opening_waits_for_a_store_no_longer_than_for_a_panel(mount: Mount, tmp_path: Path) -> None:
    mount.hang("_read")
    options = PanelOptions(transport="mqtt", max_silence=math.inf, ready_timeout=0.2)
    with trio.fail_after(5), pytest.raises(SpanPanelTimeoutError):
        async with open_span_panel("panel", store=tmp_path / "span.json", options=options):
            pass


async def test_opening_can_be_cancelled_while_a_store_does_not_answer(mount: Mount, tmp_path: Path) -> None:
    mount.hang("_read")
    with trio.fail_after(5), trio.move_on_after(0.2) as scope:
        async with open_span_panel("panel", store=tmp_path / "span.json", options=OPTIONS):
            pass
    assert scope.cancelled_caught


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("restricted", [True, False])
def test_ctrl_c_ends_the_waiting_for_a_store(mount: Mount, tmp_path: Path, restricted: bool) -> None:
    mount.hang("_read")

    def press() -> None:
        mount.asked.wait()
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        trio.run(load_credentials, tmp_path / "span.json", restrict_keyboard_interrupt_to_checkpoints=restricted)
    assert time.monotonic() - began < 5


async def test_i11_a_panel_can_be_left_while_its_store_does_not_answer(mount: Mount, tmp_path: Path) -> None:
    """Asked for again in mid-life, when they are refused."""
    path = tmp_path / "span.json"
    await save_credentials(path, STORED)
    broker = Broker(house())
    with trio.fail_after(10):
        async with open_span_panel("panel", store=path, options=OPTIONS, dialer=broker.dial) as panel:
            mount.hang("_read")
            broker.connack = 4
            broker.connection.hang_up()
            while not mount.asked.is_set():  # noqa: ASYNC110 - a thread tells nobody
                await trio.sleep(0.01)
            assert panel.obstacle is not None
            assert panel.obstacle.reason in {ConnectionReason.REFUSED, ConnectionReason.LINK_LOST}
            began = trio.current_time()
    assert trio.current_time() - began < 1


@pytest.mark.slow
async def test_one_thread_at_most_is_stuck_for_a_store_and_others_are_read(mount: Mount, tmp_path: Path) -> None:
    """Though a panel asks again and again: threads are what names are looked up by, too."""
    await save_credentials(tmp_path / "other.json", STORED)
    real = store_module._read
    mount.hang("_read")
    for _ in range(50):
        with trio.move_on_after(0.01):
            await load_credentials(tmp_path / "span.json")
    assert mount.waiting == 1
    assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
    store_module._read = real
    assert await load_credentials(tmp_path / "other.json") == STORED


@pytest.mark.slow
async def test_saving_has_a_limit_and_changes_nothing_behind_it(
    mount: Mount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "span.json"
    await save_credentials(path, STORED)
    monkeypatch.setattr(store_module, "WRITES_WITHIN", 0.1)
    mount.hang("fsync", os)
    for _ in range(3):
        with trio.fail_after(5), pytest.raises(SpanPanelValidationError, match=r"does not answer within 0\.1 s"):
            await save_credentials(path, attrs.evolve(STORED, passphrase="new"))
    assert mount.waiting == 1
    mount.answers.set()
    with trio.fail_after(5):
        while len(names(tmp_path)) > 1:  # noqa: ASYNC110 - a thread tells nobody
            await trio.sleep(0.01)
    assert await load_credentials(path) == STORED


async def test_a_cancellation_does_not_cut_a_write_short(mount: Mount, tmp_path: Path) -> None:
    path = tmp_path / "span.json"
    mount.hang("fsync", os)

    async def answer() -> None:
        while not mount.asked.is_set():  # noqa: ASYNC110 - likewise
            await trio.sleep(0.01)
        scope.cancel()
        await trio.sleep(0.05)
        mount.answers.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        with trio.CancelScope() as scope:
            await save_credentials(path, STORED)
    assert await load_credentials(path) == STORED


@pytest.mark.virtual_time
async def test_the_limit_of_a_write_is_in_real_time(mount: Mount, tmp_path: Path) -> None:
    """A virtual clock jumps while a thread works."""
    path = tmp_path / "span.json"
    mount.hang("fsync", os)
    threading.Timer(0.2, mount.answers.set).start()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep, 10_000)
        await save_credentials(path, STORED)
    assert path.exists()
