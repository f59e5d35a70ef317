"""Safe YAML: JSON's types only, and limits on depth, size and digits."""

from __future__ import annotations

import pytest
import yaml

from revo_ray.settings.safe_yaml import MAX_DEPTH, MAX_DIGITS, read_yaml

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
