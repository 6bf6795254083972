"""Chats: write turns with the chat template of a model, and locate the text of each turn.

The template is rendered by transformers in a sandbox, in a child process with limits; no other code of a model runs. A
chat begins with an optional system text, and turns of the user and the assistant alternate.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from mlprune.corpus.chat_rendering import RENDERER, RenderingError, RenderingLimitError
from mlprune.corpus.demonstrations import NO_SHOT, NO_SIDE, SOURCE, Demonstration, Piece
from mlprune.errors import CorpusError, ModelError
from mlprune.json_values import JsonValue

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_CLOCK = "strftime_now"
_DATE = {"%d": "26", "%B": "July", "%b": "Jul", "%m": "07", "%Y": "2024", "%y": "24", "%A": "Friday", "%a": "Fri"}
"""The date that a template reads instead of the clock: the default date of Llama 3.1's template."""
_TIME = dict.fromkeys(("%H", "%M", "%S"), "00")
_FIXED_CLOCK = (
    f"{{% macro {_CLOCK}(format) %}}{{{{ format"
    + "".join(f" | replace('{code}', '{text}')" for code, text in (_DATE | _TIME).items())
    + " }}{% endmacro %}"
)
"""Macro before a template that replaces transformers' clock, so that a text does not depend on the day of a run."""
_MARK = re.compile("CHATTURN([0-9]+)END")


@dataclass(frozen=True)
class Chat:
    """How a text becomes a chat, as ids contain it."""

    template_sha256: str
    """SHA-256 of the chat template."""
    system: str | None = None
    """System text before the first turn."""

    @property
    def parameters(self) -> dict[str, JsonValue]:
        """The parameters in an id."""
        return {"template_sha256": self.template_sha256, **({} if self.system is None else {"system": self.system})}

    @property
    def columns(self) -> dict[str, JsonValue]:
        """Columns of the catalog."""
        return {"chat_template_sha256": self.template_sha256, "chat_system": self.system}


def chat_columns(chat: Chat | None) -> dict[str, JsonValue]:
    """Return the columns of the catalog; none for a text that is not a chat."""
    return {} if chat is None else chat.columns


@dataclass(frozen=True)
class OpenChat:
    """A chat up to some place in the last assistant turn."""

    text: str
    start: int
    """Index of the first character of the last assistant turn."""


class ChatTemplate:
    """The chat template of a tokenizer with a system text.

    Raises:
        ModelError: the tokenizer has no chat template, or another one than the chat names.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", chat: Chat) -> None:
        source = _template_of(tokenizer)
        sha256 = _sha256(source)
        if sha256 != chat.template_sha256:
            message = "the model has another chat template than planned"
            raise ModelError(message, path=tokenizer.name_or_path, expected=chat.template_sha256, got=sha256)
        self._tokenizer, self._system = tokenizer, chat.system
        self._tokens = {role: str(token) for role, token in tokenizer.special_tokens_map.items()}
        self._source = _FIXED_CLOCK + source if _CLOCK in source else source
        self._layouts: dict[tuple[int, bool], tuple[str, ...]] = {}

    def pieces(self, turns: Sequence[str], *, is_open: bool = False) -> list[tuple[str, int | None]]:
        """Write turns, the user's first, and divide the chat into texts of turns and texts of the template.

        Args:
            turns: their texts, without white space at both ends. If the last turn is the user's, the template also
                opens the assistant's turn.
            is_open: whether the chat ends with the text of the last turn, which is the assistant's.
        Returns: texts that join to the chat, each with the index of its turn; None for a text of the template.
        Raises:
            CorpusError: a turn of the user has no text.
            ModelError: the template refuses the turns, or changes, omits or repeats one.
        """
        if not all(turns[::2]):
            expected = "text before the start of the answer"
            raise CorpusError("the user's turn of a chat has no text", expected=expected, got=list(turns))
        key = (len(turns), is_open)
        if key not in self._layouts:
            marked = self._render([f"CHATTURN{index}END" for index in range(len(turns))], is_open=is_open)
            self._layouts[key] = tuple(_MARK.split(marked))
        literals, indices = self._layouts[key][::2], list(map(int, self._layouts[key][1::2]))
        if sorted(indices) != list(range(len(turns))):
            self._refuse("the chat template omits or repeats a turn", expected=f"{len(turns)} turns", got=len(indices))
        pieces: list[tuple[str, int | None]] = [(literals[0], None)]
        for index, literal in zip(indices, literals[1:], strict=True):
            pieces += [(turns[index], index), (literal, None)]
        text = self._render(turns, is_open=is_open)
        if text != "".join(part for part, _ in pieces):
            self._refuse("the chat template changes the text of a turn", got=text[:200])
        return [(part, index) for part, index in pieces if part]

    def question(self, text: str) -> str:
        """Write a turn of the user and open that of the assistant; see `pieces`."""
        return "".join(part for part, _ in self.pieces([text.strip()]))

    def open_chat(self, turns: Sequence[str]) -> OpenChat:
        """Write turns of which the last is the assistant's and may be continued; see `pieces`."""
        text = "".join(part for part, _ in self.pieces(turns, is_open=True))
        return OpenChat(text, len(text) - len(turns[-1]))

    def demonstration(self, demonstration: Demonstration) -> Demonstration:
        """Write a demonstration whose pieces are turns.

        Texts of turns keep their side and shot. Texts of the template, and the system text, have neither.
        """
        turns = demonstration.pieces
        written = self.pieces([turn.text.strip() for turn in turns])
        pieces = [
            Piece(text, NO_SIDE, NO_SHOT) if index is None else replace(turns[index], text=text)
            for text, index in written
        ]
        return replace(demonstration, pieces=tuple(pieces), has_special_tokens=True)

    @cached_property
    def stop_id(self) -> int:
        """The token that ends an assistant turn: the one after its text, if it is an added token; else the EOS token.

        Chat models end a turn with a token of their own, which need not be the EOS token (Gemma: `<end_of_turn>`).
        """
        after, index = self.pieces(["a", "b"])[-1]
        ids = self._tokenizer(after.lstrip(), add_special_tokens=False)["input_ids"] if index is None else []
        is_added = bool(ids) and ids[0] in self._tokenizer.added_tokens_decoder
        return int(ids[0] if is_added else self._tokenizer.eos_token_id)

    def _render(self, turns: Sequence[str], *, is_open: bool) -> str:
        system = [] if self._system is None else [{"role": "system", "content": self._system}]
        roles = ("user", "assistant")
        messages = [{"role": roles[index % 2], "content": turn} for index, turn in enumerate(turns)]
        try:
            settings = {"add_generation_prompt": len(turns) % 2 == 1, "continue_final_message": is_open}
            text = RENDERER.render(self._source, [*system, *messages], {**self._tokens, **settings})
        except RenderingLimitError as err:
            self._refuse("the chat template of the model exceeds a limit", reason=str(err), cause=err)
        except RenderingError as err:
            self._refuse("the chat template of the model refuses a chat", reason=str(err), cause=err)
        if self._system is not None and self._system not in text:
            self._refuse("the chat template ignores the system text", got=self._system[:80])
        return text

    def _refuse(self, message: str, *, cause: Exception | None = None, **context: object) -> NoReturn:
        roles, remedy = "user and assistant, alternating", "leave chat out, or use another model"
        if self._system is not None:
            roles, remedy = f"system, {roles}", "try chat: true, without a system text"
        path = self._tokenizer.name_or_path
        raise ModelError(message, {"path": path, "roles": roles, **context, "next": remedy}) from cause


def inspect_chat(tokenizer: "PreTrainedTokenizerBase", system: str | None) -> Chat:
    """Check that the chat template of a tokenizer writes every form of a chat, and describe the chat.

    Raises:
        ModelError: the tokenizer has no chat template, or the template refuses a turn or the system text.
    """
    chat = Chat(_sha256(_template_of(tokenizer)), system)
    template = ChatTemplate(tokenizer, chat)
    template.pieces(["a", "b", "c"])
    template.open_chat(["a", "b", "c", "d"])
    template.demonstration(Demonstration("task", tuple(Piece(text, SOURCE, 0) for text in "abcd")))
    return chat


def split_answer(text: str, start: int) -> tuple[str, str]:
    """Divide a text into the turn of the user and that of the assistant, without white space around them.

    Args:
        start: index of the first character of the answer.
    """
    return text[:start].strip(), text[start:].strip()


def _template_of(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Return the chat template of a tokenizer; of several named ones, the one named `default`.

    Raises:
        ModelError: it has none.
    """
    try:
        return str(tokenizer.get_chat_template())
    except ValueError as err:
        message, path = "the model has no chat template", tokenizer.name_or_path
        expected = "chat_template.jinja, or chat_template in tokenizer_config.json"
        raise ModelError(message, path=path, expected=expected, next="use an instruction-tuned model") from err


def folder_template_sha256(folder: Path) -> str | None:
    """Return the SHA-256 of the chat template in the files of a model, None without one; see `_template_of`."""
    path, settings = folder / "chat_template.jinja", folder / "tokenizer_config.json"
    if path.is_file():
        return _sha256(path.read_text("utf-8"))
    stated = json.loads(settings.read_bytes()).get("chat_template") if settings.is_file() else None
    if isinstance(stated, list):
        stated = next((one["template"] for one in stated if one["name"] == "default"), None)
    return None if stated is None else _sha256(stated)


def _sha256(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()
