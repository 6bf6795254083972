"""Scores of llama.cpp for `engines.py`, which runs this file in a fresh process for each GGUF file.

python llama_scores.py FILE.gguf < ASKED.json > FOUND.json

ASKED.json has "texts" (language -> lists of token ids), and "prompt" and "continuation" (token ids) to be timed, or an
empty prompt. FOUND.json has "nlls" (language -> -log p of each text), "prompt_s" and "generation_s" (CPU seconds per
token, one thread), and "peak_bytes" (peak resident memory of this process, Python included).
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from process import memory_bytes

from tests.llama_cpp import text_nlls, token_seconds


def main() -> None:
    path, asked = Path(sys.argv[1]), json.load(sys.stdin)
    found: dict[str, object] = {}
    if asked["prompt"]:
        found["prompt_s"], found["generation_s"] = token_seconds(path, asked["prompt"], asked["continuation"])
        found["peak_bytes"] = memory_bytes("VmHWM")  # before texts are scored, which needs logits of every token
    found["nlls"] = {language: text_nlls(path, texts) for language, texts in asked["texts"].items()}
    sys.stdout.write("\n" + json.dumps(found))


if __name__ == "__main__":
    main()
