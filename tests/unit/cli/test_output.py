"""The one way to a terminal: nothing that is printed controls it, and nothing is printed in another way."""

import ast
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table

from span_trio.cli import output
from span_trio.cli.output import Terminal, Text, columns, stacked
from tests.unit.test_wiretext import POISON

CLI = Path(output.__file__).parent
OWN = re.compile(r"\x1b\[[0-9;]*m")
"""What rich writes for a style."""


def rendered(renderable: RenderableType, width: int = 60) -> str:
    """What a terminal with colours gets."""
    terminal = Terminal(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=width)
    terminal.print(renderable)
    file = terminal.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def table(cell: RenderableType) -> Table:
    found = Table(title="t")
    found.add_column(POISON)
    found.add_row(cell)
    return found


WAYS: dict[str, RenderableType] = {
    "text": POISON,
    "Text": Text(POISON, style="bold red"),
    "append": Text("a").append(POISON, "red"),
    "assemble": Text.assemble("a", (POISON, "green")),
    "stacked": stacked(Text(POISON), Text(POISON)),
    "cell": table(POISON),
    "cell of Text": table(Text(POISON)),
    "panel": Panel(POISON, title=POISON),
    "rule": Rule(POISON),
    "group": Group(POISON, table(stacked(Text(POISON)))),
}


@pytest.mark.parametrize("renderable", WAYS.values(), ids=WAYS)
def test_no_text_controls_the_terminal_however_it_gets_there(renderable: RenderableType) -> None:
    for width in (20, 60, 200):
        shown = rendered(renderable, width)
        assert "pwn" in shown.replace("\n", "")
        for line in OWN.sub("", shown).split("\n"):
            assert line.isprintable(), ascii(line)


@pytest.mark.parametrize("renderable", [POISON, Text(POISON), table(POISON)], ids=["text", "Text", "table"])
def test_no_text_makes_lines_of_its_own(renderable: RenderableType) -> None:
    assert not [line for line in rendered(renderable, 200).split("\n") if line.startswith("forged")]


def test_words_are_printed_as_they_are() -> None:
    assert rendered("[red]a[/red] :bomb: 5 'x'") == "[red]a[/red] :bomb: 5 'x'\n"
    assert rendered("x" * 100, width=20) == "x" * 100 + "\n"  # and not broken: somebody may read them


@pytest.mark.parametrize(
    "show", [output.say, output.note, output.ask_for, lambda text: output.say(*columns((text, "x")))]
)
def test_what_is_said_is_on_one_line(show: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    show(POISON)
    said = "".join(capsys.readouterr())
    assert "pwn" in said
    assert said.removesuffix("\n").isprintable()


def test_json_is_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    output.say_json({POISON: [POISON]})
    said = capsys.readouterr().out
    assert said.isascii()
    assert said.removesuffix("\n").isprintable()


# --- the gate ---

FORBIDDEN = {
    *("print", "sys.stdout.write", "sys.stderr.write", "sys.__stdout__.write", "os.write"),
    *("click.echo", "click.secho", "click.prompt", "click.confirm", "click.style", "click.echo_via_pager"),
}
TERMINALS = {"rich", "rich.console.Console", "rich.text", "rich.text.Text", "rich.markup", "rich.print", "rich.prompt"}


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from (f"{node.module}.{each.name}" for each in node.names)
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names)


def ways_out(source: str) -> list[str]:
    """What a module prints with, other than `output`."""
    tree = ast.parse(source)
    called = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = {name for name in imported(tree) if name in TERMINALS}
    return sorted({name for name in called if name in FORBIDDEN} | names)


@pytest.mark.parametrize("path", sorted(CLI.glob("*.py")), ids=lambda path: path.stem)
def test_nothing_but_this_module_prints(path: Path) -> None:
    assert path.stem == "output" or ways_out(path.read_text(encoding="utf-8")) == []


def test_the_library_prints_nothing() -> None:
    for path in CLI.parent.rglob("*.py"):
        if path.parent != CLI:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            called = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
            assert not FORBIDDEN & set(called), path


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("click.echo(name)", ["click.echo"]),
        ("print(name)", ["print"]),
        ("from rich.text import Text", ["rich.text", "rich.text.Text"]),
        ("from rich.console import Console, Group", ["rich.console.Console"]),
        ("import rich", ["rich"]),
        ("from rich.console import RenderableType\nfrom .output import say\nsay(name)", []),
    ],
)
def test_the_gate_sees_what_it_is_for(source: str, found: list[str]) -> None:
    assert ways_out(source) == found
