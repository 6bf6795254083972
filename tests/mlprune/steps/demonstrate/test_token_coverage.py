"""A tokenizer that does not know the texts of a demonstration set is found while planning."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from mlprune.errors import CorpusError
from mlprune.models.tokenizer_checks import SENTENCE
from mlprune.recipe import Recipe, parse_recipe
from mlprune.steps.demonstrate.plan import plan_demonstrations
from mlprune.steps.demonstrate.source_texts import SourceTexts
from mlprune.steps.demonstrate.token_coverage import N_TEXTS, check_unknown_tokens, sample_texts
from mlprune.steps.inputs import open_inputs
from tests.tiny_models import save_tiny_model


def _english_tokenizer() -> PreTrainedTokenizerFast:
    """Tokenizer of single characters that knows ASCII only."""
    letters = [chr(code) for code in range(33, 127)]
    vocabulary = {token: number for number, token in enumerate(["</s>", "<unk>", "▁", *letters, *"éàèçêîôû"])}
    tokenizer = Tokenizer(models.Unigram([(token, -float(number)) for token, number in vocabulary.items()], unk_id=1))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>")


def _recipe(folder: Path, language: str) -> Recipe:
    demonstrations = {"name": "mono", "kind": "monolingual", "language": language, "samples": 4, "max_tokens": 32}
    variants = [{"name": "wanda", "demonstrations": "mono", "score": "wanda", "sparsity": 0.5}]
    values = {"model": {"path": str(folder)}, "corpus": {"kind": "cldr", "lines": 60}, "variants": variants}
    return parse_recipe({"name": "r", **values, "demonstrations": [demonstrations]}, folder=folder)


def test_sets_in_a_language_that_the_tokenizer_lacks_are_refused_by_the_plan(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "model", vocab_size=105)
    _english_tokenizer().save_pretrained(folder)
    known, unknown = (_recipe(folder, language) for language in ("fr", "hi"))
    plan_demonstrations(known, open_inputs(known), evaluated=frozenset())
    with pytest.raises(CorpusError, match="does not know") as caught:
        plan_demonstrations(unknown, open_inputs(unknown), evaluated=frozenset())
    assert "hi" in str(caught.value.context["demonstrations"])


def test_a_sample_is_spread_over_all_texts() -> None:
    texts = SourceTexts("sentences", {}, (lambda number, end: f"{number}{end}",), lambda _: {})
    sample = sample_texts(texts, [(2 * number, 2 * number + 1) for number in range(500)])
    assert len(sample) == N_TEXTS
    assert (sample[0], int(sample[-1]) > 900) == ("0", True)


def test_a_set_of_unknown_tokens_is_refused_when_it_is_made() -> None:
    tokenizer = _english_tokenizer()
    check_unknown_tokens([tokenizer(SENTENCE)["input_ids"]], tokenizer)
    with pytest.raises(CorpusError, match="does not know"):
        check_unknown_tokens([tokenizer("ab नमस्ते cd")["input_ids"]], tokenizer)
