"""A smaller model folder has the outputs of the base model with masked logits."""

import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from mlprune import demo
from mlprune.capabilities.vocabulary.kept_tokens import TokenChoice, chosen_tokens, require_spelled, token_scores
from mlprune.corpus.cldr_sentences import corpus
from mlprune.errors import BadInputError
from mlprune.trimming.folder import read_tokenizer, required_tokens, trim_folder, write_tokenizer
from tests.refusals import refused
from tests.tiny_types import save_tiny_model_of

EMBEDDED = Path(demo.__file__).parent / "xglm-cldr-2m"
LINES = {language: lines[:60] for language, lines in corpus(60, 0).items() if language in ("en", "sw", "es")}


@pytest.fixture(scope="module")
def base() -> tuple:
    return AutoTokenizer.from_pretrained(EMBEDDED), AutoModelForCausalLM.from_pretrained(EMBEDDED).float().eval()


@pytest.mark.thorough("computes many cases")
@pytest.mark.parametrize(("multiple", "tied"), [(1, True), (64, True), (64, False)])
def test_the_smaller_folder_equals_masked_logits(base: tuple, tmp_path: Path, multiple: int, tied: bool) -> None:
    tokenizer, model = base
    folder = tmp_path / "base"
    shutil.copytree(EMBEDDED, folder)
    if not tied:
        model.config.tie_word_embeddings = False
        own = AutoModelForCausalLM.from_pretrained(EMBEDDED).float().eval()
        own.config.tie_word_embeddings = False
        own.lm_head.weight = torch.nn.Parameter(own.lm_head.weight * 1.5)
        own.save_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder).float().eval()
    source = read_tokenizer(tokenizer)
    lines = {language: LINES[language] for language in ("en", "sw")}
    scores = token_scores(tokenizer, lines, score="frequency")
    kept = sorted(chosen_tokens(source, scores, TokenChoice(), required=required_tokens(source, folder, n_rows=5000)))
    require_spelled(source, kept, {"en": tokenizer(list(lines["en"]))["input_ids"]})
    new_ids = {old: new for new, old in enumerate(kept)}
    small_folder = tmp_path / "small"
    shutil.copytree(folder, small_folder)
    n_rows = trim_folder(small_folder, kept, multiple=multiple)
    write_tokenizer(folder, small_folder, kept, source=source, new_ids=new_ids)
    assert n_rows % multiple == 0
    small = AutoModelForCausalLM.from_pretrained(small_folder).float().eval()
    small_tokenizer = AutoTokenizer.from_pretrained(small_folder)
    assert small.get_input_embeddings().weight.shape[0] == n_rows < 5000
    assert small.config.eos_token_id == new_ids[tokenizer.eos_token_id] == small_tokenizer.eos_token_id
    for line in (*lines["en"][:5], *lines["sw"][:5]):
        ids = tokenizer(line)["input_ids"]
        assert small_tokenizer(line)["input_ids"] == [new_ids[number] for number in ids]
        assert small_tokenizer.decode(small_tokenizer(line)["input_ids"]) == tokenizer.decode(ids)
        with torch.no_grad():
            dense = model(torch.tensor([ids])).logits[0][:, kept]
            ours = small(torch.tensor([small_tokenizer(line)["input_ids"]])).logits[0][:, : len(kept)]
        torch.testing.assert_close(ours, dense, atol=1e-5, rtol=1e-5)


def test_the_tokenizer_in_place_keeps_the_ids(base: tuple, tmp_path: Path) -> None:
    tokenizer, _ = base
    source = read_tokenizer(tokenizer)
    scores = token_scores(tokenizer, {"en": LINES["en"]}, score="frequency")
    kept = sorted(chosen_tokens(source, scores, TokenChoice(), required=required_tokens(source, EMBEDDED, n_rows=5000)))
    write_tokenizer(EMBEDDED, tmp_path, kept, source=source)
    trimmed = AutoTokenizer.from_pretrained(tmp_path)
    for line in LINES["en"]:
        assert trimmed(line)["input_ids"] == tokenizer(line)["input_ids"]
    for line in LINES["es"]:
        ids = trimmed(line)["input_ids"]
        assert set(ids) <= set(kept)
        assert tokenizer.decode(ids) == tokenizer.decode(tokenizer(line)["input_ids"])


def test_a_further_embedding_of_tokens_loses_the_same_rows(tmp_path: Path) -> None:
    """Gemma 4 reads a second row of every token, with inputs of every block."""
    folder = save_tiny_model_of(tmp_path, "gemma4_text")
    kept = [token for token in range(259) if token % 7 != 6]
    texts = torch.tensor([kept[20:30]])
    with torch.no_grad():
        expected = AutoModelForCausalLM.from_pretrained(folder).eval()(texts).logits[:, :, kept]
    trim_folder(folder, kept)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    assert model.model.embed_tokens_per_layer.weight.shape[0] == len(kept)
    with torch.no_grad():
        logits = model(torch.arange(20, 30)[None]).logits
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)


def test_a_further_embedding_with_another_number_of_tokens_is_refused(tmp_path: Path) -> None:
    folder = save_tiny_model_of(tmp_path, "gemma4_text", vocab_size_per_layer_input=200)
    with refused(BadInputError) as caught:
        trim_folder(folder, range(100))
    assert 200 in dict(caught.value.context["got"]).values()
