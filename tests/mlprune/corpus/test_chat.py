"""Turns in the chat template of a model: their texts, their places, and templates that cannot write them."""

from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from mlprune.corpus.calibration import SetLimits, counted_tokens, demonstration_columns, loses_target, tokenise
from mlprune.corpus.chat import Chat, ChatTemplate, inspect_chat, split_answer
from mlprune.corpus.demonstrations import SOURCE, TARGET, Demonstration, Piece, build_demonstration
from mlprune.errors import CorpusError, ModelError
from mlprune.models.loading import load_tokenizer
from tests.chat_models import ALTERNATING, WITH_SYSTEM, chat_tokenizer, save_chat_model
from tests.refusals import refused
from tests.tiny_models import END, tiny_tokenizer

TWO_SHOTS = Demonstration(
    "translation",
    (
        Piece("French: un", SOURCE, 0),
        Piece("English: one ", TARGET, 0),
        Piece("French: deux", SOURCE, 1),
        Piece("English: two", TARGET, 1),
    ),
    (3, 5),
)
ALTERNATING_TEXT = "</s><u>French: un<|e|>\n<a>English: one<|e|>\n<u>French: deux<|e|>\n<a>English: two<|e|>\n"
SYSTEM_TEXT = (
    "[system]Translate.</s>[user]French: un</s>[assistant]English: one</s>"
    "[user]French: deux</s>[assistant]English: two</s>"
)


def template_of(source: str, system: str | None = None) -> tuple[PreTrainedTokenizerFast, ChatTemplate]:
    tokenizer = chat_tokenizer(source)
    return tokenizer, ChatTemplate(tokenizer, inspect_chat(tokenizer, system))


@pytest.mark.parametrize(
    ("source", "system", "text"), [(ALTERNATING, None, ALTERNATING_TEXT), (WITH_SYSTEM, "Translate.", SYSTEM_TEXT)]
)
def test_the_shots_of_a_demonstration_become_alternating_turns(source: str, system: str | None, text: str) -> None:
    tokenizer, template = template_of(source, system)
    written = template.demonstration(TWO_SHOTS)
    assert written.text == text
    contents = [piece for piece in written.pieces if piece.side]
    assert [(piece.text, piece.side, piece.shot) for piece in contents] == [
        (piece.text.strip(), piece.side, piece.shot) for piece in TWO_SHOTS.pieces
    ]
    assert written.sentence_ids == TWO_SHOTS.sentence_ids
    tokens = tokenise(tokenizer, written, max_tokens=500)
    assert tokenizer.decode(tokens.ids) == text
    assert tokens.ids[:2].count(END) == int(source == ALTERNATING)


def test_content_counts_the_tokens_of_turns_and_neither_roles_nor_the_system_text() -> None:
    tokenizer, template = template_of(WITH_SYSTEM, "Translate.")
    columns = demonstration_columns([template.demonstration(TWO_SHOTS)], tokenizer, SetLimits(500))
    expected = {
        "all": SYSTEM_TEXT,
        "content": "French: unEnglish: oneFrench: deuxEnglish: two",
        "source": "French: unFrench: deux",
        "target": "English: oneEnglish: two",
        "last_shot": "French: deuxEnglish: two",
    }
    for scope, text in expected.items():
        (flags,) = counted_tokens(columns, scope)  # type: ignore[arg-type]
        ids = [token for token, is_counted in zip(columns["token_ids"][0], flags, strict=True) if is_counted]
        assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("kind", ["translation", "task"])
def test_the_target_of_a_chat_begins_with_the_first_turn_of_the_assistant(kind: str) -> None:
    tokenizer, template = template_of(WITH_SYSTEM, "Translate.")
    plain = build_demonstration(kind, (lambda n, _: f"u{n}", lambda n, _: f"a{n}"), numbers=(0, 1), end="")
    written = template.demonstration(plain)
    start = written.text.index("a0")
    assert written.target_start == start
    n_before = len(tokenizer(written.text[:start], add_special_tokens=False)["input_ids"])
    assert loses_target(tokenizer, written, max_tokens=n_before)
    assert not loses_target(tokenizer, written, max_tokens=n_before + 1)


def test_content_of_a_text_that_is_no_chat_is_everything_but_added_tokens() -> None:
    columns = demonstration_columns([TWO_SHOTS], chat_tokenizer(ALTERNATING), SetLimits(500))
    (flags,) = counted_tokens(columns, "content")
    assert flags == [False, *[True] * len(TWO_SHOTS.text)]


def test_an_open_chat_ends_with_the_last_answer_and_a_question_opens_the_answer() -> None:
    tokenizer, template = template_of(ALTERNATING)
    messages = [{"role": role, "content": text} for role, text in (("user", "Why?"), ("assistant", "Because"))]
    opened = template.open_chat(["Why?", "Because"])
    assert opened.text == "</s><u>Why?<|e|>\n<a>Because"
    assert opened.text == tokenizer.apply_chat_template(messages, tokenize=False, continue_final_message=True)
    assert opened.text[opened.start :] == "Because"
    asked = template.question("Why? ")
    assert asked == "</s><u>Why?<|e|>\n<a>"
    assert asked == tokenizer.apply_chat_template(messages[:1], tokenize=False, add_generation_prompt=True)


def test_a_turn_ends_with_the_token_after_its_text() -> None:
    tokenizer, template = template_of(ALTERNATING)
    assert template.stop_id == tokenizer.convert_tokens_to_ids("<|e|>") != tokenizer.eos_token_id
    assert template_of(WITH_SYSTEM)[1].stop_id == END
    assert template_of("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")[1].stop_id == END


def test_words_of_a_turn_that_are_also_words_of_the_template_are_found_at_their_place() -> None:
    _, template = template_of(WITH_SYSTEM)
    written = template.pieces(["user", "[assistant]"])
    assert written == [("[user]", None), ("user", 0), ("</s>[assistant]", None), ("[assistant]", 1), ("</s>", None)]


def test_a_template_reads_a_fixed_date_instead_of_the_clock() -> None:
    source = "{{ strftime_now('%A %d %B %Y, %Y-%m-%d') }} " + WITH_SYSTEM
    _, template = template_of(source)
    assert template.open_chat(["a", "b"]).text == "Friday 26 July 2024, 2024-07-26 [user]a</s>[assistant]b"


@pytest.mark.parametrize(
    ("source", "system"),
    [
        (ALTERNATING, "Translate."),
        ("{{ raise_exception('no') }}", None),
        ("{{ messages[0].missing.missing }}", None),
        ("{% for message in messages %}", None),
        (WITH_SYSTEM.replace("message['content']", "message['content'] | lower"), None),
        (WITH_SYSTEM.replace("message['content']", "message['content'] | upper"), None),
        (WITH_SYSTEM.replace("message['content']", "message['content'] * 2"), None),
        ("{% for message in messages[-1:] %}{{ message['content'] }}{% endfor %}", None),
        ("{% for m in messages if m.role != 'system' %}[{{ m.role }}]{{ m.content }}</s>{% endfor %}", "Translate."),
    ],
)
def test_a_template_that_cannot_write_every_turn_once_is_refused_in_one_line(source: str, system: str | None) -> None:
    with pytest.raises(ModelError) as caught:
        inspect_chat(chat_tokenizer(source), system)
    assert len(str(caught.value).splitlines()) == 1


def test_a_model_without_a_template_or_with_another_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        inspect_chat(tiny_tokenizer(), None)
    tokenizer = load_tokenizer(save_chat_model(tmp_path, ALTERNATING))
    planned = inspect_chat(tokenizer, None)
    ChatTemplate(tokenizer, planned)
    with refused(ModelError, expected="0" * 64, got=planned.template_sha256):
        ChatTemplate(tokenizer, Chat("0" * 64))


def test_a_template_cannot_leave_the_sandbox() -> None:
    with pytest.raises(ModelError) as caught:
        inspect_chat(chat_tokenizer("{{ messages.__class__.__base__.__subclasses__() }}"), None)
    assert "SecurityError" in str(caught.value)


def test_a_turn_of_the_user_without_text_is_refused() -> None:
    _, template = template_of(ALTERNATING)
    with pytest.raises(CorpusError):
        template.open_chat(["", "answer"])
    assert split_answer("Is it? Yes", 7) == ("Is it?", "Yes")
    assert split_answer("Yes", 0) == ("", "Yes")
