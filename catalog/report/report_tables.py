"""The tables of the report and its examples as text, in order; they follow the figures."""

from catalog.report.exhibits import Exhibit
from catalog.report.figures import SEARCH_TABLES
from catalog.report.panels.answers import flipped_examples, generation_tables

_VARIANT = {"label": "variant", "sparsity": "sparsity"}

TABLES: tuple[Exhibit, ...] = (
    Exhibit(
        anchor="outside-english",
        title="Accuracy outside English and the gap to English",
        explanation="One row per variant: its mean accuracy over the languages other than English, dense in the same "
        "languages, and the paired difference with a 95 % interval over clusters of items. p is corrected over the "
        "variants of the family, by Holm's method and by max-T, which uses their correlation. Detectable is the true "
        "difference that a single test finds with a power of 80 %. One draw: the interval is conditional on one draw "
        "of demonstrations. The change of the gap is the change in English minus the change outside: above 0, the "
        "gap to English is larger. A loss in English also makes it negative. Its interval takes the same "
        "items in all languages, and its p is corrected by Holm's method.",
        query="means_outside_english",
        empty_text="The store has no test of a variant outside English. An entry under evaluations with split: test "
        "and languages in addition to en fills this table.",
        columns={"task": "task", "label": "variant", "n_languages": "languages"}
        | {"accuracy": "accuracy", "dense_accuracy": "dense", "difference": "change from dense (95 %)"}
        | {"p_holm": "p, Holm", "p_max_t": "p, max-T", "n_family": "tests", "detectable_difference": "detectable"}
        | {"english_difference": "change in English (95 %)", "gap_change": "change of the gap (95 %)"}
        | {"gap_change_p_holm": "p, Holm (gap)", "draws": "draws"},
        intervals={
            "difference": ("ci_low", "ci_high"),
            "english_difference": ("english_ci_low", "english_ci_high"),
            "gap_change": ("gap_change_ci_low", "gap_change_ci_high"),
        },
    ),
    Exhibit(
        anchor="translation",
        title="Translation quality",
        explanation="BLEU, chrF and exact matches of greedy translations with 95 % intervals, as fractions; higher is "
        "better. Changes are paired differences to dense; p is corrected by Holm's method over the family of the "
        "comparison.",
        query="translation_quality",
        empty_text="No translation was evaluated. An entry under evaluations with task: translation and pairs fills "
        "this table.",
        columns={"pair": "pair", "split": "split", "label": "variant", "n": "items", "bleu": "BLEU", "chrf": "chrF"}
        | {"chrf_change": "chrF change", "chrf_p_holm": "p, Holm", "exact_match": "exact match"}
        | {"exact_match_change": "exact match change", "exact_match_p_holm": "p, Holm"},
        intervals={
            name: (f"{name}_low", f"{name}_high")
            for name in ("bleu", "chrf", "chrf_change", "exact_match", "exact_match_change")
        },
    ),
    Exhibit(
        anchor="perplexity",
        title="Perplexity",
        explanation="Perplexity on held-out text with its 95 % interval; lower is better. The ratio to dense has the "
        "interval of the paired comparison; 1 is as good as dense. p is corrected by Holm's method over the family of "
        "the comparison. Compare values of the same language only.",
        query="perplexity",
        empty_text="No perplexity was evaluated. An entry under evaluations with task: perplexity fills this table.",
        columns={"language": "language", "split": "split", **_VARIANT}
        | {"perplexity": "perplexity", "ratio_to_dense": "ratio to dense", "p_holm": "p, Holm"},
        intervals={"perplexity": ("ci_low", "ci_high"), "ratio_to_dense": ("ratio_low", "ratio_high")},
    ),
    *SEARCH_TABLES,
    Exhibit(
        anchor="failures",
        title="Failures",
        explanation="Jobs that failed permanently. Jobs that do not depend on them were run. Run the recipe again to "
        "retry the failed ones.",
        query="failures",
        empty_text="No job has failed permanently.",
        columns={"failed_at": "when", "step": "step", "error": "error", "message": "message", "attempts": "attempts"}
        | {"record_id": "record", "run_id": "run"},
    ),
    Exhibit(
        anchor="runs",
        title="Runs",
        explanation="Jobs by run and step, with their total time and the largest memory of one job. Lost jobs are "
        "those of a worker that died; another worker repeated them.",
        query="runs",
        empty_text="The store has no jobs. Every run records its jobs.",
        columns={"run_id": "run", "step": "step", "n_done": "done", "n_failed": "failed", "n_lost": "lost"}
        | {"n_hosts": "hosts", "first_started_at": "first start", "elapsed_s": "seconds", "peak_memory_gib": "GiB"},
    ),
    Exhibit(
        anchor="code",
        title="Code and libraries",
        explanation="Code and machines that jobs ran on. A commit marked as changed differs from the code that ran; "
        "the hash identifies that code. environment_packages lists every installed package.",
        query="code",
        empty_text="No run has recorded its environment.",
        columns={"mlprune": "mlprune", "git_commit": "commit", "code_sha256": "hash of the code", "python": "Python"}
        | {"torch": "torch", "transformers": "transformers", "processor": "processor", "n_hosts": "hosts"}
        | {"n_jobs": "jobs", "first_started_at": "first start", "environment_id": "environment"},
    ),
    Exhibit(
        anchor="names",
        title="Names",
        explanation="Names in recipes, with their meanings and ids. If an entry of a recipe expands to several sets or "
        "variants, all of them share its name.",
        query="names",
        empty_text="The store has no names. Every run of a recipe records its names.",
        columns={"recipe": "recipe", "kind": "kind", "name": "name", "meaning": "meaning", "id": "id"},
    ),
    Exhibit(
        anchor="store",
        title="Contents of the store",
        explanation="Records by kind; equal stores have equal fingerprints.",
        query="contents",
        empty_text="The store has no records.",
        columns={"kind": "kind", "n_records": "records", "fingerprint": "fingerprint"},
    ),
)


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
