"""Run exported models in llama.cpp: bytes, perplexity by language, CPU time and memory, relative to dense.

python tests/benchmarks/engines.py WORK TEXTS --converter convert_hf_to_gguf.py --model dense=FOLDER --model NAME=FOLDER

It needs the extra llama. The first model is the baseline; every other one is an export of it, such as `mlprune export
--smaller`. The converter is that of llama.cpp, not part of this project. TEXTS is a folder with a file LANGUAGE.txt of
one sentence a line for each language: the first lines are read for the importance matrix of each model and language,
the last ones are scored, each alone. Every model becomes a file of 16 bits, and files of each of `--kinds` without and
with each matrix. WORK keeps the files and scores: the same command continues with what is missing.

Every file is scored and timed in a fresh process with one thread. Times are CPU seconds of that process, and memory its
peak resident memory, Python (and pages of the mapped file) included; the files alternate in `--rounds` rounds. A ratio
of perplexities has a paired 95 % t interval over sentences, and other ratios the range over rounds. Perplexities are
per token of the baseline's tokenizer, also where an export has fewer tokens.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from command_line import write_figures
from conditions import machine, moment
from imatrix import MAX_TOKENS, Texts, scored_texts, sizes_of, write_matrices

from mlprune.numeric.statistics.bootstrap import ratio_t_interval
from tests.llama_cpp import importances, quantise

N_PROMPT, N_NEW = 256, 32
"""Tokens that are timed: of a prompt, and one by one after it."""
TIMED = ("prompt_s", "generation_s", "peak_bytes")


def prepare(work: Path, source: Path, options: argparse.Namespace) -> dict[str, Path]:
    """Write the texts and matrices of a model, and all its GGUF files; returns kind and matrix -> file.

    Args:
        work: folder of this model.
        source: model folder.
    """
    for part, of_part in (("corpus", slice(options.calibration)), ("scored", slice(-options.scored, None))):
        (work / part).mkdir(parents=True, exist_ok=True)
        for language in options.languages:
            lines = (options.texts / f"{language}.txt").read_text("utf-8").splitlines()
            (work / part / f"{language}.txt").write_text("\n".join(lines[of_part]) + "\n", encoding="utf-8")
    if not (work / "model").exists():
        (work / "model").symlink_to(source.resolve(), target_is_directory=True)
    matrices = {language: work / f"{language}.imatrix.gguf" for language in options.languages}
    if options.kinds and not all(path.exists() for path in matrices.values()):
        write_matrices(work, options.languages, n_lines=options.calibration, max_tokens=MAX_TOKENS, dtype="bfloat16")
    files = {"F16": work / "F16.gguf"}
    if not files["F16"].exists():
        converter = [sys.executable, str(options.converter), str(source), "--outtype", "f16", "--outfile"]
        subprocess.run([*converter, str(files["F16"])], check=True, capture_output=True)
    for kind in options.kinds:
        for name, matrix in {kind: None, **{f"{kind} {name}": path for name, path in matrices.items()}}.items():
            files[name] = work / f"{name.replace(' ', '.')}.gguf"
            if not files[name].exists():
                quantise(files["F16"], files[name], kind, importance=importances(matrix) if matrix else None)
    return files


def run_child(path: Path, **asked: Any) -> dict[str, Any]:
    """Score and time a file in a process of its own."""
    given = {"texts": {}, "prompt": [], "continuation": []} | asked
    command = [sys.executable, str(Path(__file__).with_name("llama_scores.py")), str(path)]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def scores_of(path: Path, texts: Texts) -> dict[str, list[float]]:
    """Return -log p of every sentence by language; they are kept in a file next to the model."""
    kept = path.with_suffix(".json")
    if not kept.exists():
        kept.write_text(json.dumps(run_child(path, texts=texts)["nlls"]), encoding="utf-8")
    found: dict[str, list[float]] = json.loads(kept.read_text("utf-8"))
    print(path, {language: round(sum(nlls)) for language, nlls in found.items()}, flush=True)
    return found


def time_files(files: Sequence[Path], prompts: Sequence[list[int]], n_rounds: int) -> list[list[dict[str, Any]]]:
    """Time all files in turn, several times; returns the measurements of each round in the order of the files."""
    rounds = []
    for _ in range(n_rounds):
        rounds.append(
            [
                run_child(path, prompt=prompt[:N_PROMPT], continuation=prompt[N_PROMPT : N_PROMPT + N_NEW])
                for path, prompt in zip(files, prompts, strict=True)
            ]
        )
        print("a round is timed", flush=True)
    return rounds


def ratios(scores: Sequence[Mapping[str, Sequence[float]]], texts: Texts) -> Iterator[dict[str, dict[str, float]]]:
    """Return by file and language the perplexity relative to the first file, with an interval over sentences."""
    for of_file in scores:
        found = {}
        for language, of_language in texts.items():
            sizes = sizes_of(of_language)
            change = np.array(of_file[language]) - np.array(scores[0][language])
            interval = ratio_t_interval(change, sizes)
            ends = np.exp([change.sum() / sizes.sum(), interval.low, interval.high])
            found[language] = dict(zip(("ratio", "low", "high"), map(float, ends), strict=True))
        yield found


def rows_of(names: Sequence[str], found: Mapping[str, Any], texts: Texts) -> list[dict[str, Any]]:
    """Return a row of ratios to the first file for each file.

    Args:
        names: of the files.
        found: `n_bytes` and `scores` by file, and `rounds` of measurements by file.
        texts: token ids of the baseline.
    """
    rows = []
    for place, perplexity in enumerate(ratios(found["scores"], texts)):
        row: dict[str, Any] = {"name": names[place], "perplexity": perplexity}
        row["bytes"] = found["n_bytes"][place] / found["n_bytes"][0]
        for key in TIMED:
            values = [of_round[place][key] / of_round[0][key] for of_round in found["rounds"]]
            row[key] = {"ratio": median(values), "low": min(values), "high": max(values)}
        rows.append(row)
    return rows


def print_rows(rows: Sequence[Mapping[str, Any]], languages: Sequence[str]) -> None:
    """Print a Markdown table."""
    heads = ["file", "bytes", *(f"perplexity {language}" for language in languages), "prompt", "generation", "memory"]
    print(f"\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for row in rows:
        cells = [row["perplexity"][language] for language in languages] + [row[key] for key in TIMED]
        texts = [f"{cell['ratio']:.2f} ({cell['low']:.2f} to {cell['high']:.2f})" for cell in cells]
        print(f"| {row['name']} | {row['bytes']:.2f} | {' | '.join(texts)} |")


def measure(models: Mapping[str, Path], options: argparse.Namespace) -> tuple[list[str], dict[str, Any], Texts]:
    """Make, score and time the files of all models; returns names, what `rows_of` reads, and the baseline's tokens."""
    names, files, texts, prompts = [], [], [], []
    for model, source in models.items():
        made = prepare(options.work / model, source, options)
        of_model = scored_texts(options.work / model, options.languages, n_lines=options.scored)
        prompt = [token for of_language in of_model.values() for text in of_language for token in text]
        for name, path in made.items():
            names.append(f"{model} {name}")
            files.append(path)
            texts.append(of_model)
            prompts.append(prompt)
    scores = [scores_of(path, of_model) for path, of_model in zip(files, texts, strict=True)]
    rounds = time_files(files, prompts, options.rounds)
    return names, {"n_bytes": [path.stat().st_size for path in files], "scores": scores, "rounds": rounds}, texts[0]


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, help="write all figures and conditions to this file as JSON")
    parser.add_argument("work", type=Path, help="folder of the files that are made")
    parser.add_argument("texts", type=Path, help="folder with LANGUAGE.txt")
    parser.add_argument("--converter", type=Path, required=True, help="convert_hf_to_gguf.py of llama.cpp")
    parser.add_argument("--model", action="append", required=True, help="NAME=FOLDER; the first one is the baseline")
    parser.add_argument("--languages", nargs="+", default=["en", "sw"])
    parser.add_argument("--kinds", nargs="*", default=["Q4_0"], help="types of llama.cpp, such as Q4_0 and Q4_K_M")
    parser.add_argument("--calibration", type=int, default=240, help="first lines, read for the matrices")
    parser.add_argument("--scored", type=int, default=250, help="last lines, scored")
    parser.add_argument("--rounds", type=int, default=5, help="how often the files are timed")
    options = parser.parse_args()
    began = moment()
    models = {name: Path(folder) for name, folder in (given.split("=", 1) for given in options.model)}
    names, found, texts = measure(models, options)
    rows = rows_of(names, found, texts)
    print_rows(rows, options.languages)
    write_figures(options.out, rows=rows, found=found, machine=machine(), began=began, ended=moment())


if __name__ == "__main__":
    main()
