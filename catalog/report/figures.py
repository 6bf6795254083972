"""The figures of the report, in order."""

from catalog.report.exhibits import Exhibit
from catalog.report.panels.answers import category_panels
from catalog.report.panels.cost import cost_bars
from catalog.report.panels.differences import change_heat_maps, difference_curves, seed_panels
from catalog.report.panels.features import feature_heat_maps, magnitude_panels
from catalog.report.panels.forest import forest_plots
from catalog.report.panels.languages import breaking_tables, pareto_plots, source_heat_maps
from catalog.report.panels.layers import layer_heat_maps, mask_profiles, profile_panels, schedule_panels
from catalog.report.panels.rank_consistency import consistency_intervals, consistency_matrices
from catalog.report.panels.searches import final_panels, front_panels, trial_panels
from catalog.report.panels.sensitivity import agreement_matrices, influence_panels, loss_panels

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

_NO_SEARCH = "The store has no search. An entry under searches fills this figure."
_NO_SENSITIVITY = "The store has no sensitivity. An entry under sensitivity fills this figure."

SEARCH_FIGURES: tuple[Exhibit, ...] = (
    Exhibit(
        anchor="search-final",
        title="What did the searches find?",
        explanation="The objective of the winner and of what it is compared with, on a split that chose nothing. The "
        "sentence follows from the tests of the recipe's questions about the first measure of the objective.",
        query="search_final",
        folder="queries",
        parameters={"search": None},
        empty_text=_NO_SEARCH,
        draw=final_panels,
        is_optional=True,
    ),
    Exhibit(
        anchor="search-trials",
        title="Trials of the searches",
        explanation="Left: each trial at the number of items that had been scored by then, and the best trial of each "
        "rung so far. Values of different rungs are based on different items. Right: one line per trial over the axes "
        "and units of the space. All values are of dev.",
        query="search_trials",
        empty_text=_NO_SEARCH,
        draw=trial_panels,
        is_optional=True,
    ),
    Exhibit(
        anchor="search-front",
        title="English against the other languages in the trials",
        explanation="One point per variant on the items of the highest rung of the search. Better is up and to the "
        "right. A trial is on the front if no variant is at least as good in both and better in one. All values are of "
        "dev, so the front is on average too good.",
        query="search_fronts",
        empty_text=_NO_SEARCH,
        draw=front_panels,
        is_optional=True,
    ),
    Exhibit(
        anchor="sensitivity",
        title="What does each language lose without a part?",
        explanation="Each part (block, layer kind, or layer of a block) is pruned alone. A cell is the loss against "
        "dense: positive is worse; for perplexity, the logarithm of the ratio. Then the most sensitive parts of each "
        "language or group with 95 % intervals; blue ones are significant after correction over the parts.",
        query="sensitivity_losses",
        empty_text=_NO_SENSITIVITY,
        draw=loss_panels,
        is_optional=True,
    ),
    Exhibit(
        anchor="sensitivity-agreement",
        title="Do the same parts matter to all languages?",
        explanation="Spearman's correlation of two languages' losses over the parts, without the effect of sampling "
        "error on the ranks, and its 95 % interval.",
        query="sensitivity_agreement",
        empty_text=_NO_SENSITIVITY,
        draw=agreement_matrices,
        is_optional=True,
    ),
    Exhibit(
        anchor="influence",
        title="How much does each block change the states?",
        explanation="Block influence of the dense model: the mean over tokens of 1 minus the cosine between the hidden "
        "states before and after a block, with 95 % intervals over demonstrations.",
        query="influence_by_language",
        folder="queries",
        parameters={"language": None},
        empty_text=_NO_SENSITIVITY,
        draw=influence_panels,
        is_optional=True,
    ),
)

SEARCH_TABLES: tuple[Exhibit, ...] = (
    Exhibit(
        anchor="search-table",
        title="Winners of searches and what they are compared with",
        explanation="Values of the objective on the split of the report, with 95 % intervals, and the winner minus the "
        "variant. The test is that of the recipe's question, two-sided; p is corrected over the comparators by Holm's "
        "method. Optimism is the gain over dense on dev minus that on the split of the report.",
        query="search_final",
        folder="queries",
        parameters={"search": None},
        empty_text=_NO_SEARCH,
        columns={"name": "search", "role": "role", "label": "variant", "test_value": "objective (95 %)"}
        | {"test_dense_value": "dense", "difference": "winner minus this (95 %)"}
        | {"tested_difference": "tested difference (95 %)", "p_value": "p", "p_holm": "p, Holm", "verdict": "verdict"}
        | {"dev_value": "on dev", "optimism": "optimism (95 %)"},
        intervals={
            "test_value": ("test_ci_low", "test_ci_high"),
            "difference": ("ci_low", "ci_high"),
            "tested_difference": ("tested_ci_low", "tested_ci_high"),
            "optimism": ("optimism_ci_low", "optimism_ci_high"),
        },
        is_optional=True,
    ),
    Exhibit(
        anchor="search-saved",
        title="Evaluation saved by searches",
        explanation="Items x languages scored for the trials, against scoring all variants of the search on all items.",
        query="search_evaluation_saved",
        folder="queries",
        empty_text=_NO_SEARCH,
        columns={"name": "search", "method": "method", "n_trials": "trials", "n_variants": "variants"}
        | {"n_items": "items scored", "n_items_if_all_were_scored": "without the method", "saved_share": "saved"},
        is_optional=True,
    ),
)


FIGURES: tuple[Exhibit, ...] = (
    Exhibit(
        anchor="forest",
        title="Paired differences from the dense model",
        explanation="One panel per sparsity, with the languages in rows, groups of languages on top. Each mark is one "
        "variant with its 95% interval, named at the right end of the first row. Strong marks are significant "
        "(p < 0.05 after Holm's correction over the family), pale ones are not. Random pruning does not set the scale; "
        "triangles at the edge are outside of it. Higher is better for accuracy and chrF, lower for the ratio of "
        "perplexities.",
        query="forest",
        empty_text="The store has no comparison with the dense model. Pruned variants are compared if the recipe has "
        "variants and an entry under evaluations, such as task: facts with split: test.",
        draw=forest_plots,
    ),
    Exhibit(
        anchor="curves",
        title="Difference from dense by sparsity",
        explanation="One panel per language, one line per method; scales differ between panels. The dark line at 0 is "
        "the dense model, whose value and chance level are in the title. Colour and marker show the score and the "
        "demonstrations that it read; dashed lines are dense propagation, all others solid. A line is the mean over "
        "the variants of a method and has no interval; the 95% interval of a single variant is pale. Choose a pair "
        "above to see its own lines. Higher is better for accuracy and chrF, lower for the ratio of perplexities.",
        query="difference_by_sparsity",
        empty_text="The store has no comparison with the dense model. Pruned variants are compared if the recipe has "
        "variants and an entry under evaluations, such as task: facts with split: test.",
        draw=difference_curves,
    ),
    Exhibit(
        anchor="change",
        title="Change of accuracy from the dense model",
        explanation="One table per method, with a row per language and a column per sparsity. Purple is more accurate "
        "than dense, orange less; 0.10 is ten points. The largest change of the methods compared, without random "
        "pruning, sets the scale. A cell is the mean over its variants. In the rows of groups, ** means that the "
        "pooled tests of all of them are significant (p < 0.05 after Holm's correction over the variants), * that some "
        "are. Cells of single languages are not tested.",
        query="change_to_dense",
        empty_text="The store has no comparison of accuracy with the dense model. Pruned variants are compared if "
        "the recipe has both variants and an entry under evaluations.",
        draw=change_heat_maps,
    ),
    *RESULT_FIGURES,
    Exhibit(
        anchor="pareto",
        title="English against the other languages",
        explanation="One point per variant, on test: the change of accuracy in English to the right, of the mean of "
        "the other languages upwards. The star is the dense model; points above and right of the dotted "
        "lines are better in both. Large points are on the Pareto front of dev: there, no candidate was "
        "better in one without being worse in the other. They have 95 % intervals, their sparsity, and the "
        "share of resamples of dev in which they are on the front. On test they need not be the best.",
        query="pareto",
        empty_text="No variant was evaluated on test in English and another language. An entry under evaluations with "
        "split: test and languages such as [en, fr] fills this figure.",
        draw=pareto_plots,
    ),
    Exhibit(
        anchor="rank-consistency",
        title="Does the model rank answers as it does in English?",
        explanation="RankC compares how a language and English rank the candidates of the same items; 1 means equal "
        "rankings, the dashed line is the RankC of unrelated rankings. Lines are 95 % intervals. The second panel has "
        "the paired difference to dense on the same items. Grey is the dense "
        "model, blue the variant that was best for the language on dev; without blue, the dense model was. RankC rises "
        "with accuracy: languages that answer well agree.",
        query="rank_consistency",
        empty_text="The store has no rank consistency with English. An entry under evaluations whose items have the "
        "same ids in English and other languages, such as task: facts with languages: [en, fr], fills "
        "this figure.",
        draw=consistency_intervals,
    ),
    Exhibit(
        anchor="rank-matrices",
        title="Between which languages are the answers alike?",
        explanation="RankC of each pair of languages for the dense model, and how it changes in each variant that was "
        "best for some language on dev.",
        query="rank_matrices",
        empty_text="The store has no rank consistency. An entry under evaluations whose items have the same ids in "
        "several languages, such as task: facts with languages: [en, fr], fills this figure.",
        draw=consistency_matrices,
    ),
    Exhibit(
        anchor="overlaps",
        title="Are features that are large on one text small on another?",
        explanation="One table per depth. A cell is the fraction of the largest features on set A (rows) that are "
        "among the smallest on set B (columns). 0 says only that no feature is at opposite ends, not that both sets "
        "have the same large features: for that, further tables have the fraction of the largest features of A that "
        "are also among the largest of B, and its value for unrelated sets. A pair such as fr-en is a set of "
        "translation demonstrations, a single language a monolingual one. Choose a pair above to see only its rows.",
        query="feature_overlaps",
        empty_text="The store has no feature overlaps. The recipe needs two or more sets of kind translation or "
        "monolingual under demonstrations.",
        draw=feature_heat_maps,
    ),
    Exhibit(
        anchor="magnitudes",
        title="The largest features after every block",
        explanation="One panel per demonstration set. Each dot is one of the 20 largest features of the dense "
        "model's hidden state at a depth. Features that are large most often, over all depths and sets, "
        "have a colour and a line of their own, which is interrupted where they are not among the 20. A "
        "colour is the same feature in every panel.",
        query="largest_features",
        empty_text="The store has no feature magnitudes. A set under demonstrations that is read by a variant with "
        "dense propagation or by a feature overlap fills this figure.",
        draw=magnitude_panels,
    ),
    Exhibit(
        anchor="masks",
        title="Do demonstration sets remove the same weights?",
        explanation="One table per method and sparsity, with a row per block and a column per layer. The Jaccard "
        "index of two sets of removed weights is corrected for chance, (J - chance) / (1 - chance), and is the mean "
        "over the pairs of variants that differ only in their demonstration sets: 0 means unrelated masks, 1 equal "
        "ones. The data name the least alike pair of each cell; the query mask_overlap_of_pairs has every pair.",
        query="mask_overlaps",
        empty_text="The store has no comparison of masks that differ only in their demonstration sets. Two "
        "demonstrations in one entry of variants fill this figure.",
        draw=mask_profiles,
    ),
    Exhibit(
        anchor="layers",
        title="Removed weights by layer",
        explanation="One table per method at its largest sparsity, with a row per block and a column per layer. A cell "
        "is the fraction of the layer's weights that is removed, as the mean over the variants of the method. "
        "The most uneven methods come first; methods that remove the same fraction everywhere are left out.",
        query="layer_profiles",
        empty_text="All variants remove the same fraction of every layer.",
        draw=layer_heat_maps,
        is_optional=True,
    ),
    Exhibit(
        anchor="profiles",
        title="Published choices and corrected choices",
        explanation="Each table compares two variants that differ only in their profile. The corrected profile "
        "counts real tokens and draws sentences at random. The paper profile counts padding too, takes "
        "the sentences in order, skips every fifth, and rounds as the published code does. A cell is the "
        "fraction of a layer's mask entries (kept or removed) that differ; 0 means equal masks. The "
        "larger it is, the more these choices can change a result. Further tables show how much the values of a "
        "variant change if it is evaluated as published (division by the number of all tokens, 1,000 examples, RankC "
        "by ascending score).",
        query="profile_differences",
        empty_text="No two variants or evaluations differ only in their profile. A variant or an evaluation with "
        "profile: [corrected, paper] creates them.",
        draw=profile_panels,
        folder="queries",
        parameters={"variant_id": None},
        is_optional=True,
    ),
    Exhibit(
        anchor="schedules",
        title="Removed weights by block",
        explanation="One line per variant whose sparsity varies over blocks, with the fraction of each block's "
        "weights that is removed; dashed lines are dense propagation. Schedule owl removes less from "
        "blocks with more outliers among their scores, dlp less from blocks with lower scores, alpha_pruning "
        "less from blocks with lower exponents; further panels show these values of the blocks.",
        query="layer_schedule",
        empty_text="All variants have the same sparsity everywhere. A variant with schedule: owl, or a given one, "
        "fills this figure.",
        draw=schedule_panels,
        folder="queries",
        parameters={"variant_id": None, "schedule": None, "with_uniform": False},
        is_optional=True,
    ),
    *SEARCH_FIGURES,
    Exhibit(
        anchor="cost",
        title="Cost",
        explanation="One row of bars per run, with the number of jobs of each step, and of tries if some failed or "
        "were lost. Total seconds of its jobs; median seconds of a job, and mean of the first job of each worker, "
        "which includes warm-up such as loading the model; largest memory of one job; tokens per second, warm-up "
        "included, if the step runs a model.",
        query="cost_by_step",
        empty_text="The store has no finished jobs. Every run records its jobs.",
        draw=cost_bars,
    ),
)
