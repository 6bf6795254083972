"""The examples of the report as text, after the figures."""

from catalog.report.drawing.exhibits import Exhibit
from catalog.report.panels.answers.flipped import flipped_examples

EXAMPLES: tuple[Exhibit, ...] = (
    Exhibit(
        anchor="flipped",
        title="Which answers change?",
        explanation="Items that one of two variants answers right and the dense model wrong (gained), or the reverse "
        "(lost): the pruned variant that is best on dev outside English, and the one of the same method with the "
        "largest sparsity. Each list has at most 10 gained and 10 lost items of a language, those whose margin changes "
        "most, with the question filled with its right answer, and the same question in English. The margin is the "
        "score of the right candidate minus that of the best other one, before and after pruning. They are "
        "illustrations, not tests. For another variant: mlprune query answers_flipped --param variant_id=ID.",
        query="flipped_answers",
        empty_text="No answer of the shown variants differs from dense in its rightness, or the store has no pruned "
        "variant with predictions. Variants and an entry under evaluations with task: facts fill this list.",
        draw=flipped_examples,
        runs="example_variants",
    ),
)
