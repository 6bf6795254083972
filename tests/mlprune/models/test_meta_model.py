"""Models without weights, and loading their parameters."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from mlprune.errors import ModelError
from mlprune.models.local_chain import load_shard
from mlprune.models.meta_model import MetaModel, build_skeleton
from tests.refusals import refused
from tests.tiny_models import ALL_FAMILY_NAMES, ARCHITECTURES, POSITIONS, VOCABULARY, load_shard_module, save_tiny_model

LARGE = VOCABULARY - 1


def embedding_on_demand(path, dtype="float32"):
    """The token embedding of a model without weights, which reads its rows on demand."""
    meta_model = MetaModel(path, dtype)
    assert meta_model.keep_embedding_on_disk(meta_model.architecture.embeddings[0]) == [
        f"{meta_model.architecture.embeddings[0]}.weight"
    ]
    return meta_model.model.get_input_embeddings()


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", ALL_FAMILY_NAMES)
def test_rows_read_on_demand_equal_those_of_the_loaded_embedding(tmp_path, name):
    path = save_tiny_model(tmp_path, name)
    many = torch.randint(VOCABULARY, (3, 17), generator=torch.Generator().manual_seed(0))
    # XGLM also skips the position of its padding token, which it needs to have
    for pad, dtype in ((0, "float32"), (3, "bfloat16"), (POSITIONS if name == "xglm" else LARGE, "float32")):
        edit_json(path / "config.json", pad_token_id=pad)
        meta_model = MetaModel(path, dtype)
        meta_model.load(meta_model.names_in(meta_model.architecture.embeddings[0]))
        loaded, embedding = meta_model.model.get_input_embeddings(), embedding_on_demand(path, dtype)
        for token_ids in (many, torch.tensor([[5]]), torch.tensor([[pad]]), torch.tensor([[pad, 5, pad]])):
            assert torch.equal(embedding(token_ids), loaded(token_ids))
            assert embedding.weight.device.type == "meta"


def test_other_modules_before_the_blocks_are_not_left_in_the_checkpoint(tmp_path):
    meta_model = MetaModel(save_tiny_model(tmp_path, "gpt2"), "float32")
    assert meta_model.keep_embedding_on_disk("transformer.wpe") == []


def test_a_token_without_a_row_is_an_error_and_leaves_no_rows_in_memory(tmp_path):
    embedding = embedding_on_demand(save_tiny_model(tmp_path))
    for wrong in (VOCABULARY, -1):
        with refused(ModelError, expected=f"0 to {VOCABULARY - 1}", got=wrong):
            embedding(torch.tensor([[5, wrong]]))
        assert embedding.weight.device.type == "meta"
    assert embedding(torch.tensor([[5]])).shape == (1, 1, embedding.embedding_dim)


def test_an_embedding_of_another_shape_is_an_error(path):
    tensors = load_file(path / "model.safetensors")
    tensors["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"][1:].clone()
    save_file(tensors, path / "model.safetensors")
    with refused(ModelError, expected=(260, 16), got=(259, 16)):
        embedding_on_demand(path)


def test_a_deleted_checkpoint_is_an_error_that_names_it(path):
    embedding = embedding_on_demand(path)
    (path / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        embedding(torch.tensor([[5]]))


def test_a_shard_never_loads_the_token_embedding_and_threads_can_share_it(tmp_path):
    runner = load_shard(save_tiny_model(tmp_path), range(3), n_blocks=3, dtype="float32").runner
    embedding = runner.model.get_input_embeddings()
    assert embedding.weight.device.type == "meta"
    batches = [torch.tensor([[n % VOCABULARY, (7 * n) % VOCABULARY]]) for n in range(64)]

    def embedded(token_ids):
        return runner.embed(token_ids, torch.ones_like(token_ids).bool()).hidden

    with torch.inference_mode():
        alone = [embedded(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(torch.inference_mode()(embedded), batches))
    assert all(torch.equal(states, other) for states, other in zip(alone, together, strict=True))


TOKENS = torch.tensor([[1, 50, 60, 70, 71, 72], [1, 9, 8, 7, 6, 5]])


def edit_json(file, **changes):
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", ALL_FAMILY_NAMES)
def test_one_shard_gives_exactly_the_logits_of_from_pretrained(folders, name):
    for dtype in ("float32", "bfloat16"):
        expected = AutoModelForCausalLM.from_pretrained(folders[name], dtype=dtype).eval()
        model = load_shard_module(folders[name], range(3), dtype)
        with torch.inference_mode():
            assert torch.equal(model(TOKENS).logits, expected(TOKENS).logits)
        assert not model.training


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", ALL_FAMILY_NAMES)
def test_a_shard_loads_only_its_own_parameters(folders, name):
    path, architecture = folders[name], ARCHITECTURES[name]
    real = [
        {n for n, p in load_shard_module(path, span, "float32").named_parameters() if p.device.type != "meta"}
        for span in (range(1), range(1, 2), range(2, 3))
    ]
    ends = architecture.after_blocks
    assert all(n.startswith(f"{architecture.blocks}.1.") for n in real[1])
    assert not any(n.startswith((f"{architecture.blocks}.1.", f"{architecture.blocks}.2.", *ends)) for n in real[0])
    assert all(n.startswith((f"{architecture.blocks}.2.", *ends)) for n in real[2])
    assert f"{architecture.head}.weight" in real[2]
    assert not any(n.startswith(architecture.embeddings) for n in real[1] | real[2])
    assert any(n.startswith(architecture.embeddings[0]) for n in real[0])


def test_absurd_configs_are_refused_before_the_library_reads_them(tmp_path, monkeypatch):
    path = save_tiny_model(tmp_path, "qwen2")
    config = (path / "config.json").read_text()
    monkeypatch.setattr("mlprune.models.meta_model.AutoConfig", None)
    for key in ("num_hidden_layers", "vocab_size", "hidden_size", "max_position_embeddings"):
        edit_json(path / "config.json", **{key: 10**9})
        with pytest.raises(ModelError, match="1000000000"):
            build_skeleton(path, torch.float32)
        (path / "config.json").write_text(config)
    (path / "config.json").write_text('{"a":' * 100_000 + "1" + "}" * 100_000)
    with pytest.raises(ModelError):
        build_skeleton(path, torch.float32)


def test_a_tied_head_of_the_last_shard_is_the_embedding(folders):
    tensors = load_file(folders["xglm"] / "model.safetensors")
    assert "lm_head.weight" not in tensors
    head = load_shard_module(folders["xglm"], range(2, 3), "float32").lm_head
    assert torch.equal(head.weight, tensors["model.embed_tokens.weight"])
    whole = load_shard_module(folders["xglm"], range(3), "float32")
    assert whole.lm_head.weight is whole.model.embed_tokens.weight


def test_an_untied_head_is_read_and_must_exist(tmp_path):
    path = save_tiny_model(tmp_path, "gpt2")
    edit_json(path / "config.json", tie_word_embeddings=False)
    with refused(ModelError, expected="lm_head.weight"):
        load_shard_module(path, range(3), "float32")
    tensors = load_file(path / "model.safetensors")
    head = torch.randn_like(tensors["transformer.wte.weight"])
    save_file({**tensors, "lm_head.weight": head}, path / "model.safetensors")
    assert torch.equal(load_shard_module(path, range(3), "float32").lm_head.weight, head)


def test_float16_checkpoints_are_loaded_as_float32(tmp_path):
    path = save_tiny_model(tmp_path, dtype=torch.float16)
    model = load_shard_module(path, range(3), "float32")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert {buffer.dtype for buffer in model.buffers()} == {torch.float32}


def test_the_head_of_a_neox_is_found_under_its_old_and_its_new_name(tmp_path):
    path = save_tiny_model(tmp_path, "gpt_neox")
    tensors = load_file(path / "model.safetensors")
    head = tensors.pop("embed_out.weight")
    assert torch.equal(load_shard_module(path, range(2, 3), "float32").lm_head.weight, head)
    save_file({**tensors, "lm_head.weight": head}, path / "model.safetensors")
    assert torch.equal(load_shard_module(path, range(2, 3), "float32").lm_head.weight, head)


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation", "experts_implementation"])
def test_an_implementation_that_a_config_names_from_a_hub_is_ignored(tmp_path, key):
    path = save_tiny_model(tmp_path, "llama")
    expected = build_skeleton(path, torch.float32).config
    edit_json(path / "config.json", **{key: "kernels-community/flash-attn2"})
    config = build_skeleton(path, torch.float32).config
    assert config._attn_implementation == expected._attn_implementation
    assert config._experts_implementation == expected._experts_implementation
