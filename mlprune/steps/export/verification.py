"""Verification of an export: its masks against the variant's record, and every written tensor against its hash."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from mlprune.errors import PermanentError
from mlprune.json_values import as_int, as_str
from mlprune.models.checkpoint.tensor_hashes import TensorHash, base_tensor_hashes, tensor_hashes
from mlprune.steps.export.tensor_changes import LayerKey, TensorChange, tensor_changes
from mlprune.store.records import Record
from mlprune.store.store import Store


def checked_changes(store: Store, variant: Record, model_path: Path) -> Iterator[TensorChange]:
    """Yield the changes of a variant, each after it was compared with the variant's record.

    Raises: as `tensor_changes`, and:
        PermanentError: the masks or new weights differ from the record, or some are missing after the last change.
    """
    check = _RecordCheck(variant)
    for change in tensor_changes(store, variant, model_path):
        check.note(change)
        yield change
    check.finish()


class _RecordCheck:
    """Compare the changes of a variant with its record while they are used. Call `finish` after the last one."""

    def __init__(self, variant: Record) -> None:
        self._variant = variant
        rows = variant.rows.get("variant_layers", [])
        self._left: dict[LayerKey, int] = {
            (as_int(row["block"]), as_str(row["layer"])): as_int(row["n_removed"]) for row in rows
        }
        self._pruned = {key for key, n_removed in self._left.items() if n_removed}
        self._rewritten: set[LayerKey] = set()

    def note(self, change: TensorChange) -> None:
        """Compare one change.

        Raises:
            PermanentError: it removes another number of weights than the record says.
        """
        if change.removed is not None:
            if change.values is not None:
                self._rewritten.add(change.key)
            expected, got = self._left.pop(change.key, None), int(change.removed.sum())
            if got != expected:
                message = "the masks differ from the variant's record"
                block, layer = change.key
                raise PermanentError(message, block=block, layer=layer, expected=expected, got=got)

    def finish(self) -> None:
        """Check that nothing is missing.

        Raises:
            PermanentError: the masks lack layers of the record, or pruned layers lack new weights.
        """
        if self._left:
            raise PermanentError("the variant's masks lack layers that its record has", got=sorted(self._left))
        missing = sorted(self._pruned - self._rewritten)
        if self._variant.rows["variants"][0]["weights_changed"] and missing:
            message = "weights have changed according to the record, but pruned layers have no new weights"
            raise PermanentError(message, variant_id=self._variant.id, got=missing[:3])


def require_hashes(folder: Path, model_path: Path, changed: Mapping[str, str]) -> dict[str, TensorHash]:
    """Read all tensors of an export and compare them with the base model's and with the changed ones.

    Args:
        changed: name of each changed or added tensor -> hash that it should have.
    Returns: name -> hash, of all tensors.
    Raises:
        PermanentError: a tensor has another hash.
    """
    base, written = base_tensor_hashes(model_path), tensor_hashes(folder)
    for name, one in written.items():
        expected = changed[name] if name in changed else base[name].sha256
        if one.sha256 != expected:
            whose = "the variant's new weights" if name in changed else "the base model's"
            message = f"the exported weights differ from {whose}"
            raise PermanentError(message, tensor=name, file=one.file, expected=expected, got=one.sha256)
    return written
