"""The figures of the report, in order: a literal list of exhibits."""

from catalog.report.drawing.exhibits import Exhibit
from catalog.report.panels.change import change_heat_maps
from catalog.report.panels.cost import cost_bars
from catalog.report.panels.curves import quality_curves
from catalog.report.panels.layers import layer_heat_maps, profile_heat_maps
from catalog.report.panels.magnitudes import magnitude_panels
from catalog.report.panels.overlaps import feature_heat_maps, mask_heat_maps
from catalog.report.panels.pareto import pareto_plots
from catalog.report.panels.rank_consistency import consistency_bars, consistency_matrices
from catalog.report.panels.schedules import schedule_panels

FIGURES: tuple[Exhibit, ...] = (
    Exhibit(
        anchor="curves",
        title="Quality against sparsity",
        reading="One panel a language, one line a method: colour and marker say the score and the demonstrations it "
        "read; dashed lines are dense propagation, all others solid. The dark level is the dense model, the grey "
        "band its 95% interval. A point is the mean over the variants of that method; its pale band reaches from the "
        "lowest to the highest end of their intervals. Of accuracy and chrF higher is better, of perplexity lower. "
        "Choose a pair above to see its own lines instead of the means.",
        query="quality_by_sparsity",
        empty="No accuracy is in the store. An entry under evaluations in the recipe, such as task: facts with split: "
        "test, fills this figure.",
        draw=quality_curves,
    ),
    Exhibit(
        anchor="change",
        title="Change of accuracy to the dense model",
        reading="One table a method, languages down, sparsities across. Purple is more accurate than dense, orange "
        "less; 0.10 is ten points of a hundred. A cell is the mean over its variants: ** says that all of them differ "
        "from dense significantly (p < 0.05 after Holm over every comparison of this figure), * that some do.",
        query="change_to_dense",
        empty="No comparison of accuracy to the dense model is in the store. Every pruned variant is compared where "
        "the recipe has both variants and an entry under evaluations.",
        draw=change_heat_maps,
    ),
    Exhibit(
        anchor="pareto",
        title="English against the other languages",
        reading="One point a variant, on test: to the right English is better, upwards the mean of the others. The "
        "star is the dense model, and what lies above and to the right of its dotted lines is better in both. The line "
        "is the front: no variant is better in one without being worse in the other.",
        query="pareto",
        empty="No variant was evaluated on test in English and another language. An entry under evaluations with "
        "split: test and languages such as [en, fr] fills this figure.",
        draw=pareto_plots,
    ),
    Exhibit(
        anchor="rank-consistency",
        title="Does the model rank answers as it does in English?",
        reading="RankC compares how a language and English rank the candidates of the same items; 1 is the same order "
        "everywhere. Grey is the dense model, blue the variant that was best for that language on dev.",
        query="rank_consistency",
        empty="No rank consistency with English is in the store. An entry under evaluations whose items have the same "
        "ids in English and other languages, such as task: facts with languages: [en, fr], fills this figure.",
        draw=consistency_bars,
    ),
    Exhibit(
        anchor="rank-matrices",
        title="Between which languages are the answers alike?",
        reading="RankC of a language (rows) with a reference language (columns), for the dense model and for each "
        "variant that was best for some language on dev.",
        query="rank_matrices",
        empty="No rank consistency is in the store. An entry under evaluations whose items have the same ids in "
        "several languages, such as task: facts with languages: [en, fr], fills this figure.",
        draw=consistency_matrices,
    ),
    Exhibit(
        anchor="overlaps",
        title="Are features that are large on one text small on another?",
        reading="One table a block. A cell says which fraction of the largest features on set A (rows) are among the "
        "smallest on set B (columns). Pale, near 0: what is large in A is not small in B, so both use the same "
        "features. A pair such as fr-en is a set of translation demonstrations, a single language a monolingual one. "
        "Choose a pair above to see its rows alone.",
        query="feature_overlaps",
        empty="No feature overlap is in the store. It takes two or more sets under demonstrations in the recipe, of "
        "kind translation or monolingual.",
        draw=feature_heat_maps,
    ),
    Exhibit(
        anchor="magnitudes",
        title="The largest features after every block",
        reading="One panel a demonstration set. Each dot is one of the 20 largest features of the hidden state after a "
        "block of the dense model. The features that are large most often, over all blocks and sets, have a colour and "
        "a line of their own, broken where they are not among the 20; a colour is the same feature in every panel.",
        query="largest_features",
        empty="No feature magnitude is in the store. A set under demonstrations that a variant with dense propagation "
        "or a feature overlap reads fills this figure.",
        draw=magnitude_panels,
    ),
    Exhibit(
        anchor="masks",
        title="Do pairs leave out the same weights?",
        reading="One table a method at its largest sparsity, pairs of demonstration sets down, blocks across. A cell "
        "is the fraction of the weights that either removes which both remove (Jaccard), as the mean over the layers "
        "of the block: 1 is the same mask. Choose a pair above to see the rows it is in.",
        query="mask_overlaps",
        empty="No two masks were compared that differ in their demonstration sets only. Two demonstrations under one "
        "entry of variants fill this figure.",
        draw=mask_heat_maps,
    ),
    Exhibit(
        anchor="layers",
        title="How much is removed of which layer",
        reading="One table a method at its largest sparsity, blocks down, layers across. A cell is the fraction of "
        "the layer's weights that is removed, as the mean over the variants of the method; those that remove least "
        "evenly stand first, and those that remove the same everywhere share the last table, a row each.",
        query="layer_profiles",
        empty="No pruned variant is in the store.",
        draw=layer_heat_maps,
    ),
    Exhibit(
        anchor="profiles",
        title="Published choices against corrected",
        reading="Each table holds two variants against each other that differ in their profile only: one counts real "
        "tokens and draws its sentences, the other counts the padding too, takes the sentences in order, skipping "
        "every fifth, and rounds as the published code does. A cell is the fraction of a layer's mask entries (kept or "
        "removed) that come out differently; 0 is the same mask. How large it is says how much of a result could hang "
        "on those choices; whether it does, the evaluations of both variants say.",
        query="profile_differences",
        empty="No two variants differ in their profile only. A variant with profile: [corrected, paper] makes them.",
        draw=profile_heat_maps,
        folder="queries",
        parameters={"variant_id": None},
        is_optional=True,
    ),
    Exhibit(
        anchor="schedules",
        title="How much is removed where",
        reading="One line a variant whose sparsity is not the same everywhere, with the fraction of each block's "
        "weights that is removed; dashed lines are dense propagation. Schedule owl removes less where more of the "
        "scores are outliers: their fraction, on which the sparsities rest, has a panel of its own.",
        query="layer_schedule",
        empty="All variants have one sparsity everywhere. A variant with schedule: owl, or a given one, fills this "
        "figure.",
        draw=schedule_panels,
        folder="queries",
        parameters={"variant_id": None, "schedule": None, "with_uniform": False},
        is_optional=True,
    ),
    Exhibit(
        anchor="cost",
        title="What it cost",
        reading="One row of bars a run: the seconds of all jobs of a step together, the largest memory of one of them, "
        "and the tokens that went through a model in a second, where the step runs one.",
        query="cost_by_step",
        empty="No finished job of a run is in the store; a run of any recipe writes them.",
        draw=cost_bars,
    ),
)
