"""Names of variants and demonstration sets: labels, names in recipes, ids, and beginnings."""

from pathlib import Path

import pytest

from catalog.queries import complete_ids
from catalog.store import Catalog
from catalog.stored_names import StoredName, find_variant, find_variants, found_ids, lookup_in
from mlprune.errors import StoreError
from mlprune.store.store import Store
from tests.catalog_data import write_rows
from tests.records import made_up_record
from tests.tiny_recipes import FinishedRun, copy_of

NAMES = [
    StoredName("wanda fr-en 0.5", "aaaa1"),
    StoredName("wanda fr-en 0.25", "aaaa2"),
    StoredName("wanda", "aaaa1"),
    StoredName("wanda", "aaaa2"),
    StoredName("aaaa1", "aaaa1"),
    StoredName("aaaa2", "aaaa2"),
    StoredName("dense", "bbbb1"),
]


def lookup(beginning: str) -> list[StoredName]:
    return [one for one in NAMES if one.name.startswith(beginning)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("wanda", ["aaaa1", "aaaa2"]),
        ("wanda fr-en 0.5", ["aaaa1"]),
        ("wanda fr-en 0.2", ["aaaa2"]),
        ("aaaa2", ["aaaa2"]),
        ("dens", ["bbbb1"]),
    ],
)
def test_a_name_is_exact_or_the_beginning_of_one(name: str, expected: list[str]) -> None:
    assert found_ids("variant", name, lookup) == expected


@pytest.mark.parametrize(("name", "part"), [("aaaa", "aaaa1, aaaa2"), ("den", "dense"), ("wand fr", "wanda"), ("", "")])
def test_other_names_are_refused_with_names_that_exist(name: str, part: str) -> None:
    with pytest.raises(StoreError) as error:
        found_ids("demonstration_set", name, lookup)
    assert part in str(error.value)
    assert "demonstration set" in str(error.value)


@pytest.fixture(scope="module")
def store(method_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return copy_of(method_run.store, tmp_path_factory.mktemp("names") / "store")


def dense_id(run: FinishedRun) -> str:
    return next(variant.id for variant in run.plan.variants.values() if variant.is_dense)


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_variants_are_found_by_id_name_and_name_in_a_recipe(method_run: FinishedRun, store: Store) -> None:
    ids = [variant.id for variant in method_run.named("nested")]
    assert sorted(find_variants(store, ["nested"])) == sorted(ids)
    assert find_variants(store, [ids[1], "methods/nested", ids[1]])[0] == ids[1]
    assert len(find_variants(store, [ids[1], "methods/nested"])) == len(ids)
    assert find_variants(store, ["dense"]) == [dense_id(method_run)]


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_every_label_is_a_name_and_several_variants_are_listed_with_their_labels(
    method_run: FinishedRun, store: Store
) -> None:
    with Catalog.open(store) as catalog:
        catalog.fold()
        rows = catalog.query("SELECT variant_id, label FROM internal.variant_descriptions")
    labels = {row["label"]: row["variant_id"] for row in rows}
    assert set(labels.values()) == {variant.id for variant in method_run.plan.variants.values()}
    assert find_variants(store, list(labels)) == list(labels.values())
    with pytest.raises(StoreError, match="several variants") as several:
        find_variant(store, "nested")
    nested = [variant.id for variant in method_run.named("nested")]
    assert all(f"{label} ({one})" in str(several.value) for label, one in labels.items() if one in nested)


def test_a_label_is_a_value_of_the_parameter_variant_id(store: Store) -> None:
    with Catalog.open(store) as catalog:
        catalog.fold()
        row = catalog.query("SELECT * FROM described_variants WHERE label LIKE 'wanda%' ORDER BY label LIMIT 1")[0]
        assert complete_ids(catalog, {"variant_id": row["label"]}) == {"variant_id": row["variant_id"]}
        assert complete_ids(catalog, {"variant_id": "dense"}) != {"variant_id": "dense"}
        assert complete_ids(catalog, {"variant_id": "no such"}) == {"variant_id": "no such"}
        with pytest.raises(StoreError, match="several variants"):
            complete_ids(catalog, {"variant_id": "nested"})


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_name_of_different_variants_needs_its_recipe(method_run: FinishedRun, tmp_path: Path) -> None:
    store = copy_of(method_run.store, tmp_path / "store")
    record = next(iter(store.records("recipes")))
    rows = [{**row, "recipe": "other"} for row in record.rows["names"]]
    other = next(row for row in rows if row["name"] == "paper")
    other["id"] = method_run.named("nested")[0].id
    store.write_record(made_up_record(record.kind, {"recipe": "other"}, rows={"names": rows}))
    with pytest.raises(StoreError, match="methods/paper"):
        find_variants(store, ["paper"])
    assert find_variants(store, ["other/paper"])[0] == other["id"]
    assert find_variants(store, ["dense"]) == [dense_id(method_run)]


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_unique_beginning_of_an_id_or_name_stands_for_it(method_run: FinishedRun, store: Store) -> None:
    known = dense_id(method_run)
    assert find_variants(store, [known[:8], "dense"]) == [known]
    assert find_variant(store, known) == find_variant(store, "dense") == find_variant(store, "dens") == known
    nested = find_variants(store, ["nested"])
    assert find_variants(store, ["neste"]) == find_variants(store, ["methods/neste"]) == nested


def test_an_unknown_variant_is_reported_with_similar_names_and_the_nearest_id(
    method_run: FinishedRun, store: Store
) -> None:
    known = dense_id(method_run)
    for unknown, words in (("nestet", "nested"), (f"{known[:12]}z", f"nearest='{known}"), (known[:3], ""), ("", "")):
        with pytest.raises(StoreError) as caught:
            find_variants(store, [unknown])
        assert words in str(caught.value)
    with pytest.raises(StoreError) as several:
        find_variant(store, "nested")
    assert all(variant.id in str(several.value) for variant in method_run.named("nested"))


def write_models(store: Store, models: list[dict[str, str]]) -> dict[str, str]:
    """Write a dense and a pruned variant of each model, one more of the first; return base model -> its pruned one."""
    pruned = {}
    for number, row in enumerate(models):
        rows = [{"base_model_id": "@id", **row}]
        base_id = write_rows(store, "base_models", parameters={"n": number}, rows={"base_models": rows})
        for score, sparsity in ((None, 0.0), ("magnitude", 0.4), *([("wanda", 0.5)] if number == 0 else [])):
            variant = {"variant_id": "@id", "base_model_id": base_id, "score": score, "sparsity": sparsity}
            rows = [{**variant, "weights_changed": False}]
            variant_id = write_rows(
                store, "variants", parameters={"n": number, "score": score}, rows={"variants": rows}
            )
            pruned[base_id] = variant_id if score == "magnitude" else pruned.get(base_id, variant_id)
    return pruned


def test_a_label_stays_a_name_when_another_model_enters_the_store(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    first, second = write_models(store, [{"source": "a.gguf", "folder": name} for name in ("first", "second")]).values()
    with Catalog.in_memory(store) as catalog:
        names = lookup_in(catalog, "variant")
        rows = catalog.query("SELECT label, variant_id FROM internal.variant_descriptions")
        labels = {row["label"]: row["variant_id"] for row in rows}
        assert (labels["first, magnitude 0.4"], labels["second, magnitude 0.4"]) == (first, second)
        only = labels["first, wanda 0.5"]
        for name in ("wanda 0.5", "first, wanda 0.5", "a.gguf, wanda 0.5", "wanda 0"):
            assert found_ids("variant", name, names) == [only], name
        assert complete_ids(catalog, {"variant_id": "wanda 0.5"}) == {"variant_id": only}
        for name in ("magnitude 0.4", "magnitude"):
            with pytest.raises(StoreError) as several:
                found_ids("variant", name, names)
            assert several.value.context["expected"] == 'one of "first, magnitude 0.4", "second, magnitude 0.4"'


def test_models_from_files_of_one_name_are_told_apart_by_what_differs(tmp_path: Path) -> None:
    differences: dict[str, tuple[dict[str, str], dict[str, str]]] = {
        "folder": ({"folder": "a"}, {"folder": "b"}),
        "chat": ({"folder": "c", "chat_template_sha256": "f"}, {"folder": "c"}),
        "dtype": ({"folder": "d", "dtype": "float16"}, {"folder": "d", "dtype": "bfloat16"}),
        "nothing": ({}, {}),
    }
    models = [{"source": source, **row} for source, rows in differences.items() for row in rows]
    store = Store(tmp_path / "store")
    pruned = write_models(store, [*models, {"source": "other"}])
    with Catalog.in_memory(store) as catalog:
        rows = catalog.query("SELECT variant_id, label FROM internal.variant_descriptions")
    labels = {row["variant_id"]: row["label"] for row in rows}
    names = [labels[one].removesuffix(", magnitude 0.4") for one in pruned.values()]
    assert names == [
        *("a", "b", "chat (chat template)", "chat (no chat template)", "dtype (float16)", "dtype (bfloat16)"),
        *(f"nothing #{base_id[:6]}" for base_id in list(pruned)[6:8]),
        "other",
    ]


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_beginning_of_several_names_lists_them(method_run: FinishedRun, tmp_path: Path) -> None:
    store = copy_of(method_run.store, tmp_path / "store")
    record = next(iter(store.records("recipes")))
    rows = [{**row, "recipe": "other", "name": "nestling"} for row in record.rows["names"] if row["name"] == "nested"]
    store.write_record(made_up_record(record.kind, {"recipe": "other"}, rows={"names": rows}))
    with pytest.raises(StoreError, match=r"begin with this.*one of nested, nestling"):
        find_variants(store, ["nest"])
