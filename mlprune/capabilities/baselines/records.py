"""The kinds of records that baselines add."""

from collections.abc import Mapping

from mlprune.store.record_kind import RecordKind

HIDDEN_MEANS = RecordKind(
    1,
    "demonstration set whose hidden states are summed after every block, for LRP2",
    folders=("means",),
    tables={"hidden_means": "means_id"},
)
"""Kind of the mean hidden states, from which variants are made."""
KINDS: Mapping[str, RecordKind] = {
    "lrp2_trials": RecordKind(
        2,
        "trial of an LRP2 search: one range of layers, scored on the dev split",
        tables={"lrp2_trials": "trial_id"},
    ),
    "lrp2_choices": RecordKind(
        2,
        "LRP2 search: the range of layers with the best trial",
        tables={"lrp2_choices": "choice_id"},
        job="mlprune.capabilities.baselines.lrp2:PairChoiceJob.of_record",
    ),
    "self_translations": RecordKind(
        2,
        "task and language whose examples the model translated into English, or whose translations were given",
        folders=("translations",),
        tables={"self_translations": "translations_id"},
    ),
}
"""The kinds of the trials and choices of LRP2 and of translated items."""
