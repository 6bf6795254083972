"""The kind of records that sensitivity analyses add."""

from collections.abc import Mapping

from mlprune.store.record_kind import RecordKind

KINDS: Mapping[str, RecordKind] = {
    "sensitivities": RecordKind(
        1,
        "task, metric, sparsity and kind of unit: what each unit costs when only it is pruned",
        tables={"sensitivity": "sensitivity_id", "sensitivity_agreement": "sensitivity_id"},
        job="mlprune.capabilities.sensitivity.losses:SensitivityJob.of_record",
    ),
}
"""The kind of the losses."""
