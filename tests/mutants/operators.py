"""The mutants of a module: what it would be with one small thing wrong.

A mutant is one node of the syntax tree with another in its place. What nobody would miss is left alone: annotations,
docstrings, imports, what is logged, and prose (text with a space in it).
"""

from __future__ import annotations

import ast
import contextlib
import difflib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import attrs

__all__ = ["Key", "Mutant", "mutants"]

_MUTATED: Final = "mutated"
_COMPARE: Final[dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
}
_OPPOSITE: Final = {"min": "max", "max": "min", "any": "all", "all": "any"}
_NEGATED: Final = (ast.Name, ast.Attribute, ast.Call, ast.Await, ast.Subscript, ast.NamedExpr)
_Function = (ast.FunctionDef, ast.AsyncFunctionDef)
_LEFT_ALONE: Final = {"annotation", "returns", "bases", "type_params"}
_NAMES_OF_MODULES: Final = {"__all__", "__slots__"}
_SAYS_A_TYPE: Final = {"cast", "TypeVar"}


class Key(NamedTuple):
    """Which mutant; as the attributes of the same names."""

    file: str
    within: str
    was: str
    now: str
    number: int = 1


@attrs.frozen(eq=False)
class Mutant:
    """One small thing that is wrong.

    Attributes:
        path: of the file, from the project's root.
        within: the qualified name of the function or class; ``""``: the module.
        line: where it is.
        was: the lines of the statement that differ.
        now: what they would be.
        reach: the lines of which a test must run one to notice; ``None``: any that run something of the file.
        is_in_function: whether it is in the body of a function, and not in what is done when that is defined.
        number: of those that read the same within the same function or class, which: from 1 on.
    """

    path: Path
    within: str
    line: int
    was: str
    now: str
    reach: range | None
    is_in_function: bool
    number: int
    _tree: ast.Module = attrs.field(repr=False)
    _place: _Place = attrs.field(repr=False)
    _new: ast.AST = attrs.field(repr=False)

    @property
    def key(self) -> Key:
        """What stays the same when something else in the file changes."""
        return Key(self.path.as_posix(), self.within, self.was, self.now, self.number)

    def __str__(self) -> str:
        """As a compiler tells where something is, and a diff what."""
        removed = "".join(f"\n  - {line}" for line in self.was.splitlines())
        added = "".join(f"\n  + {line}" for line in self.now.splitlines())
        return f"{self.path}:{self.line}: {self.within or 'the module'}{removed}{added}"

    def tree(self) -> ast.Module:
        """The whole module with the wrong thing in it, for good: call it in a process of its own."""
        self._place.put(self._new)
        return self._tree


@attrs.frozen
class _Place:
    """Where a node is in its tree."""

    parent: ast.AST
    field: str
    index: int | None

    def put(self, node: ast.AST) -> None:
        """Put another node there."""
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node

    @contextlib.contextmanager
    def holding(self, node: ast.AST, before: ast.AST) -> Iterator[None]:
        """While this lasts, another node is there."""
        self.put(node)
        try:
            yield
        finally:
            self.put(before)


@attrs.frozen
class _Around:
    """What a node is part of."""

    names: tuple[str, ...] = ()
    in_function: bool = False
    statement: ast.stmt | None = None
    reach: range | None = None


def mutants(path: Path, source: str) -> list[Mutant]:
    """All of them, in the order of the source."""
    tree = ast.parse(source)
    found: list[Mutant] = []
    seen: Counter[Key] = Counter()
    for mutant in sorted(_within(path, tree, tree, _Around()), key=lambda mutant: mutant.line):
        seen[mutant.key] += 1
        found.append(attrs.evolve(mutant, number=seen[mutant.key]))
    return found


def _within(path: Path, tree: ast.Module, node: ast.AST, around: _Around) -> Iterator[Mutant]:
    for field, value in ast.iter_fields(node):
        if field in _LEFT_ALONE:
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.AST) and not _is_left_alone(node, child, index):
                place = _Place(node, field, index)
                yield from _at(path, tree, place, child, _step(child, around))


def _at(path: Path, tree: ast.Module, place: _Place, node: ast.AST, around: _Around) -> Iterator[Mutant]:
    for new in _instead(node, around):
        ast.copy_location(new, node)
        ast.fix_missing_locations(new)
        was, now = _difference(place, node, new, around)
        line: int = getattr(node if hasattr(node, "lineno") else around.statement, "lineno", 1)
        is_inside = around.in_function and not isinstance(around.statement, _Function)
        yield Mutant(path, ".".join(around.names), line, was, now, around.reach, is_inside, 1, tree, place, new)
    if not isinstance(node, ast.JoinedStr):
        yield from _within(path, tree, node, around)


def _step(node: ast.AST, around: _Around) -> _Around:
    """What is around the inside of a node."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            # Its defaults and decorators matter to whoever calls it.
            names, reach = (*around.names, node.name), range(node.lineno, (node.end_lineno or node.lineno) + 1)
            return _Around(names, in_function=True, statement=node, reach=reach)
        case ast.ClassDef():
            return attrs.evolve(around, names=(*around.names, node.name), statement=node)
        case ast.stmt():
            return attrs.evolve(around, statement=node, reach=_lines(node) if around.in_function else None)
        case ast.ExceptHandler() | ast.match_case() if around.in_function:
            # From where it is decided whether it is taken.
            first = node.lineno if isinstance(node, ast.ExceptHandler) else node.pattern.lineno
            return attrs.evolve(around, reach=range(first, node.body[0].lineno + 1))
        case _:
            return around


def _lines(statement: ast.stmt) -> range:
    """Of a simple statement, all; of one with a body, its head."""
    body: list[ast.stmt] = getattr(statement, "body", [])
    last = body[0].lineno - 1 if body else statement.end_lineno
    return range(statement.lineno, max(last or 0, statement.lineno) + 1)


def _is_left_alone(parent: ast.AST, node: ast.AST, index: int | None) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
            return True
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name in _NAMES_OF_MODULES
        case ast.AnnAssign(annotation=ast.Name(id="TypeAlias")):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Call(func=ast.Attribute(value=ast.Name(id="_log"))) if not isinstance(parent, ast.Expr):
            return True
        case _:
            pass
    match parent:
        case ast.Call(func=ast.Name(id=name)) if name in _SAYS_A_TYPE:
            return index == 0
        case ast.Call(func=ast.Attribute(value=ast.Name(id="_log"))):
            return True
        case _:
            return False


def _difference(place: _Place, node: ast.AST, new: ast.AST, around: _Around) -> tuple[str, str]:
    """The lines of the statement that are not the same."""
    statement = node if isinstance(node, ast.stmt) else around.statement
    assert statement is not None
    before = ast.unparse(statement).splitlines()
    with place.holding(new, node):
        after = ast.unparse(new if statement is node else statement).splitlines()
    told = list(difflib.ndiff(before, after))
    return tuple("\n".join(line[2:].strip() for line in told if line.startswith(sign)) for sign in "-+")  # type: ignore[return-value]


# --- what may be wrong ------------------------------------------------------------------------------------------------


def _instead(node: ast.AST, around: _Around) -> Iterator[ast.AST]:
    match node:
        case ast.stmt():
            yield from _statement(node, around)
        case ast.ExceptHandler(type=caught, name=name, body=body) if caught is not None:
            some = caught.elts if isinstance(caught, ast.Tuple) and len(caught.elts) > 1 else []
            kinds = [ast.Tuple([each for each in some if each is not left], ast.Load()) for left in some]
            for kind in kinds or [ast.Tuple([], ast.Load())]:
                yield ast.ExceptHandler(kind, name, body)
        case ast.match_case(pattern=pattern, guard=guard, body=body):
            yield ast.match_case(pattern, ast.Constant(value=False), body)
            if guard is not None:
                yield ast.match_case(pattern, None, body)
        case ast.comprehension(target=target, iter=over, ifs=[_, *_] as ifs, is_async=is_async):
            for left in ifs:
                yield ast.comprehension(target, over, [each for each in ifs if each is not left], is_async)
        case ast.expr():
            yield from _expression(node)
        case _:
            pass


def _statement(node: ast.stmt, around: _Around) -> Iterator[ast.stmt]:
    match node:
        case ast.Expr(value=ast.Yield() | ast.YieldFrom()):
            pass
        case ast.Expr() | ast.Raise() | ast.Delete() | ast.AugAssign():
            yield ast.Pass()
            if isinstance(node, ast.AugAssign) and type(node.op) in _ARITHMETIC:
                yield ast.AugAssign(node.target, _ARITHMETIC[type(node.op)](), node.value)
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield ast.Return(ast.Constant(value=None))
        case ast.Assign(targets=[ast.expr() as target]) | ast.AnnAssign(target=target) if around.in_function:
            if (
                node.value is not None
                and not isinstance(node.value, ast.Constant)
                and not isinstance(target, ast.Tuple)
            ):
                yield ast.Assign([target], ast.Constant(value=None))
            if not isinstance(target, (ast.Name, ast.Tuple)) and around.names[-1] != "__init__":
                yield ast.Pass()
        case ast.If(test=test, body=body, orelse=orelse) if isinstance(test, _NEGATED):
            yield ast.If(_not(test), body, orelse)
        case ast.While(test=test, body=body, orelse=orelse) if isinstance(test, _NEGATED):
            yield ast.While(_not(test), body, orelse)
        case _:
            pass


def _expression(node: ast.expr) -> Iterator[ast.expr]:
    match node:
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            for index, op in enumerate(ops):
                for other in _COMPARE[type(op)]:
                    yield ast.Compare(left, [*ops[:index], other(), *ops[index + 1 :]], comparators)
        case ast.BoolOp(op=op, values=values):
            yield ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
            for left in values:
                rest = [each for each in values if each is not left]
                yield ast.BoolOp(op, rest) if len(rest) > 1 else rest[0]
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC and not _is_text(left):
            yield ast.BinOp(left, _ARITHMETIC[type(op)](), right)
        case ast.IfExp(test=test, body=body, orelse=orelse) if isinstance(test, _NEGATED):
            yield ast.IfExp(_not(test), body, orelse)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords) if name in _OPPOSITE:
            yield ast.Call(ast.Name(_OPPOSITE[name], ast.Load()), args, keywords)
        case ast.Call(func=ast.Attribute(attr="suppress"), args=[_, *_]):
            yield ast.Call(node.func, [], [])
        case _:
            yield from (ast.Constant(value=other) for other in _constant(node))


def _constant(node: ast.expr) -> Iterator[Any]:
    match node:
        case ast.Constant(value=bool(value)):
            yield not value
        case ast.Constant(value=int(value) | float(value)):
            yield value + 1
        case ast.Constant(value=str(value)) if " " not in value:
            yield _MUTATED
        case ast.Constant(value=bytes(value)) if b" " not in value:
            yield _MUTATED.encode()
        case ast.JoinedStr(values=values):
            texts = [each.value for each in values if isinstance(each, ast.Constant)]
            if not any(" " in str(text) for text in texts):
                yield _MUTATED
        case _:
            pass


def _not(test: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.Not(), test)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
