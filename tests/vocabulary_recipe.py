"""A recipe of variants with smaller vocabularies of the embedded model."""

from pathlib import Path
from typing import Any

from mlprune import demo

EMBEDDED = Path(demo.__file__).parent / "xglm-cldr-2m"


def vocabulary_recipe(*keep: dict[str, Any]) -> dict[str, Any]:
    """Perplexity and translation of kept and dropped languages."""
    return {
        "name": "vocabulary",
        "model": {"path": "model"},
        "corpus": {"kind": "cldr", "lines": 100},
        "variants": [{"name": f"v{number}", "structure": "vocabulary", "keep": one} for number, one in enumerate(keep)],
        "evaluations": [
            {"task": "perplexity", "path": "corpus", "languages": ["en", "ru"], "limit": 10},
            {"task": "translation", "path": "corpus", "pairs": ["sw-en"], "limit": 2, "shots": 1, "max_new_tokens": 4},
        ],
        "compute": {"batch_tokens": 512},
    }
