"""Import a published checkpoint in any known format: write a model folder that mlprune reads."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlprune import __version__
from mlprune.capabilities.importing.child_process import ChildJob, ChildResult, Progress, run_child
from mlprune.capabilities.importing.import_folder import errors_about, source_folder, staging_folder
from mlprune.capabilities.importing.sources.formats import WEIGHT_FORMATS, format_of
from mlprune.capabilities.importing.sources.weight_format import Report
from mlprune.capabilities.importing.tensor_names import ModelLayout, Shape
from mlprune.capabilities.importing.text_config import write_text_config
from mlprune.capabilities.importing.tokenizer_files import write_tokenizer
from mlprune.errors import ModelError
from mlprune.hub import format_size
from mlprune.models.architecture.architecture import Architecture
from mlprune.models.architecture.config_checks import refuse_quantised
from mlprune.models.checkpoint.content_hashes import TOKENIZER_FILES, file_sha256
from mlprune.models.checkpoint.weight_files import DTYPES, WeightFiles, architecture_at, read_json_object
from mlprune.models.import_record import (
    COPIED_PATTERNS,
    ImportRecord,
    Origin,
    QuantisedTensor,
    SourceFile,
    read_import_record,
)
from mlprune.vocabulary import DtypeName

HASHED_FILES = ("config.json", *TOKENIZER_FILES)
"""Files of a source that determine the result, in addition to the weights."""
if TYPE_CHECKING:
    from transformers import PreTrainedModel


def model_layout(folder: Path, *, is_part: bool = False) -> ModelLayout:
    """Return what the model of a config needs from its checkpoint. The model is built on the meta device.

    Stored buffers, such as the scalar of each block of Gemma 4, are needed as parameters are.

    Args:
        is_part: whether the checkpoint is of a multimodal model whose text part this is.
    Raises:
        ModelError: the config cannot be used.
    """
    from mlprune.models.meta_model import build_skeleton  # noqa: PLC0415 - imports transformers

    architecture = architecture_at(folder)
    model = build_skeleton(folder, DTYPES["float32"])
    buffers, stored_names = dict(model.named_buffers()), model.state_dict().keys()
    stored = {name: value for name, value in buffers.items() if value.is_floating_point() and name in stored_names}
    tensors = {**dict(model.named_parameters(remove_duplicate=False)), **stored}
    return ModelLayout(
        parameters={name: tuple(value.shape) for name, value in tensors.items()},
        buffers=tuple(name for name in buffers if name not in stored),
        tied=dict(model.all_tied_weights_keys),
        prefix=f"{architecture.prefix}.",
        renamed=architecture.published_names,
        is_part=is_part,
        unread=_unread_patterns(model) if is_part else (),
        stored={
            name: forms for name, value in tensors.items() if (forms := _stored_forms(architecture, name, value.shape))
        },
    )


def _stored_forms(architecture: Architecture, name: str, shape: Sequence[int]) -> tuple[dict[str, Shape | None], ...]:
    """Return the other forms in which checkpoints store a parameter: the tensors that contain it, with their shapes."""
    block, relative = architecture.split_name(name)
    if block is None:
        return ()
    kind, forms = architecture.block(block), []
    for parts in kind.ways_of.get(relative, ()):
        form: dict[str, Shape | None] = {}
        for part in (part.of_block(block) for part in parts):
            own = tuple(reversed(shape) if part.transposed else shape)
            n_experts = kind.experts.n_experts if kind.experts is not None else 0
            stack = own if part.index is None else (n_experts, *own)
            form[part.name] = stack if len(parts) == 1 else None
        forms.append(form)
    return tuple(forms)


def _unread_patterns(model: "PreTrainedModel") -> tuple[str, ...]:
    """Return patterns of the tensors that the library skips when it loads a checkpoint of a model."""
    found = (getattr(module, "_keys_to_ignore_on_load_unexpected", None) or () for module in model.modules())
    return tuple(sorted({pattern for patterns in found for pattern in patterns}))


def check_imported(folder: Path) -> None:
    """Check that a folder has every tensor of its model with the right shape, as loading it would.

    Raises:
        ModelError: a tensor is missing or does not fit.
    """
    from mlprune.models.meta_model import build_skeleton, check_shape, source_of  # noqa: PLC0415

    architecture = architecture_at(folder)
    files = WeightFiles(folder, architecture)
    model = build_skeleton(folder, DTYPES["float32"])
    for name, parameter in model.named_parameters(remove_duplicate=False):
        source = source_of(name, model, files)
        if not files.has(source):
            raise ModelError("the imported weights lack a tensor", path=str(folder), expected=source)
        check_shape(files.shape(source), tuple(parameter.shape), source)


@dataclass(frozen=True)
class ImportedModel:
    """A model folder that an import wrote or found."""

    path: Path
    record: ImportRecord
    result: ChildResult | None
    """What the conversion did; None if the folder was imported before."""


def import_model(
    source: Path,
    out: Path,
    *,
    dtype: DtypeName | None = None,
    origin: Origin | None = None,
    base: Path | None = None,
    report: Report,
    progress: Progress | None = None,
) -> ImportedModel:
    """Import a published checkpoint into a new folder, which appears completely or not at all.

    Args:
        source: folder of the checkpoint, or a GGUF file.
        out: folder to make. If it has the result of the same import, nothing is done.
        dtype: dtype to convert the weights to; by default every tensor keeps its own.
        origin: where the source was downloaded from.
        base: folder of the model that the source was made from. Formats without a whole config and tokenizer, which is
            GGUF, get those of this folder.
        report: receives lines for the user.
        progress: receives the number of bytes processed and the number in all; by default, lines are reported.
    Raises:
        ModelError: the source cannot be imported, or `out` cannot be written or has other files.
    """
    try:
        target = out.expanduser().resolve()
        with source_folder(source) as folder:
            weight_format, weight_files = format_of(folder)
            files = (*weight_files, *(name for name in HASHED_FILES if (folder / name).is_file()))
            finished = _finished(folder, target, files, dtype=dtype, report=report)
            if finished is not None:
                return ImportedModel(target, finished, None)
            with staging_folder(target) as staging, errors_about(folder, in_place_of=staging.path):
                own = _write_config(folder, staging.path, weight_format, base=base)
                refuse_quantised(read_json_object(staging.path / "config.json"), path=str(staging.path / "config.json"))
                part_of = write_text_config(staging.path)
                if dtype is not None:
                    _set_dtype(staging.path, dtype)
                _copy_files(folder, staging.path)
                write_tokenizer(own, staging.path, report)
                job = ChildJob(
                    source=str(folder.absolute()),
                    weight_format=weight_format,
                    hashed_files=files,
                    target=str(staging.path),
                    dtype=dtype,
                    layout=model_layout(staging.path, is_part=part_of is not None),
                )
                progress = progress or _progress_lines(report)
                result = run_child(job, lock=staging.lock, report=report, progress=progress)
                if part_of is not None:
                    _set_tied(staging.path, is_tied=bool(result.shared))
                check_imported(staging.path)
                record = replace(_record(source, job, result, origin=origin), part_of=part_of)
                record.write(staging.path)
    except OSError as err:
        path, reason = str(err.filename or out), err.strerror or str(err)
        raise ModelError("the import cannot be written", path=path, reason=reason) from err
    return ImportedModel(target, record, result)


def _finished(
    source: Path, target: Path, files: tuple[str, ...], *, dtype: DtypeName | None, report: Report
) -> ImportRecord | None:
    """Return the record of an import that a folder already has; None if the folder does not exist or is empty.

    Raises:
        ModelError: the folder has other files, or the result of another import.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return None
    record = read_import_record(target) if target.is_dir() else None
    if record is None:
        message = "an import needs a folder of its own; choose another OUT"
        raise ModelError(message, path=str(target), got="other files" if target.is_dir() else "a file")
    if record.dtype != dtype:
        expected, got = record.dtype or "the dtypes of the source", dtype or "the dtypes of the source"
        message = "the folder has the same model in another dtype, or another model; choose another OUT"
        raise ModelError(message, path=str(target), expected=expected, got=got)
    report(f"{target} was imported before; comparing the hashes of the source")
    changed = [name for name in sorted({*files, *record.files}) if not _is_same(record.files.get(name), source / name)]
    if changed:
        message = "the folder has the import of other files; choose another OUT"
        raise ModelError(message, path=str(target), expected=record.source, got=str(source), different=changed[:5])
    return record


def _is_same(file: SourceFile | None, path: Path) -> bool:
    """Whether a file of the source is equal to the imported one."""
    if file is None or not path.is_file() or file.n_bytes != path.stat().st_size:
        return False
    return file.sha256 == file_sha256(path)


def _write_config(source: Path, target: Path, weight_format: str, *, base: Path | None) -> Path:
    """Write config.json: that of the source, or of a base model. Returns the folder that has the tokenizer."""
    prepare, prepare_of = WEIGHT_FORMATS[weight_format].prepare, WEIGHT_FORMATS[weight_format].prepare_of
    if base is not None and prepare_of is not None:
        prepare_of(source, target, base)
        return base
    if prepare is not None:
        prepare(source, target)
    else:
        read_json_object(source / "config.json")
        shutil.copyfile(source / "config.json", target / "config.json")
    return source


def _set_dtype(target: Path, dtype: DtypeName) -> None:
    """Write the dtype that the weights will have to config.json."""
    config = dict(read_json_object(target / "config.json"))
    config["torch_dtype" if "torch_dtype" in config else "dtype"] = dtype
    (target / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _set_tied(target: Path, *, is_tied: bool) -> None:
    """Write to config.json whether the head is that of the embedding, as the weights are stored."""
    config = dict(read_json_object(target / "config.json"))
    config["tie_word_embeddings"] = is_tied
    (target / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _copy_files(source: Path, target: Path) -> None:
    for pattern in COPIED_PATTERNS:
        for path in sorted(source.glob(pattern)):
            if path.is_file():
                shutil.copyfile(path, target / path.name)


def _record(source: Path, job: ChildJob, result: ChildResult, *, origin: Origin | None) -> ImportRecord:
    return ImportRecord(
        mlprune=__version__,
        torch=result.torch,
        weight_format=job.weight_format,
        source=source.resolve().name if origin is None else origin.hub_id,
        origin=origin,
        dtype=job.dtype,
        files={name: SourceFile(sha256, result.n_bytes[name]) for name, sha256 in result.sha256.items()},
        dropped=result.dropped,
        renamed=result.renamed,
        shared=result.shared,
        quantization=result.quantization,
        left_out=result.left_out,
        quantised={name: QuantisedTensor(**values) for name, values in result.quantised.items()},
    )


def _progress_lines(report: Report) -> Progress:
    """Report every tenth part of the work as a line."""
    reported = 0

    def progress(n_done: int, n_total: int) -> None:
        nonlocal reported
        tenths = 10 * n_done // max(1, n_total)
        if tenths > reported:
            reported = tenths
            report(f"{10 * tenths} % of {format_size(n_total)} read and written")

    return progress
