"""Replicas that are offered to a job while it runs."""

from concurrent.futures import ThreadPoolExecutor

from ray_jobs.workers.sharing.offers import Offers


def test_a_job_sees_the_latest_offer_until_it_ends() -> None:
    offers: Offers[str] = Offers()
    offers.begin(1, {"a": "A"})
    assert offers.current() == {"a": "A"}
    offers.offer(1, {"a": "A", "b": "B"})
    assert offers.current() == {"a": "A", "b": "B"}
    offers.end()
    offers.offer(1, {"c": "C"})
    assert offers.current() == {}


def test_an_offer_that_arrives_before_its_job_is_kept_for_it() -> None:
    offers: Offers[str] = Offers()
    offers.begin(1, {})
    offers.offer(2, {"a": "A"})
    assert offers.current() == {}
    offers.end()
    offers.begin(2, {})
    assert offers.current() == {"a": "A"}
    offers.end()
    offers.begin(3, {"b": "B"})
    assert offers.current() == {"b": "B"}


def test_what_was_given_back_is_not_offered_again_before_the_pool_knows_it() -> None:
    offers: Offers[str] = Offers()
    offers.begin(1, {"a": "A", "b": "B"})
    offers.give_back("a")
    offers.offer(1, {"a": "A", "b": "B"})
    assert offers.current() == {"b": "B"}
    assert offers.wait_given_back(1) == ("a",)
    offers.end()
    assert offers.wait_given_back(1) == ()


def test_waiting_ends_when_a_replica_is_given_back_or_the_job_ends() -> None:
    offers: Offers[str] = Offers()
    with ThreadPoolExecutor(1) as threads:
        given_back = threads.submit(offers.wait_given_back, 1)
        offers.begin(1, {"a": "A"})
        offers.give_back("a")
        assert given_back.result(timeout=300) == ("a",)
        nothing = threads.submit(offers.wait_given_back, 1)
        offers.end()
        assert nothing.result(timeout=300) == ()
