"""Measure the embedded model and write its card.

    python -m mlprune.demo.card MODEL_DIR

Reads `training.json` and writes `README.md` (the card) and `measurements.json`.
"""

import argparse
import json
from pathlib import Path
from typing import TypedDict, cast

import torch
from transformers import PreTrainedTokenizerBase

from mlprune.corpus import cldr_facts, cldr_sentences
from mlprune.evaluation.scoring.batches import TextLimits
from mlprune.evaluation.scoring.candidates import score_items
from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.evaluation.scoring.translation import Translations, prepare_translation, run_translation
from mlprune.evaluation.task_metrics import METRICS, task_metrics
from mlprune.evaluation.tasks.builtin.facts import facts_item
from mlprune.evaluation.tasks.items import ChoiceItem, TranslationItem
from mlprune.evaluation.tasks.task_files import ItemSelection, corpus_items
from mlprune.hashing import ordered_by_hash
from mlprune.models.chain import Chain
from mlprune.models.loading import load_tokenizer
from mlprune.models.local_chain import local_chain

POSITIONS = 256
BATCH_TOKENS = 2048
N_SHOTS = 2
N_TRANSLATIONS = 80
"""Translated sentences per pair: lines of the built-in corpus, which are not in the training text."""
N_PERPLEXITY = 200
CARD = """---
license: mit
language: [{languages}]
library_name: transformers
---
# {name}: a small XGLM trained on CLDR

The model that comes with mlprune, so that the demo needs no download: `XGLMForCausalLM` with {parameters:,} parameters
(4 blocks, width 160, byte-level BPE with 5,000 tokens) and weights in float16. Its training text comes only from
Unicode CLDR, through the Python package babel, and from Python's standard library; `mlprune/demo/train.py` makes it.

**Training.** `{command}` took {elapsed_min:.0f} minutes on 2 CPU cores that were also used for other work: {steps:,}
steps, {tokens:,} tokens, final loss {loss:.3f} (torch {torch}, Python {python}). Documents: {shares}.

**Split.** There are {n_facts} facts. The English training text has all of them; the text of every other language has
only the {n_seen} facts that are not held out. A fact is held out, in all languages, if the SHA-256 of
`held-out:0:<fact id>` is even. The 1,000 lines of the built-in corpus (seed 0) are in no training text.

**Measurements** are from `python -m mlprune.demo.card`, on the CPU in float32. Accuracy on facts is that of choosing
among up to six candidates by mean log-probability (chance level: {chance:.2f}). A language can know held-out facts only
by transfer from English.

| language | facts seen | facts held out | perplexity per token |
|---|---|---|---|
{facts}

Both English columns are facts from the training text. Perplexity is high because its sentences have no label
("French: ..."); except for facts, the training text has no sentence without one. The next table has the exact match of
few-shot translation ({n_shots} shots, greedy) on {n_translations} lines of the built-in corpus and on {n_dates} full
dates:

| pair | exact match | full dates |
|---|---|---|
{translation}

The model is for tests and demonstrations only: it has learned names and formats, not language.
"""


class Measurements(TypedDict):
    """Measurements of the card."""

    facts: dict[str, dict[str, tuple[float, float, int]]]
    """Language -> `seen` or `held_out` -> accuracy, chance level, number of facts."""
    perplexity: dict[str, float]
    """Language -> perplexity per token."""
    translation: dict[str, tuple[float, float]]
    """Pair -> exact match of all sentences, of full dates."""


def fact_accuracy(
    chain: Chain, tokenizer: PreTrainedTokenizerBase, language: str, *, held_out: bool
) -> tuple[float, float, int]:
    """Accuracy, chance level and number of facts in one language."""
    facts = [fact for fact in cldr_facts.facts() if cldr_facts.is_held_out(fact.fact_id) == held_out]
    rows = [cldr_facts.item(fact, language) for fact in facts]
    items = [facts_item(str(row["id"]), row) for row in rows]
    scores = score_items(chain, tokenizer, items, TextLimits(BATCH_TOKENS, POSITIONS))
    accuracy = task_metrics("facts", language)[0].of(Predictions.from_scores(items, scores))
    return accuracy, sum(1 / len(item.candidates) for item in items) / len(items), len(items)


def perplexity(chain: Chain, tokenizer: PreTrainedTokenizerBase, language: str) -> float:
    """Perplexity on lines of the built-in corpus."""
    lines = {language: cldr_sentences.corpus()[language]}
    data = corpus_items("perplexity", lines, ItemSelection(language, limit=N_PERPLEXITY))
    items = cast("tuple[ChoiceItem, ...]", data.items)
    scores = score_items(chain, tokenizer, items, TextLimits(BATCH_TOKENS, POSITIONS))
    return METRICS["perplexity"].of(Predictions.from_scores(items, scores))


def translation_accuracy(
    chain: Chain, tokenizer: PreTrainedTokenizerBase, pair: tuple[str, str]
) -> tuple[float, float]:
    """Exact match of few-shot greedy translations, for all sentences and for full dates."""
    lines = cldr_sentences.corpus()
    order = ordered_by_hash(0, range(len(lines["en"])))
    shots, chosen = order[:N_SHOTS], order[N_SHOTS : N_SHOTS + N_TRANSLATIONS]
    dates = [line for line in order[N_SHOTS:] if line % len(cldr_sentences.SENTENCES) == 0][: N_TRANSLATIONS // 2]
    return (
        _exact_match(chain, tokenizer, pair, shots=shots, chosen=chosen),
        _exact_match(chain, tokenizer, pair, shots=shots, chosen=dates),
    )


def _exact_match(
    chain: Chain, tokenizer: PreTrainedTokenizerBase, pair: tuple[str, str], *, shots: list[int], chosen: list[int]
) -> float:
    source, target = (cldr_sentences.corpus()[language] for language in pair)
    prepared = prepare_translation(
        tokenizer,
        [TranslationItem(str(line), source[line], target[line]) for line in chosen],
        TextLimits(4 * BATCH_TOKENS, max_positions=None, max_new_tokens=80),
        shots=[(source[line], target[line]) for line in shots],
        pair=pair,
    )
    outputs = Translations.from_outputs(run_translation(chain, tokenizer, prepared))
    return METRICS["exact_match"].of(outputs)


def measurements(folder: Path) -> Measurements:
    """All measurements of the card."""
    chain, tokenizer = local_chain(folder), load_tokenizer(folder)
    facts = {
        language: {
            name: fact_accuracy(chain, tokenizer, language, held_out=held_out)
            for name, held_out in (("seen", False), ("held_out", True))
        }
        for language in cldr_facts.LANGUAGES
    }
    without_english = cldr_facts.LANGUAGES[1:]
    pairs = [
        *((language, "en") for language in without_english),
        *(("en", language) for language in without_english),
        ("fr", "es"),
        ("zh", "sw"),
    ]
    return {
        "facts": facts,
        "perplexity": {language: perplexity(chain, tokenizer, language) for language in cldr_facts.LANGUAGES},
        "translation": {"-".join(pair): translation_accuracy(chain, tokenizer, pair) for pair in pairs},
    }


def card(folder: Path, measured: Measurements) -> str:
    """The model card."""
    training = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    facts = [
        f"| {language} | {both['seen'][0]:.2f} | {both['held_out'][0]:.2f} | {measured['perplexity'][language]:.2f} |"
        for language, both in measured["facts"].items()
    ]
    pairs = [f"| {pair} | {whole:.2f} | {dates:.2f} |" for pair, (whole, dates) in measured["translation"].items()]
    english = measured["facts"]["en"]
    return CARD.format(
        name=folder.name,
        languages=", ".join(cldr_facts.LANGUAGES),
        parameters=training["parameters"],
        command=f"python -m mlprune.demo.train OUT_DIR --minutes {training['minutes']:g}",
        elapsed_min=training["elapsed_s"] / 60,
        steps=training["steps"],
        tokens=training["tokens"],
        loss=training["history"][-1]["loss"],
        torch=training["torch"],
        python=training["python"],
        shares=", ".join(f"{share:.0%} {kind}" for kind, share in training["shares"].items()),
        n_facts=english["seen"][2] + english["held_out"][2],
        n_seen=english["seen"][2],
        chance=english["held_out"][1],
        facts="\n".join(facts),
        translation="\n".join(pairs),
        n_shots=N_SHOTS,
        n_translations=N_TRANSLATIONS,
        n_dates=N_TRANSLATIONS // 2,
    )


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    torch.set_num_threads(2)
    measured = measurements(folder)
    (folder / "measurements.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(card(folder, measured), encoding="utf-8")


if __name__ == "__main__":
    main()
