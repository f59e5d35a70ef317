"""Reads YAML that anyone may have written: plain values only, and never slowly."""

from __future__ import annotations

from typing import Any

import yaml

from revo_ray.words import cut

MAX_DEPTH = 30
"""Deepest nesting of lists and mappings."""
MAX_VALUES = 100_000
"""Largest number of values, with aliases counted each time that they are used."""
MAX_DIGITS = 100
"""Longest number, in characters."""

_TAG = "tag:yaml.org,2002:"


class _PlainLoader(yaml.SafeLoader):
    """Loads the types that JSON has too. `name: 2024-01-01` is a text, not a date."""

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Stop at `MAX_DEPTH`: reading takes time that grows with the square of the depth."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(
                problem=f"more than {MAX_DEPTH} deep", problem_mark=self.peek_event().start_mark
            )
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


_PlainLoader.yaml_implicit_resolvers = {
    first: [rule for rule in rules if rule[0] != f"{_TAG}timestamp"]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
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
    seen: set[tuple[str, str]] = set()
    for key, _ in mapping.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        if (key.tag, key.value) in seen:
            raise _fault(key, f"the key {cut(key.value)!r} stands twice; delete one of them")
        seen.add((key.tag, key.value))


def _fault(node: yaml.Node, problem: str) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
