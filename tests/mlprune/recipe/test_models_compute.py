"""Section `compute`: defaults, ranges and errors."""

from typing import Any

import pytest

from mlprune.errors import RecipeError
from mlprune.recipe import AUTO_BATCH_TOKENS, ComputeConfig
from tests.valid_recipe import changed, parse


def test_everything_is_auto_unless_something_is_said() -> None:
    assert set(ComputeConfig().model_dump(exclude={"tf32", "node_labels", "spill_dir"}).values()) == {"auto"}
    assert not ComputeConfig().tf32
    assert ComputeConfig().node_labels == {}


def test_batches_are_larger_on_accelerators_unless_the_recipe_sets_their_size() -> None:
    assert AUTO_BATCH_TOKENS["cpu"] == 512
    assert AUTO_BATCH_TOKENS["cuda"] >= 8192
    for device, expected in AUTO_BATCH_TOKENS.items():
        assert ComputeConfig().planned_batch_tokens(device) == expected
        assert ComputeConfig(batch_tokens=64).planned_batch_tokens(device) == 64


@pytest.mark.parametrize("gpus", [0, 0.25, 1, 2, "auto"])
def test_an_actor_has_whole_accelerators_or_a_part_of_one(gpus: Any) -> None:
    assert parse(changed("compute.gpus_per_actor", gpus)).compute.gpus_per_actor == gpus


@pytest.mark.parametrize(
    ("key", "value", "parts"),
    [
        ("gpus_per_actor", 1.5, ["gpus_per_actor above 1 has to be an integer", "1.5"]),
        ("gpu_per_actor", 1, ["unknown key", "nearest='gpus_per_actor'"]),
        ("device", "gpu", ["compute.device", "cuda"]),
    ],
)
def test_a_wrong_section_ends_with_one_line(key: str, value: Any, parts: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        parse(changed(f"compute.{key}", value))
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    for part in parts:
        assert part in text


@pytest.mark.parametrize(
    ("device", "gpus", "fits"), [("cuda", 0, False), ("cpu", 1, False), ("cuda", 0.5, True), ("cpu", 0, True)]
)
def test_a_device_and_the_accelerators_of_an_actor_agree(device: str, gpus: float, fits: bool) -> None:
    value = changed("compute.device", device)
    value["compute"]["gpus_per_actor"] = gpus
    if fits:
        assert parse(value).compute.device == device
    else:
        with pytest.raises(RecipeError, match="gpus_per_actor"):
            parse(value)


@pytest.mark.parametrize("selector", ["H100", "!spot", "in(A100, H100)", "!in(A100,H100)"])
def test_nodes_are_selected_by_their_labels(selector: str) -> None:
    labels = {"ray.io/accelerator-type": selector}
    assert parse(changed("compute.node_labels", labels)).compute.node_labels == labels


@pytest.mark.parametrize("labels", [{"zone": "in()"}, {"zone": "a b"}, {"a b": "x"}, {"zone": 1}, {"zone": "in(a"}])
def test_a_label_or_selector_that_ray_does_not_know_is_refused(labels: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="node_labels"):
        parse(changed("compute.node_labels", labels))


@pytest.mark.parametrize(("size", "is_valid"), [("auto", True), (0.5, True), (0.01, False), ("2GB", False)])
def test_the_object_store_has_a_size_that_ray_accepts(size: object, *, is_valid: bool) -> None:
    value = changed("compute.object_store_gib", size)
    if is_valid:
        assert parse(value).compute.object_store_gib == size
    else:
        with pytest.raises(RecipeError, match="object_store_gib"):
            parse(value)
