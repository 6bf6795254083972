"""The examples of the report as text, after the figures."""

from catalog.report.drawing.exhibits import Exhibit
from catalog.report.panels.answers.flipped import flipped_examples
from catalog.report.panels.answers.generations import generation_tables

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
    Exhibit(
        anchor="generations",
        title="What do the models write?",
        explanation="Source, reference and the outputs of the dense model and of two variants side by side: the pruned "
        "variant that is best on dev, and the one of the same method with the largest sparsity. Each list has at most "
        "8 items of a language pair, drawn at random by a hash of their ids, and the 4 others whose first output moved "
        "furthest from the reference, in edits per character. The drawn items show what outputs are like; the others "
        "show the worst that happened. They are illustrations, not tests.",
        query="generations",
        empty_text="No translation was evaluated, or the store has no predictions. An entry under evaluations with "
        "task: translation and pairs fills this list.",
        draw=generation_tables,
        runs="generation_variants",
        is_optional=True,
    ),
)
