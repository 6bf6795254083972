"""Scores of vLLM for `packed_engines.py`, which runs this file with the Python of an environment that has vLLM.

python vllm_scores.py MODEL DTYPE N_NEW < PROMPTS.json > SCORES.json

PROMPTS.json is a list of lists of token ids. SCORES.json is a list of {"log_probs": of all tokens but the first, given
those before; "new": the ids of N_NEW greedy tokens}.
"""

import json
import sys

from vllm import LLM, SamplingParams


def main() -> None:
    model, dtype, n_new = sys.argv[1:]
    prompts = json.load(sys.stdin)
    llm = LLM(model=model, dtype=dtype, enforce_eager=True, max_model_len=512)
    wanted = SamplingParams(temperature=0.0, max_tokens=int(n_new), prompt_logprobs=0)
    outputs = llm.generate([{"prompt_token_ids": ids} for ids in prompts], wanted)
    scores = []
    for ids, output in zip(prompts, outputs, strict=True):
        given = zip(ids[1:], output.prompt_logprobs[1:], strict=True)
        log_probs = [found[token].logprob for token, found in given]
        scores.append({"log_probs": log_probs, "new": list(output.outputs[0].token_ids)})
    sys.stdout.write("\n" + json.dumps(scores))


if __name__ == "__main__":
    main()
