"""The mutation tool: it makes small faults, and tells apart whether tests notice them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools.mutants import edits, find_mutants
from tests.tools.mutation import ROOMS, ROOT, sample

PROGRAM = """
def least(a, b):
    return a if a < b else b


def countdown(n):
    while n > 0:
        n -= 1
    return n
"""
TESTS = {
    "test_toy.py": """
from toy import countdown, least

def test_least():
    assert (least(1, 2), least(2, 1)) == (1, 1)

def test_countdown():
    assert countdown(5) in (0, -1)
""",
    "test_more.py": "from toy import countdown\n\ndef test_end():\n    assert countdown(5) == 0\n",
}
JUDGE = """
import json, sys
from pathlib import Path
from tests.tools import mutation
from tests.tools.mutants import find_mutants
tree = Path(sys.argv[1])
mutation.PATIENCE, mutation.GRACE = 3, 1
found = find_mutants(tree, ["toy.py"])
mutants = {n: mutant for n, mutant in enumerate(found) if mutant.new not in ("+=", "pass")}
room = mutation.Room("toy.py", "tests/test_toy.py", ("tests/test_more.py",))
for result in mutation.judge(room, tree, mutants, jobs=2):
    line = mutants[result["number"]].described((tree / "toy.py").read_bytes())
    print(json.dumps([line, result["verdict"], result["by"]]))
"""


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("a < b", {"a <= b"}),
        ("a is  not b", {"a is b"}),
        ("(a) and (b)", {"(a) or (b)"}),
        ("x = -1", {"x = 1", "x = -2", "x = -0"}),
        ("x = not a", {"x =  a"}),
        ("x = None if a else b", {"x = None if not (a) else b"}),
        ("x += 1", {"x -= 1", "x += 2", "x += 0", "pass"}),
        ("f(a, b=c)", {"f(a)", "pass"}),
        ("f(b=c, d=e)", {"f(d=e)", "f(b=c)", "pass"}),
        ("x = a.min()", {"x = a.max()"}),
        ("x = a[b:]", {"x = a[(b) + 1:]"}),
        ("a.b = c", {"pass"}),
        ("raise A('…', 1)", {"pass"}),
        ("for x in y:\n    break", {"for x in y:\n    continue"}),
        ("def f(a: 'A' = '1') -> 2:\n    return a", {"def f(a: 'A' = '1') -> 2:\n    return None"}),
        ("x = '…' + f'{1 + 1}'; assert x == 1", set()),
    ],
)
def test_a_program_has_these_faults(program: str, expected: set[str]) -> None:
    source = program.encode()
    found = {source[:start] + new.encode() + source[end:] for start, end, new in edits(source)}
    assert {fault.decode() for fault in found} == expected


def test_every_room_has_code_and_tests() -> None:
    for room in ROOMS.values():
        for path in (room.code, room.tests, *room.others):
            assert (ROOT / path).exists(), path
    objective = find_mutants(ROOT, [ROOMS["objective"].code])
    assert len(objective) > 30
    assert objective == sorted(set(objective))


def test_a_seed_gives_the_same_sample() -> None:
    assert sample(500, 60, seed=0) == sample(500, 60, seed=0) != sample(500, 60, seed=1)
    assert sorted(set(sample(500, 60, seed=0))) == sample(500, 60, seed=0)
    assert sample(5, None, seed=0) == sample(5, 60, seed=0) == [0, 1, 2, 3, 4]


@pytest.mark.nightly
def test_killed_survived_and_endless_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "toy.py").write_text(PROGRAM)
    (tmp_path / "tests").mkdir()
    for name, text in TESTS.items():
        (tmp_path / "tests" / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", JUDGE, str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    verdicts = {line.partition(": ")[2]: (verdict, by) for line, verdict, by in lines}
    least, countdown = "tests/test_toy.py::test_least", "tests/test_toy.py::test_countdown"
    negated = "return a if a < b else b → return a if not (a < b) else b"
    assert verdicts == {
        "return a if a < b else b → return a if a <= b else b": ("survived", ""),
        negated: ("killed", least),
        "return a if a < b else b → return None": ("killed", least),
        "while n > 0: → while n >= 0:": ("killed", "tests/test_more.py::test_end"),
        "while n > 0: → while not (n > 0):": ("killed", countdown),
        "while n > 0: → while n > 1:": ("killed", countdown),
        "while n > 0: → while n > -1:": ("killed", "tests/test_more.py::test_end"),
        "n -= 1 → n -= 2": ("killed", "tests/test_more.py::test_end"),
        "n -= 1 → n -= 0": ("timeout", ""),
        "return n → return None": ("killed", countdown),
    }
    assert (tmp_path / "toy.py").read_text() == PROGRAM
