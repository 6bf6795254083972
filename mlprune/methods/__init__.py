"""Pruning methods: scores, structures, schedules, aggregations and refiners, with their parameters and what each needs.

Nothing here computes. An entry has everything that recipes, ids, plans and model cards need. The function of an entry
has the same name in the registry next to the functions: `SCORE_FUNCTIONS`, `RECONSTRUCTION_FUNCTIONS`,
`LEVEL_FUNCTIONS`, `SCHEDULE_FUNCTIONS`, `AGGREGATION_FUNCTIONS` and `REFINER_FUNCTIONS`.
"""

from mlprune.methods.aggregations import AGGREGATIONS, VarianceParameters
from mlprune.methods.method import (
    NO_PARAMETERS,
    Aggregation,
    Method,
    Parameters,
    Refiner,
    Schedule,
    Score,
    StatisticName,
    StatisticsName,
    Structure,
    checked_parameters,
    parameter,
)
from mlprune.methods.refiners import REFINERS, DsnotParameters, GramSwapsParameters, LeastSquaresParameters
from mlprune.methods.schedules import (
    SCHEDULES,
    AlphaPruningParameters,
    DlpParameters,
    GivenParameters,
    OwlParameters,
    SensitivityParameters,
)
from mlprune.methods.scores import (
    SCORES,
    AlpsParameters,
    ExpertUseParameters,
    FlapParameters,
    RandomParameters,
    RiaParameters,
    SparseGptParameters,
    WandaPlusPlusParameters,
    scores_of_structures,
    shortest_name,
)
from mlprune.methods.structures import OF_DEPTH, OF_EXPERTS, STRUCTURES, pattern_of, structure_of

__all__ = [
    "AGGREGATIONS",
    "NO_PARAMETERS",
    "OF_DEPTH",
    "OF_EXPERTS",
    "REFINERS",
    "SCHEDULES",
    "SCORES",
    "STRUCTURES",
    "Aggregation",
    "AlphaPruningParameters",
    "AlpsParameters",
    "DlpParameters",
    "DsnotParameters",
    "ExpertUseParameters",
    "FlapParameters",
    "GivenParameters",
    "GramSwapsParameters",
    "LeastSquaresParameters",
    "Method",
    "OwlParameters",
    "Parameters",
    "RandomParameters",
    "Refiner",
    "RiaParameters",
    "Schedule",
    "Score",
    "SensitivityParameters",
    "SparseGptParameters",
    "StatisticName",
    "StatisticsName",
    "Structure",
    "VarianceParameters",
    "WandaPlusPlusParameters",
    "checked_parameters",
    "parameter",
    "pattern_of",
    "scores_of_structures",
    "shortest_name",
    "structure_of",
]
