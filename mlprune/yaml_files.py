"""YAML files of users, such as recipes: read in bounded time and memory, with one line for what cannot be read."""

from pathlib import Path
from typing import Any

import yaml

from mlprune.errors import repeated
from mlprune.given_files import read_given

MOST_MIB = 8
"""Largest file that is read. YAML of this size takes about a minute."""
MOST_VALUES = 1_000_000
"""Most values of a file, with those that aliases repeat."""
MOST_BITS = 128
"""Size of an integer; the largest one with a meaning is a seed of 64 bits."""
REASON_LENGTH = 500


class YamlLoader(yaml.SafeLoader):
    """YAML loader for which a repeated key is an error, and `2:4` is a text instead of a number in base 60.

    Every value that cannot be built, such as the date 2001-99-99, is a `yaml.YAMLError`.
    """

    def construct_document(self, node: yaml.Node) -> Any:
        """Construct the value of a file, after a check that aliases do not make it huge or endless."""
        _count_values(node, {})
        return super().construct_document(node)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Construct a value; one that does not fit its tag is an error at its place in the file."""
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as err:
            message = f"a value cannot be read as {node.tag.rpartition(':')[2]}: {str(err)[:REASON_LENGTH]}"
            raise yaml.constructor.ConstructorError(None, None, message, node.start_mark) from err

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Construct a mapping; a repeated key is an error."""
        keys = (key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<")
        for key in repeated(keys):
            raise yaml.constructor.ConstructorError(None, None, f"the key {key} occurs twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> Any:
        """Construct an integer; a number in base 60 stays a text."""
        if ":" in node.value:
            return node.value
        value = super().construct_yaml_int(node)
        if value.bit_length() > MOST_BITS:
            raise ValueError(f"it has more than {MOST_BITS} bits")
        return value


YamlLoader.add_constructor("tag:yaml.org,2002:int", YamlLoader.construct_yaml_int)


def _count_values(node: yaml.Node, counts: dict[int, int]) -> int:
    """Return the number of values of a node with those that aliases repeat, and check it.

    Args:
        counts: identity of a node that was seen -> its number of values, 0 while it is being counted.
    Raises:
        yaml.YAMLError: there are too many, or a node contains itself.
    """
    known = counts.get(id(node))
    if known == 0:
        raise yaml.constructor.ConstructorError(None, None, "a value contains itself", node.start_mark)
    if known is not None or not isinstance(node, yaml.CollectionNode):
        return known or 1
    counts[id(node)] = 0
    items = node.value if isinstance(node, yaml.SequenceNode) else [item for pair in node.value for item in pair]
    count = 1 + sum(_count_values(item, counts) for item in items)
    if count > MOST_VALUES:
        message = f"with its aliases it has more than {MOST_VALUES:,} values"
        raise yaml.constructor.ConstructorError(None, None, message, node.start_mark)
    counts[id(node)] = count
    return count


def read_yaml(path: Path) -> Any:
    """Read a YAML file of a user, in bounded time and memory.

    Raises:
        OSError: it cannot be read, is not a regular file, or is too large.
        ValueError: it is not YAML; the message is one line.
    """
    return parse_yaml(read_given(path, most_mib=MOST_MIB).decode("utf-8"))


def parse_yaml(text: str) -> Any:
    """Parse YAML of a user.

    Raises:
        ValueError: it is not YAML; the message is one line.
    """
    try:
        return yaml.load(text, Loader=YamlLoader)  # noqa: S506 - it is a SafeLoader
    except RecursionError as err:
        raise ValueError("it is nested too deeply; expected a few levels") from err
    except yaml.YAMLError as err:
        raise ValueError(" ".join(str(err).split())[:REASON_LENGTH]) from err
