"""The tool that puts mistakes into the library: which mistakes, and whether it tells what the tests notice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants.operators import mutants

ROOT = Path(__file__).parents[2]


def changes(source: str) -> set[tuple[str, str]]:
    return {(mutant.was, mutant.now) for mutant in mutants(Path("some.py"), source)}


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("a < 3", {"a <= 3", "a >= 3", "a < 4"}),
        ("a is not b", {"a is b"}),
        ("a and b or c", {"(a and b) and c", "(a or b) or c", "a or c", "b or c", "a and b", "c"}),
        ("not a", {"a"}),
        ("a + b * 2.5", {"a - b * 2.5", "a + b / 2.5", "a + b * 3.5"}),
        ("a if b else True", {"a if not b else True", "a if b else False"}),
        ("[a for a in b if a in c]", {"[a for a in b]", "[a for a in b if a not in c]"}),
        ("'word'", {"'mutated'"}),
        ("b'word'", {"b'mutated'"}),
        ("f'{a}/{b}'", {"'mutated'"}),
        ("f'{a} and {b}'", set[str]()),
        ("'some prose'", set[str]()),
        ("None", set[str]()),
        ("max(a, b)", {"min(a, b)"}),
        ("cast('int', a)", set[str]()),
    ],
)
def test_an_expression_is_changed_in_one_place(was: str, now: set[str]) -> None:
    assert changes(f"a = {was}") == {(f"a = {was}", f"a = {each}") for each in now}


def test_a_statement_is_left_out_or_turned_round() -> None:
    source = """
def work(self, a: int = 1) -> 'int':
    self.a = a
    self.b += 1
    if self.b:
        raise ValueError(a)
    while a():
        break
    try:
        del self.b
    except (KeyError, IndexError):
        a()
    match self.a:
        case [] if a:
            return a
"""
    assert changes(source) == {
        ("def work(self, a: int=1) -> 'int':", "def work(self, a: int=2) -> 'int':"),
        ("self.a = a", "self.a = None"),
        ("self.a = a", "pass"),
        ("self.b += 1", "pass"),
        ("self.b += 1", "self.b -= 1"),
        ("self.b += 1", "self.b += 2"),
        ("if self.b:", "if not self.b:"),
        ("raise ValueError(a)", "pass"),
        ("while a():", "while not a():"),
        ("break", "continue"),
        ("del self.b", "pass"),
        ("except (KeyError, IndexError):", "except (KeyError,):"),
        ("except (KeyError, IndexError):", "except (IndexError,):"),
        ("a()", "pass"),
        ("case [] if a:", "case []:"),
        ("case [] if a:", "case [] if False:"),
        ("return a", "return None"),
    }


def test_what_nobody_would_miss_is_left_alone() -> None:
    source = '''"""Says what it is."""
from typing import TYPE_CHECKING, TypeAlias
if TYPE_CHECKING:
    import a
__all__ = ["b"]
B: TypeAlias = "int | str"
class C(D[1]):
    """Likewise."""
    e: "F[2]"
    def g(self) -> "H[3]":
        """Likewise."""
        _log.info("said", 4)
        yield
'''
    assert changes(source) == {("_log.info('said', 4)", "pass")}


@pytest.mark.slow
def test_what_is_noticed_and_what_survives_is_told(tmp_path: Path) -> None:
    """In functions and at import, and what waits for ever or computes for ever counts as noticed."""
    (tmp_path / "tests" / "unit").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\npythonpath = ['.']\n")
    (tmp_path / "toy.py").write_text(
        "SEEN = 1\n"
        "UNSEEN = 1\n"
        "def seen(a):\n"
        "    return a < SEEN\n"
        "def unseen(a):\n"
        "    return a < UNSEEN\n"
        "def never():\n"
        "    return -UNSEEN\n"
    )
    (tmp_path / "tests" / "unit" / "test_toy.py").write_text(
        "import pytest, toy\n"
        "@pytest.mark.parametrize('a', [0, 1, 2])\n"
        "def test_seen(a): assert toy.seen(a) is (a < 1)\n"
        "def test_unseen(): assert toy.unseen(0) is True\n"
    )
    program = [sys.executable, "-m", "tests.mutants.run", "toy.py", "--all"]
    found = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(  # noqa: S603 - our own
        program, cwd=tmp_path, env={**os.environ, "PYTHONPATH": found}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    told = [line for line in done.stdout.splitlines() if not line.startswith("  ")]
    survivors = {line for line in told if line.startswith("SURVIVED")}
    assert survivors == {
        "SURVIVED: toy.py:2: the module",
        "SURVIVED: toy.py:6: unseen",
        "SURVIVED (no test reaches it): toy.py:8: never",
    }
    assert "all                                      6 killed    4 survived    0 equivalent   60.0 %" in told
