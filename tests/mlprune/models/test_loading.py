"""Tokenizers without vocabulary, of other models, or for other texts are found."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from mlprune.errors import ModelError
from mlprune.models.loading import (
    SENTENCE,
    check_size,
    check_tokenizer,
    coverage,
    inspect_model,
    load_tokenizer,
    resolve_model,
)
from tests.expert_models import save_expert_model
from tests.hub import Hub, serving, use_hub
from tests.refusals import refused
from tests.tiny_models import (
    ALL_FAMILY_NAMES,
    ARCHITECTURES,
    END,
    HIDDEN,
    POSITIONS,
    VOCABULARY,
    load_shard_module,
    save_tiny_model,
    tiny_model,
    tiny_tokenizer,
)


def _word_tokenizer(*words: str) -> PreTrainedTokenizerFast:
    """Tokenizer that knows only these words."""
    vocabulary = {word: number for number, word in enumerate(["</s>", "<unk>", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder without tokenizer."""
    path = save_tiny_model(tmp_path_factory.mktemp("model"))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (path / name).unlink()
    return path


@pytest.mark.parametrize(
    ("files", "advice"),
    [((), "mlprune import SOURCE --out FOLDER"), (("sentencepiece.bpe.model",), "mlprune import /")],
)
def test_a_folder_without_tokenizer_json_is_refused_with_what_to_do(
    tmp_path: Path, files: tuple[str, ...], advice: str
) -> None:
    for name in ("config.json", *files):
        (tmp_path / name).write_text("{}")
    expected = ["tokenizer.json", "vocab.json+merges.txt"]
    with refused(ModelError, expected=expected, got=["config.json", *files]) as caught:
        load_tokenizer(tmp_path)
    assert advice in str(caught.value)


def test_a_tokenizer_with_few_tokens_is_not_that_of_the_model(folder: Path) -> None:
    _word_tokenizer(*SENTENCE.split()).save_pretrained(folder)
    with pytest.raises(ModelError) as caught:
        check_tokenizer(folder)
    assert "260" in str(caught.value.context["expected"])


def test_a_tokenizer_that_does_not_know_english_is_damaged(folder: Path) -> None:
    _word_tokenizer(*(f"word{number}" for number in range(200))).save_pretrained(folder)
    with pytest.raises(ModelError):
        check_tokenizer(folder)


def test_tokens_beyond_the_embedding_are_refused_unless_they_were_added_and_no_text_gets_them(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    check_size(tokenizer, VOCABULARY * 5 // 4, path=tmp_path)
    check_size(tokenizer, 259, path=tmp_path)
    with refused(ModelError, largest_id=258):
        check_size(tokenizer, 258, path=tmp_path)
    tokenizer.add_tokens(["<image>"])
    check_size(tokenizer, 259, path=tmp_path)
    tokenizer.add_special_tokens({"eos_token": "<end>"})
    with refused(ModelError, expected="about 259 (vocab_size in config.json)", got=261):
        check_size(tokenizer, 259, path=tmp_path)


def test_coverage_counts_unknown_tokens_and_lost_characters() -> None:
    known = coverage(_word_tokenizer("one", "two"), ["one two", "two three"])
    assert known.unknown_share == 0.25
    assert known.reproduced_share == 9 / 14
    assert not known.is_sufficient


def test_differences_that_tokenizers_make_are_not_lost_characters() -> None:
    known = coverage(_word_tokenizer("one", "2"), ["ONE  ２"])
    assert known.unknown_share == 1
    tokenizer = tiny_tokenizer()
    known = coverage(tokenizer, ["ONE  ２ नमस्ते"])
    assert (known.unknown_share, known.reproduced_share) == (0, 1)


LOADS = (inspect_model, lambda path: load_shard_module(path, range(3), "float32"))


def edit_json(file, **changes):
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_inspection_returns_the_metadata_of_a_model(folders):
    for name in ALL_FAMILY_NAMES:
        info = inspect_model(folders[name])
        assert (info.family, info.n_blocks, info.hidden_size) == (name, 3, HIDDEN)
        blocks = tiny_model(name, seed=0, blocks=3).get_submodule(ARCHITECTURES[name].blocks)
        assert info.n_prunable == sum(p.numel() for p in blocks.parameters() if p.dim() == 2)
        assert info.max_positions == (None if name == "bloom" else POSITIONS)
        assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(info.content)


def test_positions_are_limited_to_texts_that_do_not_change_the_frequencies_of_a_batch(tmp_path):
    factors = {"short_factor": [1.0] * 4, "long_factor": [2.0] * 4}
    rope = {"rope_type": "longrope", "rope_theta": 10000.0, **factors, "original_max_position_embeddings": 24}
    path = save_tiny_model(tmp_path, "phi3", rope_parameters=rope, original_max_position_embeddings=24)
    assert inspect_model(path).max_positions == 24
    edit_json(path / "config.json", rope_parameters={"rope_type": "default", "rope_theta": 10000.0})
    assert inspect_model(path).max_positions == POSITIONS


def test_weights_that_do_not_fit_the_config_are_an_error(path):
    edit_json(path / "config.json", ffn_dim=48)
    for load in LOADS:
        with refused(ModelError, expected=(48, 16), got=(64, 16)):
            load(path)


def test_a_part_that_a_config_adds_and_text_does_not_reach_is_an_error(path):
    edit_json(path / "config.json", add_cross_attention=True)
    for load in LOADS:
        with refused(ModelError, got="model.layers.0.encoder_attn"):
            load(path)


def test_an_unknown_model_type_and_an_unusable_config_are_errors(path):
    edit_json(path / "config.json", model_type="lama")
    with refused(ModelError, model_type="lama", path=str(path)) as caught:
        inspect_model(path)
    assert "llama" in caught.value.context["nearest"]
    edit_json(path / "config.json", model_type="xglm", attention_heads=5)
    with pytest.raises(ModelError) as caught:
        inspect_model(path)
    assert "\n" not in str(caught.value)


def test_code_in_a_model_folder_never_runs(path):
    (path / "evil.py").write_text("raise SystemExit('ran')\n")
    auto_map = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    edit_json(path / "config.json", auto_map=auto_map)
    edit_json(path / "tokenizer_config.json", auto_map={"AutoTokenizer": [None, "evil.Tokenizer"]})
    assert inspect_model(path).n_blocks == 3
    assert type(load_shard_module(path, range(3), "float32")).__module__.startswith("transformers.")
    assert load_tokenizer(path).eos_token_id == END


def test_a_saved_tokenizer_gives_the_same_ids_when_loaded(folders):
    text = "Ça va? 你好,  мир </s> x"
    for name in ALL_FAMILY_NAMES:
        tokenizer = load_tokenizer(folders[name])
        assert tokenizer(text)["input_ids"] == tiny_tokenizer()(text)["input_ids"]
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
        assert tokenizer.eos_token_id == END


def test_a_tokenizer_is_loaded_again_only_after_its_files_changed(path):
    tokenizer = load_tokenizer(path)
    assert load_tokenizer(path) is tokenizer
    edit_json(path / "tokenizer_config.json", eos_token="x")
    assert load_tokenizer(path).eos_token == "x"


def test_a_tokenizer_that_is_missing_or_has_no_end_token_is_an_error(path):
    config = json.loads((path / "tokenizer_config.json").read_text())
    (path / "tokenizer_config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "eos_token"}))
    with refused(ModelError, expected="an eos_token"):
        load_tokenizer(path)
    (path / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError):
        load_tokenizer(path)


def test_a_folder_resolves_to_itself_and_other_paths_are_errors_of_one_line(tmp_path):
    assert resolve_model(str(tmp_path)) == tmp_path
    (tmp_path / "file").write_text("")
    for name, got in ((tmp_path / "file", "a file"), (tmp_path / "none", "nothing")):
        with pytest.raises(ModelError, match=f"not a folder.*{got}"):
            resolve_model(str(name))
    with refused(ModelError, name="not/a/hub-id", revision="main") as caught:
        resolve_model("not/a/hub-id")
    assert "\n" not in str(caught.value)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with serving() as one:
        use_hub(monkeypatch, one.url, tmp_path / "cache")
        yield one


def test_only_safe_files_are_fetched_from_a_hub(hub, caplog):
    weights = {"model.safetensors": b"safe", "consolidated.safetensors": b"again", "pytorch_model.bin": b"pickled"}
    commit = hub.push("some/model", {"config.json": b"{}", "modeling.py": b"code", **weights}, revision="v1")
    folder = resolve_model("some/model", revision="v1")
    assert folder.name == commit
    assert sorted(hub.fetched()) == ["config.json", "model.safetensors"]
    assert "downloading some/model" in caplog.text
    assert "2 files" in caplog.text


def test_a_hub_model_with_pickles_only_names_the_command_that_imports_it(hub):
    hub.push(
        "facebook/xglm-564M", {"config.json": b"{}", "pytorch_model.bin": b"pickled", "sentencepiece.bpe.model": b""}
    )
    with refused(
        ModelError, name="facebook/xglm-564M", got=["config.json", "pytorch_model.bin", "sentencepiece.bpe.model"]
    ) as caught:
        resolve_model("facebook/xglm-564M")
    assert caught.value.context["next"].startswith("mlprune import facebook/xglm-564M --out models/xglm-564M, ")
    assert "pytorch_model.bin" not in hub.fetched()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["xglm", "llama", "gpt_neox"])
def test_a_config_with_fewer_blocks_than_the_weights_is_an_error_that_names_tensors(tmp_path, name):
    path = save_tiny_model(tmp_path, name, blocks=3)
    key = "num_layers" if name == "xglm" else "num_hidden_layers"
    edit_json(path / "config.json", **{key: 2})
    with pytest.raises(ModelError) as caught:
        inspect_model(path)
    context = caught.value.context
    assert f"{ARCHITECTURES[name].blocks}.2." in context["unread"][0]
    assert context["n_unread"] > len(context["unread"])
    assert "\n" not in str(caught.value)


def test_only_buffers_that_the_model_computes_and_tied_weights_may_stay_unread(tmp_path):
    path = save_tiny_model(tmp_path, "llama", tie_word_embeddings=True)
    tensors = load_file(path / "model.safetensors")
    assert "lm_head.weight" not in tensors
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    save_file(tensors, path / "model.safetensors")
    assert inspect_model(path).n_blocks == 3
    tensors["score.weight"] = torch.ones(4)
    save_file(tensors, path / "model.safetensors")
    with refused(ModelError, unread=["score.weight"], n_unread=1):
        inspect_model(path)


def test_a_stored_buffer_with_another_shape_than_the_config_requires_is_an_error(tmp_path):
    path = save_expert_model(tmp_path, "deepseek_v3", n_experts=4)
    tensors = load_file(path / "model.safetensors")
    name = "model.layers.1.mlp.gate.e_score_correction_bias"
    tensors[name] = torch.zeros(5)
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    with refused(ModelError, tensor=name, expected=(4,), got=(5,)):
        inspect_model(path)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"num_attention_heads": 3}, "num_attention_heads|number of attention heads|hidden size"),
        ({"rope_parameters": {"rope_type": "nonsense", "rope_theta": 1e4}}, "nonsense"),
        ({"hidden_size": "wide"}, "wide|hidden_size"),
    ],
)
def test_the_reason_of_an_unusable_config_is_whole_and_one_line(tmp_path, capfd, caplog, changes, cause):
    path = save_tiny_model(tmp_path / "model", "llama", num_key_value_heads=2)
    edit_json(path / "config.json", **changes)
    capfd.readouterr()
    with pytest.raises(ModelError) as caught:
        inspect_model(path)
    reason = caught.value.context["reason"]
    assert re.search(cause, reason)
    assert re.match(r"\w+: .*[^:]$", reason)
    assert "\n" not in str(caught.value)
    assert (capfd.readouterr().err, caplog.text) == ("", "")
