"""Limits of chat templates: time, memory, and the lengths of the template and of what it writes."""

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from mlprune.corpus.chat import inspect_chat
from mlprune.corpus.chat_rendering import (
    MAX_TEMPLATE_LENGTH,
    ChatRenderer,
    RenderingError,
    RenderingLimitError,
)
from mlprune.errors import ModelError
from mlprune.processes.limited import HAS_LIMITS, Limits
from tests.chat_models import chat_tokenizer

TURNS = [{"role": "user", "content": "a text"}]
PLAIN = "{% for message in messages %}{{ message.content }}{% endfor %}"
NESTED = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
HUNGRY = [
    "{{ 'x'*4000000000 }}",
    "{{ 'a'.center(3000000000) }}",
    "{{ '%0999999999d' % 1 }}",
    "{% set n = namespace(t='x') %}{% for _ in range(40) %}{% set n.t = n.t ~ n.t %}{% endfor %}{{ n.t }}",
]


@pytest.fixture(scope="module")
def renderer() -> Iterator[ChatRenderer]:
    renderer = ChatRenderer(Limits(processor_s=1, memory_bytes=128 << 20))
    yield renderer
    renderer.close()


@pytest.fixture(scope="module")
def patient_renderer() -> Iterator[ChatRenderer]:
    """A renderer that reaches its limit of memory first, on a slow machine too."""
    renderer = ChatRenderer(Limits(processor_s=30, memory_bytes=128 << 20))
    yield renderer
    renderer.close()


@pytest.mark.skipif(not HAS_LIMITS, reason="the system has no limits of memory")
@pytest.mark.parametrize("template", HUNGRY)
def test_a_template_that_needs_too_much_memory_is_refused_and_the_next_chat_is_rendered(
    patient_renderer: ChatRenderer, template: str
) -> None:
    with pytest.raises(RenderingLimitError, match="128 MiB"):
        patient_renderer.render(template, TURNS, {})
    assert patient_renderer.render(PLAIN, TURNS, {}) == "a text"


def test_a_template_that_never_ends_is_refused_and_the_next_chat_is_rendered(renderer: ChatRenderer) -> None:
    with pytest.raises(RenderingLimitError, match="1 s"):
        renderer.render(NESTED, TURNS, {})
    assert renderer.render(PLAIN, TURNS, {}) == "a text"


def test_a_text_is_as_long_as_its_turns_and_a_constant(renderer: ChatRenderer) -> None:
    longest = PLAIN + f"{{{{ 'x' * {MAX_TEMPLATE_LENGTH} }}}}"
    assert len(renderer.render(longest, TURNS, {})) == MAX_TEMPLATE_LENGTH + len("a text")
    with pytest.raises(RenderingLimitError, match="characters"):
        renderer.render(longest + "x", TURNS, {})


def test_a_long_template_is_refused_unread(renderer: ChatRenderer) -> None:
    begin = time.process_time()
    with pytest.raises(RenderingLimitError, match="characters"):
        renderer.render("x" * 3_000_000, TURNS, {})
    assert time.process_time() - begin < 0.5


def test_other_errors_are_not_limits_and_have_the_reason_of_the_template(renderer: ChatRenderer) -> None:
    with pytest.raises(RenderingError, match="roles must alternate") as caught:
        renderer.render("{{ raise_exception('roles must alternate') }}", TURNS, {})
    assert not isinstance(caught.value, RenderingLimitError)


def test_a_forked_process_renders_in_a_child_of_its_own(renderer: ChatRenderer) -> None:
    assert renderer.render(PLAIN, TURNS, {}) == "a text"
    child = os.fork()
    if child == 0:
        is_equal = renderer.render(PLAIN, [{"role": "user", "content": "another"}], {}) == "another"
        renderer.close()
        os._exit(0 if is_equal else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert renderer.render(PLAIN, TURNS, {}) == "a text"


@pytest.mark.parametrize("template", [PLAIN + "{{ 'x' * 99999999 }}", "x" * (MAX_TEMPLATE_LENGTH + 1)])
def test_a_chat_names_the_limit_and_the_folder(template: str) -> None:
    tokenizer: Any = chat_tokenizer(template)
    with pytest.raises(ModelError, match="limit") as caught:
        inspect_chat(tokenizer, None)
    assert {"path", "reason", "next"} <= caught.value.context.keys()
