"""The figures about languages, categories of items and seeds, in order."""

from catalog.report.drawing.exhibits import Exhibit
from catalog.report.panels.answers.categories import category_panels
from catalog.report.panels.languages.breaking import breaking_tables
from catalog.report.panels.languages.source_languages import source_heat_maps
from catalog.report.panels.seeds import seed_panels

RESULT_FIGURES: tuple[Exhibit, ...] = (
    Exhibit(
        anchor="sources",
        title="Which source language helps which language?",
        explanation="One table per method and sparsity, with a row per source of the demonstrations and a column per "
        "evaluated language. A cell is the paired difference of accuracy to dense, as the mean over seeds if there "
        "are several. A star means p < 0.05 after Holm's correction over the family of the comparison, for every "
        "seed.",
        query="sources_by_language",
        empty_text="The store has no accuracy of variants whose demonstrations have a language. Sets of kind "
        "translation or monolingual under demonstrations, read by variants, and an entry under evaluations fill this "
        "figure.",
        draw=source_heat_maps,
    ),
    Exhibit(
        anchor="breaking",
        title="At which sparsity does each language break?",
        explanation="A cell says between which of the evaluated sparsities the accuracy falls significantly below "
        "dense (p < 0.05 after Holm's correction): 0.2–0.3 means not at 0.2 and below, but at 0.3. ≤ 0.1 is below at "
        "the smallest sparsity, > 0.6 is not below at the largest. Not below does not mean equal: the note says "
        "what could have been found. † marks methods that are not below at a larger sparsity.",
        query="breaking_sparsity",
        empty_text="The store has no test of a pruned variant against the dense model. Variants with several "
        "sparsities and an entry under evaluations fill this figure.",
        draw=breaking_tables,
    ),
    Exhibit(
        anchor="categories",
        title="Accuracy by category of items",
        explanation="One panel per language with a row per category, such as a relation or a genre, and its number of "
        "items. Grey is the dense model, blue the variant of the heading: the pruned variant that is best on dev "
        "outside English, then the one of the same method with the largest sparsity. Lines are Wilson's 95 % "
        "intervals of one category, without correction for their number. On the right: items gained and lost.",
        query="category_answers",
        empty_text="The store has no pruned variant whose items have categories. Task facts has relations; a task "
        "template names them with the key category.",
        draw=category_panels,
        runs="example_variants",
    ),
    Exhibit(
        anchor="seeds",
        title="How much do results depend on the seed?",
        explanation="Variants that differ in nothing but a seed, with one row per method and sparsity. Left: their "
        "mean difference of accuracy to dense, with a 95 % interval for other seeds and other items. Right: the "
        "standard deviation of a single variant's difference that is due to its seed, and to the items. Everything "
        "else on this page that has one seed is conditional on one draw of demonstrations: its intervals cover other "
        "items only.",
        query="seed_components",
        empty_text="No variants differ only in a seed, so every interval on this page is conditional on one draw of "
        "demonstrations: it covers other items, not other demonstrations. seed: [0, 1, 2, 3, 4] in an entry of "
        "demonstrations fills this figure.",
        draw=seed_panels,
    ),
)
