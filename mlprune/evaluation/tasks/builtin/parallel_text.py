"""Tasks that read parallel text: few-shot translation, and perplexity of sentences."""

from mlprune.evaluation.tasks.task import Task
from mlprune.vocabulary import TASK_TRAITS

TRANSLATION = Task(
    "translation", ("bleu", "chrf", "exact_match"), traits=TASK_TRAITS["translation"], prompt_language="en"
)
PERPLEXITY = Task("perplexity", ("perplexity",), traits=TASK_TRAITS["perplexity"])
