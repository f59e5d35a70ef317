"""Reads YAML that anyone may have written: plain values only, and never slowly."""

from __future__ import annotations

import re
from typing import Any

import yaml

from revo_ray.words import cut

MAX_DEPTH = 30
"""Deepest nesting of lists and mappings."""
MAX_VALUES = 20_000
"""Largest number of values, with aliases counted each time that they are used."""
MAX_BYTES = 2**21
"""Longest text."""
MAX_DIGITS = 100
"""Longest number, in characters."""

_TAG = "tag:yaml.org,2002:"

_NUMBERS_AND_BOOLEANS = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)", "-+0123456789"),
    "float": (
        r"[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
}
"""Pattern and first characters of the plain scalars that are no texts. YAML 1.1 also takes `yes`
for true, `010` for 8 and `12:30` for 750; these are texts here, as in YAML 1.2."""


class _PlainLoader(yaml.SafeLoader):
    """Loads the types that JSON has too, with texts as keys. `2024-01-01` is a text, not a date."""

    _depth = _count = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Stop at `MAX_DEPTH`: reading takes time that grows with the square of the depth.

        Stop at `MAX_VALUES` too, of which keys are a part here.
        """
        self._depth += 1
        self._count += 1
        if self._depth > MAX_DEPTH or self._count > 2 * MAX_VALUES:
            deep = self._depth > MAX_DEPTH
            raise yaml.MarkedYAMLError(
                problem=f"more than {MAX_DEPTH} deep" if deep else "too many values",
                problem_mark=self.peek_event().start_mark,
            )
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def flatten_mapping(self, node: Any) -> None:
        """Put the merged keys before a mapping's own, and make all keys texts."""
        super().flatten_mapping(node)
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                key.tag = f"{_TAG}str"


_OTHERS = {f"{_TAG}{name}" for name in (*_NUMBERS_AND_BOOLEANS, "timestamp", "value")}
_PlainLoader.yaml_implicit_resolvers = {
    first: [rule for rule in rules if rule[0] not in _OTHERS]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _name, (_pattern, _first) in _NUMBERS_AND_BOOLEANS.items():
    _PlainLoader.add_implicit_resolver(
        f"{_TAG}{_name}", re.compile(f"(?:{_pattern})$"), list(_first)
    )
_PlainLoader.yaml_constructors = {
    tag: constructor
    for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
    if tag not in {_TAG + name for name in ("binary", "timestamp", "set", "omap", "pairs")}
}


def read_yaml(text: str | bytes) -> tuple[Any, yaml.Node | None]:
    """Read a YAML text.

    Returns:
        Its values, and the root node that they came from; (None, None) for an empty text.

    Raises:
        yaml.YAMLError: the text is not YAML, holds a key twice or values that JSON does not have,
            or is too deep or too large.
    """
    if len(text) > MAX_BYTES:
        raise yaml.YAMLError("a text that is too long")
    try:
        loader = _PlainLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None, None
        _measure(node, {})
        return loader.construct_document(node), node
    except (RecursionError, ValueError, LookupError, AttributeError) as error:
        # PyYAML raises these for a tag that its value does not fit: `!!int abc`, `!!bool maybe`.
        raise yaml.YAMLError(str(error)) from None


def problem_of(error: yaml.YAMLError) -> str:
    """The fault of a text that is not YAML, without its place."""
    return cut(getattr(error, "problem", None) or "not valid YAML", 300)


def written(value: Any) -> str:
    """A number, a boolean or null as YAML writes it."""
    text: str = yaml.representer.SafeRepresenter().represent_data(value).value
    return text


def _measure(node: yaml.Node, known: dict[int, tuple[int, int]], above: int = 0) -> tuple[int, int]:
    """Count the values below a node, aliases resolved, and its depth; refuse what is too large.

    `known` holds the counts and depths so far, by `id` of the node. The node itself is `above`
    levels deep in the document.
    """
    if id(node) not in known:
        parts = node.value if isinstance(node, yaml.CollectionNode) else []
        if isinstance(node, yaml.MappingNode):
            _refuse_repeated_keys(node)
            parts = [part for pair in parts for part in pair]
        elif node.tag in (f"{_TAG}int", f"{_TAG}float") and len(node.value) > MAX_DIGITS:
            raise _fault(node, f"a number of {len(node.value)} digits")
        measures = (
            [_measure(part, known, above + 1) for part in parts] if above <= MAX_DEPTH else []
        )
        known[id(node)] = (
            1 + sum(count for count, _ in measures),
            1 + max((depth for _, depth in measures), default=0),
        )
    count, depth = known[id(node)]
    if count > MAX_VALUES or above + depth > MAX_DEPTH:
        raise _fault(node, "too many values, or too deep; does an alias contain itself?")
    return count, depth


def _refuse_repeated_keys(mapping: yaml.MappingNode) -> None:
    seen: dict[str, int] = {}
    for key, _ in mapping.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        line = key.start_mark.line + 1
        if key.value in seen:
            name, first = repr(cut(key.value)), seen[key.value]
            places = f"on line {line}" if first == line else f"on lines {first} and {line}"
            raise _fault(key, f"the key {name} stands twice, {places}; delete one of them")
        seen[key.value] = line


def _fault(node: yaml.Node, problem: str) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
