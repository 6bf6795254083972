"""The tables of the report, in order: a literal list of exhibits, after the figures."""

from catalog.report.drawing.exhibits import Exhibit

_VARIANT = {"label": "variant", "sparsity": "sparsity"}

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
        reading="BLEU and chrF of the greedy translations, as fractions; higher is better. Low and high are the "
        "ends of the 95% interval of chrF.",
        query="translation_quality",
        empty="No translation was evaluated. An entry under evaluations with task: translation and pairs fills this "
        "table.",
        columns={"pair": "pair", "split": "split", **_VARIANT}
        | {"bleu": "BLEU", "chrf": "chrF", "chrf_low": "low", "chrf_high": "high", "chrf_change": "chrF to dense"},
    ),
    Exhibit(
        anchor="perplexity",
        title="Perplexity",
        reading="Perplexity on held-out text with the ends of its 95% interval, lower is better; a ratio of 1 is "
        "as good as the dense model. Compare within a language only.",
        query="perplexity",
        empty="No perplexity was evaluated. An entry under evaluations with task: perplexity fills this table.",
        columns={"language": "language", "split": "split", **_VARIANT}
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
        reading="Jobs by run and step, with their summed time and the largest memory of one job. The jobs a worker had "
        "when it died are lost; another worker did them again.",
        query="runs",
        empty="No job of a run is in the store; a run of any recipe writes them.",
        columns={"run_id": "run", "step": "step", "n_done": "done", "n_failed": "failed", "n_lost": "lost"}
        | {"n_hosts": "hosts", "first_started_at": "first start", "elapsed_s": "seconds", "peak_memory_gib": "GiB"},
    ),
    Exhibit(
        anchor="code",
        title="Code and libraries",
        reading="What jobs computed with. A commit that is called changed was not what lay there; the hash of the code "
        "tells which code it was all the same. Every installed package is in environment_packages.",
        query="code",
        empty="No run has told what it computed with: all are of an earlier version.",
        columns={"mlprune": "mlprune", "git_commit": "commit", "code_sha256": "hash of the code", "python": "Python"}
        | {"torch": "torch", "transformers": "transformers", "processor": "processor", "n_hosts": "hosts"}
        | {"n_jobs": "jobs", "first_started_at": "first start", "environment_id": "environment"},
    ),
    Exhibit(
        anchor="names",
        title="Names",
        reading="What the recipes call things, what is meant, and their ids. An entry whose lists multiply gives one "
        "name to all it makes.",
        query="names",
        empty="No name is in the store; every recipe that was run leaves its own.",
        columns={"recipe": "recipe", "kind": "kind", "name": "name", "meaning": "meaning", "id": "id"},
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
