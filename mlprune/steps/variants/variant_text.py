"""Descriptions of variants from catalog rows."""

from collections.abc import Iterator, Mapping, Sequence

from mlprune.hashing import digest
from mlprune.json_values import JsonObject, JsonValue
from mlprune.numeric.weights.quantisation import GROUP

_PARAMETERS = (
    "score_parameters",
    "refiner_parameters",
    "schedule_parameters",
    "aggregation_parameters",
    "intervention_parameters",
)

_LONGEST_LIST = 80
"""Most characters of a list of values in a label."""


def variant_label(row: JsonObject, *, sets: Sequence[str] = (), contrast: str | None = None) -> str:
    """Return a short description of a variant.

    Args:
        row: of the catalog's table `variants`.
        sets: labels of the demonstration sets that its score reads.
        contrast: label of its contrast set.
    """
    if row["intervention"] is not None:
        return " ".join((str(row["intervention"]).replace("_", "-"), *settings_words(row)))
    if row["score"] is None:
        return " ".join(("dense", *_bits_words(row)))
    words = (
        row["score"],
        row["aggregation"],
        *sets,
        f"against {contrast}" if contrast else None,
        row["sparsity"],
        row["structure"],
        row["propagation"],
        *settings_words(row),
    )
    return " ".join(str(word) for word in words if word not in (None, ""))


def settings_words(row: JsonObject) -> Iterator[str]:
    """Yield phrases for the settings of a variant that are not at their defaults."""
    if row["seed"]:
        yield f"seed {row['seed']}"
    if row["removes"] == "highest":
        yield "removing the highest"
    if row.get("refiner"):
        yield f"refined by {str(row['refiner']).replace('_', ' ')}"
    if row["schedule"] not in (None, "uniform"):
        yield f"schedule {row['schedule']}"
    for column in _PARAMETERS:
        yield from parameter_words(row.get(column), longest=_LONGEST_LIST)
    yield from _plugin_words(row.get("plugins"))
    yield from _scope_words(row["scope"])
    if row["profile"] not in (None, "corrected"):
        yield f"profile {row['profile']}"
    if row["token_scope"] not in (None, "all"):
        yield f"{row['token_scope']} tokens"
    if row["n_demonstrations"] is not None:
        yield f"{row['n_demonstrations']} samples"
    if row["resample_seed"] is not None:
        yield f"resample {row['resample_seed']}"
    yield from _bits_words(row)


def quantisation_words(bits: int, group: int) -> Iterator[str]:
    """Yield a phrase such as `4 bits`, and the size of a group if it is not the default."""
    yield f"{bits} bits"
    if group != GROUP:
        yield f"groups of {group}"


def _bits_words(row: JsonObject) -> Iterator[str]:
    bits, group = row.get("bits"), row.get("quantisation_group")
    if isinstance(bits, int) and isinstance(group, int):
        yield from quantisation_words(bits, group)


def parameter_words(parameters: JsonValue, *, longest: int | None = None) -> Iterator[str]:
    """Yield a phrase per parameter, such as `power 0.7`; the name alone if the value is true.

    Args:
        longest: a list with more characters is replaced by the number of its values and a hash, as in `block layers for
            168 #1f0c5a77`.
    """
    for name, value in parameters.items() if isinstance(parameters, Mapping) else ():
        words = _words(value)
        if longest is not None and isinstance(value, list | tuple) and len(words) > longest:
            words = f"for {len(value)} #{digest(words)[:8]}"
        yield name.replace("_", " ") if value is True else f"{name.replace('_', ' ')} {words}"


def value_words(value: JsonValue) -> JsonValue:
    """Return a column of a variant as it is shown: an object becomes a phrase."""
    return ", ".join(parameter_words(value)) if isinstance(value, Mapping) else value


def _words(value: JsonValue) -> str:
    """Return a value as text: `0.5`, `fc1 at 0.25` for a layer and its sparsity, `0-3` for a pair of blocks."""
    if isinstance(value, Mapping):
        return " ".join(f"{name} {_words(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        if len(value) == 2 and not isinstance(value[0], list | tuple):
            return f"{value[0]} at {value[1]:g}" if isinstance(value[1], float) else f"{value[0]}-{value[1]}"
        return " ".join(map(_words, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _plugin_words(plugins: JsonValue) -> Iterator[str]:
    """Yield the sources of the plug-ins of a variant, such as `cubic of cubic-scores 1.0 #1f0c5a`."""
    for plugin in plugins.values() if isinstance(plugins, Mapping) else ():
        if isinstance(plugin, Mapping):
            source = plugin.get("file") or f"{plugin.get('distribution')} {plugin.get('version')}"
            yield f"{plugin['name']} of {source} #{str(plugin['sha256'])[:6]}"
            yield from parameter_words(plugin.get("parameters"), longest=_LONGEST_LIST)


def _scope_words(scope: JsonValue) -> Iterator[str]:
    if not isinstance(scope, Mapping):
        return
    blocks, layers, sublayers = scope.get("blocks"), scope.get("layers"), scope.get("sublayers")
    if isinstance(blocks, list | tuple):
        yield f"blocks {' '.join(block_ranges(blocks))}"
    if isinstance(layers, list | tuple):
        yield f"layers {' '.join(layers)}"
    if isinstance(sublayers, list | tuple):
        yield f"sub-layers {' '.join(sublayers)}"


def block_ranges(blocks: Sequence[int]) -> list[str]:
    """Return ascending block numbers with runs written as `4-7`."""
    runs: list[list[int]] = []
    for block in blocks:
        if runs and block == runs[-1][-1] + 1:
            runs[-1].append(block)
        else:
            runs.append([block])
    return [f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
