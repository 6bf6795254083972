"""Trimmed tokenizers: a `tokenizer.json` of type BPE or Unigram with a part of its tokens.

Every text whose tokens, and the tokens they are merged from, are kept has the same tokens as before:

- BPE applies the merge of the lowest rank first. Merges keep their order. A merge that is dropped makes a removed
  token, so it was not applied in such a text.
- Unigram chooses the segmentation of the highest score. Scores stay, and the best segmentation is still available. The
  score of the unknown token depends on the lowest score of all pieces, so that piece is always kept.
"""

import copy
import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mlprune.errors import BadInputError

BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")
"""Name of the token of a byte in vocabularies with byte fallback."""
PLACEHOLDER = "\ufdd0{}"
"""Name of a removed piece of a Unigram vocabulary that keeps its ids; no text has this character."""


@dataclass(frozen=True)
class TokenizerJson:
    """The parsed file of a tokenizer. Its functions do not change it."""

    data: Mapping[str, Any]

    def require_trimmable(self) -> None:
        """Check that the vocabulary can be trimmed.

        Raises:
            BadInputError: the tokenizer is of another type, or its words have prefixes or suffixes.
        """
        kind = self.model.get("type")
        if kind not in ("BPE", "Unigram"):
            message = "the tokenizer cannot be trimmed: only types with merges or scores of pieces can"
            raise BadInputError(message, expected="type BPE or Unigram", got=kind)
        for key in ("continuing_subword_prefix", "end_of_word_suffix"):
            if self.model.get(key):
                message = "the tokenizer cannot be trimmed: its merges change the text of tokens"
                raise BadInputError(message, setting=key, expected=None, got=self.model[key])

    @property
    def model(self) -> Mapping[str, Any]:
        """The vocabulary, with merges or scores."""
        model: Mapping[str, Any] = self.data["model"]
        return model

    @cached_property
    def ids(self) -> dict[str, int]:
        """Token -> id of the model's own vocabulary, without added tokens."""
        vocabulary = self.model["vocab"]
        if self.model.get("type") == "Unigram":
            return {piece: number for number, (piece, _) in enumerate(vocabulary)}
        return dict(vocabulary)

    @cached_property
    def added(self) -> dict[int, Mapping[str, Any]]:
        """Id -> added token."""
        return {int(token["id"]): token for token in self.data.get("added_tokens") or ()}

    @cached_property
    def tokens(self) -> dict[int, str]:
        """Id -> token, with added tokens."""
        own = {number: token for token, number in self.ids.items()}
        return own | {number: str(token["content"]) for number, token in self.added.items()}

    @cached_property
    def merges(self) -> dict[tuple[str, str], int]:
        """Pair of tokens -> rank; the lowest is applied first. Unigram has none."""
        return {_pair(merge): rank for rank, merge in enumerate(self.model.get("merges") or ())}

    @cached_property
    def byte_ids(self) -> frozenset[int]:
        """Tokens of single bytes."""
        alphabet = set(byte_alphabet()) if _has_type(self.data, "ByteLevel") else set()
        return frozenset(number for token, number in self.ids.items() if token in alphabet or BYTE.fullmatch(token))

    @cached_property
    def partial_ids(self) -> frozenset[int]:
        """Tokens of parts of characters: bytes, or byte-level tokens that are not UTF-8 by themselves."""
        alphabet = {character: byte for byte, character in enumerate(byte_alphabet())}
        is_byte_level = _has_type(self.data, "ByteLevel")
        return frozenset(
            number
            for token, number in self.ids.items()
            if BYTE.fullmatch(token) or (is_byte_level and number not in self.added and not _is_text(token, alphabet))
        )

    @cached_property
    def unknown_id(self) -> int | None:
        """The token of text without other tokens; None if there is none."""
        if self.model.get("type") == "Unigram":
            unknown = self.model.get("unk_id")
            return None if unknown is None else int(unknown)
        return self.ids.get(self.model.get("unk_token") or "")

    def required(self, *, ids: Iterable[int] = (), chat_template: str = "") -> frozenset[int]:
        """Return the tokens that every trimmed tokenizer keeps: special, unknown and byte tokens, and some more.

        Args:
            ids: tokens that the config of the model names.
            chat_template: the added tokens that it contains are kept.
        """
        special = {
            number
            for number, token in self.added.items()
            if token.get("special") or str(token["content"]) in chat_template
        }
        in_post_processor = {
            number for node in _nodes(self.data.get("post_processor")) for number in _special_ids(node)
        }
        kept = special | in_post_processor | set(self.byte_ids) | (set(ids) & self.tokens.keys())
        kept |= set() if self.unknown_id is None else {self.unknown_id}
        if self.model.get("type") == "Unigram" and self.ids:
            kept.add(min(self.ids.values(), key=lambda number: (self.model["vocab"][number][1], number)))
        return frozenset(kept)

    def closed(self, kept: Iterable[int]) -> frozenset[int]:
        """Return tokens with all tokens that they are built from: those of their merges, or single characters.

        Tokens that no sequence of merges builds stay if the tokenizer looks up whole words first, or if they are added,
        unknown or byte tokens; otherwise no text has them, and they are left out.
        """
        closed: set[int] = set()
        for number in sorted(kept):
            if number in self.added or number in self.byte_ids or number == self.unknown_id:
                closed.add(number)
            elif number in self.tokens and number not in closed:
                closed |= self._parts(number)
        return frozenset(closed)

    def _parts(self, number: int) -> set[int]:
        token = self.tokens[number]
        if self.model.get("type") == "Unigram":
            return {number, *(self.ids[character] for character in token if character in self.ids)}
        parts = self.derivation(token)
        if parts is None:
            return {number} if self.model.get("ignore_merges") else set()
        return {self.ids[part] for part in parts}

    def derivation(self, token: str) -> tuple[str, ...] | None:
        """Return all tokens that occur while merges build a BPE token from its symbols; None if they do not build it.

        Merges inside a token do not depend on the text around it, so this is also what happens in a longer word.
        """
        symbols = [symbol for character in token for symbol in self._symbols(character)]
        seen = dict.fromkeys([*symbols, token])
        while len(symbols) > 1:
            ranks = [self.merges.get(pair, len(self.merges)) for pair in itertools.pairwise(symbols)]
            best = min(range(len(ranks)), key=ranks.__getitem__)
            if ranks[best] == len(self.merges):
                return None
            symbols[best : best + 2] = [symbols[best] + symbols[best + 1]]
            seen[symbols[best]] = None
        return tuple(seen) if symbols == [token] and all(part in self.ids for part in seen) else None

    def _symbols(self, character: str) -> list[str]:
        if character in self.ids or not self.model.get("byte_fallback"):
            return [character]
        return [f"<0x{byte:02X}>" for byte in character.encode()]

    def trimmed(self, kept: Collection[int], *, new_ids: Mapping[int, int] | None = None) -> dict[str, Any]:
        """Return the file of the tokenizer with some tokens.

        Args:
            kept: closed set of tokens with all required ones; see `closed` and `required`.
            new_ids: kept token -> its new id, ascending from 0 in the order of the old ones; None: all keep their ids.
        """
        data: dict[str, Any] = copy.deepcopy({**self.data, "model": {**self.model, "vocab": None, "merges": None}})
        is_kept = set(kept)
        number_of = new_ids or {number: number for number in is_kept}
        data |= {"truncation": None, "padding": None}
        data["added_tokens"] = [
            {**self.added[number], "id": number_of[number]} for number in sorted(self.added) if number in is_kept
        ]
        for node in _nodes(data.get("post_processor")):
            _renumber(node, number_of)
        if self.model.get("type") == "Unigram":
            del data["model"]["merges"]
            pieces = enumerate(self.model["vocab"])
            if new_ids is None:
                lowest = min((score for _, score in self.model["vocab"]), default=0.0)
                data["model"]["vocab"] = [
                    [piece, score] if number in is_kept else [PLACEHOLDER.format(number), lowest]
                    for number, (piece, score) in pieces
                ]
            else:
                data["model"]["vocab"] = [[piece, score] for number, (piece, score) in pieces if number in is_kept]
            if self.unknown_id is not None:
                data["model"]["unk_id"] = number_of[self.unknown_id]
            return data
        ids = {token: number_of[number] for token, number in self.ids.items() if number in is_kept}
        data["model"]["vocab"] = ids
        data["model"]["merges"] = [merge for merge in self.model["merges"] if _needed(merge) <= ids.keys()]
        return data


def byte_alphabet() -> list[str]:
    """Return the 256 characters that byte-level tokenizers write bytes as (GPT-2)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    of_byte = {byte: chr(byte) for byte in printable}
    of_byte |= {byte: chr(256 + number) for number, byte in enumerate(others)}
    return [of_byte[byte] for byte in range(256)]


def _is_text(token: str, alphabet: Mapping[str, int]) -> bool:
    """Whether the bytes of a byte-level token are whole characters."""
    try:
        bytes(alphabet[character] for character in token).decode()
    except (KeyError, UnicodeDecodeError):
        return False
    return True


def _pair(merge: str | list[str]) -> tuple[str, str]:
    """Return the pair of a merge, which files write as one string or as a list."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _needed(merge: str | list[str]) -> set[str]:
    """Return the pair of a merge, and the token that it makes."""
    return {*_pair(merge), "".join(_pair(merge))}


def _nodes(value: object) -> Iterator[dict[str, Any]]:
    """Yield all objects in a JSON value, outer ones first."""
    if isinstance(value, dict):
        yield value
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        yield from _nodes(child)


def _has_type(data: Mapping[str, Any], kind: str) -> bool:
    parts = [data.get(name) for name in ("normalizer", "pre_tokenizer", "decoder")]
    return any(node.get("type") == kind for part in parts for node in _nodes(part))


def _special_ids(node: Mapping[str, Any]) -> list[int]:
    """Return the ids in an object of a post-processor: `ids` of templates, or (token, id) of `sep` and `cls`."""
    pairs = [node[key][1] for key in ("sep", "cls") if isinstance(node.get(key), list)]
    return [*(node["ids"] if isinstance(node.get("ids"), list) else ()), *pairs]


def _renumber(node: dict[str, Any], number_of: Mapping[int, int]) -> None:
    if isinstance(node.get("ids"), list):
        node["ids"] = [number_of[number] for number in node["ids"]]
    for key in ("sep", "cls"):
        if isinstance(node.get(key), list):
            node[key] = [node[key][0], number_of[node[key][1]]]
