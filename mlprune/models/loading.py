"""Find the folder of a base model by name, load and check its tokenizer, and inspect the model.

transformers builds a tokenizer from almost any folder. Without the vocabulary, every word becomes unknown, and all
results are wrong without an error. So it is checked that a folder has a tokenizer, that it belongs to the model, and
that it knows a text's characters.

The results of an inspection are cached across processes, so planning a finished recipe builds no model and does not
import transformers.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlprune.errors import HubError, ModelError, reason_of
from mlprune.hub import list_files, snapshot
from mlprune.json_values import as_object
from mlprune.models.architecture.units import LOADER_FILE
from mlprune.models.checkpoint import weight_files
from mlprune.models.checkpoint.content_hashes import (
    SENTENCEPIECE_FILES,
    TOKENIZER_FILES,
    TOKENIZER_JSON,
    content_hashes,
    import_advice,
    import_command,
)
from mlprune.models.checkpoint.tensor_hashes import scan_weights
from mlprune.models.metadata_cache import FileStates, cached_metadata, file_states
from mlprune.models.model_layers import ModelLayer, model_layers
from mlprune.models.model_limits import require_sizes, within_limits

SMALL_FILES = ("config.json", "generation_config.json", *TOKENIZER_FILES)
CHAT_TEMPLATE = "chat_template.jinja"
WEIGHT_PATTERNS = ("model.safetensors", "model-*.safetensors", weight_files.INDEX_FILE)
"""Files to download from a hub: no pickles, no code."""
MAX_LISTED = 5
"""Most tensors that a message names."""
if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
READABLE = ((TOKENIZER_JSON,), ("vocab.json", "merges.txt"))
"""Sets of files from which transformers builds the published tokenizer."""
MIN_SIZE_SHARE = 0.5
"""Least number of tokens, as a share of the rows of the embedding. Embeddings are padded by a few per cent (Qwen2:
151,936 rows for 151,665 tokens); a tokenizer without its vocabulary has some ten tokens."""
MAX_UNKNOWN_SHARE = 0.05
"""Largest share of unknown tokens in a text."""
MIN_REPRODUCED_SHARE = 0.8
"""Least share of the characters of a text that encoding and decoding must give back."""
SENTENCE = "The committee met again in 2024, and a new agreement was signed by all members."
"""Sentence that every tokenizer has to know: all pretrained models have seen English."""


@dataclass(frozen=True)
class Coverage:
    """How well a tokenizer knows some texts."""

    unknown_share: float
    """Share of the tokens that are the unknown token."""
    reproduced_share: float
    """Share of the characters that decoding gives back, without case, spaces and compatibility forms."""

    @property
    def is_sufficient(self) -> bool:
        """Whether results on such texts are meaningful."""
        return self.unknown_share <= MAX_UNKNOWN_SHARE and self.reproduced_share >= MIN_REPRODUCED_SHARE


def require_vocabulary(folder: Path, *, importable: bool = True) -> None:
    """Check that a folder has the files of a tokenizer.

    Args:
        importable: whether a sentencepiece model alone is enough, which `mlprune import` converts.
    Raises:
        ModelError: it has none of them.
    """
    choices = (*READABLE, *((name,) for name in SENTENCEPIECE_FILES if importable))
    if any(all((folder / name).is_file() for name in names) for names in choices):
        return
    expected = ["+".join(names) for names in choices]
    got = sorted(path.name for path in folder.iterdir() if path.is_file())
    context = {"path": str(folder), "expected": expected, "got": got}
    if not importable and any((folder / name).is_file() for name in SENTENCEPIECE_FILES):
        message = f"the model folder has a sentencepiece model and no {TOKENIZER_JSON}; convert it with"
        raise ModelError(f"{message} `{import_command(str(folder))}`", context)
    message = (
        "the model folder has no tokenizer; copy the published one into it, or use `mlprune import SOURCE --out FOLDER`"
    )
    raise ModelError(message, context)


def check_size(tokenizer: "PreTrainedTokenizerBase", vocab_size: int, *, path: Path) -> None:
    """Check that a tokenizer has about as many tokens as the model has rows in its embedding.

    Added tokens may have ids beyond the embedding: Gemma's tokenizer has a token for images that its text models lack.

    Raises:
        ModelError: it has far fewer tokens, or ids of ordinary or special tokens are beyond the embedding.
    """
    context = {"path": str(path), "expected": f"about {vocab_size} (vocab_size in config.json)", "got": len(tokenizer)}
    if len(tokenizer) < MIN_SIZE_SHARE * vocab_size:
        message = "the tokenizer has far fewer tokens than the model; import the published model with `mlprune import`"
        raise ModelError(message, context)
    ordinary = set(tokenizer.get_vocab().values()) - set(tokenizer.added_tokens_decoder)
    in_use = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id} - {None}
    largest = max(ordinary | in_use, default=0)
    if largest >= vocab_size:
        message = "the tokenizer has tokens that the model has no embedding for; it belongs to another model"
        raise ModelError(message, {**context, "largest_id": largest})


def coverage(tokenizer: "PreTrainedTokenizerBase", texts: Iterable[str]) -> Coverage:
    """Encode and decode texts, and return how much is known."""
    n_tokens = n_unknown = n_characters = n_reproduced = 0
    unknown = unknown_id(tokenizer)
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        n_tokens += len(ids)
        n_unknown += ids.count(unknown)
        characters = Counter(_comparable(text))
        n_characters += characters.total()
        n_reproduced += (characters & Counter(_comparable(tokenizer.decode(ids, skip_special_tokens=True)))).total()
    return Coverage(n_unknown / max(1, n_tokens), n_reproduced / max(1, n_characters))


def unknown_id(tokenizer: "PreTrainedTokenizerBase") -> int | None:
    """Return the id that stands for unknown text only; GPT-2 names its end-of-sequence token so and never uses it."""
    number: int | None = tokenizer.unk_token_id
    return None if number == tokenizer.eos_token_id else number


def _comparable(text: str) -> str:
    """Return a text without differences that tokenizers make: compatibility forms, case and spaces."""
    return re.sub(r"\s", "", unicodedata.normalize("NFKC", text).casefold())


@dataclass(frozen=True)
class ModelInfo:
    """Metadata of a base model, read without loading weights."""

    path: Path
    family: str
    """`model_type` in the config."""
    n_blocks: int
    hidden_size: int
    n_prunable: int
    """Number of weights in the prunable layers of all blocks."""
    max_positions: int | None
    """Longest text that the model has positions for; None if its positions have no limit (BLOOM's alibi).

    With `longrope` (Phi-3), rotary frequencies depend on the longest text of a batch if it exceeds some length. That
    length is then the limit, because the results of a text must not depend on other texts in its batch.
    """
    content: Mapping[str, str]
    """File name -> SHA-256 of config, tokenizer and weight files."""
    layers: tuple[ModelLayer, ...]
    """Parameters of two or more dimensions in blocks, pruned or not."""


def resolve_model(path_or_hub_id: str, revision: str = "main") -> Path:
    """Return the local folder of a model: the folder itself, or a snapshot of a hub model in the hub's cache.

    Raises:
        ModelError: there is no such folder, and the hub has no such model, is not reachable or has no safetensors
            weights of it.
    """
    folder = Path(path_or_hub_id).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists() or folder.is_absolute() or path_or_hub_id.startswith((".", "~")):
        got = "a file" if folder.exists() else "nothing"
        raise ModelError("the model path is not a folder", path=path_or_hub_id, expected="a model folder", got=got)
    try:
        files = [*SMALL_FILES, CHAT_TEMPLATE, *WEIGHT_PATTERNS]
        folder = snapshot(path_or_hub_id, kind="model", revision=revision, files=files, logs_size=True)
        if not any((folder / name).exists() for name in (weight_files.SINGLE_FILE, weight_files.INDEX_FILE)):
            raise _without_safetensors(path_or_hub_id, revision, commit=folder.name)
    except HubError as err:
        raise ModelError(f"there is no such local folder, and {err.message}", err.context) from err
    return folder


def _without_safetensors(hub_id: str, revision: str, *, commit: str) -> ModelError:
    """Return the error for a repository whose weights cannot be read here."""
    return ModelError(
        "the hub has no safetensors weights of this model",
        name=hub_id,
        revision=revision,
        got=sorted(list_files(hub_id, kind="model", revision=commit).sizes),
        next=import_advice(hub_id, revision=revision),
    )


def load_tokenizer(path: Path) -> "PreTrainedTokenizerBase":
    """Load the tokenizer of a model folder, from local files only. Callers share it and do not change it.

    Loading a vocabulary of 262,000 tokens takes three seconds, and each set and each language of a recipe needs it, so
    a process keeps it until the files change.

    Raises:
        ModelError: the folder has no tokenizer, it cannot be read, or it has no end-of-sequence token.
    """
    require_vocabulary(path, importable=False)
    require_sizes(path, (*SMALL_FILES, CHAT_TEMPLATE))
    return _load_tokenizer(path, file_states(path))


@lru_cache(maxsize=2)
def _load_tokenizer(path: Path, states: FileStates | None) -> "PreTrainedTokenizerBase":
    """Load a tokenizer from files in a known state."""
    from transformers import AutoTokenizer  # noqa: PLC0415 - takes a second, and a finished recipe needs no tokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(path), local_files_only=True, trust_remote_code=False)
    except Exception as err:  # parsers of the library can raise anything, including a bare Exception
        raise ModelError("the tokenizer cannot be read", path=str(path), reason=reason_of(err)) from err
    if tokenizer.eos_token_id is None:
        raise ModelError("the tokenizer has no end-of-sequence token", path=str(path), expected="an eos_token")
    return tokenizer


def check_tokenizer(path: Path) -> None:
    """Check that the tokenizer of a model folder can be loaded and belongs to the model; the result is cached.

    Raises:
        ModelError: as `load_tokenizer`, or its tokens do not fit the model's embedding, or it does not know English.
    """
    cached_metadata(path, "tokenizer", lambda: _checked_tokenizer(path))


def _checked_tokenizer(path: Path) -> dict[str, Any]:
    """Load and check a tokenizer in a child with limits: the rules of a tokenizer are run on a text."""
    require_vocabulary(path, importable=False)
    require_sizes(path, (*SMALL_FILES, CHAT_TEMPLATE))
    from transformers import AutoTokenizer  # noqa: F401,PLC0415 - the child need not load the library again

    return within_limits("the tokenizer", lambda: _loaded_and_checked(path), path=str(path))


def _loaded_and_checked(path: Path) -> dict[str, Any]:
    tokenizer = load_tokenizer(path)
    vocab_size = weight_files.read_json_object(path / "config.json").get("vocab_size")
    if isinstance(vocab_size, int):
        check_size(tokenizer, vocab_size, path=path)
    try:
        known = coverage(tokenizer, [SENTENCE])
    except (TypeError, ValueError, AttributeError, LookupError) as err:  # of a setting with the wrong type
        message = "the tokenizer cannot encode a sentence: its settings are wrong"
        raise ModelError(message, path=str(path), reason=str(err)) from err
    if not known.is_sufficient:
        message = "the tokenizer does not know the words of an English sentence; its files are damaged or incomplete"
        raise ModelError(message, path=str(path), sentence=SENTENCE, got=vars(known))
    return {"eos_token_id": tokenizer.eos_token_id}


def inspect_model(path: Path) -> ModelInfo:
    """Inspect a model and check it against its weight files, which are read once; the result is cached.

    Raises:
        ModelError: the folder is not a model that can be read or pruned, it is quantised, or a tensor is missing, has
            another shape than the config requires or is not finite.
    """
    metadata = cached_metadata(path, "model", lambda: _inspect(path))
    return ModelInfo(**{**metadata, "path": path, "layers": tuple(ModelLayer(*row) for row in metadata["layers"])})


def inspect_narrowed(path: Path) -> Mapping[str, str]:
    """Check the weight files of an export that needs its own loader, as `inspect_model` does; the result is cached.

    Returns: file name -> SHA-256 of config, tokenizer and weight files.
    Raises: as `inspect_model`.
    """
    content: Mapping[str, str] = cached_metadata(path, "narrowed", lambda: _inspect(path, is_narrowed=True)["content"])
    return content


def _inspect(path: Path, *, is_narrowed: bool = False) -> dict[str, Any]:
    """Return all fields of `ModelInfo` except the path."""
    from mlprune.models.meta_model import build_skeleton  # noqa: PLC0415 - imports transformers

    architecture = weight_files.architecture_at(path)
    files = weight_files.WeightFiles(path, architecture)
    model = build_skeleton(path, weight_files.DTYPES["float32"])
    if is_narrowed:
        _narrow(model, files, path / LOADER_FILE)
    tensors = checked_tensors(path, model, files)
    hashes = scan_weights(path, {**dict.fromkeys(files.file_names, ()), **tensors})
    config = model.config
    layers = model_layers(model, architecture)
    return {
        "family": architecture.name,
        "n_blocks": architecture.n_blocks,
        "hidden_size": int(config.hidden_size),
        "n_prunable": sum(layer.n_weights for layer in layers if layer.is_pruned),
        "max_positions": longest_text(config),
        "content": content_hashes(path, files.file_names, known=hashes),
        "layers": [list(layer) for layer in layers],
    }


def _narrow(model: "PreTrainedModel", files: weight_files.WeightFiles, changes: Path) -> None:
    """Give the parameters that a folder with its own loader names the shapes of their tensors.

    Raises:
        ModelError: the file of the changes is damaged, or names another parameter.
    """
    from mlprune.models.load_smaller import narrow_parameter  # noqa: PLC0415 - imports transformers

    try:
        for name in as_object(weight_files.read_json_object(changes)["narrowed"]):
            narrow_parameter(model, name, list(files.shape(name)))
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        message = "the narrower tensors of a folder with its own loader cannot be read"
        raise ModelError(message, path=str(changes), reason=reason_of(err)) from err


def checked_tensors(path: Path, model: "PreTrainedModel", files: weight_files.WeightFiles) -> dict[str, list[str]]:
    """Check the names and shapes of the tensors in weight files against a model; only headers are read.

    Returns: file -> the tensors in it that the model reads, sorted.
    Raises:
        ModelError: a tensor is missing, has another shape than the config requires, or stays unread.
    """
    tensors = {file: sorted(names) for file, names in _tensors_of_files(path, model, files).items()}
    _check_all_read(files, tensors, model=model, path=path)
    return tensors


def _tensors_of_files(path: Path, model: "PreTrainedModel", files: weight_files.WeightFiles) -> dict[str, set[str]]:
    """Check that the files have every parameter of a model with its shape, and no stored buffer with another one.

    Returns: file -> the tensors in it that the model reads.
    Raises:
        ModelError: a tensor is missing or has another shape.
    """
    from mlprune.models.meta_model import source_of  # noqa: PLC0415 - imports transformers

    tensors: dict[str, set[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        source = source_of(name, model, files)
        if not files.has(source):
            raise ModelError("the weights lack a tensor", path=str(path), expected=name)
        _require_shape(path, files, source, tuple(parameter.shape))
        for part in files.parts(source):
            tensors.setdefault(part.file, set()).add(part.name)
    weights = model.state_dict().keys()
    for name, buffer in model.named_buffers():
        if name in weights and files.has(name):
            _require_shape(path, files, name, tuple(buffer.shape))
    return tensors


def _require_shape(path: Path, files: weight_files.WeightFiles, name: str, expected: tuple[int, ...]) -> None:
    """Raise ModelError if a stored tensor has another shape than the config requires."""
    got = files.shape(name)
    if got != expected:
        part = files.parts(name)[0]
        context = {"path": str(path / part.file), "tensor": part.name, "expected": expected, "got": got}
        raise ModelError("a tensor does not fit the config", context)


def _check_all_read(
    files: weight_files.WeightFiles, read: Mapping[str, Sequence[str]], *, model: "PreTrainedModel", path: Path
) -> None:
    """Check that the model of a config reads all weights, except buffers that it computes itself.

    Args:
        read: file -> the tensors in it that the model reads.
    Raises:
        ModelError: tensors stay unread, for example because the config has fewer blocks than the weights.
    """
    names_read = {name for names in read.values() for name in names}
    buffers = {name for name, _ in model.named_buffers()}
    unread = [
        name
        for name in files.names
        if name not in names_read
        and not weight_files.is_obsolete_buffer(name)
        and not files.names_in_model(name) & buffers
    ]
    if unread:
        message = "the config describes a smaller model than the weights: tensors would stay unread"
        context = {"path": str(path), "n_unread": len(unread), "unread": unread[:MAX_LISTED]}
        raise ModelError(message, context, next="use the config.json that was published with these weights")


def longest_text(config: Any) -> int | None:
    """Return the longest text of a model's config, in tokens; see `ModelInfo.max_positions`."""
    longest: int | None = getattr(config, "max_position_embeddings", None)
    rope = getattr(config, "rope_parameters", None) or {}
    if longest is not None and rope.get("rope_type") == "longrope":
        return min(longest, int(rope["original_max_position_embeddings"]))
    return longest
