"""Output of lm-evaluation-harness for tests, laid out as version 0.4.13 writes it with `--log_samples`."""

import json
from pathlib import Path
from typing import Any

TIME = "2026-11-26T18-00-00.123456"
ACCURACIES = (1, 1, 0, 1, 0, 1, 1, 0)
RESULTS: dict[str, Any] = {
    "results": {
        "xnli": {"alias": "xnli", "acc,none": 0.6, "acc_stderr,none": "N/A"},
        "xnli_fr": {
            "alias": " - xnli_fr",
            "acc,none": 0.625,
            "acc_stderr,none": 0.18,
            "acc_norm,none": 0.5,
            "acc_norm_stderr,none": "N/A",
        },
        "wikitext": {"alias": "wikitext", "word_perplexity,none": 23.5, "word_perplexity_stderr,none": "N/A"},
    },
    "groups": {"xnli": {"alias": "xnli", "acc,none": 0.6}},
    "group_subtasks": {"xnli": ["xnli_fr"], "xnli_fr": [], "wikitext": []},
    "configs": {"xnli_fr": {"task": "xnli_fr", "dataset_path": "facebook/xnli", "num_fewshot": 2}},
    "versions": {"xnli_fr": 1.0, "wikitext": 2.0},
    "n-shot": {"xnli_fr": 2, "wikitext": 0},
    "higher_is_better": {"xnli_fr": {"acc": True, "acc_norm": True}, "wikitext": {"word_perplexity": False}},
    "n-samples": {"xnli_fr": {"original": 2490, "effective": 8}, "wikitext": {"original": 62, "effective": 8}},
    "config": {"model": "hf", "model_args": "pretrained=exported/,dtype=float32", "limit": 8.0, "model_sha": "ab12"},
    "git_hash": None,
    "date": 1795716000.0,
    "transformers_version": "5.0.0",
    "lm_eval_version": "0.4.13",
    "task_hashes": {"xnli_fr": "c0ffee"},
    "model_source": "hf",
    "model_name": "exported/",
}


def write_output(folder: Path) -> Path:
    """Write results and samples to a folder, and return the file with the results."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = [
        {
            "doc_id": number,
            "doc": {"premise": f"p{number}", "label": number % 3},
            "target": str(number % 3),
            "arguments": {},
            "resps": [[["-1.5", "False"]]],
            "filtered_resps": [["-1.5", "False"]],
            "filter": "none",
            "metrics": ["acc", "acc_norm"],
            "doc_hash": "d",
            "prompt_hash": "p",
            "target_hash": "t",
            "acc": float(accuracy),
            "acc_norm": 1.0,
        }
        for number, accuracy in enumerate(ACCURACIES)
    ]
    lines = "".join(json.dumps(sample) + "\n" for sample in samples)
    (folder / f"samples_xnli_fr_{TIME}.jsonl").write_text(lines, encoding="utf-8")
    path = folder / f"results_{TIME}.json"
    path.write_text(json.dumps(RESULTS, indent=2), encoding="utf-8")
    return path
