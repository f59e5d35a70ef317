"""Mutants: small faults that a test suite should notice, as edits of a program's text.

A mutant exchanges an operator, a constant or a word such as `and`, `min` or `break`, negates a
condition, or drops a statement, a keyword argument or a returned value. Texts, docstrings,
annotations, decorators and assertions have none.
"""

# ruff: noqa: N815  the names that ast.NodeVisitor looks for

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

OPERATORS: dict[type[ast.AST], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: (r"is\s+not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: (r"not\s+in", "in"),
    ast.And: ("and", "or"),
    ast.Or: ("or", "and"),
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
    ast.Pow: ("**", "*"),
    ast.BitOr: ("|", "&"),
    ast.BitAnd: ("&", "|"),
}
"""An operator's text, a pattern if it is a word, and the text that it is exchanged for."""
NEGATED = (ast.Eq, ast.NotEq, ast.Is, ast.IsNot, ast.In, ast.NotIn)
"""Comparisons whose exchange is their negation."""
CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}
LEFT_OUT = {"TypeVar", "cast", "say", "warn", "kill"}
"""Calls without mutants: types, messages, and signals, which might reach a stranger."""


@dataclass(frozen=True, order=True)
class Mutant:
    """An edit of one file: the bytes from `start` to `end` become `new`."""

    file: str
    start: int
    end: int
    new: str

    def applied(self, source: bytes) -> bytes:
        return source[: self.start] + self.new.encode() + source[self.end :]

    def described(self, source: bytes) -> str:
        """`file:line: old line → new line`, or the exchanged text if it has several lines."""
        line, old, new = source.count(b"\n", 0, self.start), source[self.start : self.end], self.new
        if b"\n" not in old:
            old, new = (
                text.split(b"\n")[line].decode().strip() for text in (source, self.applied(source))
            )
            return f"{self.file}:{line + 1}: {old} → {new}"
        return f"{self.file}:{line + 1}: {' '.join(old.decode().split())} → {new or 'nothing'}"


def find_mutants(tree: Path, paths: Iterable[str]) -> list[Mutant]:
    """All mutants of the programs in a tree, in the order of their files and places.

    Args:
        tree: root of the programs.
        paths: files and folders below it.
    """
    found = []
    for path in map(tree.joinpath, paths):
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            name = file.relative_to(tree).as_posix()
            found += [Mutant(name, *edit) for edit in edits(file.read_bytes())]
    return sorted(found)


def edits(source: bytes) -> list[tuple[int, int, str]]:
    """The edits that turn a program into another program: start, end, new text."""
    tree = ast.parse(source)
    finder = _Finder(source)
    finder.visit(tree)
    original = ast.dump(tree)
    return [edit for edit in sorted(finder.found) if _changes(original, source, edit)]


def _changes(original: str, source: bytes, edit: tuple[int, int, str]) -> bool:
    try:
        return ast.dump(ast.parse(Mutant("", *edit).applied(source))) != original
    except SyntaxError:
        return False


def _is_text(node: ast.expr) -> bool:
    text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return text or isinstance(node, ast.JoinedStr)


def _name(node: ast.expr) -> str:
    return getattr(node, "attr", getattr(node, "id", ""))


class _Finder(ast.NodeVisitor):
    def __init__(self, source: bytes) -> None:
        self.found: set[tuple[int, int, str]] = set()
        self._source = source
        self._lines = [0, *(match.end() for match in re.finditer(b"\n", source))]
        self._functions = 0  # around the node

    def _span(self, node: ast.expr | ast.stmt | ast.keyword) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self._lines[node.lineno - 1] + node.col_offset
        return start, self._lines[node.end_lineno - 1] + node.end_col_offset

    def _replace(self, node: ast.expr | ast.stmt, new: str) -> None:
        """Exchange a node; `{}` in the new text is the old one."""
        start, end = self._span(node)
        self.found.add((start, end, new.replace("{}", self._source[start:end].decode())))

    def _exchange(self, left: ast.expr, right: ast.expr, operator: ast.AST, after: str) -> None:
        """Exchange the operator between two operands."""
        if type(operator) in OPERATORS:
            (_, start), (end, _) = self._span(left), self._span(right)
            old, new = OPERATORS[type(operator)]
            pattern = rf"\b{old}\b" if old[0].isalpha() else re.escape(old + after)
            if match := re.search(pattern.encode(), self._source[start:end]):
                self.found.add((start + match.start(), start + match.end(), new + after))

    def _negate(self, condition: ast.expr) -> None:
        match condition:
            case ast.Constant() | ast.UnaryOp(op=ast.Not()):
                pass
            case ast.Compare(ops=[operator]) if isinstance(operator, NEGATED):
                pass
            case _:
                self._replace(condition, "not ({})")

    def visit_Compare(self, node: ast.Compare) -> None:
        operands = [node.left, *node.comparators]
        for operator, left, right in zip(node.ops, operands, operands[1:], strict=False):
            self._exchange(left, right, operator, "")
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        for left, right in zip(node.values, node.values[1:], strict=False):
            self._exchange(left, right, node.op, "")
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        types = isinstance(node.op, ast.BitOr) and not self._functions  # `int | None`
        if not (types or _is_text(node.left) or _is_text(node.right)):
            self._exchange(node.left, node.right, node.op, "")
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._exchange(node.target, node.value, node.op, "=")
        self._replace(node, "pass")
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not | ast.USub):
            start, _ = self._span(node)
            self.found.add((start, start + (3 if isinstance(node.op, ast.Not) else 1), ""))
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self._replace(node, str(not node.value))
        elif isinstance(node.value, int):
            self._replace(node, str(node.value + 1))
            self._replace(node, str(node.value - 1))
        elif isinstance(node.value, float) and self._functions:  # outside they are settings
            self._replace(node, repr(node.value + 1))

    def visit_Slice(self, node: ast.Slice) -> None:
        for bound in (node.lower, node.upper):
            if bound is not None and not isinstance(bound, ast.Constant | ast.UnaryOp):
                self._replace(bound, "({}) + 1")
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = _name(node.func)
        if name in LEFT_OUT:
            return
        if name in CALLS:
            _, end = self._span(node.func)
            self.found.add((end - len(name), end, CALLS[name]))
        arguments = sorted([*node.args, *node.keywords], key=self._span)
        for index, argument in enumerate(arguments):
            if isinstance(argument, ast.keyword) and argument.arg is not None:
                start, end = self._span(argument)
                if index:
                    _, start = self._span(arguments[index - 1])
                elif len(arguments) > 1:
                    end, _ = self._span(arguments[1])
                self.found.add((start, end, ""))
        self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Nothing: it is a text, and Python 3.11 does not know the places of its parts."""

    def visit_If(self, node: ast.If | ast.While | ast.IfExp) -> None:
        if _name(node.test) != "TYPE_CHECKING":
            self._negate(node.test)
            self.generic_visit(node)

    visit_While = visit_IfExp = visit_If

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for condition in node.ifs:
            self._negate(condition)
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call) and _name(node.value.func) not in LEFT_OUT:
            self._replace(node, "pass")
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if any(isinstance(target, ast.Attribute | ast.Subscript) for target in node.targets):
            self._replace(node, "pass")
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            if isinstance(node.target, ast.Attribute):
                self._replace(node, "pass")
            self.visit(node.value)

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None:
            self._replace(node.value, "None")
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise | ast.Delete) -> None:
        self._replace(node, "pass")

    visit_Delete = visit_Raise

    def visit_Break(self, node: ast.Break) -> None:
        self._replace(node, "continue")

    def visit_Continue(self, node: ast.Continue) -> None:
        self._replace(node, "break")

    def visit_Assert(self, node: ast.Assert) -> None:
        """Nothing: a test cannot make it fail."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._functions += 1
        for child in (*node.args.defaults, *node.args.kw_defaults, *node.body):
            if child is not None:
                self.visit(child)
        self._functions -= 1

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for child in node.body:
            self.visit(child)
