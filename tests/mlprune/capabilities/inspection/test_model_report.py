"""Reports on model folders: every weight is in one group, and nothing that stays dense is left out."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from mlprune.capabilities.inspection.model_report import BlockKind, ModelReport, report_model
from mlprune.errors import ModelError
from mlprune.models.loading import inspect_model
from mlprune.models.model_layers import dense_groups
from tests.recurrent_models import RECURRENT
from tests.refusals import refused
from tests.tiny_models import ALL_FAMILY_NAMES, POSITIONS, WINDOW, save_tiny_model, tiny_config


def config_folder(folder: Path, model_type: str, **settings: object) -> Path:
    """Write a folder that has only a config."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type, **settings}))
    return folder


def tiny_settings(name: str) -> dict[str, object]:
    return tiny_config(name, blocks=3, hidden=16, positions=POSITIONS) if name in ALL_FAMILY_NAMES else RECURRENT[name]


@pytest.fixture(scope="module", params=[*ALL_FAMILY_NAMES, *RECURRENT])
def described(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ModelReport]:
    """A model type, and the report on a config of it."""
    folder = config_folder(tmp_path_factory.mktemp("config"), request.param, **tiny_settings(request.param))
    return request.param, report_model(folder)


def test_every_weight_of_a_model_is_counted_once(described: tuple[str, ModelReport]) -> None:
    name, report = described
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **tiny_settings(name)))
    assert report.n_weights == sum(parameter.numel() for parameter in model.parameters())
    assert bool(report.tied) == (report.weights["head"] == 0)
    blocks = max(
        (m for m in model.modules() if isinstance(m, torch.nn.ModuleList)), key=lambda m: sum(1 for _ in m.parameters())
    )
    parameters = list(blocks.parameters())
    assert report.weights["vectors"] == sum(one.numel() for one in parameters if one.dim() < 2)
    matrices = sum(one.numel() for one in parameters if one.dim() >= 2)
    assert report.weights["prunable"] + report.weights["dense"] == matrices
    assert report.weights["dense"] == sum(group.n_weights for group in report.dense)


def test_every_block_is_of_one_kind(described: tuple[str, ModelReport]) -> None:
    name, report = described
    assert sorted(block for kind in report.kinds for block in kind.blocks) == [0, 1, 2]
    assert any("linear" in kind.name for kind in report.kinds) == (name in RECURRENT)
    for kind in report.kinds:
        for units in (kind.heads, kind.neurons):
            assert bool(units.counts) == (units.reason is None)


def test_parameters_that_stay_dense_are_listed_with_their_blocks_and_a_reason(tmp_path: Path) -> None:
    report = report_model(config_folder(tmp_path, "qwen3_5_text", **RECURRENT["qwen3_5_text"]))
    (convolution,) = report.dense
    assert (convolution.name, convolution.blocks) == ("linear_attn.conv1d.weight", (0, 1))
    assert convolution.n_weights == report.weights["dense"]
    assert convolution.reason


def by_name(report: ModelReport) -> dict[str, BlockKind]:
    return {kind.name: kind for kind in report.kinds}


def test_kinds_of_attention_heads_and_neurons_are_those_of_the_config(tmp_path: Path) -> None:
    report = report_model(config_folder(tmp_path, "gemma2", **tiny_settings("gemma2")))
    kinds = by_name(report)
    assert {name: kind.blocks for name, kind in kinds.items()} == {"full_attention": (0, 2), "sliding_attention": (1,)}
    assert report.window == WINDOW
    assert (kinds["full_attention"].heads.counts, kinds["full_attention"].neurons.counts) == ((1,), (32,))
    (olmo,) = report_model(config_folder(tmp_path, "olmo2", **tiny_settings("olmo2"))).kinds
    assert olmo.heads.reason is not None
    (mistral,) = report_model(config_folder(tmp_path, "mistral", **tiny_settings("mistral"))).kinds
    assert mistral.name == "sliding_attention"


def test_a_folder_with_weights_is_reported_with_their_size_dtype_and_template(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path, "llama", dtype=torch.bfloat16)
    report = report_model(folder)
    assert (report.has_weights, report.has_tokenizer, report.has_chat_template) == (True, True, False)
    assert (report.dtypes, report.n_bytes) == (("bfloat16",), (folder / "model.safetensors").stat().st_size)
    info = inspect_model(folder)
    assert (report.weights["prunable"], report.max_positions) == (info.n_prunable, info.max_positions)
    assert dense_groups(info.layers) == report.dense == ()
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert report_model(folder).has_chat_template


def test_weights_and_tokenizers_that_do_not_fit_the_config_are_refused(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "model", "llama")
    without_tokenizer = tmp_path / "other"
    without_tokenizer.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(folder / name, without_tokenizer)
    with refused(ModelError, path=str(without_tokenizer)):
        report_model(without_tokenizer)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 48}))
    with refused(ModelError, expected=(48, 16), got=(32, 16)):
        report_model(folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="mlprune import"):
        report_model(folder)


def test_the_layers_of_a_model_are_its_matrices_in_running_order(tmp_path: Path) -> None:
    layers = inspect_model(save_tiny_model(tmp_path, "llama", blocks=2)).layers
    assert [(one.block, one.layer) for one in layers[:2]] == [(0, "self_attn.q_proj"), (0, "self_attn.k_proj")]
    assert (layers[1].input, layers[1].n_out, layers[1].n_in, layers[1].n_weights) == ("self_attn.q_proj", 8, 16, 128)
    assert all(one.is_pruned and one.reason is None for one in layers)
    assert [one.block for one in layers] == [0] * 7 + [1] * 7
