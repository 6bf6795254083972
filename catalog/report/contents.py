"""What the report shows, in order: a literal list of exhibits."""

from catalog.report.bars import consistency_bars
from catalog.report.curves import accuracy_curves
from catalog.report.exhibits import Exhibit
from catalog.report.heatmaps import change_heat_maps, overlap_heat_maps
from catalog.report.magnitudes import magnitude_panels
from catalog.report.profiles import profile_heat_maps
from catalog.report.schedules import schedule_panels

FIGURES: tuple[Exhibit, ...] = (
    Exhibit(
        anchor="curves",
        title="Accuracy against sparsity",
        reading="One panel a language, one line a method: colour and marker say the score and the demonstrations it "
        "read; dashed lines are dense propagation, all others solid. The dark level is the dense model, the grey "
        "band its 95% interval. A point is the mean over the variants of that method; its pale band reaches from the "
        "lowest to the highest end of their intervals. A line above the dark level says that pruning helped.",
        query="accuracy_by_sparsity",
        empty="No accuracy is in the store. An entry under evaluations in the recipe, such as task: facts with split: "
        "test, fills this figure.",
        draw=accuracy_curves,
    ),
    Exhibit(
        anchor="change",
        title="Change of accuracy to the dense model",
        reading="One panel a method, languages down, sparsities across. Purple is more accurate than dense, orange "
        "less; 0.10 is ten points of a hundred. A cell is the mean over its variants: ** says that all of them differ "
        "from dense significantly (p < 0.05 after Holm over every comparison of this figure), * that some do.",
        query="change_to_dense",
        empty="No comparison of accuracy to the dense model is in the store. Every pruned variant is compared where "
        "the recipe has both variants and an entry under evaluations.",
        draw=change_heat_maps,
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
        anchor="overlaps",
        title="Are features that are large on one text small on another?",
        reading="One panel a block. A cell says which fraction of the largest features on set A (rows) are among the "
        "smallest on set B (columns). Pale, near 0: what is large in A is not small in B, so both use the same "
        "features. A pair such as fr-en is a set of translation demonstrations, a single language a monolingual one.",
        query="feature_overlaps",
        empty="No feature overlap is in the store. It takes two or more sets under demonstrations in the recipe, of "
        "kind translation or monolingual.",
        draw=overlap_heat_maps,
    ),
    Exhibit(
        anchor="profiles",
        title="Published choices against corrected",
        reading="Each panel holds two variants against each other that differ in their profile only: one counts real "
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
)

_METHOD = {"variant_name": "variant", "sparsity": "sparsity"}

TABLES: tuple[Exhibit, ...] = (
    Exhibit(
        anchor="outside-english",
        title="Mean accuracy outside English",
        reading="The mean over the languages other than English and over the variants of a method, on test, and its "
        "difference to dense in the same languages. A description: the paired tests are in the first section.",
        query="outside_english",
        empty="No test accuracy outside English is in the store. An entry under evaluations with split: test and "
        "languages beside en fills this table.",
        columns={
            "task": "task",
            "score": "score",
            "set_kind": "demonstrations",
            "propagation": "propagation",
            "settings": "settings",
            "sparsity": "sparsity",
            "n_variants": "variants",
            "n_languages": "languages",
            "accuracy": "accuracy",
            "difference": "to dense",
        },
    ),
    Exhibit(
        anchor="translation",
        title="Translation quality",
        reading="BLEU and chrF of the greedy translations, both from 0 to 100, higher is better.",
        query="translation_quality",
        empty="No translation was evaluated. An entry under evaluations with task: translation and pairs fills this "
        "table.",
        columns={"pair": "pair", "split": "split", **_METHOD}
        | {"bleu": "BLEU", "chrf": "chrF", "chrf_low": "low", "chrf_high": "high", "chrf_change": "chrF to dense"},
    ),
    Exhibit(
        anchor="perplexity",
        title="Perplexity",
        reading="Perplexity on held-out text, lower is better; a ratio of 1 is as good as the dense model. Compare "
        "within a language only.",
        query="perplexity",
        empty="No perplexity was evaluated. An entry under evaluations with task: perplexity fills this table.",
        columns={"language": "language", "split": "split", **_METHOD}
        | {"perplexity": "perplexity", "ci_low": "low", "ci_high": "high", "ratio_to_dense": "ratio to dense"},
    ),
    Exhibit(
        anchor="failures",
        title="Failures",
        reading="Jobs that failed for good; everything that does not depend on them was done. Running the recipe "
        "again tries them again.",
        query="failures",
        empty="No job has failed for good.",
        columns={"failed_at": "when", "step": "step", "error": "error", "message": "message", "attempts": "attempts"}
        | {"record_id": "record", "run_id": "run"},
    ),
    Exhibit(
        anchor="runs",
        title="Runs",
        reading="Jobs by run and step, with their summed time and the largest memory of one job.",
        query="runs",
        empty="No job of a run is in the store; a run of any recipe writes them.",
        columns={"run_id": "run", "step": "step", "n_done": "done", "n_failed": "failed", "n_lost": "lost"}
        | {"n_hosts": "hosts", "first_started_at": "first start", "elapsed_s": "seconds", "peak_memory_gib": "GiB"},
    ),
    Exhibit(
        anchor="names",
        title="Names",
        reading="What the recipes call things, and their ids.",
        query="names",
        empty="No name is in the store; every recipe that was run leaves its own.",
        columns={"recipe": "recipe", "kind": "kind", "name": "name", "id": "id"},
    ),
    Exhibit(
        anchor="store",
        title="What the store holds",
        reading="Records by kind; equal stores have equal fingerprints.",
        query="contents",
        empty="The store holds no record.",
        columns={"kind": "kind", "n_records": "records", "fingerprint": "fingerprint"},
    ),
)
