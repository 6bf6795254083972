"""Arithmetic of the night on eight GPUs, on a tenth of a language."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from gpu_night import N_EXAMPLES, PEAK, SETTINGS, TARGET_HOURS, count_night, rate, xnli_texts


def test_the_stated_rates_are_those_of_the_page_and_grow_with_the_rows() -> None:
    assert [rate(n_rows) / PEAK for n_rows in (80, 160, 512, 5_000)] == pytest.approx([0.2, 0.4, 0.6, 0.6])
    rates = [rate(n_rows) for n_rows in range(1, 600)]
    assert rates == sorted(rates)


def test_batches_for_a_gpu_have_large_products_and_little_padding() -> None:
    texts = xnli_texts(400)
    on_cpu, on_gpu = (count_night(setting, texts, examples_per_premise=1) for setting in SETTINGS)
    assert on_gpu.n_products < on_cpu.n_products / 4
    assert on_gpu.share_of_slow_rows < 0.15 < 0.9 < on_cpu.share_of_slow_rows
    assert on_gpu.n_tokens < 1.1 * on_cpu.n_tokens
    assert on_gpu.seconds < 0.75 * on_cpu.seconds


@pytest.mark.slow
def test_the_night_takes_at_most_the_target() -> None:
    night = count_night(SETTINGS[-1], xnli_texts(N_EXAMPLES), examples_per_premise=1)
    assert night.limit_hours < night.hours <= TARGET_HOURS
