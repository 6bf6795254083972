"""The largest features after every block: one panel a demonstration set, recurring features joined by lines."""

from collections import Counter
from collections.abc import Mapping, Sequence

from catalog.report.exhibits import Group, Key, grouped
from catalog.report.svg import INK, drawing, panel, to_svg
from catalog.report.words import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION, Row, set_label

_COLOURS = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE)
_MARKERS = ("o", "s", "^", "D", "X")
_SET = ("demonstration_set_id", "kind", "source_language", "target_language", "seed")


def magnitude_panels(rows: Sequence[Row], anchor: str) -> tuple[Group, ...]:
    """Panels of every model.

    Args:
        rows: of `largest_features.sql`.
        anchor: prefix of the ids in the SVG.
    """
    groups = []
    for n, (_, members) in enumerate(grouped(rows, "base_model", "base_model_id")):
        recurring = _recurring(members)
        top = max(row["magnitude"] for row in members)
        with drawing():
            panels = tuple(
                _set_panel(of_set, recurring=recurring, top=top, anchor=f"{anchor}-{n}-{place}")
                for place, (_, of_set) in enumerate(grouped(members, *_SET))
            )
        keys = [
            Key(label=f"feature {feature}", colour=_COLOURS[place], marker=_MARKERS[place])
            for feature, place in recurring.items()
        ]
        keys.append(Key(label="another large feature", colour=GREY, marker="dot"))
        groups.append(Group(title=str(members[0]["base_model"]), panels=panels, keys=tuple(keys)))
    return tuple(groups)


def _recurring(rows: Sequence[Row]) -> Mapping[int, int]:
    """The features that are large after most blocks of most sets, to their place in the palette."""
    counts = Counter(row["feature"] for row in rows)
    features = sorted(counts, key=lambda feature: (-counts[feature], feature))[: len(_COLOURS)]
    return {feature: place for place, feature in enumerate(features)}


def _set_panel(rows: Sequence[Row], *, recurring: Mapping[int, int], top: float, anchor: str) -> str:
    first = rows[0]
    label = set_label(first["kind"], first["source_language"], first["target_language"], seed=first["seed"])
    axes = panel(3.2, 2.5, left=0.5)
    axes.set_title(f"{label} · {first['kind']}", color=INK, weight="bold")
    axes.grid(axis="y")
    others = [row for row in rows if row["feature"] not in recurring]
    axes.plot([row["block"] for row in others], [row["magnitude"] for row in others], ".", color=GREY, markersize=3)
    for feature, place in recurring.items():
        points = sorted((row["block"], row["magnitude"]) for row in rows if row["feature"] == feature)
        style = {"color": _COLOURS[place], "marker": _MARKERS[place], "linewidth": 1.0, "markersize": 4}
        axes.plot([block for block, _ in points], [magnitude for _, magnitude in points], **style)
    axes.set_ylim(0, top * 1.06)
    axes.set_xlabel("after block (0: embeddings)")
    axes.xaxis.get_major_locator().set_params(integer=True)
    largest = max(rows, key=lambda row: row["magnitude"])
    said = f"feature {largest['feature']} after block {largest['block']}, magnitude {largest['magnitude']:.3g}"
    return to_svg(axes, anchor, label=f"Largest features on {label} ({first['kind']}); largest of all: {said}")
