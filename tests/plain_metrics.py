"""Reference metrics: the definitions as loops over items, to check the vectorised formulas."""

from collections.abc import Sequence


def plain_classification(gold: Sequence[int], predictions: Sequence[int], n_labels: int) -> dict[str, float]:
    """Accuracy, and {precision, recall, f1}_{macro, weighted}."""
    gold, predictions = list(map(int, gold)), list(map(int, predictions))
    pairs = list(zip(gold, predictions, strict=True))
    rows = []
    for label in range(n_labels):
        hits = sum(g == p == label for g, p in pairs)
        n_gold, n_predicted = gold.count(label), predictions.count(label)
        precision = hits / n_predicted if n_predicted else 0.0
        recall = hits / n_gold if n_gold else 0.0
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        if n_gold + n_predicted:
            rows.append((n_gold, {"precision": precision, "recall": recall, "f1": f1}))
    expected = {"accuracy": sum(g == p for g, p in pairs) / len(pairs)}
    for name in ("precision", "recall", "f1"):
        expected[f"{name}_macro"] = sum(values[name] for _, values in rows) / len(rows)
        expected[f"{name}_weighted"] = sum(n * values[name] for n, values in rows) / len(pairs)
    return expected


def plain_calibration_error(confidence: Sequence[float], credit: Sequence[float], n_bins: int = 10) -> float:
    """Expected calibration error. Bins include their upper bound; the first bin also includes 0."""
    error = 0.0
    for index in range(n_bins):
        low, high = index / n_bins, (index + 1) / n_bins
        inside = [i for i, c in enumerate(confidence) if low < c <= high or (index == 0 and c == 0)]
        if inside:
            accuracy = sum(credit[i] for i in inside) / len(inside)
            mean = sum(confidence[i] for i in inside) / len(inside)
            error += len(inside) / len(confidence) * abs(accuracy - mean)
    return error


def plain_credit(scores: Sequence[float], gold: int) -> float:
    """1/m where gold is one of m candidates with the highest score, else 0."""
    top = [candidate for candidate, score in enumerate(scores) if score == max(scores)]
    return 1 / len(top) if gold in top else 0.0
