"""What `import span_trio` gives, what it does not do, and that every module says what of it is for others."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import span_trio

PACKAGE = Path(span_trio.__file__).parent
MODULES = sorted(
    info.name for info in pkgutil.walk_packages([str(PACKAGE)], "span_trio.") if not info.name.endswith("__main__")
)


def module_of(name: str) -> ModuleType:
    return importlib.import_module(name)


# --- the names ---


def test_all_is_sorted_and_has_no_name_twice() -> None:
    assert span_trio.__all__ == sorted(set(span_trio.__all__))


def test_all_is_complete() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    imported = [
        alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    assert sorted(imported) == span_trio.__all__
    assert not [node for node in tree.body if not isinstance(node, (ast.ImportFrom, ast.Expr, ast.Assign))]


def test_every_error_is_public() -> None:
    assert set(span_trio.errors.__all__) <= set(span_trio.__all__)


@pytest.mark.parametrize("name", span_trio.__all__)
def test_every_name_is_there_and_documented(name: str) -> None:
    thing = getattr(span_trio, name)
    assert inspect.getdoc(thing)
    assert not (inspect.getdoc(thing) or "").startswith(
        f"{name}("
    )  # attrs and NamedTuple make up a text if there is none
    assert not name.startswith("_")


@pytest.mark.parametrize("name", [name for name in span_trio.__all__ if inspect.isclass(getattr(span_trio, name))])
def test_every_public_method_and_property_is_documented(name: str) -> None:
    for attribute, thing in vars(getattr(span_trio, name)).items():
        if not attribute.startswith("_") and (
            callable(thing) or isinstance(thing, (property, classmethod, staticmethod))
        ):
            assert inspect.getdoc(thing), f"{name}.{attribute}"


@pytest.mark.parametrize("name", [name for name in span_trio.__all__ if inspect.isfunction(getattr(span_trio, name))])
def test_every_parameter_of_a_public_function_is_annotated(name: str) -> None:
    signature = inspect.signature(getattr(span_trio, name))
    assert signature.return_annotation is not signature.empty
    assert all(parameter.annotation is not parameter.empty for parameter in signature.parameters.values())


def test_the_tree_of_errors_is_printed_as_it_is() -> None:
    printed = re.findall(r"^( *)(?:[|+ -]*)(SpanPanel\w+)", span_trio.errors.__doc__ or "", re.MULTILINE)
    assert {name for _, name in printed} == set(span_trio.errors.__all__)
    for name in span_trio.errors.__all__:
        assert issubclass(getattr(span_trio, name), span_trio.SpanPanelError)


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is_and_what_of_it_is_for_others(name: str) -> None:
    module: Any = module_of(name)
    assert module.__doc__
    assert len(set(module.__all__)) == len(module.__all__)
    for public in module.__all__:
        assert getattr(module, public) is not None, public


def test_every_public_name_is_type_checked_as_its_users_use_it() -> None:
    """`tests/typing` is never run, so this only looks: a new name must be used there."""
    imported = {
        alias.name
        for path in (Path(__file__).parents[1] / "typing").glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "span_trio"
        for alias in node.names
    }
    assert imported == set(span_trio.__all__)


def test_the_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


# --- importing it ---

_WATCH = """
import sys
import threading

seen = []


def watch(event, arguments):
    if event.startswith(("socket.__new__", "socket.connect", "socket.bind", "socket.getaddrinfo")):
        seen.append(event)
    if event == "_thread.start_new_thread":
        seen.append(event)
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        path = str(arguments[0])
        if path.endswith((".pem", ".crt", ".cer")) or "/certs" in path:
            seen.append(path)


sys.addaudithook(watch)
import span_trio
import logging

assert not seen, seen
assert threading.active_count() == 1, threading.enumerate()
assert not logging.getLogger().handlers, "a handler of the root logger"
assert not logging.getLogger("span_trio").handlers, "a handler of ours"
assert not {"pytest", "hypothesis", "span_trio.cli"} & sys.modules.keys(), "what only some need"
"""


@pytest.mark.slow
def test_importing_starts_no_thread_opens_no_socket_and_reads_no_ca(tmp_path: Path) -> None:
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-W", "error", "-c", _WATCH], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
