"""Retention: what the catalog knows of variants when files are retired."""

from catalog.retention.ranking import RankingRequest, rank_variants
from catalog.retention.table import decision_table

__all__ = ["RankingRequest", "decision_table", "rank_variants"]
