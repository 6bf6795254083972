"""Tokens of an objective: numbers, names and symbols, with their positions."""

import re
from dataclasses import dataclass
from typing import Literal

from mlprune.errors import RecipeError

TokenKind = Literal["number", "name", "symbol", "end"]
SYMBOLS = "numbers, names, + - * ( ) , . >= <="
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)(?!\w)"
    r"|(?P<name>[^\W\d]\w*(?:[-:]\w+)*)"
    r"|(?P<symbol>>=|<=|[-+*(),.]))"
)


@dataclass(frozen=True)
class Token:
    """A piece of the text."""

    kind: TokenKind
    text: str
    position: int
    """Of its first character, from 1."""


def tokens_of(text: str) -> tuple[Token, ...]:
    """Split a text into tokens; the last one is the end.

    A hyphen or a colon that directly follows a letter or digit belongs to a name, as in `pt-BR` and `script:Latn`; a
    minus after a name therefore has a space before it.

    Raises:
        RecipeError: the text has a character that begins no token.
    """
    tokens: list[Token] = []
    start = 0
    while text[start:].strip():
        match = _TOKEN.match(text, start)
        if match is None:
            position = start + len(text[start:]) - len(text[start:].lstrip()) + 1
            got = text[position - 1 :].split(maxsplit=1)[0]
            raise RecipeError("unexpected character", text=text, position=position, expected=SYMBOLS, got=got)
        kinds: tuple[TokenKind, ...] = ("number", "name", "symbol")
        kind = next(name for name in kinds if match[name] is not None)
        tokens.append(Token(kind, match[kind], match.start(kind) + 1))
        start = match.end()
    return (*tokens, Token("end", "", len(text.rstrip()) + 1))
