"""Advisory claims on records, so that two runs in one store do not do the same work twice."""

from mlprune.store.claims.claims import STALE_AFTER_S, Claims, claim_path

__all__ = ["STALE_AFTER_S", "Claims", "claim_path"]
