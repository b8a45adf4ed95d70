"""Every example in docs/ runs, and prints what the page says that it prints.

A page is one program: its blocks run in order and share their names. What each kind of block means here:

* ``python`` runs, ``ipython`` does so as the cell of a notebook. A block of no kind right below is what it prints.
* ``console`` is typed in a terminal. What a command prints stands below it, or nothing does.
* ``sh`` is for the reader's own terminal, and needs what a test has not: the network, or somebody to press ctrl-C. What
  README.md says of the same commands is run by ``.ci/run``.
* A hidden block (``<!--- invisible-code-block: python``) runs too: `house` is in it, see `tests.examples.house`.
"""

from __future__ import annotations

import contextlib
import io
import shlex
from collections.abc import Iterable
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell
from sybil import Document, Example, Region, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer
from sybil.parsers.myst import CodeBlockParser

from span_trio.cli.commands import cli
from tests.examples.house import House

DOCS = Path(__file__).parents[2] / "docs"
SIMULATED = [DOCS / "tutorial" / "index.md", *(DOCS / "how-to" / page for page in ("register.md", "simulate.md"))]
PAGES = sorted(page for page in DOCS.rglob("*.md") if page not in SIMULATED)

run_python = PythonEvaluator()


def python(example: Example) -> None:
    """Run a block, and remember what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        run_python(example)
    example.namespace["printed"] = printed.getvalue()


def ipython(example: Example) -> None:
    """Run a block as a notebook would, magics included."""
    shell = InteractiveShell.instance()
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        shell.run_cell(example.parsed).raise_error()
    example.namespace["printed"] = printed.getvalue()


def outputs(document: Document) -> Iterable[Region]:
    """The blocks of no kind that stand right below another block."""
    for region in RawFencedCodeBlockLexer()(document):
        if document.text[: region.start].rstrip().endswith("```"):
            yield Region(region.start, region.end, region.lexemes["source"], output)


def output(example: Example) -> str:
    """Compare with what the block above printed; what is said here is a failure."""
    printed = example.namespace["printed"]
    return "" if printed == example.parsed else f"the page says:\n{example.parsed}\nbut this was printed:\n{printed}"


def console(example: Example) -> None:
    """Run the commands of a block, each from its ``$`` to the next."""
    for session in example.parsed.removeprefix("$ ").split("\n$ "):
        command, _, expected = session.partition("\n")
        printed = run_command(command)
        if expected:
            assert printed.strip() == expected.strip()


def run_command(command: str) -> str:
    """What a command prints."""
    name, *arguments = shlex.split(command)
    assert name == "span-trio", f"no way to run {command!r}"
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.redirect_stderr(io.StringIO()):
        cli.main(arguments, prog_name=name, standalone_mode=False)
    return printed.getvalue()


sybil = Sybil(
    [
        CodeBlockParser("python", python),
        CodeBlockParser("ipython", ipython),
        CodeBlockParser("console", console),
        outputs,
    ]
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_page(page: Path, house: House) -> None:
    run_page(page, {"house": house})


@pytest.mark.parametrize("page", SIMULATED, ids=lambda page: str(page.relative_to(DOCS)))
def test_page_that_brings_its_own_panel(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_page(page, {})


def run_page(page: Path, names: dict[str, object]) -> None:
    document = sybil.parse(page)
    document.namespace.update(names)
    for example in document.examples():
        example.evaluate()
