"""A table of the filled store."""

import pytest

from catalog.capabilities.tables.table import Table, build_table
from catalog.store import Catalog
from tests.catalog.capabilities.tables.table_specs import FACTS


@pytest.fixture(scope="session")
def facts(catalog: Catalog) -> Table:
    """Accuracy on facts of the dense model, random pruning and two pairs."""
    table = build_table(catalog, FACTS)
    assert table is not None
    return table
