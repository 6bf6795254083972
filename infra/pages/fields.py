"""Describe the fields of recipe models: type, range, default, and the docstring after the field."""

import ast
import inspect
import textwrap
import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from mlprune.strict_model import Model, as_tuple

PLAIN: Mapping[type, str] = {int: "integer", float: "number", str: "text", bool: "`true` or `false`"}
BOUNDS: Mapping[type, str] = {Ge: ">=", Gt: ">", Le: "<=", Lt: "<"}


def sentences(model: type[Model]) -> dict[str, str]:
    """Return field -> its description, or the docstring that follows it in the code, on one line.

    Raises:
        ValueError: a field has no docstring.
    """
    texts = {name: field.description for name, field in model.model_fields.items() if field.description}
    for base in model.__mro__:
        if issubclass(base, Model) and set(base.__annotations__) - set(texts):
            texts |= _docstrings(base)
    if missing := sorted(set(model.model_fields) - set(texts)):
        raise ValueError(f"fields of {model.__name__} have no docstring: {missing}")
    return texts


def _docstrings(model: type[Model]) -> dict[str, str]:
    """Return field -> the docstring after it in the source of a class."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(tree, ast.ClassDef)
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in zip(tree.body, tree.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }


def type_words(model: type[Model], name: str, *, links: Mapping[type, str]) -> str:
    """Return the type and range of a field.

    Args:
        links: model -> link to its table.
    """
    return _words(get_type_hints(model, include_extras=True)[name], links)


def default_words(model: type[Model], name: str) -> str:
    """Return the default of a field as YAML, `required`, or an empty text if an absent key has no value."""
    field = model.model_fields[name]
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value in ((), {}) or isinstance(value, Model):
        return ""
    return _literal(value)


def _words(hint: Any, links: Mapping[type, str]) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _annotated(arguments[0], arguments[1:], links)
    if origin in (Union, types.UnionType):
        return " or ".join(_words(argument, links) for argument in arguments if argument is not types.NoneType)
    if origin is Literal:
        return ", ".join(_literal(argument) for argument in arguments)
    if origin is tuple:
        return f"list of {_plural(_words(arguments[0], links))}"
    if origin is dict:
        return f"{_words(arguments[0], links)}: {_words(arguments[1], links)}, ..."
    return links[hint] if hint in links else PLAIN[hint]


def _annotated(hint: Any, metadata: Iterable[Any], links: Mapping[type, str]) -> str:
    notes = list(metadata)
    if any(isinstance(note, BeforeValidator) and note.func is as_tuple for note in notes):
        return f"{_words(get_args(hint)[0], links)}; or a list"
    infos = [note for note in notes if isinstance(note, FieldInfo)]
    titles = [info.title for info in infos if info.title]
    bounds = [bound for info in infos for bound in info.metadata]
    return (titles[0] if titles else _words(hint, links)) + _range(bounds)


def _plural(words: str) -> str:
    """Return the plural, such as `integers >= 1`; only plain types change."""
    head, space, rest = words.partition(" ")
    return f"{head}s{space}{rest}" if head in {*PLAIN.values(), "language"} else words


def _range(bounds: Iterable[Any]) -> str:
    """Return ` >= 1`, ` > 0 and < 0.5`, or an empty text without bounds."""
    parts = [
        f" {sign} {getattr(bound, kind.__name__.lower()):,}"
        for bound in bounds
        if (kind := type(bound)) in BOUNDS and (sign := BOUNDS[kind])
    ]
    return " and".join(parts)


def _literal(value: Any) -> str:
    """Return a value as a recipe contains it."""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`[{', '.join(map(str, value))}]`" if isinstance(value, tuple) else f"`{value}`"
