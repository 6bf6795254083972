"""Tasks that read parallel text: few-shot translation, and perplexity of sentences."""

from mlprune.evaluation.tasks.task import Task

TRANSLATION = Task("translation", ("bleu", "chrf", "exact_match"), prompt_language="en")
PERPLEXITY = Task("perplexity", ("perplexity",))
