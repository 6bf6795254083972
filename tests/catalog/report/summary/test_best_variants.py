from catalog.report.summary.best_variants import holm_p_values
from mlprune.numeric.statistics.multiplicity import holm


def test_rows_without_a_p_value_are_not_in_the_family() -> None:
    rows = [{"p_value": 0.01}, {"p_value": None}, {"p_value": 0.03}]
    assert holm_p_values(rows) == [holm([0.01, 0.03])[0], None, holm([0.01, 0.03])[1]]
