"""Importance matrices for llama.cpp: sums against hooks on the model's own forward, layout, names, shares, refusals."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import gguf
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from mlprune.capabilities.publishing.imatrix import WrittenMatrix, export_imatrix, gguf_names
from mlprune.capabilities.publishing.importance import GivenSet, base_model_of, given_sets, token_scope_of
from mlprune.corpus.demonstrations import scope_mask
from mlprune.errors import BadInputError, ModelError, PermanentError, RetiredArtefactError, StoreError
from mlprune.models.architecture.architecture import Architecture
from mlprune.models.architecture.lookup import architecture_of
from mlprune.models.checkpoint.weight_files import architecture_at
from mlprune.models.experts import is_stack
from mlprune.store.records import identity
from mlprune.store.retired import group_of, write_marker
from mlprune.store.store import Store
from mlprune.vocabulary import TokenScope
from ray_jobs.cli.application import app
from tests.expert_models import EXPERT_TYPES, N_EXPERTS, TOP_K, expert_config, save_expert_model
from tests.forked_runs import mlprune
from tests.refusals import refused
from tests.tiny_models import ALL_FAMILY_NAMES, ARCHITECTURES, save_tiny_model
from tests.tiny_recipes import copy_of, plan_of, run_jobs, small_recipe, write_recipe, write_texts
from tests.type_checks import inputs_of_layers

Key = tuple[int, str]
Sums = Mapping[Key, tuple[Tensor, Tensor]]
"""(block, layer) -> sums of squares [matrices, in] and counts [matrices], float64."""
SILENT = 2
"""Expert of the first block without tokens."""
SIZES = {"shots": 2, "samples": 4, "max_tokens": 48}
LABELS = {"mt": "fr-en", "mono": "sw", "mixed": "mixed fr-en + sw"}
OTHER_TYPES = ("gpt2", "bloom", "gemma3_text", "phi3", "qwen2_moe", "gpt_oss", "deepseek_v3")
WITHOUT_NAMES = {"xglm", "opt", "mistral", "mixtral", "cohere2_moe"}


class Observed(NamedTuple):
    """A store with the statistics of sets, and the model."""

    store: Store
    model_path: Path
    set_ids: dict[str, str]
    """Label -> id."""

    @property
    def architecture(self) -> Architecture:
        return architecture_at(self.model_path)

    def given(self, *labels: str, shares: Sequence[float] = ()) -> tuple[GivenSet, ...]:
        return given_sets({self.set_ids[label]: label for label in labels}, shares)

    def export(
        self, out: Path, *labels: str, shares: Sequence[float] = (), token_scope: TokenScope = "all"
    ) -> WrittenMatrix:
        given = self.given(*labels, shares=shares)
        return export_imatrix(self.store, given, self.model_path, out, token_scope=token_scope)

    def texts(self, label: str, token_scope: TokenScope) -> list[tuple[Tensor, Tensor]]:
        """Token ids [t] of each demonstration, and which of them count, [t] bool."""
        artefact = self.store.require("demonstration_sets", self.set_ids[label]).artefacts[0]
        table = self.store.read_table(artefact, ["token_ids", "sides", "shots"])
        rows = zip(table["token_ids"], table["sides"], table["shots"], strict=True)
        return [
            (torch.tensor(ids), torch.as_tensor(scope_mask(sides, shots, scope=token_scope).tolist()))
            for ids, sides, shots in rows
        ]


def silence_an_expert(folder: Path) -> None:
    """Let the router of the first block give no token to one expert: its row reads a feature that all tokens have."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    block = model.model.layers[0]
    model.model.embed_tokens.weight.data[:, 0] = 50.0
    block.post_attention_layernorm.weight.data[0] = 1.0
    block.mlp.gate.weight.data[:, 0] = 0.0
    block.mlp.gate.weight.data[SILENT] = 0.0
    block.mlp.gate.weight.data[SILENT, 0] = -50.0
    model.save_pretrained(folder)


def observed_store(folder: Path, model_type: str) -> Observed:
    """Write and observe the sets of a recipe, without the rest of the recipe."""
    if model_type in EXPERT_TYPES:
        save_expert_model(folder / "model", model_type)
        if model_type == "qwen3_moe":
            silence_an_expert(folder / "model")
    else:
        save_tiny_model(folder / "model", model_type)
    write_texts(folder)
    recipe = small_recipe()
    recipe["demonstrations"] = [
        {"name": "mt", "kind": "translation", "source": "fr", "target": "en", **SIZES},
        {"name": "mono", "kind": "monolingual", "language": "sw", **SIZES, "samples": 3},
        {"name": "mixed", "kind": "mixed", "parts": ["mt", "mono"]},
    ]
    wanda = {"score": "wanda", "propagation": "dense", "sparsity": 0.5}
    recipe["variants"] = [{"name": name, "demonstrations": name, **wanda} for name in LABELS]
    recipe["variants"] += [{"name": "target", "demonstrations": "mt", "tokens": "target", **wanda}]
    recipe["evaluations"] = []
    recipe["analyses"] = {"experts": ["mt", "mono"]} if model_type in EXPERT_TYPES else {}
    plan, store = plan_of(write_recipe(folder, recipe)), Store(folder / "store")
    run_jobs([job for job in plan.jobs if job.step in ("demonstrate", "observe")], store, model=plan.model)
    store.write_record(plan.record)
    ids = {LABELS[name]: set_id for kind, name, set_id in plan.names if kind == "demonstration_set"}
    return Observed(store, folder / "model", ids)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Observed:
    return observed_store(tmp_path_factory.mktemp("llama"), "llama")


@pytest.fixture(scope="module")
def experts(tmp_path_factory: pytest.TempPathFactory) -> Observed:
    return observed_store(tmp_path_factory.mktemp("experts"), "qwen3_moe")


def read(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[np.float32]]]:
    """Metadata, and tensors [matrices, in] or [matrices, 1], as the gguf package reads them."""
    reader = gguf.GGUFReader(path)
    keys = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    assert {tensor.tensor_type for tensor in reader.tensors} == {gguf.GGMLQuantizationType.F32}
    return keys, {tensor.name: np.array(tensor.data) for tensor in reader.tensors}


def defined_sums(observed: Observed, label: str, token_scope: TokenScope = "all") -> Sums:
    """The sums of a set by their definition, from hooks on the model's own forward over each text alone."""
    model = AutoModelForCausalLM.from_pretrained(observed.model_path, dtype=torch.float32).eval()
    architecture, sums = observed.architecture, dict[Key, tuple[Tensor, Tensor]]()
    running: list[Tensor] = []

    def add(key: Key, tokens: Sequence[Tensor]) -> None:
        squares = torch.stack([of_matrix.double().square().sum(dim=0) for of_matrix in tokens])
        counts = torch.tensor([len(of_matrix) for of_matrix in tokens], dtype=torch.float64)
        before = sums.get(key, (torch.zeros_like(squares), torch.zeros_like(counts)))
        sums[key] = before[0] + squares, before[1] + counts

    def add_experts(module: Any, args: tuple[Tensor, Tensor, Tensor], *, block: int) -> None:
        hidden, index, _ = args
        structure = architecture.block(block).experts
        assert structure is not None
        read_first = [hidden[(index == expert).any(dim=1) & running[-1]] for expert in range(N_EXPERTS)]
        read_last = [_before_the_last(module, expert, tokens) for expert, tokens in enumerate(read_first)]
        for name, tokens in zip(structure.names, (read_first, read_last), strict=True):
            add((block, f"{structure.path}.{name}"), tokens)

    for block, module in enumerate(model.get_submodule(architecture.blocks)):
        for stack in filter(is_stack, module.modules()):
            stack.register_forward_pre_hook(lambda stack, args, block=block: add_experts(stack, args, block=block))
    for ids, counted in observed.texts(label, token_scope):
        running.append(counted)
        for key, tokens in inputs_of_layers(model, architecture, ids[None]).items():
            add(key, [tokens[counted]])
    return sums


def _before_the_last(module: Any, expert: int, tokens: Tensor) -> Tensor:
    """What the last layer of an expert reads, [t, in]."""
    matrix, biases = module.gate_up_proj[expert], getattr(module, "gate_up_proj_bias", None)
    product = tokens @ (matrix if module.is_transposed else matrix.T)
    features: Tensor = module._apply_gate(product if biases is None else product + biases[expert])
    return features


def check_sums(observed: Observed, out: Path, token_scope: TokenScope = "all") -> None:
    written = observed.export(out, "fr-en", token_scope=token_scope)
    _, tensors = read(out)
    names, checked = gguf_names(observed.architecture, gguf), set[str]()
    for key, (sums, counts) in defined_sums(observed, "fr-en", token_scope).items():
        for name in names[key]:
            np.testing.assert_allclose(tensors[f"{name}.weight.in_sum2"], sums, rtol=1e-6)
            np.testing.assert_array_equal(tensors[f"{name}.weight.counts"], counts[:, None])
            checked |= {f"{name}.weight.in_sum2", f"{name}.weight.counts"}
    assert checked == tensors.keys()
    assert written.n_matrices == len(checked) // 2


@pytest.mark.parametrize("token_scope", ["all", "target"])
def test_sums_and_counts_are_those_of_the_models_own_forward(
    token_scope: TokenScope, llama: Observed, experts: Observed, tmp_path: Path
) -> None:
    for observed in (llama, experts):
        check_sums(observed, tmp_path / "out.gguf", token_scope)


@pytest.mark.parametrize("model_type", OTHER_TYPES)
def test_sums_and_counts_of_other_types_are_those_of_their_own_forward(model_type: str, tmp_path: Path) -> None:
    check_sums(observed_store(tmp_path, model_type), tmp_path / "out.gguf")


def test_the_file_has_the_metadata_of_llama_cpp_and_two_float32_tensors_per_weight(
    llama: Observed, tmp_path: Path
) -> None:
    written = llama.export(tmp_path / "out.gguf", "fr-en")
    keys, tensors = read(tmp_path / "out.gguf")
    n_tokens = sum(len(ids) for ids, _ in llama.texts("fr-en", "all"))
    assert keys == {
        "general.type": "imatrix",
        "imatrix.datasets": ["fr-en (fr, en)"],
        "imatrix.chunk_count": 4,
        "imatrix.chunk_size": round(n_tokens / 4),
    }
    layers = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    weights = [f"blk.{block}.{layer}.weight" for block in range(llama.architecture.n_blocks) for layer in layers]
    assert sorted(tensors) == sorted(f"{weight}.{end}" for weight in weights for end in ("in_sum2", "counts"))
    for weight in weights:
        width = 32 if "ffn_down" in weight else 16
        assert (tensors[f"{weight}.in_sum2"].shape, tensors[f"{weight}.counts"].shape) == ((1, width), (1, 1))
    assert (written.n_matrices, written.n_tokens) == (len(weights), n_tokens)
    assert written.n_bytes == (tmp_path / "out.gguf").stat().st_size


def test_an_earlier_file_is_replaced_by_equal_bytes_for_equal_sets(llama: Observed, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out.gguf"
    llama.export(out, "sw")
    first = out.read_bytes()
    llama.export(out, "fr-en")
    assert out.read_bytes() != first
    llama.export(out, "sw")
    assert out.read_bytes() == first
    assert [path.name for path in out.parent.iterdir()] == ["out.gguf"]


@pytest.mark.parametrize("shares", [(), (3, 1)])
def test_tokens_of_several_sets_weigh_their_share_and_add_up_to_all_tokens(
    shares: tuple[float, ...], experts: Observed, tmp_path: Path
) -> None:
    written = experts.export(tmp_path / "out.gguf", "fr-en", "sw", shares=shares)
    keys, tensors = read(tmp_path / "out.gguf")
    of_sets = [defined_sums(experts, label) for label in ("fr-en", "sw")]
    sizes = [sum(len(ids) for ids, _ in experts.texts(label, "all")) for label in ("fr-en", "sw")]
    first, second = (share / sum(shares) for share in shares) if shares else (0.5, 0.5)
    weights = [first * sum(sizes) / sizes[0], second * sum(sizes) / sizes[1]]
    for key, names in gguf_names(experts.architecture, gguf).items():
        sums, counts = (sum(w * one[key][part] for w, one in zip(weights, of_sets, strict=True)) for part in (0, 1))
        for name in names:
            np.testing.assert_allclose(tensors[f"{name}.weight.in_sum2"], sums, rtol=1e-6)
            np.testing.assert_allclose(tensors[f"{name}.weight.counts"], counts[:, None], rtol=1e-6)
            if not name.endswith("exps"):
                assert float(tensors[f"{name}.weight.counts"].squeeze()) == pytest.approx(sum(sizes), rel=1e-6)
    assert keys["imatrix.datasets"] == [f"fr-en (fr, en), share {first:g}", f"sw (sw), share {second:g}"]
    assert (keys["imatrix.chunk_count"], written.n_tokens) == (7, sum(sizes))


def test_an_expert_without_tokens_has_zero_sums_and_the_count_zero(experts: Observed, tmp_path: Path) -> None:
    experts.export(tmp_path / "out.gguf", "sw")
    _, tensors = read(tmp_path / "out.gguf")
    n_tokens = sum(len(ids) for ids, _ in experts.texts("sw", "all"))
    for name in ("ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"):
        sums, counts = (tensors[f"blk.0.{name}.weight.{end}"] for end in ("in_sum2", "counts"))
        assert (len(sums), counts.sum(), counts[SILENT]) == (N_EXPERTS, TOP_K * n_tokens, 0)
        assert not sums[SILENT].any()


def test_a_mixed_set_names_the_languages_of_its_parts(llama: Observed, tmp_path: Path) -> None:
    written = llama.export(tmp_path / "out.gguf", "mixed fr-en + sw")
    assert written.header.datasets == ("mixed fr-en + sw (fr, en, sw)",)


@pytest.mark.thorough("discovers the architecture of every type")
def test_every_type_has_names_for_all_layers_or_is_refused_by_name() -> None:
    for name in (*ALL_FAMILY_NAMES, *EXPERT_TYPES):
        is_mixture = name in EXPERT_TYPES
        architecture = architecture_of(expert_config(name).to_dict()) if is_mixture else ARCHITECTURES[name]
        if name in WITHOUT_NAMES:
            with refused(ModelError, model_type=name):
                gguf_names(architecture, gguf)
            continue
        names = gguf_names(architecture, gguf)
        of_weights = [one for of_layer in names.values() for one in of_layer]
        assert len(of_weights) == len(set(of_weights))
        assert all(names.values())
        for block in range(architecture.n_blocks):
            kind = architecture.block(block)
            layers = [layer for layer in kind.layers if not kind.is_routed(layer)]
            if kind.experts is not None:
                layers += [f"{kind.experts.path}.{layer}" for layer in kind.experts.names]
                gate_up, down = (names[block, layer] for layer in layers[-2:])
                assert gate_up == (f"blk.{block}.ffn_gate_exps", f"blk.{block}.ffn_up_exps")
                assert down == (f"blk.{block}.ffn_down_exps",)
            assert {layer for of_block, layer in names if of_block == block} == set(layers)


# Refusals


def refuse(call: Callable[[], object], out: Path, error: type[Any] = BadInputError, **context: object) -> None:
    """Expect an error, and nothing of the file."""
    with refused(error, **context):
        call()
    assert list(out.parent.glob(f"{out.name}*")) == []


def test_a_model_whose_type_or_tokenizer_has_no_names_in_gguf_is_refused(llama: Observed, tmp_path: Path) -> None:
    out, given = tmp_path / "out.gguf", llama.given("sw")
    save_tiny_model(tmp_path / "model", "xglm")
    refuse(lambda: export_imatrix(llama.store, given, tmp_path / "model", out), out, ModelError, model_type="xglm")
    save_tiny_model(tmp_path / "words", "llama")
    path = tmp_path / "words" / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    path.write_text(json.dumps({**tokenizer, "model": {**tokenizer["model"], "type": "WordLevel"}}))
    refuse(lambda: export_imatrix(llama.store, given, tmp_path / "words", out), out, ModelError, got="WordLevel")
    path.write_text(json.dumps({**tokenizer, "model": {**tokenizer["model"], "type": None}}))
    refuse(lambda: export_imatrix(llama.store, given, tmp_path / "words", out), out, set="sw")  # another base model


def test_a_layer_without_a_name_is_refused_by_name(llama: Observed) -> None:
    architecture = llama.architecture
    (kind,) = architecture.kinds
    other = replace(kind, inputs=(*kind.inputs, ("mlp.side_proj",)))
    with refused(ModelError, got=["mlp.side_proj"]):
        gguf_names(replace(architecture, kinds=(other,)), gguf)


def test_a_set_that_was_not_observed_is_refused_with_the_entry_that_observes_it(
    llama: Observed, tmp_path: Path
) -> None:
    out = tmp_path / "out.gguf"
    with pytest.raises(BadInputError) as caught:
        llama.export(out, "sw", token_scope="target")
    assert "tokens: target" in str(caught.value.context["expected"])
    assert "all" in str(caught.value.context["got"])
    bare = Store(tmp_path / "bare")
    for record in llama.store.records("demonstration_sets"):
        bare.write_record(record)
    with pytest.raises(BadInputError) as caught:
        base_model_of(bare, llama.given("sw"), "all")
    assert "demonstrations: NAME" in str(caught.value.context["expected"])
    assert (caught.value.context["set"], caught.value.context["got"]) == ("sw", "none")
    save_tiny_model(tmp_path / "other", "llama", seed=9)
    refuse(lambda: export_imatrix(llama.store, llama.given("sw"), tmp_path / "other", out), out, set="sw")


def test_retired_statistics_are_refused_with_the_entry_that_makes_them(llama: Observed, tmp_path: Path) -> None:
    observed = llama._replace(store=copy_of(llama.store, tmp_path / "store"))
    row = {"demonstration_set_id": llama.set_ids["sw"], "token_scope": "all"}
    (record,) = (
        one for one in observed.store.records("statistics") if row.items() <= one.rows["statistics"][0].items()
    )
    write_marker(observed.store, group_of(record.artefacts[0].path), retired_at="2026-01-01", reason="a test")
    (tmp_path / "store" / record.artefacts[0].path).unlink()
    out = tmp_path / "out.gguf"
    with pytest.raises(RetiredArtefactError) as caught:
        observed.export(out, "sw")
    assert {"set", "expected", "next"} <= caught.value.context.keys()
    assert not out.exists()
    observed.export(out, "fr-en")


def test_experts_whose_tokens_were_not_counted_are_refused_with_the_analysis_that_counts_them(
    experts: Observed, tmp_path: Path
) -> None:
    out = tmp_path / "out.gguf"
    refuse(lambda: experts.export(out, "mixed fr-en + sw"), out, set="mixed fr-en + sw")
    with pytest.raises(BadInputError) as caught:
        experts.export(out, "mixed fr-en + sw")
    assert "experts: [NAME]" in str(caught.value.context["expected"])
    refuse(lambda: experts.export(out, "fr-en", token_scope="last_shot"), out, got="last_shot")


@pytest.mark.parametrize("shares", [(1,), (1, 2, 3), (1, 0), (1, float("nan")), (1, float("inf")), (1, -1)])
def test_shares_that_are_no_weights_of_the_sets_are_refused(shares: tuple[float, ...], llama: Observed) -> None:
    with refused(BadInputError, option="--share"):
        llama.given("fr-en", "sw", shares=shares)


def test_an_unknown_token_scope_is_refused() -> None:
    with refused(BadInputError, option="--tokens", got="targets"):
        token_scope_of("targets")


def with_other_statistics(store: Store, *, n_tokens: int, dtype: str = "", base_model: str = "") -> Store:
    """Add statistics of each set to a store, of another dtype or another base model."""
    for record in list(store.records("statistics")):
        parameters = {**record.parameters, **({"dtype": dtype} if dtype else {})}
        parents = {**record.parents, **({"base_model": base_model} if base_model else {})}
        other = identity("statistics", step_version=record.step_version, parameters=parameters, parents=parents)
        rows = {"statistics": [{**record.rows["statistics"][0], "n_tokens": n_tokens}]}
        store.write_record(replace(record, id=other, parameters=parameters, parents=parents, rows=rows))
    return store


def test_statistics_of_several_models_need_the_folder_of_one(llama: Observed, tmp_path: Path) -> None:
    given = llama.given("sw")
    base_id = base_model_of(llama.store, given, "all")
    store = with_other_statistics(copy_of(llama.store, tmp_path / "store"), n_tokens=1, base_model="b")
    with refused(BadInputError, set="sw", expected="--base-model PATH", got=sorted(("b", base_id))):
        base_model_of(store, given, "all")


def test_of_several_statistics_of_a_set_the_most_precise_are_read(llama: Observed, tmp_path: Path) -> None:
    store = with_other_statistics(copy_of(llama.store, tmp_path / "store"), n_tokens=1, dtype="bfloat16")
    written = llama._replace(store=store).export(tmp_path / "out.gguf", "sw")
    assert written.n_tokens == sum(len(ids) for ids, _ in llama.texts("sw", "all"))


def test_without_the_gguf_package_the_command_says_how_to_install_it(
    llama: Observed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    out = tmp_path / "out.gguf"
    with pytest.raises(BadInputError) as caught:
        llama.export(out, "sw")
    assert "[gguf]" in str(caught.value.context["expected"])
    assert not out.exists()


def test_a_file_that_differs_when_it_is_read_again_is_not_kept(
    llama: Observed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = gguf.GGUFWriter.add_tensor
    monkeypatch.setattr(gguf.GGUFWriter, "add_tensor", lambda self, name, values: add(self, name, values + 1))
    out = tmp_path / "out.gguf"
    refuse(lambda: llama.export(out, "sw"), out, PermanentError)


def test_a_folder_in_place_of_the_file_is_refused(llama: Observed, tmp_path: Path) -> None:
    (tmp_path / "out.gguf" / "something").mkdir(parents=True)
    with refused(StoreError):
        llama.export(tmp_path / "out.gguf", "sw")
    assert [path.name for path in tmp_path.iterdir()] == ["out.gguf"]


def test_the_command_takes_sets_by_name_and_says_what_the_file_is_for(llama: Observed, tmp_path: Path) -> None:
    out = tmp_path / "mix.gguf"
    options = ["--base-model", str(llama.model_path), "--store", llama.store.uri]
    words = ["export", "mt", "sw", "--as", "imatrix", "--share", "3", "--share", "1", "--out", str(out), *options]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == str(out)
    assert f"llama-quantize --imatrix {out}" in done.stderr
    assert "fr-en (fr, en), share 0.75" in done.stderr
    by_label = llama.export(tmp_path / "same.gguf", "fr-en", "sw", shares=(3, 1))
    assert (tmp_path / "same.gguf").read_bytes() == out.read_bytes()
    assert f"{by_label.n_matrices} " in done.stderr


@pytest.mark.thorough("commands in processes of their own")
def test_refusals_of_the_command_are_one_line_and_exit_code_2(llama: Observed, tmp_path: Path) -> None:
    out, options = tmp_path / "out.gguf", ("--store", llama.store.uri)
    base, other = ("--base-model", llama.model_path), llama.model_path.with_name("xglm")
    save_tiny_model(other, "xglm")
    for words in (
        ("sw", "--out", out, "--base-model", other),
        ("nobody", "--out", out, *base),
        ("sw", "--out", out, "--tokens", "target", *base),
        ("sw", "--out", out, "--share", "0", *base),
        ("sw", "--out", tmp_path / "no" / "out.gguf", *base),
        ("sw", "--out", out, "--base-model", tmp_path),
    ):
        done = mlprune("export", "--as", "imatrix", *words, *options)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert list(tmp_path.iterdir()) == []
