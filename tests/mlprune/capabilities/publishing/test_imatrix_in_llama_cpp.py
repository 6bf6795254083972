"""llama.cpp's quantiser accepts our importance matrices, and uses them."""

import re
from pathlib import Path

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from mlprune.capabilities.publishing.imatrix import export_imatrix
from mlprune.capabilities.publishing.importance import given_sets
from mlprune.store.store import Store
from tests import llama_cpp
from tests.gguf_files import write_gguf
from tests.tiny_models import tiny_tokenizer
from tests.tiny_recipes import plan_of, run_jobs, small_recipe, write_recipe, write_texts

pytestmark = [
    pytest.mark.thorough("quantises with the library of llama.cpp"),
    pytest.mark.skipif(not llama_cpp.IS_INSTALLED, reason=llama_cpp.REASON),
]
EMBEDDINGS = "token_embd.weight"
"""llama.cpp, too, collects no importance of it."""


def written_matrix(folder: Path, architecture: str) -> Path:
    """Write a model as a GGUF file and as a folder, observe a set, and export its importance matrix."""
    model = write_gguf(folder / "model.gguf", architecture)
    model.save_pretrained(folder / "model")
    tiny_tokenizer().save_pretrained(folder / "model")
    write_texts(folder)
    plan, store = plan_of(write_recipe(folder, small_recipe())), Store(folder / "store")
    run_jobs([job for job in plan.jobs if job.step in ("demonstrate", "observe")], store, model=plan.model)
    (record,) = store.records("demonstration_sets")
    export_imatrix(store, given_sets({record.id: "fr-en"}, ()), folder / "model", folder / "fr-en.gguf")
    return folder / "fr-en.gguf"


def without_importance(log: list[str]) -> set[str]:
    """The weights of which llama.cpp logs that the matrix lacks them."""
    return set(re.findall(r"did not find weights for (\S+)", "".join(log)))


def values(path: Path) -> dict[str, NDArray[np.float32]]:
    return {one.name: gguf.dequantize(one.data, one.tensor_type) for one in gguf.GGUFReader(path).tensors}


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gemma3"])
def test_a_file_that_is_quantised_with_the_matrix_has_smaller_weighted_errors(
    architecture: str, tmp_path: Path
) -> None:
    matrix, source = written_matrix(tmp_path, architecture), tmp_path / "model.gguf"
    llama_cpp.quantise(source, tmp_path / "without.gguf", "Q4_0")
    log = llama_cpp.quantise(source, tmp_path / "with.gguf", "Q4_0", matrix=matrix)
    assert without_importance(log) == {EMBEDDINGS}
    exact, without, with_matrix = map(values, (source, tmp_path / "without.gguf", tmp_path / "with.gguf"))
    importances = llama_cpp.importances(matrix)
    assert importances.keys() == {name for name in exact if name.startswith("blk.") and exact[name].ndim == 2}
    for name, importance in importances.items():
        errors = [float((importance * (one[name] - exact[name]) ** 2).sum()) for one in (without, with_matrix)]
        assert 0 < errors[1] < errors[0], name
    others = exact.keys() - importances.keys()
    assert all(np.array_equal(without[name], with_matrix[name]) for name in others)


def test_a_weight_without_importance_is_logged(tmp_path: Path) -> None:
    matrix, half = written_matrix(tmp_path, "llama"), tmp_path / "half.gguf"
    writer = gguf.GGUFWriter(half, "")
    for tensor in gguf.GGUFReader(matrix).tensors:
        if tensor.name.startswith("blk.0."):
            writer.add_tensor(tensor.name, np.array(tensor.data))
    for write in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file):
        write()
    writer.close()
    log = llama_cpp.quantise(tmp_path / "model.gguf", tmp_path / "out.gguf", "Q4_0", matrix=half)
    layers = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    assert without_importance(log) == {EMBEDDINGS, *(f"blk.1.{layer}.weight" for layer in layers)}
