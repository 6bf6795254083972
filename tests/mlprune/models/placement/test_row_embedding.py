from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors.torch import load_file, save_file

from mlprune.errors import ModelError
from mlprune.models.meta_model import MetaModel
from mlprune.models.shard_loader import load_shard
from tests.tiny_models import ALL_FAMILY_NAMES, POSITIONS, VOCABULARY, save_tiny_model

LARGE = VOCABULARY - 1


def embedding_on_demand(path, dtype="float32"):
    """The token embedding of a model without weights, which reads its rows on demand."""
    meta_model = MetaModel(path, dtype)
    assert meta_model.keep_embedding_on_disk(meta_model.family.embeddings[0]) == [
        f"{meta_model.family.embeddings[0]}.weight"
    ]
    return meta_model.model.get_input_embeddings()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("pad", [0, 3, LARGE])
@pytest.mark.parametrize("name", ALL_FAMILY_NAMES)
def test_rows_read_on_demand_equal_those_of_the_loaded_embedding(tmp_path, name, pad, dtype):
    if pad == LARGE and name == "xglm":
        pad = POSITIONS  # XGLM also skips this position, which it needs to have
    path = save_tiny_model(tmp_path, name, pad_token_id=pad)
    meta_model = MetaModel(path, dtype)
    meta_model.load(meta_model.names_in(meta_model.family.embeddings[0]))
    loaded, embedding = meta_model.model.get_input_embeddings(), embedding_on_demand(path, dtype)
    many = torch.randint(VOCABULARY, (3, 17), generator=torch.Generator().manual_seed(0))
    for token_ids in (many, torch.tensor([[5]]), torch.tensor([[pad]]), torch.tensor([[pad, 5, pad]])):
        assert torch.equal(embedding(token_ids), loaded(token_ids))
        assert embedding.weight.device.type == "meta"


def test_other_modules_before_the_blocks_are_not_left_in_the_checkpoint(tmp_path):
    meta_model = MetaModel(save_tiny_model(tmp_path, "gpt2"), "float32")
    assert meta_model.keep_embedding_on_disk("transformer.wpe") == []


def test_a_token_without_a_row_is_an_error_and_leaves_no_rows_in_memory(tmp_path):
    embedding = embedding_on_demand(save_tiny_model(tmp_path))
    for wrong in (VOCABULARY, -1):
        with pytest.raises(ModelError, match=f"no row in the embedding.*expected='0 to {VOCABULARY - 1}', got={wrong}"):
            embedding(torch.tensor([[5, wrong]]))
        assert embedding.weight.device.type == "meta"
    assert embedding(torch.tensor([[5]])).shape == (1, 1, embedding.embedding_dim)


def test_an_embedding_of_another_shape_is_an_error(tmp_path):
    path = save_tiny_model(tmp_path)
    tensors = load_file(path / "model.safetensors")
    tensors["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"][1:].clone()
    save_file(tensors, path / "model.safetensors")
    with pytest.raises(ModelError, match="does not fit the config"):
        embedding_on_demand(path)


def test_a_deleted_checkpoint_is_an_error_that_names_it(tmp_path):
    path = save_tiny_model(tmp_path)
    embedding = embedding_on_demand(path)
    (path / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"rows of the embedding cannot be read.*model\.safetensors"):
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
