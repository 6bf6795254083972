"""Rows of `answered_questions.sql`."""

from typing import Any


def answered(difference: float, *, p_value: float = 0.2, **more: Any) -> dict[str, Any]:
    """One answer of a declared, primary question about gains outside English; single tests by default."""
    row: dict[str, Any] = {"question_id": "q", "base_model_id": "m", "base_model": "tiny", "name": "helps"}
    row |= {
        "is_declared": True,
        "declared_after": 0,
        "is_primary": True,
        "earlier_evaluation_id": None,
        "variants": "translation",
        "against": "dense",
        "differs_in": "",
        "title": "Does it help?",
        "place_words": "outside English",
        "variant_words": "translation",
        "against_words": "dense",
        "n_worse": 0,
        "sparsity": 0.5,
    }
    row |= {"task": "facts", "split": "test", "metric": "accuracy", "group_kind": "outside_english", "group_name": ""}
    row |= {"claim": "gain", "margin": None, "over": "each", "scale": "difference", "n_family": 1, "n_variants": 1}
    row |= {"label": "wanda fr-en 0.5", "difference": difference, "ci_low": difference - 0.01}
    row |= {"ci_high": difference + 0.02, "ci90_low": difference - 0.008, "ci90_high": difference + 0.018}
    row |= {"p_value": p_value, "p_corrected": p_value, "p_margin": None, "p_margin_corrected": None}
    row |= {"p_opposite_corrected": None, "smallest_significant": 0.012}
    row |= {"verdict": "not shown" if p_value >= 0.05 else "yes" if difference > 0 else "no", "verdict_reason": None}
    row |= {"arithmetic_noise": None, "place": 1, "ci_level": 0.95}
    row |= {"detectable_difference": 0.02, "n_items": 150, "n_clusters": 115, "n_languages": 5, "chance": 0.174}
    row |= {"conditional_on_one_draw": True, "seeds_differ": False, "score": "wanda", "intervention": None}
    return row | {"demonstration_label": "fr-en"} | more


def family(*answers: dict[str, Any]) -> list[dict[str, Any]]:
    """The answers as one family of tests, with p-values that are corrected already; higher differences are better."""
    order = sorted(range(len(answers)), key=lambda index: -answers[index]["difference"])
    return [row | {"n_family": len(answers), "place": 1 + order.index(index)} for index, row in enumerate(answers)]


def question(answer: str, **more: Any) -> dict[str, Any]:
    """The columns of `question_answers`, of a question with one test."""
    counts = {"n_answers": 1, "n_yes": 0, "n_no": 0, "n_not_shown": 0, "n_exploratory": 0, "n_not_askable": 0}
    return {**counts, "reason": None, "answer": answer, **more}
