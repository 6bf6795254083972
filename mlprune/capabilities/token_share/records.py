"""The kind of records that shares of distinct tokens add."""

from mlprune.store.record_kind import RecordKind

TOKEN_SHARES = RecordKind(
    1,
    "demonstration set whose distinct tokens are counted by language",
    tables={"token_shares": "token_shares_id"},
    job="mlprune.capabilities.token_share.capability:TokenSharesJob.of_record",
)
"""Kind of the counts."""
