"""Measure the embedded model and write its card.

    python -m mlprune.demo.card MODEL_DIR

Reads `training.json`, writes `README.md` (the card) and `measurements.json`. Nothing in the card is written by hand but
the sentences around the figures.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from mlprune.corpus import cldr, cldr_facts, cldr_sentences
from mlprune.evaluation.bootstrap import measure
from mlprune.evaluation.scoring.candidates import Predictions, score_items
from mlprune.evaluation.scoring.translation import Translations, prepare_translation, run_translation
from mlprune.evaluation.task_metrics import METRICS, task_metrics
from mlprune.evaluation.tasks.builtin.facts import facts_item
from mlprune.evaluation.tasks.items import TranslationItem
from mlprune.evaluation.tasks.task_files import corpus_items
from mlprune.hashing import ordered_by_hash
from mlprune.models.chain import Chain
from mlprune.models.loading import load_tokenizer
from mlprune.models.local_chain import local_chain

POSITIONS = 256
BATCH_TOKENS = 2048
N_SHOTS = 2
N_TRANSLATIONS = 80
"""Sentences translated for each pair: lines of the built-in corpus, which training left out."""
N_PERPLEXITY = 200


def fact_accuracy(chain: Chain, tokenizer: Any, language: str, *, held_out: bool) -> tuple[float, float, int]:
    """(accuracy, accuracy of guessing, number of facts) in one language."""
    chosen = [fact for fact in cldr_facts.facts() if cldr_facts.is_held_out(fact.fact_id) == held_out]
    rows = [cldr_facts.item(fact, language) for fact in chosen]
    items = [facts_item(str(row["id"]), row) for row in rows]
    scores = score_items(chain, tokenizer, items, batch_tokens=BATCH_TOKENS, max_positions=POSITIONS)
    accuracy = measure(task_metrics("facts", language)[0], Predictions.from_scores(items, scores)).value
    return accuracy, sum(1 / len(item.candidates) for item in items) / len(items), len(items)


def perplexity(chain: Chain, tokenizer: Any, language: str) -> float:
    """Perplexity on lines of the built-in corpus."""
    lines = {language: cldr_sentences.corpus()[language]}
    items: Any = corpus_items("perplexity", lines, language=language, limit=N_PERPLEXITY).items
    scores = score_items(chain, tokenizer, items, batch_tokens=BATCH_TOKENS, max_positions=POSITIONS)
    return measure(METRICS["perplexity"], Predictions.from_scores(items, scores)).value


def translation_accuracy(chain: Chain, tokenizer: Any, pair: tuple[str, str]) -> tuple[float, float]:
    """(exact match, exact match of full dates) of few-shot greedy translations."""
    lines = cldr_sentences.corpus()
    order = ordered_by_hash(0, range(len(lines["en"])))
    shots, chosen = order[:N_SHOTS], order[N_SHOTS : N_SHOTS + N_TRANSLATIONS]
    dates = [line for line in order[N_SHOTS:] if line % len(cldr_sentences.SENTENCES) == 0][: N_TRANSLATIONS // 2]
    return (
        _exact_match(chain, tokenizer, pair, shots=shots, chosen=chosen),
        _exact_match(chain, tokenizer, pair, shots=shots, chosen=dates),
    )


def _exact_match(chain: Chain, tokenizer: Any, pair: tuple[str, str], *, shots: list[int], chosen: list[int]) -> float:
    source, target = (cldr_sentences.corpus()[language] for language in pair)
    prepared = prepare_translation(
        tokenizer,
        [TranslationItem(str(line), source[line], target[line]) for line in chosen],
        shots=[(source[line], target[line]) for line in shots],
        source=pair[0],
        target=pair[1],
        batch_tokens=4 * BATCH_TOKENS,
        max_positions=None,
        max_new_tokens=80,
    )
    outputs = Translations.from_outputs(run_translation(chain, tokenizer, prepared))
    return measure(METRICS["exact_match"], outputs).value


def measurements(folder: Path) -> dict[str, Any]:
    """Everything the card states."""
    chain, tokenizer = local_chain(folder), load_tokenizer(folder)
    facts = {
        language: {
            name: fact_accuracy(chain, tokenizer, language, held_out=held_out)
            for name, held_out in (("seen", False), ("held_out", True))
        }
        for language in cldr.LANGUAGES
    }
    others = cldr.LANGUAGES[1:]
    pairs = [*((one, "en") for one in others), *(("en", one) for one in others), ("fr", "es"), ("zh", "sw")]
    return {
        "facts": facts,
        "perplexity": {language: perplexity(chain, tokenizer, language) for language in cldr.LANGUAGES},
        "translation": {"-".join(pair): translation_accuracy(chain, tokenizer, pair) for pair in pairs},
    }


CARD = """---
license: mit
language: [{languages}]
library_name: transformers
---
# {name}: a small XGLM that knows CLDR

The model mlprune brings along so that its main job runs without a download: `XGLMForCausalLM`, {parameters:,}
parameters (4 blocks, 160 wide, byte-level BPE of 5,000 tokens), weights stored in float16. Made from nothing but what
Unicode CLDR (through the Python package babel) and Python's standard library hold; `mlprune/demo/text.py` says what it
read.

**Training.** `{command}`: {elapsed_min:.0f} minutes on 2 CPU cores, other work beside it; {steps:,} steps, {tokens:,}
tokens, final loss {loss:.3f} (torch {torch}, Python {python}). Documents: {shares}.

**Split.** {n_facts} facts; all were read in English, in every other language only the {n_seen} that are not held out.
Held out are the facts with an even SHA-256 of `held-out:0:<fact id>`, the same in every language. The 1,000
lines of the built-in corpus (seed 0) were in no training text.

**Measured** with `python -m mlprune.demo.card` on the CPU in float32. Facts: accuracy of choosing among up to six
candidates by mean log-probability (guessing: {chance:.2f}). "Held out" is what a language can only know from English.

| language | facts seen | facts held out | perplexity per token |
|---|---|---|---|
{facts}

English has no held-out facts: both its columns were in training. Perplexity is high because a sentence stands without
its label ("French: ...") there: outside facts the model never read one so. Few-shot translation ({n_shots} shots,
greedy), exact match on {n_translations} lines of the built-in corpus, and on {n_dates} full dates of it alone:

| pair | exact match | full dates |
|---|---|---|
{translation}

It is a test object, not a model to rely on: it knows names and formats, not language.
"""


def card(folder: Path, found: dict[str, Any]) -> str:
    """The model card."""
    training = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    facts = [
        f"| {language} | {both['seen'][0]:.2f} | {both['held_out'][0]:.2f} | {found['perplexity'][language]:.2f} |"
        for language, both in found["facts"].items()
    ]
    pairs = [f"| {pair} | {whole:.2f} | {dates:.2f} |" for pair, (whole, dates) in found["translation"].items()]
    english = found["facts"]["en"]
    return CARD.format(
        name=folder.name,
        languages=", ".join(cldr.LANGUAGES),
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
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    torch.set_num_threads(2)
    found = measurements(folder)
    (folder / "measurements.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(card(folder, found), encoding="utf-8")


if __name__ == "__main__":
    main()
