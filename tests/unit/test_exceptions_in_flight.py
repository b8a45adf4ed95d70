"""What may stand in a ``finally`` or an ``except``, and where threads may be: read from the source of every module."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import span_trio

SOURCES = sorted(Path(span_trio.__file__).parent.rglob("*.py"))
HELPERS = {"close_forcefully", "undisturbed"}
"""Of `span_trio.background`: what is awaited by them cannot take the place of an exception in flight."""
PASSED_ON = "return await self._manager.__aexit__(kind, error, traceback)"
"""What a manager does that is another one's: it is that one's exit, and nothing behind it."""
SUSPENDS = (ast.Await, ast.AsyncWith, ast.AsyncFor)
THREADS = {"to_thread", "open_file", "wrap_file", "run_process", "Path", "start_thread_soon", "Thread"}


def on_the_way_out(tree: ast.AST) -> Iterator[ast.stmt]:
    """The statements that run, or may run, while an exception is in flight."""
    for node in ast.walk(tree):
        match node:
            case ast.Try() | ast.TryStar():
                yield from node.finalbody
                for handler in node.handlers:
                    yield from handler.body
            case ast.AsyncFunctionDef(name="__aexit__") if ast.unparse(node.body[-1]) != PASSED_ON:
                yield from node.body


def own(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when this runs: not what is in a function that is only defined there."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from own(child)


def is_helped(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Await)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
        and node.value.func.id in HELPERS
    )


def disturbing(source: str) -> list[int]:
    """The lines that wait for something, unaided, while an exception may be in flight."""
    nodes = (node for statement in on_the_way_out(ast.parse(source)) for node in own(statement))
    return sorted({node.lineno for node in nodes if isinstance(node, SUSPENDS) and not is_helped(node)})


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(SOURCES[0].parent)))
def test_nothing_unaided_is_awaited_while_an_exception_may_be_in_flight(path: Path) -> None:
    assert disturbing(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    pass\nfinally:\n    await stream.aclose()",
        "try:\n    pass\nfinally:\n    await trio.aclose_forcefully(stream)",
        "try:\n    pass\nfinally:\n    if stream:\n        with scope:\n            await stream.aclose()",
        "try:\n    pass\nexcept BaseException:\n    await stream.aclose()\n    raise",
        "try:\n    pass\nexcept KeyError:\n    raise await diagnose() from None",
        "try:\n    pass\nexcept* KeyError:\n    await trio.sleep(1)",
        "try:\n    pass\nfinally:\n    async with stream:\n        pass",
        "try:\n    pass\nfinally:\n    async for item in stream:\n        pass",
    ],
)
def test_the_rule_finds_what_it_is_to_find(source: str) -> None:
    assert disturbing("async def f():\n" + textwrap.indent(source, "    "))


def test_the_rule_finds_what_an_exit_awaits() -> None:
    assert disturbing("class C:\n    async def __aexit__(self, *_):\n        await self.own.aclose()")


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    await stream.aclose()\nfinally:\n    pass",
        "try:\n    pass\nfinally:\n    await close_forcefully(stream)",
        "try:\n    pass\nfinally:\n    await undisturbed(announcer.say_goodbye, within=1)",
        "try:\n    pass\nexcept KeyError:\n    pass\nelse:\n    await trio.sleep(1)",
    ],
)
def test_the_rule_leaves_alone_what_is_harmless(source: str) -> None:
    assert disturbing("async def f():\n" + textwrap.indent(source, "    ")) == []


def threads(source: str) -> list[int]:
    """The lines that use a thread: `trio.Path` and others do, and cannot be abandoned."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and node.attr in THREADS
        and isinstance(node.value, ast.Name)
        and node.value.id in {"trio", "threading"}
    ]


@pytest.mark.slow
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(SOURCES[0].parent)))
def test_threads_are_used_in_one_room_only(path: Path) -> None:
    if path.name != "threads.py":
        assert threads(path.read_text(encoding="utf-8")) == []
