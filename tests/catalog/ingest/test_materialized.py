import re

from catalog.ingest.materialized import dependencies
from catalog.ingest.table_files import declared_tables
from catalog.ingest.view_files import views
from catalog.sql_files import sql_files


def tables_read(text: str) -> set[str]:
    """Tables that a statement reads, directly or through views."""
    names = set(re.findall(r"\b(?:FROM|JOIN)\s+(\w+)", text))
    through_views = [tables_read(views()[name].statement) for name in names & views().keys()]
    return (names & declared_tables().keys()).union(*through_views)


def test_a_materialized_table_depends_on_the_tables_that_its_statement_reads() -> None:
    reads = {file.name: tables_read(file.statement) - {file.name} for file in sql_files("materialized")}
    assert dependencies().keys() == reads.keys()
    for name, tables in dependencies().items():
        indirectly = set().union(*(reads[other] for other in reads[name] & reads.keys()))
        assert reads[name] - reads.keys() <= tables, name
        assert tables <= reads[name] | indirectly, name


def test_each_comes_after_the_materialized_tables_that_it_reads() -> None:
    order = list(dependencies())
    assert order.index("variant_descriptions") < order.index("dense_values")
