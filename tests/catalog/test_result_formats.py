import json

import pytest

from catalog.result_formats import render
from catalog.results import QueryResult
from catalog.terminal import TableOptions
from mlprune.errors import QueryError

RESULT = QueryResult(("variant_id", "value"), (("3e395151aa0123456789", 0.1 + 0.2),))


def test_options_of_tables_do_not_touch_the_exact_formats() -> None:
    options = TableOptions(20, digits=1)
    assert json.loads(render(RESULT, "json", options=options)) == RESULT.as_dicts()
    assert render(RESULT, "csv", options=options) == "variant_id,value\n3e395151aa0123456789,0.30000000000000004"
    assert "0.3\n" in render(RESULT, "table", options=options)


def test_an_unknown_format_is_an_error() -> None:
    with pytest.raises(QueryError, match="no such format"):
        render(RESULT, "xml")
