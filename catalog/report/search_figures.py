"""The figures about searches and sensitivity, in order; pages of stores without any do not have them."""

from catalog.report.drawing.exhibits import Exhibit
from catalog.report.panels.searches.fronts import front_panels
from catalog.report.panels.searches.trials import trial_panels
from catalog.report.panels.searches.verdicts import final_panels
from catalog.report.panels.sensitivity.agreement import agreement_matrices
from catalog.report.panels.sensitivity.influence import influence_panels
from catalog.report.panels.sensitivity.losses import loss_panels

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
