"""Shares of distinct tokens (opt-in): how varied the tokens of a demonstration set are, by language.

Long texts repeat tokens more often than short ones, so shares of sets of different sizes are not comparable. The record
therefore also has the expected number of distinct tokens among `DRAWN` tokens, drawn without replacement (rarefaction;
Hurlbert 1971, doi:10.2307/1934145).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from mlprune.capabilities.capability import Capability, Planned
from mlprune.corpus.demonstrations import SIDES
from mlprune.json_values import Row
from mlprune.steps.declared_job import DeclaredJob, Parent
from mlprune.steps.job import ChainLoader, SmallJob
from mlprune.steps.sets import distinct_sets
from mlprune.store.store import Store

DRAWN = 1000
"""Tokens of the draw for which distinct tokens are expected."""


@dataclass(frozen=True)
class TokenSharesJob(DeclaredJob, SmallJob):
    """Count the distinct tokens of each side of a demonstration set."""

    kind: ClassVar[str] = "token_shares"
    step: ClassVar[str] = "compare"
    demonstration_set_id: Annotated[str, Parent("demonstration_set", "demonstration_sets")]

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Count the tokens of the file of the set and write the record."""
        record = store.require("demonstration_sets", self.demonstration_set_id)
        columns = store.read_table(record.artefacts[0], ("token_ids", "sides"))
        tokens, sides = (np.concatenate([np.asarray(one) for one in columns[name]]) for name in ("token_ids", "sides"))
        described = record.rows["demonstration_sets"][0]
        rows: list[Row] = []
        for side, number in SIDES.items():
            _, counts = np.unique(tokens[sides == number], return_counts=True)
            if counts.size:
                rows.append(
                    {
                        "token_shares_id": self.identity.id,
                        "demonstration_set_id": self.demonstration_set_id,
                        "side": side,
                        "language": described[f"{side}_language"],
                        "n_tokens": int(counts.sum()),
                        "n_distinct": counts.size,
                        "distinct_of_1000": expected_distinct(counts, DRAWN),
                    }
                )
        store.write_record(self.identity.record(rows={"token_shares": rows}))


def expected_distinct(counts: NDArray[np.int64], n_drawn: int) -> float | None:
    """Return the expected number of distinct tokens among some that are drawn without replacement.

    A token that occurs c times among N is missing with probability C(N - c, n) / C(N, n).

    Args:
        counts: occurrences of each distinct token, integers above 0, [distinct tokens].
        n_drawn: n, the number of tokens drawn.
    Returns: None if there are fewer tokens than are drawn.
    """
    n_tokens = int(counts.sum())
    if n_tokens < n_drawn:
        return None
    others = n_tokens - counts.astype(np.float64)
    others = others[others >= n_drawn]  # a more frequent token is never missing
    missing = (
        gammaln(others + 1) - gammaln(others - n_drawn + 1) - gammaln(n_tokens + 1) + gammaln(n_tokens - n_drawn + 1)
    )
    return float(counts.size - np.exp(missing).sum())


def token_share_jobs(planned: Planned) -> Iterator[TokenSharesJob]:
    """Yield a job for each distinct set of `analyses.token_share`."""
    for one in distinct_sets(planned.sets.default, planned.recipe.analyses.token_share):
        yield TokenSharesJob(one.id)


CAPABILITY = Capability("token_share", compare=token_share_jobs)
