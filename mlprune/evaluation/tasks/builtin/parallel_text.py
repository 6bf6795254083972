"""Tasks that read parallel text: few-shot translation, and perplexity of sentences."""

from mlprune.evaluation.tasks.task import Task


def translation() -> Task:
    """Few-shot translation."""
    return Task("translation", ("bleu", "chrf", "exact_match"), prompt_language="en")


def perplexity() -> Task:
    """Perplexity of sentences."""
    return Task("perplexity", ("perplexity",))
