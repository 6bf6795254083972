"""Parts of a job are counted in its own thread, nested loops included; parts that existed take no time of a part."""

import json
import threading

import pytest

from mlprune.processes.job_parts import (
    JobParts,
    PartCounter,
    counting_parts,
    finished_parts,
    in_parts,
    job_parts,
    note_found_part,
)


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def counter(clock: Clock) -> PartCounter:
    return PartCounter("sweep", clock=clock)


def parts_of(counter: PartCounter) -> JobParts:
    parts = counter.parts
    assert parts is not None
    return parts


def test_a_loop_shows_the_part_that_runs_and_what_the_others_cost(counter: PartCounter, clock: Clock) -> None:
    clock.now += 7  # the model is loaded
    seen = []
    with counting_parts(counter):
        for block in in_parts("block", range(4)):
            seen.append((block, parts_of(counter).describe(), parts_of(counter).remaining_s))
            clock.now += 10
    assert seen == [(block, f"block {block + 1} of 4", 10 * (4 - block) if block else None) for block in range(4)]
    parts = parts_of(counter)
    assert (parts.step, parts.share, parts.whole_s, parts.remaining_s, parts.other_s) == ("sweep", 1, 40, 0, 7)


def test_the_remaining_time_falls_while_a_part_runs_but_not_below_that_of_the_others(
    counter: PartCounter, clock: Clock
) -> None:
    with counting_parts(counter), job_parts("block", 3) as done:
        clock.now += 10
        done(1)
        clock.now += 4
        assert parts_of(counter).current_s == 4
        assert parts_of(counter).remaining_s == pytest.approx(16)
        clock.now += 96
        assert parts_of(counter).remaining_s == pytest.approx(10)
        assert parts_of(counter).elapsed_s == 110


def test_parts_that_an_earlier_run_finished_are_done_and_do_not_shorten_the_estimate(
    counter: PartCounter, clock: Clock
) -> None:
    with counting_parts(counter):
        for block in in_parts("block", range(10)):
            if block < 5:
                note_found_part()
                clock.now += 1
            elif block == 5:
                assert (parts_of(counter).share, parts_of(counter).found, parts_of(counter).whole_s) == (0.5, 0.5, None)
                clock.now += 20
            else:
                assert parts_of(counter).describe() == "block 7 of 10"
                assert parts_of(counter).remaining_s == pytest.approx(80)
                break
    assert parts_of(counter).other_s == 5


def test_inner_loops_are_shares_of_the_part_around_them(counter: PartCounter, clock: Clock) -> None:
    shares, texts = [], []
    with counting_parts(counter):
        for _ in in_parts("evaluation", ["facts", "xnli"]):
            for _ in finished_parts("batch", 4, range(4)):
                clock.now += 1
                shares.append(parts_of(counter).share)
                texts.append(parts_of(counter).describe())
    assert shares == [0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1]
    assert texts == ["evaluation 1 of 2"] * 4 + ["evaluation 2 of 2"] * 4


def test_a_loop_of_one_part_shows_the_loop_in_it(counter: PartCounter) -> None:
    with counting_parts(counter):
        for _ in in_parts("evaluation", ["facts"]):
            with job_parts("batch", 4) as done:
                done(3)
                assert parts_of(counter).describe() == "batch 4 of 4"


def test_a_second_loop_of_a_job_does_not_begin_at_0_again(counter: PartCounter) -> None:
    with counting_parts(counter):
        list(in_parts("text", range(3)))
        for _ in in_parts("text", range(3)):
            assert parts_of(counter).share == 1


def test_nothing_is_counted_outside_of_a_job_and_in_other_threads(counter: PartCounter) -> None:
    assert list(in_parts("block", range(3))) == [0, 1, 2]
    assert list(finished_parts("block", 3, iter("abc"))) == ["a", "b", "c"]
    note_found_part()
    with counting_parts(counter):
        thread = threading.Thread(target=lambda: list(in_parts("block", range(3))))
        thread.start()
        thread.join()
    assert counter.parts is None


def test_a_loop_that_an_error_ends_leaves_no_trace(counter: PartCounter) -> None:
    with counting_parts(counter):
        with pytest.raises(ValueError, match="broken"), job_parts("block", 4):
            raise ValueError("broken")
        for _ in in_parts("text", range(2)):
            assert parts_of(counter).describe() == "text 1 of 2"
            break


def test_parts_are_read_back_and_other_values_are_not(counter: PartCounter, clock: Clock) -> None:
    with counting_parts(counter), job_parts("block", 3) as done:
        clock.now += 2
        done(1)
    parts = parts_of(counter)
    again = JobParts.parse(json.loads(json.dumps(parts.to_json())))
    assert again is not None
    assert again.share == pytest.approx(parts.share)
    assert (again.describe(), again.spent_s) == (parts.describe(), parts.spent_s)
    for other in (None, [], "x", {}, {**parts.to_json(), "n": "many"}):
        assert JobParts.parse(other) is None
