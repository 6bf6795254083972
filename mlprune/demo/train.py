"""Train the embedded model: tokenizer, weights, and data for its card.

    python -m mlprune.demo.train OUT_DIR --minutes 60
    python -m mlprune.demo.train OUT_DIR --minutes 8 --experts 8    # a mixture of experts, from the embedded model

Writes a Hugging Face folder (config, tokenizer, float16 safetensors) and `training.json`. The text is an endless stream
of documents of four kinds:

- translation: few-shot demonstrations of one language pair, in the format of a recipe's demonstrations;
- monolingual: the same sentences in one language;
- facts: all facts in English, and in other languages only those that are not held out;
- code: parts of Python's standard library.
"""

import argparse
import json
import math
import platform
import random
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast, XGLMConfig, XGLMForCausalLM

from mlprune.corpus import cldr_facts, cldr_sentences
from mlprune.corpus.cldr_sentences import SENTENCES, Parallel
from mlprune.corpus.templates import format_labelled
from mlprune.demo.upcycle import upcycle

SHARES = {"translation": 0.68, "monolingual": 0.08, "facts": 0.19, "code": 0.05}
"""Share of the documents of each kind."""

KIND_SHARES = {"name": 4.0, "fact": 2.0} | dict.fromkeys(SENTENCES, 1.0)
"""Relative frequency of the kinds of sentence in translation and monolingual documents."""

ENGLISH_FACT_SHARE = 0.4
"""Share of fact documents in English; the other languages share the remainder evenly."""

END, PAD, UNKNOWN = "</s>", "<pad>", "<unk>"
SPECIAL_TOKENS = (PAD, END, UNKNOWN)
VOCABULARY = 5000
POSITIONS = 256
ROW = 192
"""Tokens of a training row: a document, cut or continued by the next one."""
REPORT_STEPS = 100
SNAPSHOT_STEPS = 500
EMBEDDED = Path(__file__).parent / "xglm-cldr-2m"
BALANCE = 0.01
"""Factor of the loss that lets routers use all experts alike."""


@dataclass(frozen=True)
class TrainingSettings:
    """What a training costs, and the seed of its texts."""

    minutes: float
    """Wall-clock budget."""
    rows: int
    """Texts of a batch, of `ROW` tokens each."""
    seed: int


@cache
def _facts_seen(language: str) -> tuple[str, ...]:
    """The sentences of the facts in the training text of a language."""
    return tuple(
        cldr_facts.sentence(fact, language)
        for fact in cldr_facts.facts()
        if language == "en" or not cldr_facts.is_held_out(fact.fact_id)
    )


@cache
def _facts_in_all_languages() -> tuple[Parallel, ...]:
    """The facts in the training text of all languages, as parallel sentences."""
    return tuple(
        {language: cldr_facts.sentence(fact, language) for language in cldr_facts.LANGUAGES}
        for fact in cldr_facts.facts()
        if not cldr_facts.is_held_out(fact.fact_id)
    )


@cache
def _reserved() -> frozenset[str]:
    """English side of the built-in corpus, which is not in the training text."""
    return frozenset(cldr_sentences.corpus()["en"])


def parallel_sentence(rng: random.Random) -> Parallel:
    """A sentence, name or fact in every language that is not in the built-in corpus."""
    while True:
        kind = rng.choices(list(KIND_SHARES), weights=list(KIND_SHARES.values()))[0]
        if kind == "name":
            sentence = cldr_sentences.name(rng)
        elif kind == "fact":
            sentence = rng.choice(_facts_in_all_languages())
        else:
            sentence = SENTENCES[kind](rng)
        if sentence["en"] not in _reserved():
            return sentence


def translation_document(rng: random.Random, *, end: str, shots: int) -> str:
    """Few-shot demonstrations of one ordered pair of languages; about half of the pairs contain English."""
    source, target = rng.sample(cldr_facts.LANGUAGES, 2)
    if rng.random() < 0.4 and "en" not in (source, target):
        source, target = rng.choice(((source, "en"), ("en", target)))
    sentences = (parallel_sentence(rng) for _ in range(shots))
    return "".join(format_labelled(source, s[source], end) + format_labelled(target, s[target], end) for s in sentences)


def monolingual_document(rng: random.Random, *, end: str, shots: int) -> str:
    """Labelled sentences of one language."""
    language = rng.choice(cldr_facts.LANGUAGES)
    return "".join(format_labelled(language, parallel_sentence(rng)[language], end) for _ in range(2 * shots))


def facts_document(rng: random.Random, *, end: str, shots: int) -> str:
    """Plain statements of facts in one language."""
    language = "en" if rng.random() < ENGLISH_FACT_SHARE else rng.choice(cldr_facts.LANGUAGES[1:])
    return end.join(rng.choices(_facts_seen(language), k=2 * shots)) + end


@cache
def _python_sources() -> tuple[str, ...]:
    """Modules of the standard library of the running Python."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    texts = (path.read_text(encoding="utf-8", errors="ignore") for path in sorted(folder.glob("*.py")))
    return tuple(text for text in texts if len(text) > 4000)


def code_document(rng: random.Random, *, end: str, shots: int) -> str:
    """A part of a Python file."""
    source = rng.choice(_python_sources())
    start = rng.randrange(len(source) - 2000)
    return source[source.find("\n", start) + 1 : start + 100 * shots] + end


DOCUMENTS = {
    "translation": translation_document,
    "monolingual": monolingual_document,
    "facts": facts_document,
    "code": code_document,
}


def documents(seed: str, *, end: str, shots: int) -> Iterator[str]:
    """Endless documents of all kinds in their shares; equal seeds give equal documents."""
    rng = random.Random(seed)  # noqa: S311 - text, not secrets
    while True:
        kind = rng.choices(list(SHARES), weights=list(SHARES.values()))[0]
        yield DOCUMENTS[kind](rng, end=end, shots=shots)


def build_tokenizer(n_documents: int = 60_000) -> PreTrainedTokenizerFast:
    """A byte-level BPE of `VOCABULARY` tokens. Each digit is a token; texts begin with the end token, as with XGLM."""
    tokenizer = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    source = documents("tokenizer", end="\n", shots=4)
    tokenizer.train_from_iterator((next(source) for _ in range(n_documents)), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{END} $A", pair=f"{END} $A {END} $B", special_tokens=[(END, SPECIAL_TOKENS.index(END))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=END, eos_token=END, pad_token=PAD, unk_token=UNKNOWN
    )


def build_model(seed: int) -> XGLMForCausalLM:
    """A small XGLM with random weights: 4 blocks, width 160."""
    torch.manual_seed(seed)
    config = XGLMConfig(
        vocab_size=VOCABULARY,
        max_position_embeddings=POSITIONS,
        d_model=160,
        ffn_dim=640,
        num_layers=4,
        attention_heads=5,
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        layerdrop=0.0,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=1,
        decoder_start_token_id=1,
    )
    return XGLMForCausalLM(config)


def batches(tokenizer: PreTrainedTokenizerFast, *, rows: int, seed: int) -> Iterator[Tensor]:
    """Endless batches of [rows, ROW + 1] int64 token ids. Each row begins with the end token and a new document."""
    source = documents(f"train:{seed}", end=END, shots=7)
    while True:
        encoded = tokenizer([next(source) for _ in range(rows)])["input_ids"]
        filled = np.zeros((rows, ROW + 1), dtype=np.int64)
        for row, first in enumerate(encoded):
            ids = list(first)
            while len(ids) < ROW + 1:
                ids += tokenizer(next(source), add_special_tokens=False)["input_ids"]
            filled[row] = ids[: ROW + 1]
        yield torch.from_numpy(filled)


def load_upcycled(n_experts: int, seed: int) -> PreTrainedModel:
    """The embedded model as a mixture of experts."""
    return upcycle(XGLMForCausalLM.from_pretrained(EMBEDDED, dtype=torch.float32), n_experts=n_experts, seed=seed)


def _optimizers(model: nn.Module, *, is_trained: bool) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for embeddings, norms and biases; AdamW alone for trained weights."""
    if is_trained:
        return [torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.0)]
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n and "lm_head" not in n]
    matrix_ids = {id(p) for p in matrices}
    other_parameters = [p for p in model.parameters() if id(p) not in matrix_ids]
    return [
        torch.optim.Muon(matrices, lr=2e-2, weight_decay=0.0, momentum=0.95),
        torch.optim.AdamW(other_parameters, lr=3e-3, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def _rate(progress: float) -> float:
    """Learning-rate factor: linear warm-up over 2 %, then a cosine down to 0."""
    return min(1.0, progress / 0.02) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


def _loss(model: nn.Module, tokens: Tensor, *, has_experts: bool) -> tuple[Tensor, Tensor]:
    """Return the loss of a batch, and what is minimised: with experts, also that of their balance."""
    options = {"output_router_logits": True} if has_experts else {}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = model(input_ids=tokens[:, :-1], use_cache=False, **options)
    loss = nn.functional.cross_entropy(outputs.logits.flatten(0, 1), tokens[:, 1:].flatten())
    return loss, loss + BALANCE * outputs.aux_loss if has_experts else loss


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    settings: TrainingSettings,
    *,
    out: Path,
    has_experts: bool = False,
) -> dict[str, object]:
    """Train for a wall-clock budget and return the course of the training; the learning rate follows the clock.

    Every `SNAPSHOT_STEPS` steps, the current weights are written to `out`.

    Args:
        has_experts: whether the model is a mixture of experts, whose weights are trained already.
    """
    optimizers = _optimizers(model, is_trained=has_experts)
    peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    started, step, history, recent = time.monotonic(), 0, [], []
    model.train()
    for tokens in batches(tokenizer, rows=settings.rows, seed=settings.seed):
        progress = (time.monotonic() - started) / (60 * settings.minutes)
        if progress >= 1:
            break
        for optimizer, rates in zip(optimizers, peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = peak * _rate(progress)
        loss, minimised = _loss(model, tokens, has_experts=has_experts)
        minimised.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        recent.append(loss.item())
        step += 1
        if step % REPORT_STEPS == 0:
            speed = step * settings.rows * ROW / (time.monotonic() - started)
            history.append({"step": step, "loss": sum(recent) / len(recent)})
            print(f"step {step} {100 * progress:.1f} % loss {history[-1]['loss']:.4f} {speed:.0f} tokens/s", flush=True)  # noqa: T201
            recent = []
        if step % SNAPSHOT_STEPS == 0:
            save(model, tokenizer, out)
    elapsed = time.monotonic() - started
    return {"steps": step, "tokens": step * settings.rows * ROW, "elapsed_s": round(elapsed), "history": history}


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Write a folder for `AutoModelForCausalLM`, with weights in float16."""
    copy = type(model)(model.config)
    copy.load_state_dict(model.state_dict())
    copy.half().save_pretrained(out)
    tokenizer.save_pretrained(out)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rows", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--experts", type=int, help="make a mixture of this number of experts from the embedded model")
    arguments = parser.parse_args()
    has_experts = arguments.experts is not None
    tokenizer = PreTrainedTokenizerFast.from_pretrained(EMBEDDED) if has_experts else build_tokenizer()
    model = load_upcycled(arguments.experts, arguments.seed) if has_experts else build_model(arguments.seed)
    n_parameters = sum(p.numel() for p in model.parameters())
    print(f"{n_parameters} parameters, vocabulary {len(tokenizer)}", flush=True)  # noqa: T201
    training = train(
        model,
        tokenizer,
        TrainingSettings(arguments.minutes, arguments.rows, arguments.seed),
        out=arguments.out,
        has_experts=has_experts,
    )
    save(model, tokenizer, arguments.out)
    training |= {
        "parameters": n_parameters,
        "shares": SHARES,
        "seed": arguments.seed,
        "minutes": arguments.minutes,
        "rows": arguments.rows,
        "experts": arguments.experts,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    (arguments.out / "training.json").write_text(json.dumps(training, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
