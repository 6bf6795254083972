"""Limits of model folders: sizes of files, experts, labels and blocks, and the time and memory of a first reading."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig

from mlprune.errors import ModelError, StoreError
from mlprune.models.architecture.config_checks import MAX_BLOCKS, largest_numbers, require_buildable
from mlprune.models.architecture.lookup import architecture_of
from mlprune.models.architecture.traced_experts import TRACED_EXPERTS
from mlprune.models.checkpoint.weight_files import architecture_at
from mlprune.models.experts import MAX_EXPERTS
from mlprune.models.loading import check_tokenizer
from mlprune.models.meta_model import skeleton_of
from mlprune.models.model_limits import most_mib, require_sizes, within_limits
from mlprune.processes.limited import HAS_LIMITS, Limits
from tests.forked_runs import mlprune
from tests.refusals import refused
from tests.tiny_models import tiny_tokenizer

SMALL = Limits(processor_s=0.3, memory_bytes=96 << 20)
LITTLE_MEMORY = Limits(processor_s=5, memory_bytes=128 << 20)
BASE = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "vocab_size": 260,
    "max_position_embeddings": 64,
}
pytestmark = pytest.mark.usefixtures("children_with_limits")
needs_limits = pytest.mark.skipif(not HAS_LIMITS, reason="the system has no limits of memory")


def _with_config(folder: Path, config: dict[str, Any]) -> Path:
    (folder / "config.json").write_text(json.dumps({**BASE, **config}))
    return folder


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "mixtral", "num_local_experts": 10**6},
        {"model_type": "deepseek_v3", "n_routed_experts": 10**6, "first_k_dense_replace": 0},
        {"model_type": "gpt_oss", "num_local_experts": 10**6},
    ],
    ids=lambda config: config["model_type"],
)
def test_experts_of_all_blocks_have_a_limit_whatever_their_key(config: dict[str, Any]) -> None:
    with refused(ModelError, expected=f"at most {MAX_EXPERTS:,} in all blocks") as caught:
        architecture_of({**BASE, **config})
    assert "2,000,000" in str(caught.value.context["got"])


@pytest.mark.parametrize("config", [{"num_hidden_layers": 1000}, {"num_labels": 10**9}, {"n_layer": MAX_BLOCKS + 1}])
def test_blocks_and_labels_have_a_limit(config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at most"):
        require_buildable(config)


def test_experts_that_did_not_run_have_the_layers_of_the_others() -> None:
    config = {**BASE, "model_type": "mixtral", "num_local_experts": TRACED_EXPERTS + 3}
    architecture = architecture_of(config)
    model = skeleton_of(AutoConfig.for_model(**config), torch.float32)
    names = {name.removesuffix(".weight") for name, weight in model.named_parameters() if weight.dim() == 2}
    prefix = f"{architecture.blocks}.1."
    of_experts = {name.removeprefix(prefix) for name in names if name.startswith(prefix) and ".experts." in name}
    kind = architecture.block(1)
    assert kind.experts is not None
    assert kind.experts.n_experts == TRACED_EXPERTS + 3
    assert of_experts == {layer for layer in kind.layers if ".experts." in layer}
    numbers = [layer.split(".experts.")[1].split(".")[0] for layer in kind.layers if ".experts." in layer]
    assert numbers == sorted(numbers, key=int)
    assert {len(kind.ways_of[f"{layer}.weight"]) for layer in of_experts} == {2}


@needs_limits
def test_a_list_that_a_config_makes_is_bounded_by_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlprune.models.model_limits.READING", LITTLE_MEMORY)
    with pytest.raises(ModelError, match="memory") as caught:
        architecture_of({"model_type": "gpt_neo", "num_layers": 2, "attention_types": [[["global"], 10**10]]})
    assert caught.value.context["largest"] == {"attention_types": 10**10, "num_layers": 2}


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "chat_template.jinja", "merges.txt"])
def test_a_large_file_is_refused_by_its_size(tmp_path: Path, name: str) -> None:
    with (tmp_path / name).open("wb") as file:
        file.truncate((most_mib(name) << 20) + 1)
    with refused(ModelError, path=str(tmp_path / name), expected=f"at most {most_mib(name)} MiB"):
        require_sizes(tmp_path, [name, "missing.json"])


def test_a_large_config_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(400 << 20)
    with refused(ModelError, path=str(tmp_path / "config.json")) as caught:
        architecture_at(tmp_path)
    assert "too large" in str(caught.value)


@needs_limits
def test_the_rules_of_a_tokenizer_run_within_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlprune.models.model_limits.READING", LITTLE_MEMORY)
    _with_config(tmp_path, {"model_type": "llama"})
    tiny_tokenizer().save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "tokenizer.json").read_text())
    doubled = {"type": "Replace", "pattern": {"String": "e"}, "content": "ee"}
    settings["normalizer"] = {"type": "Sequence", "normalizers": [doubled] * 40}
    (tmp_path / "tokenizer.json").write_text(json.dumps(settings))
    with refused(ModelError, path=str(tmp_path)) as caught:
        check_tokenizer(tmp_path)
    assert "tokenizer" in caught.value.message
    assert {"expected", "got", "next"} <= caught.value.context.keys()


def _loop() -> dict[str, Any]:
    while True:
        pass


@needs_limits
@pytest.mark.parametrize(("compute", "unit"), [(_loop, "0.3 s"), (lambda: {"x": "x" * 10**9}, "96 MiB")])
def test_a_refusal_says_the_limit(compute: Any, unit: str) -> None:
    with refused(ModelError, largest={"n": 1}) as caught:
        within_limits("the model's config", compute, limits=SMALL, largest={"n": 1})
    assert unit in str(caught.value.context["expected"])


def test_an_error_keeps_its_class_and_context() -> None:
    def fail() -> dict[str, Any]:
        raise StoreError("no", path="here", expected=[1], got=None)

    with refused(StoreError, path="here", expected=[1], got=None) as caught:
        within_limits("the model's config", fail, limits=SMALL)
    assert caught.value.message == "no"


def test_the_largest_numbers_of_a_config_are_named_with_their_keys() -> None:
    config = {"a": 5, "b": {"c": 7, "d": [[1, 9]]}, "e": True, "f": "text", "g": 2.5}
    assert largest_numbers(config) == {"d": 9, "c": 7, "a": 5}


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "phi3", "pad_token_id": 0, "original_max_position_embeddings": 32}
        | {"rope_scaling": {"type": "longrope", "short_factor": [1.0] * 10**5, "long_factor": [1.0] * 10**5}},
        {"model_type": "mixtral", "num_local_experts": 10**6},
    ],
    ids=["longrope", "experts"],
)
def test_the_command_refuses_in_one_line_without_messages_of_the_libraries(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    done = mlprune("check", "model", _with_config(tmp_path, config))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
