"""Rules on the code itself: one home for file names and for metrics, and docstrings that say it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from revo_ray.objective import METRICS

ROOT = Path(__file__).parents[1]
ROOMS = ("revo_ray", "baselines")

FILES_OF_A_RUN = re.compile(
    r"/?((config\.yaml|result\.json|ledger\.parquet|warm_start\.json|study\.yaml|\.lease)$"
    r"|(best|plain|soup|ensemble|models|predictions|ledger)/)"
)
METRIC_COLUMN = re.compile(rf"val_({'|'.join(METRICS)})", re.IGNORECASE)
COLUMN_PREFIX = re.compile(r"\bval_($|[{%])", re.IGNORECASE)
"""A string from which the name of a column is built: `val_`, `val_%s`, `val_{}`."""
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
NOUN_CLAUSE = re.compile(r"(What|Whose|Which|Where|Of|That which)\b(?!.*\?$)")

MOST_FILES_WITH_COLUMNS = 6


def programs() -> list[Path]:
    return sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def docstrings(tree: ast.AST) -> list[ast.Constant]:
    """Strings that stand alone: of modules, classes and functions, and below attributes."""
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]


def strings(tree: ast.AST) -> Iterator[ast.Constant]:
    """All string constants, also the parts of f-strings; docstrings aside."""
    aside = {id(node) for node in docstrings(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in aside:
            yield node


def files_of_a_run(source: str) -> list[str]:
    """The strings in a program that are names of files in a run directory."""
    found = (node.value for node in strings(ast.parse(source)))
    return [text for text in found if FILES_OF_A_RUN.match(text)]


def names_columns(text: str, *, program: bool) -> bool:
    """Whether a file names a metric's column, or a program builds such a name."""
    if METRIC_COLUMN.search(text):
        return True
    return program and any(COLUMN_PREFIX.search(node.value) for node in strings(ast.parse(text)))


def noun_clauses(source: str) -> list[str]:
    """The sentences of docstrings that open with a noun clause, with their docstrings' lines."""
    lines = (
        (node.lineno, sentence)
        for node in docstrings(ast.parse(source))
        for paragraph in re.split(r"\n\s*\n", node.value)
        for sentence in SENTENCE_END.split(" ".join(paragraph.split()))
    )
    return [f"{number}: {line}" for number, line in lines if NOUN_CLAUSE.match(line)]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('path = "config.yaml"', ["config.yaml"]),
        ('read(f"best/{name}")', ["best/"]),
        ('read(f"{run}/" + "ledger/000000.json")', ["ledger/000000.json"]),
        ('read(f"{run}/result.json")', ["/result.json"]),
        ('"""config.yaml"""\nraise Error(f"no config.yaml in {run}")', []),
        ('"config.json", "model.safetensors", "bestiary/"', []),
    ],
)
def test_names_of_files_are_found(source: str, found: list[str]) -> None:
    assert files_of_a_run(source) == found


@pytest.mark.parametrize("source", ["x.val_auc", "VAL_LOSS = 1", 'f"val_{name}"', '"val_" + name'])
def test_names_of_columns_are_found(source: str) -> None:
    assert names_columns(source, program=True)
    assert not names_columns("interval_length = 'interval_'", program=True)


def test_noun_clauses_are_found() -> None:
    source = '"""What it is."""\nx = 1\n"""Of SGD.\n"""\ny = 2\n"""What is it?"""\nz = "Of"'
    assert noun_clauses(source) == ["1: What it is.", "3: Of SGD."]
    later = '"""A rate.\n\n    Of SGD,\n    it is one. Where it is none, none is.\n    """'
    assert noun_clauses(later) == ["1: Of SGD, it is one.", "1: Where it is none, none is."]


def test_only_rundir_names_the_files_of_a_run_directory() -> None:
    rundir = ROOT / "revo_ray" / "rundir"
    found = [
        f"{path.relative_to(ROOT)}: {', '.join(names)}"
        for path in programs()
        if rundir not in path.parents and (names := files_of_a_run(path.read_text()))
    ]
    assert not found, "\n".join(found)


def test_few_files_name_the_column_of_a_metric() -> None:
    files = (path for room in ROOMS for path in sorted((ROOT / room).rglob("*")) if path.is_file())
    found = [
        str(path.relative_to(ROOT))
        for path in files
        if path.suffix != ".pyc"
        and names_columns(path.read_text(errors="replace"), program=path.suffix == ".py")
    ]
    assert len(found) <= MOST_FILES_WITH_COLUMNS, "\n".join(found)


def test_no_docstring_opens_with_a_noun_clause() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in programs()
        for line in noun_clauses(path.read_text())
    ]
    assert not found, "\n".join(found)


def test_no_two_modules_share_a_name() -> None:
    names = [path.name for path in programs() if path.name != "__init__.py"]
    assert len(names) == len(set(names)), sorted(n for n in set(names) if names.count(n) > 1)
