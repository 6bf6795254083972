"""llama.cpp in this process: quantise GGUF files with an importance matrix, and score texts.

The library comes from the wheel `llama-cpp-py-sync`, which repackages llama.cpp. Its C API takes importances that the
program `llama-quantize` reads from a file, so `importances` reads them here as that program does.
"""

import importlib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from time import process_time
from typing import Any, TypeAlias

import gguf
import numpy as np
from numpy.typing import NDArray

Importance: TypeAlias = Mapping[str, NDArray[np.float32]]
"""Weight -> [matrices * in] float32."""
PACKAGE = "llama_cpp_py_sync"
INSTALL = "pip install -e '.[llama]'"
IS_INSTALLED = importlib.util.find_spec(PACKAGE) is not None
REASON = f"llama.cpp is not installed: {INSTALL}"


def importances(path: Path) -> dict[str, NDArray[np.float32]]:
    """Return the mean squares over tokens of an importance matrix; 1 for an expert without tokens, as in llama.cpp."""
    tensors = {tensor.name: np.array(tensor.data) for tensor in gguf.GGUFReader(path).tensors}
    found = {}
    for name in (name.removesuffix(".in_sum2") for name in tensors if name.endswith(".in_sum2")):
        sums, counts = tensors[f"{name}.in_sum2"], tensors[f"{name}.counts"]
        found[name] = np.where(counts > 0, sums / np.maximum(counts, 1e-30), 1).astype(np.float32).ravel()
    return found


def quantise(source: Path, target: Path, kind: str, *, importance: Importance | None = None) -> list[str]:
    """Quantise a GGUF file with one thread, and return what llama.cpp logs.

    Args:
        kind: type of most weights, such as `Q4_0`.
        importance: as `importances` returns it; None: no importance matrix.
    """
    bindings = _bindings()
    ffi, library = bindings.ffi, bindings.get_lib()
    parameters = ffi.new("llama_model_quantize_params *", library.llama_model_quantize_default_params())
    parameters.nthread, parameters.allow_requantize = 1, True
    parameters.ftype = getattr(library, f"LLAMA_FTYPE_MOSTLY_{kind}")
    given = (importance or {}).items()
    kept = [(ffi.new("char[]", name.encode()), ffi.from_buffer("float[]", values)) for name, values in given]
    entries = ffi.new("struct llama_model_imatrix_data[]", len(kept) + 1)  # the last one has no name
    for entry, (name, values) in zip(entries, kept, strict=False):
        entry.name, entry.data, entry.size = name, values, len(values)
    if importance is not None:
        parameters.imatrix = entries
    with _log() as lines:
        code = library.llama_model_quantize(str(source).encode(), str(target).encode(), parameters)
    assert code == 0, lines[-5:]
    return list(lines)


def text_nlls(path: Path, texts: Sequence[Sequence[int]], *, n_threads: int = 1) -> list[float]:
    """Return for each text the sum of -log p over its tokens after the first, with the logits of llama.cpp."""
    with _context(path, max(map(len, texts)), n_threads=n_threads) as (model, context):
        bindings = _bindings()
        library = bindings.get_lib()
        width = library.llama_vocab_n_tokens(library.llama_model_get_vocab(model))
        batch = library.llama_batch_init(max(map(len, texts)), 0, 1)
        try:
            return [_text_nll(bindings, context, batch, text, width=width) for text in texts]
        finally:
            library.llama_batch_free(batch)


def token_seconds(path: Path, prompt: Sequence[int], continuation: Sequence[int]) -> tuple[float, float]:
    """Return CPU seconds per token of this process: of a prompt as one batch, then of single tokens after it.

    One thread, after one pass that is not counted. The time to choose the next token is not included.
    """
    with _context(path, len(prompt) + len(continuation), n_threads=1) as (_, context):
        bindings = _bindings()
        library = bindings.get_lib()
        _read(bindings, context, prompt)
        library.llama_memory_clear(library.llama_get_memory(context), True)
        began = process_time()
        _read(bindings, context, prompt)
        read = process_time()
        for token in continuation:
            _read(bindings, context, [token])
        return (read - began) / len(prompt), (process_time() - read) / len(continuation)


def _text_nll(bindings: Any, context: Any, batch: Any, text: Sequence[int], *, width: int) -> float:
    ffi, library = bindings.ffi, bindings.get_lib()
    library.llama_memory_clear(library.llama_get_memory(context), True)
    batch.n_tokens = len(text)
    for place, token in enumerate(text):
        batch.token[place], batch.pos[place], batch.logits[place] = token, place, True
        batch.n_seq_id[place], batch.seq_id[place][0] = 1, 0
    assert library.llama_decode(context, batch) == 0
    buffer = ffi.buffer(library.llama_get_logits(context), 4 * width * len(text))
    logits = np.frombuffer(buffer, np.float32).reshape(len(text), width)[:-1].astype(np.float64)
    highest = logits.max(axis=1)
    sums = np.log(np.exp(logits - highest[:, None]).sum(axis=1)) + highest
    return float((sums - logits[np.arange(len(text) - 1), list(text[1:])]).sum())


def _read(bindings: Any, context: Any, tokens: Sequence[int]) -> None:
    """Read tokens after those of a context, and wait for the logits of the last."""
    library, kept = bindings.get_lib(), bindings.ffi.new("llama_token[]", list(tokens))
    assert library.llama_decode(context, library.llama_batch_get_one(kept, len(tokens))) == 0
    library.llama_synchronize(context)


@contextmanager
def _context(path: Path, n_tokens: int, *, n_threads: int) -> Iterator[tuple[Any, Any]]:
    """Load a model and a context for so many tokens, which are one batch at most."""
    bindings = _bindings()
    ffi, library = bindings.ffi, bindings.get_lib()
    with _log() as lines:
        model = library.llama_model_load_from_file(str(path).encode(), library.llama_model_default_params())
        assert model != ffi.NULL, lines[-5:]
        parameters = library.llama_context_default_params()
        parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = n_tokens
        parameters.n_threads = parameters.n_threads_batch = n_threads
        context = library.llama_init_from_model(model, parameters)
        assert context != ffi.NULL, lines[-5:]
        try:
            yield model, context
        finally:
            library.llama_free(context)
            library.llama_model_free(model)


def _bindings() -> Any:
    return importlib.import_module(f"{PACKAGE}._cffi_bindings")


@contextmanager
def _log() -> Iterator[list[str]]:
    """Collect what llama.cpp logs inside the context; it prints nothing."""
    _, lines = _collector()
    lines.clear()
    yield lines


@cache
def _collector() -> tuple[Any, list[str]]:
    """Let llama.cpp log into a list for the rest of the process, which has to keep the callback."""
    bindings, lines = _bindings(), list[str]()
    ffi = bindings.ffi

    def collect(_level: int, text: Any, _data: Any) -> None:
        lines.append(ffi.string(text).decode("utf-8", "replace"))

    callback = ffi.callback("void(enum ggml_log_level, const char *, void *)", collect)
    bindings.get_lib().llama_log_set(callback, ffi.NULL)
    return callback, lines
