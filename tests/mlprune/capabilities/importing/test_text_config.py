"""Import of the text part of multimodal checkpoints, compared with the multimodal model of transformers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

from mlprune.capabilities.importing.model_import import import_model, model_layout
from mlprune.capabilities.importing.sources import safetensors_source
from mlprune.capabilities.importing.sources.safetensors_source import SafetensorsReader
from mlprune.capabilities.importing.sources.weight_format import TensorSpec
from mlprune.capabilities.importing.tensor_names import ModelLayout, plan_tensors
from mlprune.capabilities.importing.text_config import write_text_config
from mlprune.errors import ModelError
from mlprune.models import meta_model
from mlprune.models.import_record import ImportRecord, read_import_record
from mlprune.models.loading import inspect_model
from tests.multimodal_models import (
    CONFIGS,
    change_config,
    multimodal_model,
    publish_multimodal,
    rewrite,
    stored_tensors,
    text_logits,
)
from tests.refusals import refused

TEXT_TYPES = {
    "gemma3": "gemma3_text",
    "gemma4": "gemma4_text",
    "mistral3": "ministral3",
    "qwen3_5": "qwen3_5_text",
}
TOKENS = torch.randint(3, 250, (3, 12), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny checkpoint of each multimodal type."""
    folder = tmp_path_factory.mktemp("published")
    return {name: publish_multimodal(folder / name, multimodal_model(name)) for name in CONFIGS}


def copied(source: Path, target: Path) -> Path:
    """A copy of a checkpoint that a test may change."""
    target.mkdir()
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


def import_text(source: Path, out: Path, **options: Any) -> ImportRecord:
    return import_model(source, out, report=lambda _: None, **options).record


def renamed(tensors: dict[str, Tensor], *replacements: tuple[str, str]) -> dict[str, Tensor]:
    """Tensors of which a start of the name is replaced; of several starts the first one that fits."""

    def new_name(name: str) -> str:
        found = next(((old, new) for old, new in replacements if name.startswith(old)), ("", ""))
        return found[1] + name.removeprefix(found[0])

    return {new_name(name): tensor for name, tensor in tensors.items()}


def assert_same_logits(multimodal: Path, text: Path) -> None:
    model, info = AutoModelForCausalLM.from_pretrained(text, dtype=torch.float32, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    whole = AutoModelForImageTextToText.from_pretrained(multimodal, dtype=torch.float32)
    expected, got = (text_logits(each.eval(), TOKENS).log_softmax(-1) for each in (whole, model))
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)
    assert got.std() > 0.1


@pytest.mark.thorough("imports checkpoints of many forms")
@pytest.mark.usefixtures("without_child")
@pytest.mark.parametrize("model_type", CONFIGS)
def test_the_imported_text_model_computes_what_the_multimodal_model_computes_from_text(
    tmp_path: Path, published: dict[str, Path], model_type: str
) -> None:
    record = import_text(published[model_type], tmp_path / "out")
    assert_same_logits(published[model_type], tmp_path / "out")
    config = AutoConfig.from_pretrained(tmp_path / "out")
    assert (config.model_type, record.part_of) == (TEXT_TYPES[model_type], model_type)
    assert read_import_record(tmp_path / "out") == record
    assert (config.vocab_size, config.eos_token_id, config.num_hidden_layers) == (260, 1, 4)
    n_stored, n_written = len(stored_tensors(published[model_type])), len(stored_tensors(tmp_path / "out"))
    assert sum(record.left_out.values()) == n_stored - n_written > 0
    assert record.dropped == ()
    assert "text_config" not in json.loads((tmp_path / "out" / "config.json").read_text())


LAYOUTS = [
    (("model.language_model.", "language_model.model."), ("lm_head", "language_model.lm_head"), ("model.", "")),
    (("language_model.model.", "model.language_model."), ("language_model.lm_head", "lm_head"), ("", "model.")),
    (
        ("language_model.model.", "model."),
        ("model.language_model.", "model."),
        ("language_model.lm_head", "lm_head"),
        ("model.", ""),
    ),
]
"""Replaced starts of names: text in a model of its own, text in the base model, text at the root."""


@pytest.mark.thorough("imports checkpoints of many forms")
@pytest.mark.usefixtures("without_child")
@pytest.mark.parametrize("layout", LAYOUTS, ids=["own model", "base model", "root"])
@pytest.mark.parametrize("model_type", ["gemma3", "mistral3", "qwen3_5"])
def test_the_text_part_is_found_under_any_prefix(
    tmp_path: Path, published: dict[str, Path], model_type: str, layout: tuple[tuple[str, str], ...]
) -> None:
    tensors = stored_tensors(published[model_type])
    source = rewrite(copied(published[model_type], tmp_path / "source"), renamed(tensors, *layout))
    import_text(published[model_type], tmp_path / "expected")
    import_text(source, tmp_path / "out")
    expected, got = stored_tensors(tmp_path / "expected"), stored_tensors(tmp_path / "out")
    assert set(got) == set(expected)
    assert all(torch.equal(got[name], tensor) for name, tensor in expected.items())


@pytest.mark.usefixtures("without_child")
def test_parts_that_are_left_out_are_counted_by_name(tmp_path: Path, published: dict[str, Path]) -> None:
    extra = {"mtp.layers.0.mlp.up_proj.weight": torch.ones(4, 4), "mtp.norm.weight": torch.ones(4)}
    tensors = stored_tensors(published["gemma3"])
    source = rewrite(copied(published["gemma3"], tmp_path / "source"), {**tensors, **extra})
    record = import_text(source, tmp_path / "out")
    n_vision = sum(name.startswith("vision_tower.") for name in tensors)
    n_projector = sum(name.startswith("multi_modal_projector.") for name in tensors)
    assert record.left_out == {"mtp": 2, "multi_modal_projector": n_projector, "vision_tower": n_vision}


@pytest.mark.usefixtures("without_child")
def test_tensors_that_the_library_skips_are_dropped_inside_the_text_part(
    tmp_path: Path, published: dict[str, Path]
) -> None:
    import_text(published["qwen3_5"], tmp_path / "out")
    assert "^mtp.*" in model_layout(tmp_path / "out", is_part=True).unread
    layout = ModelLayout(
        {"model.layers.0.q_proj": (2,)}, (), {}, "model.", (), is_part=True, unread=(r"layers.0.k_proj",)
    )
    names = ("text.layers.0.q_proj", "text.layers.0.k_proj", "text.other", "vision.layers.0.k_proj")
    specs = [TensorSpec(name, (2,), torch.float32, "file", (name,)) for name in names]
    plan = plan_tensors(specs, layout, where=tmp_path)
    assert plan.written == (("model.layers.0.q_proj", specs[0]),)
    assert plan.dropped == ("text.layers.0.k_proj",)
    assert plan.left_out == {"text.other": 1, "vision": 1}


@pytest.mark.usefixtures("without_child")
def test_stored_buffers_of_the_text_part_are_written(tmp_path: Path, published: dict[str, Path]) -> None:
    import_text(published["gemma4"], tmp_path / "out")
    name = "layers.2.layer_scalar"
    stored = stored_tensors(published["gemma4"])[f"model.language_model.{name}"]
    assert torch.equal(stored_tensors(tmp_path / "out")[f"model.{name}"], stored)
    loaded = meta_model.MetaModel(tmp_path / "out", "float32").model
    assert torch.equal(loaded.get_buffer(f"model.{name}"), stored)


@pytest.mark.usefixtures("without_child")
def test_several_files_with_an_index_are_read_and_a_family_with_a_record_can_be_pruned(
    tmp_path: Path, published: dict[str, Path]
) -> None:
    model = AutoModelForImageTextToText.from_pretrained(published["gemma3"])
    source = publish_multimodal(tmp_path / "source", model, max_shard_size="20KB")
    assert len(list(source.glob("model-*.safetensors"))) > 1
    record = import_text(source, tmp_path / "out")
    assert {"config.json", "tokenizer.json", "model.safetensors.index.json"} < set(record.files)
    assert_same_logits(source, tmp_path / "out")
    info = inspect_model(tmp_path / "out")
    assert (info.family, info.n_blocks, info.hidden_size) == ("gemma3_text", 4, 16)
    assert record.shared == {"lm_head.weight": "model.embed_tokens.weight"}


@pytest.mark.usefixtures("without_child")
def test_only_the_text_part_is_read_for_writing_and_in_small_pieces(
    tmp_path: Path, published: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    n_bytes: dict[str, list[int]] = {}
    read_pieces = SafetensorsReader.pieces

    def pieces(reader: SafetensorsReader, spec: TensorSpec) -> Iterator[Tensor]:
        for piece in read_pieces(reader, spec):
            n_bytes.setdefault(spec.name, []).append(piece.nbytes)
            yield piece

    monkeypatch.setattr(SafetensorsReader, "pieces", pieces)
    monkeypatch.setattr(safetensors_source, "PIECE_BYTES", 512)
    import_text(published["gemma3"], tmp_path / "out")
    assert all(name.startswith("language_model.") for name in n_bytes)
    assert max(max(sizes) for sizes in n_bytes.values()) == 512
    assert sum(map(sum, n_bytes.values())) == sum(tensor.nbytes for tensor in stored_tensors(tmp_path / "out").values())


@pytest.mark.usefixtures("without_child")
def test_weights_of_a_text_part_are_converted(tmp_path: Path, published: dict[str, Path]) -> None:
    import_text(published["gemma3"], tmp_path / "out", dtype="bfloat16")
    assert {tensor.dtype for tensor in stored_tensors(tmp_path / "out").values()} == {torch.bfloat16}
    assert AutoConfig.from_pretrained(tmp_path / "out").dtype == torch.bfloat16


@pytest.mark.thorough("imports checkpoints of many forms")
@pytest.mark.usefixtures("without_child")
@pytest.mark.parametrize("is_equal", [True, False])
def test_a_head_that_is_stored_apart_is_tied_only_if_it_equals_the_embedding(
    tmp_path: Path, published: dict[str, Path], *, is_equal: bool
) -> None:
    source = copied(published["gemma3"], tmp_path / "source")
    tensors = stored_tensors(source)
    embedding = tensors["language_model.model.embed_tokens.weight"]
    rewrite(source, {**tensors, "language_model.lm_head.weight": embedding + (0 if is_equal else 1)})
    import_text(source, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["tie_word_embeddings"] is is_equal
    assert ("lm_head.weight" in stored_tensors(tmp_path / "out")) is not is_equal
    assert_same_logits(source, tmp_path / "out")


@pytest.mark.thorough("imports checkpoints of many forms")
@pytest.mark.usefixtures("without_child")
@pytest.mark.parametrize("model_type", ["gemma3", "qwen3_5"])
def test_a_head_that_is_not_stored_is_that_of_the_embedding_if_the_outer_config_says_so(
    tmp_path: Path, model_type: str
) -> None:
    source = publish_multimodal(tmp_path / "source", multimodal_model(model_type, tie_word_embeddings=True))
    assert not any("lm_head" in name for name in stored_tensors(source))
    import_text(source, tmp_path / "out")
    assert_same_logits(source, tmp_path / "out")


def test_the_config_gets_token_ids_and_dtype_of_the_outer_config_that_it_does_not_state(tmp_path: Path) -> None:
    text = {key: value for key, value in CONFIGS["gemma3"]["text_config"].items() if key != "eos_token_id"}
    outer = {"eos_token_id": [1, 106], "pad_token_id": 5, "dtype": "bfloat16", "model_type": "gemma3"}
    (tmp_path / "config.json").write_text(json.dumps({**CONFIGS["gemma3"], "text_config": text, **outer}))
    assert write_text_config(tmp_path) == "gemma3"
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architectures"] == ["Gemma3ForCausalLM"]
    assert (config["eos_token_id"], config["pad_token_id"], config["dtype"]) == ([1, 106], 0, "bfloat16")
    assert config["num_attention_heads"] == 2
    assert write_text_config(tmp_path) is None


def test_defaults_of_the_library_are_written_because_published_configs_leave_them_out(tmp_path: Path) -> None:
    text = {"model_type": "gemma3_text", "hidden_size": 2560, "num_hidden_layers": 34}
    vision = {"model_type": "siglip_vision_model"}
    stated = {"model_type": "gemma3", "text_config": text, "vision_config": vision}
    (tmp_path / "config.json").write_text(json.dumps(stated))
    write_text_config(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["hidden_size"], config["num_attention_heads"], config["vocab_size"]) == (2560, 8, 262_208)


@pytest.mark.usefixtures("without_child")
def test_the_chat_template_is_copied(tmp_path: Path, published: dict[str, Path]) -> None:
    source = copied(published["gemma3"], tmp_path / "source")
    (source / "chat_template.jinja").write_text("{{ messages }}")
    import_text(source, tmp_path / "out")
    assert (tmp_path / "out" / "chat_template.jinja").read_text() == "{{ messages }}"


@pytest.mark.parametrize(
    ("config", "context"),
    [
        (
            {"model_type": "blip-2", "text_config": {"model_type": "t5"}, "vision_config": {}},
            {"model_type": "blip-2", "expected": "one part that is a causal language model"},
        ),
        (
            {
                "model_type": "granite_speech",
                "text_config": {"model_type": "granite"},
                "projector_config": {"model_type": "gpt2"},
            },
            {"got": {"text_config": "granite", "projector_config": "gpt2"}},
        ),
        (
            {"model_type": "some_vl", "auto_map": {"AutoModel": "x.Y"}, "text_config": {"model_type": "llama"}},
            {"model_type": "some_vl"},
        ),
        ({"model_type": "some_vl", "text_config": {"model_type": "llama"}}, {"model_type": "some_vl"}),
        ({"model_type": "gemma3", "text_config": {"hidden_size": "wide"}}, {}),
    ],
    ids=["no decoder", "several", "code in the folder", "unknown type", "wrong value"],
)
def test_models_without_one_text_part_are_refused_in_one_line(
    tmp_path: Path, config: dict[str, Any], context: dict[str, Any]
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with refused(ModelError, **context) as caught:
        write_text_config(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "llama", "rope_parameters": {"rope_type": "default"}},
        {"model_type": "t5", "is_encoder_decoder": True, "text_config": {}},
        {"model_type": "dbrx", "attn_config": {"clip_qkv": 8}},
        {"a": {}},
    ],
)
def test_configs_of_other_models_stay_as_they_are(tmp_path: Path, config: dict[str, Any]) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert write_text_config(tmp_path) is None
    assert json.loads((tmp_path / "config.json").read_text()) == config


@pytest.mark.usefixtures("without_child")
def test_missing_unknown_and_repeated_tensors_of_the_text_part_are_refused(
    tmp_path: Path, published: dict[str, Path]
) -> None:
    tensors, name = stored_tensors(published["gemma3"]), "language_model.model.layers.2.mlp.up_proj.weight"
    without = {other: tensor for other, tensor in tensors.items() if other != name}
    again = {f"other.{other}": tensor for other, tensor in tensors.items() if other.startswith("language_model.")}
    source = copied(published["gemma3"], tmp_path / "source")
    rewrite(source, without)
    with refused(ModelError, tensors=["model.layers.2.mlp.up_proj.weight"], path=str(source)):
        import_text(source, tmp_path / "out")
    rewrite(source, {**tensors, name.replace("2", "4"): torch.ones(2, 2)})
    with refused(ModelError, tensors=[name.replace("2", "4")]):
        import_text(source, tmp_path / "out")
    rewrite(source, {**tensors, name: torch.ones(2, 2)})
    with refused(ModelError, tensor=name, got=(2, 2)):
        import_text(source, tmp_path / "out")
    rewrite(source, {**tensors, **again})
    with refused(ModelError, got=["language_model.model.", "other.language_model.model."]):
        import_text(source, tmp_path / "out")
    rewrite(source, {"vision.weight": torch.ones(2)})
    with refused(ModelError, got=[]):
        import_text(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_refuses_a_multimodal_folder_with_the_command_that_imports_its_text_part(
    published: dict[str, Path],
) -> None:
    folder = published["gemma3"]
    with refused(ModelError, path=str(folder)) as caught:
        inspect_model(folder)
    assert caught.value.context["next"].startswith(f"mlprune import {folder} --out {folder}-imported")
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("without_child")
def test_a_quantised_multimodal_model_is_refused(tmp_path: Path, published: dict[str, Path]) -> None:
    source = copied(published["gemma3"], tmp_path / "source")
    change_config(source, quantization_config={"quant_method": "fp8"})
    with refused(ModelError, got="fp8"):
        import_text(source, tmp_path / "out")
