"""What strangers say is harmless in exceptions, in logs, and in what is made to be read."""

import ast
import copy
import inspect
import logging
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import span_trio
from span_trio import errors
from span_trio.command import Command, CommandOutcome
from span_trio.enums import CommandResult, ConnectionReason, Control, RefusalReason
from span_trio.homie import ConnectionEdge, Instant, Obstacle, PropertyDescription
from span_trio.span import OfferedControl, SchemaChange, SchemaChangeKind
from span_trio.wiretext import get_logger, printable

POISON = "\x1b]0;pwn\x07\x9b31m\x1b[2J\u202e\u2066\u2028\r\nforged: a line\x00\x7f\ud800"
ROOT = Path(span_trio.__file__).parent
NOW = Instant(0.0, 0.0)


def is_harmless(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Küche 🔌 東", "Küche 🔌 東"),
        ("", ""),
        ("a\x1b[2Jb", "a\ufffd[2Jb"),
        ("\x9b\x00\n\r\x7f\u202e\ufeff\ud800", "\ufffd" * 8),
        ("x" * 4_096, "x" * 4_096),
        ("x" * 4_097, "x" * 4_096 + "…"),
        ("\n" * 4_000_000, "\ufffd" * 4_096 + "…"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_what_is_printable_is_one_line_and_stays_as_it_is(text: str) -> None:
    once = printable(text)
    assert once.isprintable()
    assert len(once) == len(text) or len(text) > 4_096
    assert printable(once) == once


# --- exceptions ---


def error_classes(base: type[errors.SpanPanelError] = errors.SpanPanelError) -> Iterator[type[errors.SpanPanelError]]:
    yield base
    for kind in base.__subclasses__():
        yield from error_classes(kind)


def made(kind: type[errors.SpanPanelError]) -> errors.SpanPanelError:
    """One with poison in every text, and in every place for more of it."""
    given: dict[str, Any] = {
        "reason": ConnectionReason.DEVICE_STATE
        if kind is errors.SpanPanelStaleDataError
        else next(iter(RefusalReason)),
        "credentials": span_trio.SpanCredentials(serial_number="nt-1"),
        "missing": (POISON,),
        "answered": False,
        "status": 500,
        "retry_after": 1.0,
    }
    parameters = inspect.signature(kind.__init__).parameters
    names = [name for name, each in parameters.items() if each.kind is each.POSITIONAL_OR_KEYWORD and name != "self"]
    if not names:
        return kind(POISON)
    return kind(**{name: given.get(name, POISON) for name in names})


def test_no_message_of_an_error_can_control_a_terminal() -> None:
    kinds = [kind for kind in error_classes() if kind.__module__.startswith("span_trio")]
    assert len(kinds) > 15
    for kind in kinds:
        error = made(kind)
        assert "pwn" in str(error), kind
        assert str(error).isprintable(), kind
        assert repr(error).isprintable(), kind


def test_an_error_can_be_copied_and_pickled() -> None:
    error = errors.SpanPanelError(POISON)
    assert str(copy.copy(error)) == str(pickle.loads(pickle.dumps(error))) == printable(POISON)  # noqa: S301


def test_the_attributes_of_an_error_are_what_was_said() -> None:
    assert errors.SpanPanelStaleDataError(ConnectionReason.DEVICE_STATE, POISON).detail == POISON
    assert errors.SpanPanelDataModelError("it says", POISON).version == POISON


# --- what is made to be read ---

COMMAND = Command(Control.RELAY, POISON, POISON, 1.0, NOW, 1, (POISON, POISON))
DECLARED = PropertyDescription("relay")
OFFERED = OfferedControl(Control.RELAY, *4 * (POISON,), "enum", reaches=(POISON, POISON), declaration=DECLARED)
IN_WORDS = [
    Obstacle(ConnectionReason.DEVICE_STATE, POISON),
    ConnectionEdge(False, ConnectionReason.DEVICE_STATE, POISON, POISON, 1, NOW),
    COMMAND,
    CommandOutcome(COMMAND, CommandResult.ACCEPTED, NOW, POISON, value=POISON),
    OFFERED,
    SchemaChange(POISON, SchemaChangeKind.ADDED),
    SchemaChange(POISON, SchemaChangeKind.CHANGED, "unit", POISON, POISON),
]


def test_what_is_made_to_be_read_is_harmless() -> None:
    for value in IN_WORDS:
        assert "pwn" in str(value)
        assert str(value).isprintable()
        assert repr(value).isprintable()


def in_words() -> set[str]:
    """The classes of the library that say themselves how they read."""
    found: set[str] = set()
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                names = {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
                found |= {node.name} if "__str__" in names else set()
    return found


@pytest.mark.slow
def test_every_class_that_is_made_to_be_read_is_looked_at() -> None:
    others = {
        "Endpoint",  # our own words
        "Target",  # which `cli.output` prints
        "StoredPanel",  # likewise
    }
    assert in_words() == {type(value).__name__ for value in IN_WORDS} | others


# --- logs ---


def logged(caplog: pytest.LogCaptureFixture, *arguments: Any, **options: Any) -> str:
    """How a message reads, by the format of a program that knows nothing of us."""
    logger = get_logger("span_trio.test_wiretext")
    caplog.clear()
    with caplog.at_level(logging.DEBUG, logger.name):
        logger.warning(*arguments, **options)
    return "\n".join(map(logging.Formatter("%(name)s %(message)s").format, caplog.records))


@pytest.mark.parametrize(
    "arguments",
    [
        ("%s is offline", POISON),
        ("%s", Obstacle(ConnectionReason.DEVICE_STATE, POISON)),
        ("%s", ValueError(POISON)),
        ("%r and %.80r", POISON, POISON.encode(errors="replace")),
        ("%d messages on %s, %g s", 5, POISON, 1.5),
    ],
)
def test_no_argument_of_a_log_message_can_control_a_terminal(
    arguments: tuple[Any, ...], caplog: pytest.LogCaptureFixture
) -> None:
    said = logged(caplog, *arguments)
    assert "pwn" in said
    assert said.isprintable()


def test_arguments_that_are_harmless_are_handed_on_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    obstacle = Obstacle(ConnectionReason.REPLAY)
    assert (
        logged(caplog, "%s after %d: %s", "nt-1", 5, obstacle)
        == "span_trio.test_wiretext nt-1 after 5: replay incomplete"
    )
    assert caplog.records[0].args == ("nt-1", 5, obstacle)
    assert caplog.records[0].msg == "%s after %d: %s"


def test_no_traceback_in_a_log_can_control_a_terminal(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError(POISON)
    except ValueError as error:
        said = logged(caplog, "it fails", exc_info=error)
    assert "Traceback" in said
    assert "pwn" in said
    assert is_harmless(said)


# --- the gate ---


def calls(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func)


@pytest.mark.slow
def test_every_logger_of_ours_is_made_in_one_place() -> None:
    others = {
        "rest/http.py",  # those of httpx
        "cli/commands.py",  # likewise
        "wiretext.py",
    }
    found = {
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        if any(name == "logging.getLogger" for _, name in calls(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert found <= others


@pytest.mark.slow
def test_messages_of_logs_are_ours_and_what_comes_from_elsewhere_is_an_argument() -> None:
    methods = {"debug", "info", "warning", "error", "exception", "critical", "log"}
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {f"_log.{method}" for method in methods}:
                assert isinstance(node.args[0], ast.Constant), (path, node.lineno)
