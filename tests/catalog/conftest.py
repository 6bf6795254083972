"""A filled store for all tests of the catalog, and copies for tests that change it."""

import pickle
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from catalog.store import Catalog
from mlprune.store.store import Store
from tests.catalog.method_data import Methods, add_methods
from tests.catalog_data import SPARSITIES, fill_store

if TYPE_CHECKING:
    from tests.conftest import MakeOnce

PageOnce = Callable[[str, Callable[[], str]], str]


def fill_and_fold(folder: Path, sparsities: Sequence[float]) -> None:
    """Fill a new store and its catalog."""
    store = Store(folder)
    fill_store(store, sparsities=sparsities)
    with Catalog.open(store) as catalog:
        catalog.fold()


@pytest.fixture(scope="session")
def filled(make_once: "MakeOnce") -> Store:
    """A filled and folded store; tests do not change it."""
    return Store(make_once("filled", lambda folder: fill_and_fold(folder, SPARSITIES)))


@pytest.fixture(scope="session")
def catalog(filled: Store) -> Iterator[Catalog]:
    """The catalog of the filled store."""
    with Catalog.open(filled) as opened:
        yield opened


@pytest.fixture(scope="session")
def rows(filled: Store) -> dict[str, list[dict[str, Any]]]:
    """Table -> all rows, read from the records without the catalog."""
    found: dict[str, list[dict[str, Any]]] = {}
    for record in filled.records():
        for table, more in record.rows.items():
            found.setdefault(table, []).extend(more)
    return found


@pytest.fixture(scope="session")
def small_filled(make_once: "MakeOnce") -> Store:
    """A filled and folded store with variants of one sparsity; tests do not change it."""
    return Store(make_once("small-filled", lambda folder: fill_and_fold(folder, SPARSITIES[:1])))


@pytest.fixture
def store(small_filled: Store, tmp_path: Path) -> Store:
    """A copy of the small filled store with its catalog, which a test may change."""
    assert small_filled.local_root is not None
    return Store(shutil.copytree(small_filled.local_root, tmp_path / "store"))


@pytest.fixture
def full_store(filled: Store, tmp_path: Path) -> Store:
    """A copy of the filled store, with all sparsities, which a test may change."""
    assert filled.local_root is not None
    return Store(shutil.copytree(filled.local_root, tmp_path / "full-store"))


@pytest.fixture(scope="session")
def with_methods(filled: Store, make_once: "MakeOnce") -> tuple[Store, Methods]:
    """A folded copy of the filled store with variants of all other kinds, and their description."""

    def make(folder: Path) -> None:
        assert filled.local_root is not None
        store = Store(shutil.copytree(filled.local_root, folder / "store"))
        (folder / "methods").write_bytes(pickle.dumps(add_methods(store)))
        with Catalog.open(store) as catalog:
            catalog.fold()

    made = make_once("methods", make)
    return Store(made / "store"), pickle.loads((made / "methods").read_bytes())


@pytest.fixture(scope="session")
def methods(with_methods: tuple[Store, Methods]) -> Methods:
    """The variants of all other kinds."""
    return with_methods[1]


@pytest.fixture(scope="session")
def methods_catalog(with_methods: tuple[Store, Methods]) -> Iterator[Catalog]:
    """The catalog of the store with variants of all other kinds."""
    with Catalog.open(with_methods[0]) as opened:
        yield opened


@pytest.fixture(scope="session")
def page_once(make_once: "MakeOnce") -> PageOnce:
    """A function that renders a page once per test session, even with several pytest workers."""

    def rendered(name: str, render: Callable[[], str]) -> str:
        folder = make_once(name, lambda made: (made / "page.html").write_text(render(), "utf-8", newline=""))
        return (folder / "page.html").read_bytes().decode("utf-8")

    return rendered


@pytest.fixture(scope="session")
def page(catalog: Catalog, page_once: PageOnce) -> str:
    """The report of the filled store."""
    from catalog.report.page import render_page  # noqa: PLC0415 - loads matplotlib

    return page_once("page", lambda: render_page(catalog))
