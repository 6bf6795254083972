"""`mlprune plan`: the machines that it plans for."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

import mlprune
from mlprune.cache_folders import MODEL_CACHE_VARIABLE
from mlprune.errors import BadInputError, HubError
from mlprune.plan.resources.node_capacity import Gpu, Node
from ray_jobs.cli import plan_text
from ray_jobs.cli.commands.plan import plan, require_hub_for_import
from ray_jobs.cli.commands.run import run
from ray_jobs.driver.workplace import Machines
from tests.hub import use_hub
from tests.tiny_recipes import small_recipe, write_recipe


def test_a_running_cluster_is_asked_for_its_nodes(
    own_inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[object] = []

    @contextmanager
    def machines(address: str, labels: Mapping[str, str]) -> Iterator[Machines]:
        asked.append((address, dict(labels)))
        yield Machines([Node(8.0, 2**34, (Gpu(2**35, "NVIDIA L40S"),))] * 3)

    monkeypatch.setattr(plan_text, "machines", machines)
    recipe = small_recipe()
    recipe["compute"] |= {"node_labels": {"zone": "x"}}
    plan(write_recipe(own_inputs, recipe, name="asked.yaml"), store=str(tmp_path / "store"), address="auto")
    text = capsys.readouterr().out
    assert asked == [("auto", {"zone": "x"})]
    assert "nodes:  3 x (8 CPUs, 16.0 GiB, 1 NVIDIA L40S)" in text
    assert "stated for L40S in bfloat16" in text


def test_machines_are_described_or_asked_for_but_not_both(own_inputs: Path, tmp_path: Path) -> None:
    recipe = write_recipe(own_inputs, small_recipe(), name="both.yaml")
    with pytest.raises(BadInputError, match="either"):
        plan(recipe, store=str(tmp_path / "store"), cluster="(4 CPU, 8 GiB)", address="auto")


@pytest.mark.parametrize(
    ("processors", "n_warnings"),
    [({}, 0), ({"EPYC with AVX512": 3}, 0), ({"EPYC with AVX512": 2, "Xeon with AVX2": 1}, 1)],
)
def test_nodes_with_different_processors_are_one_warning(
    own_inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processors: Mapping[str, int], n_warnings: int
) -> None:
    class Cluster(Machines):
        def processors(self) -> Mapping[str, int]:
            return processors

    monkeypatch.setattr(plan_text, "machines", lambda *_: nullcontext(Cluster([Node(8.0, 2**34)] * 3)))
    recipe = write_recipe(own_inputs, small_recipe(), name="mixed.yaml")
    described = plan_text.described_plan(recipe, str(tmp_path / "store"), address="auto")
    lines = [line for line in described.text.splitlines() if line.startswith("warning:")]
    assert len(lines) == n_warnings
    assert all(processor in line for line in lines for processor in processors)


def test_a_recipe_with_too_many_variants_needs_an_option_and_is_never_asked_about(
    own_inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small_recipe()
    recipe["variants"] = [{"score": "random", "sparsity": [0.1, 0.2], "seed": list(range(20_000))}]
    recipe["evaluations"] = [
        {key: value for key, value in entry.items() if key != "variants"} for entry in recipe["evaluations"]
    ]
    path, store = write_recipe(own_inputs, recipe, name="many.yaml"), str(tmp_path / "store")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("the command asks"))
    for refused in (
        lambda: plan(path, store=store),
        lambda: run(path, store=store, address="none"),
        lambda: mlprune.plan(path, store=store),
        lambda: mlprune.run(path, store=store, address="none"),
    ):
        with pytest.raises(BadInputError) as error:
            refused()
        assert error.value.context["got"] == "40,000"
    assert not Path(store).exists()
    monkeypatch.setattr(plan_text, "build_plan", lambda given, *_: pytest.fail(f"planned {len(given.variants)}"))
    for accepted in (
        lambda: plan(path, store=store, yes=True),
        lambda: mlprune.plan(path, store=store, allow_many=True),
    ):
        with pytest.raises(pytest.fail.Exception, match="planned 40000"):
            accepted()


def test_the_hub_has_to_answer_unless_the_model_may_be_imported_already(
    own_inputs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(MODEL_CACHE_VARIABLE, raising=False)
    use_hub(monkeypatch, "http://127.0.0.1:9", tmp_path / "cache")
    recipe = write_recipe(own_inputs, {**small_recipe(), "model": {"path": "some/model", "import": True}})
    with pytest.raises(HubError, match="some/model"):
        require_hub_for_import(recipe, str(tmp_path / "store"))
    (tmp_path / "store").mkdir()
    require_hub_for_import(recipe, str(tmp_path / "store"))
    monkeypatch.setenv(MODEL_CACHE_VARIABLE, str(tmp_path / "imported"))
    require_hub_for_import(recipe, str(tmp_path / "another-store"))


def test_a_recipe_with_a_folder_needs_no_hub(own_inputs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_hub(monkeypatch, "http://127.0.0.1:9", tmp_path / "cache")
    require_hub_for_import(write_recipe(own_inputs, small_recipe()), str(tmp_path / "store"))
