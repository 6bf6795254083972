"""Labels of nodes: select the nodes that actors may run on, with Ray's grammar of selectors."""

from collections.abc import Mapping


def has_labels(labels: Mapping[str, str], selectors: Mapping[str, str]) -> bool:
    """Return whether the labels of a node match all selectors.

    Args:
        labels: label -> value.
        selectors: label -> `VALUE`, `!VALUE`, `in(A, B)` or `!in(A, B)`. A label that is missing has no value.
    """
    return all(_matches(labels.get(label), selector) for label, selector in selectors.items())


def _matches(value: str | None, selector: str) -> bool:
    expected = selector.removeprefix("!")
    is_list = expected.startswith("in(") and expected.endswith(")")
    values = [part.strip() for part in expected[3:-1].split(",")] if is_list else [expected]
    return (value in values) != selector.startswith("!")
