"""One kind of records, with everything that other modules need to know of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class RecordKind:
    """One kind of records."""

    version: int
    """Version of the step that makes it. Part of every id; raised when the step's result changes."""
    one_per: str
    """Completes "one record per ..."."""
    folders: tuple[str, ...] = ()
    """Folders of the store in which records of this kind have artefacts."""
    tables: Mapping[str, str | None] = field(default_factory=dict)
    """Table of the catalog to which its records add rows -> column with the id of the record, or None."""
    job: str = ""
    """Function that makes the job of a record again, as `module:name`, for records that follow from other ones without
    running the model; `mlprune check store --deep` runs these jobs. It takes the record and a `StoredWork`."""
    retires: bool = False
    """Whether `mlprune store gc` may retire its files, which a run that needs them makes again by running the model."""
    pair_of: str = ""
    """For rows about two demonstration sets: role of the parents whose ids are their `statistics_a` and
    `statistics_b`."""
    shown_since: int = 1
    """First version whose rows the catalog shows. Earlier records have other statistics under the same names: they keep
    their files, but their numbers are in no table, family or report. Running the recipe again computes new ones.

    Comparisons and answers of several versions can be shown: then a later one replaces an earlier one of the same pair
    or question."""
