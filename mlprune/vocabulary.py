"""The project's words as types: names of scores, structures, tasks, steps, and language tags.

What each word means is in `docs/words.md`. Nothing here computes.
"""

from typing import Literal

ScoreName = Literal["wanda", "contrast", "magnitude", "random", "ria", "sparsegpt"]
RemovesName = Literal["lowest", "highest"]
PropagationName = Literal["dense", "sequential"]
ProfileName = Literal["corrected", "paper"]
RoundingName = Literal["decimal", "binary"]
TokenScope = Literal["all", "source", "target", "last_shot"]
AggregationName = Literal["mean", "max", "variance", "pooled"]
CombinationName = Literal["intersection", "union", "difference", "symmetric_difference"]
InterventionName = Literal["lrp2", "self_translate"]
DemonstrationKind = Literal["translation", "monolingual", "code", "mixed", "text", "task"]
TaskName = Literal[
    "facts",
    "translation",
    "perplexity",
    "xnli",
    "marc",
    "marc_five",
    "xcopa",
    "paws_x",
    "xstory_cloze",
    "xwinograd",
    "belebele",
]
RuleName = Literal["mean", "candidate_mean", "candidate_sum", "pmi"]
PromptName = Literal["en", "native"]
SplitName = Literal["dev", "test"]
DtypeName = Literal["float32", "bfloat16", "float16"]

HUB = "hub:"
"""What the path of a data set of a hub begins with: `hub:facebook/xnli`, or `hub:facebook/xnli@revision`."""

SCORES_THAT_READ_STATISTICS: tuple[ScoreName, ...] = ("wanda", "contrast", "ria", "sparsegpt")
