import pytest

from catalog.ids import complete_ids, short_id_length
from catalog.queries import run_user_query
from catalog.results import QueryResult
from catalog.store import Catalog
from mlprune.errors import QueryError


def test_a_parameter_may_be_the_unique_beginning_of_an_id(catalog: Catalog) -> None:
    ids = [row[0] for row in catalog.select("SELECT DISTINCT variant_id FROM variant_layers ORDER BY ALL").rows]
    whole = run_user_query(catalog, "layer_sparsity", [f"variant_id={ids[0]}"])
    length = next(n for n in range(4, 21) if sum(other.startswith(ids[0][:n]) for other in ids) == 1)
    assert run_user_query(catalog, "layer_sparsity", [f"variant_id={ids[0][:length]}"]) == whole
    assert whole.rows


def test_a_beginning_of_several_ids_is_an_error_that_lists_them(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catalog.ids.MIN_BEGINNING", 0)
    with pytest.raises(QueryError) as error:
        complete_ids(catalog, {"variant_id": ""})
    assert error.value.context["parameter"] == "variant_id"
    assert "more" in str(error.value.context["expected"])


def test_other_values_are_kept(catalog: Catalog) -> None:
    values = {"variant_id": "zzzz", "evaluation_id": None, "run_id": "a", "task": "facts"}
    assert complete_ids(catalog, values) == values


def test_ids_are_as_long_as_needed_to_tell_them_from_every_record(catalog: Catalog) -> None:
    known = catalog.select("SELECT id FROM records ORDER BY id LIMIT 1").rows[0][0]
    assert short_id_length(catalog, QueryResult(("id",), ((known,),))) == 8
    for n_equal in (7, 8, 13, 19):
        other = known[:n_equal] + ("0" if known[n_equal] != "0" else "1") + known[n_equal + 1 :]
        length = short_id_length(catalog, QueryResult(("id", "n"), ((other, 1), (None, 2))))
        assert length == max(8, n_equal + 1)
    assert short_id_length(catalog, QueryResult(("n",), ((1,),))) == 8
