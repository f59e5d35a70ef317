"""Safe YAML: JSON's types only, and limits on depth, size and digits."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from revo_ray.settings.safe_yaml import MAX_DEPTH, MAX_DIGITS, read_yaml
from tests.properties import examples

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join(10 * [f'*a{i - 1}'])}]\n" for i in range(1, 9)
)
"""A billion values in a few lines."""


def test_dates_are_texts() -> None:
    values, _ = read_yaml("{name: 2024-01-01, count: 3, rate: .5, none: null, flag: true}")
    assert values == {"name": "2024-01-01", "count": 3, "rate": 0.5, "none": None, "flag": True}


def test_an_empty_text_has_no_values() -> None:
    assert read_yaml("# nothing\n") == (None, None)


def test_a_list_of_the_deepest_nesting_is_read() -> None:
    read_yaml("[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BOMB, "too many values"),
        ("a: &a [*a]", "does an alias contain itself"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), f"more than {MAX_DEPTH} deep"),
        ("9" * (MAX_DIGITS + 1), f"a number of {MAX_DIGITS + 1} digits"),
        ("!!set {a}", "could not determine a constructor"),
        ("!!int abc", "invalid literal"),
    ],
)
def test_other_texts_are_refused(text: str, says: str) -> None:
    with pytest.raises(yaml.YAMLError, match=says):
        read_yaml(text)


PIECES = [
    *(
        "a",
        "b: ",
        "- ",
        "? ",
        ": ",
        ", ",
        "[",
        "]",
        "{",
        "}",
        "\n",
        "\n  ",
        "\t",
        "'",
        '"',
        "#",
        "|\n",
    ),
    *(
        "&x ",
        "*x",
        "<<: ",
        "!!int ",
        "!!float ",
        "!!str ",
        "!!set ",
        "!!python/name:os.system ",
        "!y ",
    ),
    *(
        "1",
        "-.inf",
        ".nan",
        "1e400",
        "0x1f",
        "0b2",
        "1:30",
        "2024-01-01",
        "~",
        "true",
        "=",
        "9" * 200,
    ),
    *("---\n", "...\n", "%YAML 1.1\n", "@", "`", "é", "\x00", "\x07", "\u2028", "\\"),
]


def is_plain(value: Any) -> bool:
    """Whether a value has the types of JSON alone; keys may be any scalar."""
    if isinstance(value, dict):
        keys = (str, int, float, bool, type(None))
        return all(type(key) in keys and is_plain(inner) for key, inner in value.items())
    if isinstance(value, list):
        return all(map(is_plain, value))
    return type(value) in (str, int, float, bool, type(None))


@examples(300)
@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join) | st.binary(max_size=12))
def test_any_text_has_plain_values_or_is_no_yaml(text: str | bytes) -> None:
    try:
        values, node = read_yaml(text)
    except yaml.YAMLError:
        return
    assert is_plain(values)
    assert values is None or node is not None


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False),
    st.sampled_from(
        ["", "null", "~", "1e3", "0x1", "2024-01-01", "=", "<<", "é\n ", " a: b", "- x"]
    ),
)
NESTED = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3)
    ),
    max_leaves=12,
)


@examples(100)
@given(NESTED)
def test_values_that_were_written_are_read_back(values: Any) -> None:
    """As configurations are recorded: with `yaml.safe_dump`."""
    again, _ = read_yaml(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
    assert again == values
    assert repr(again) == repr(values)  # 1 is not True, and -0.0 is not 0.0


def test_nan_is_read_as_it_is_written() -> None:
    """The configuration refuses it, by its key."""
    again, _ = read_yaml(yaml.safe_dump([math.nan]))
    assert math.isnan(again[0])


@pytest.mark.parametrize(
    ("text", "key", "lines"),
    [
        ("a: 1\nb: 2\na: 3", "a", "on lines 1 and 3"),
        ("a:\n  b: 1\n  c: 2\n  b: 3", "b", "on lines 2 and 4"),
        ("{a: 1, a: 2}", "a", "on line 1"),
        ("- a: 1\n  a: 1", "a", "on lines 1 and 2"),
        ("a: 1\n'a': 2", "a", "on lines 1 and 2"),
        ("1: 1\n'1': 2", "1", "on lines 1 and 2"),
        ("yes: 1\n\nyes: 2", "yes", "on lines 1 and 3"),
        ("x: &x {a: 1}\ny:\n  <<: *x\n  <<: *x", "<<", "on lines 3 and 4"),
        ("x: &x\n  a: 1\n  a: 2\ny: *x", "a", "on lines 2 and 3"),
    ],
)
def test_a_key_that_stands_twice_is_named_with_both_lines(text: str, key: str, lines: str) -> None:
    with pytest.raises(yaml.YAMLError, match=f"the key '{key}' stands twice, {lines}; delete"):
        read_yaml(text)


def test_a_key_may_replace_a_merged_one() -> None:
    assert read_yaml("x: &x {a: 1, b: 2}\ny: {<<: *x, a: 3}")[0]["y"] == {"a": 3, "b": 2}


def test_texts_of_yaml_1_1_are_no_numbers_and_booleans() -> None:
    values, _ = read_yaml("[yes, No, on, OFF, y, 010, 12:30, 1:2.5, =, 0x1f, 0b11, 1_0, True, .5]")
    assert values[:9] == ["yes", "No", "on", "OFF", "y", "010", "12:30", "1:2.5", "="]
    assert values[9:] == [31, 3, 10, True, 0.5]
    assert read_yaml("{1: a, null: b, yes: c}")[0] == {"1": "a", "null": "b", "yes": "c"}
