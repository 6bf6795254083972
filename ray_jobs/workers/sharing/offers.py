"""The replicas that are offered to the job of a worker. Does not use Ray.

The worker runs the job in one thread. Other threads change the offer and wait for replicas that the job gives back.
"""

import threading
from collections.abc import Mapping
from typing import Generic, TypeVar

Handle = TypeVar("Handle")


class Offers(Generic[Handle]):
    """The offer of the job that runs; jobs are numbered in the order in which they are started."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._number = self._n_ended = 0
        self._early: tuple[int, Mapping[str, Handle]] = (0, {})
        """An offer that arrived before its job began."""
        self._offered: dict[str, Handle] = {}
        self._given_back: list[str] = []

    def begin(self, number: int, offered: Mapping[str, Handle]) -> None:
        """Begin a job.

        Args:
            number: larger than that of earlier jobs, from 1.
            offered: name -> replica.
        """
        with self._changed:
            early_number, early = self._early
            self._number = number
            self._offered = dict(early if early_number == number else offered)
            self._given_back = []

    def offer(self, number: int, offered: Mapping[str, Handle]) -> None:
        """Replace the offer of a job; ignored if the job has ended."""
        with self._changed:
            if number > self._number:
                self._early = (number, offered)
            elif number > self._n_ended:
                self._offered = {name: one for name, one in offered.items() if name not in self._given_back}

    def current(self) -> dict[str, Handle]:
        """Return the replicas that are offered now."""
        with self._changed:
            return dict(self._offered)

    def give_back(self, name: str) -> None:
        """Give back a replica that the job does not use any more."""
        with self._changed:
            self._offered.pop(name, None)
            self._given_back.append(name)
            self._changed.notify_all()

    def end(self) -> None:
        """End the job; it uses no other replica any more."""
        with self._changed:
            self._n_ended = self._number
            self._offered = {}
            self._changed.notify_all()

    def wait_given_back(self, number: int) -> tuple[str, ...]:
        """Wait until a job gives back replicas, and return their names; return none if the job has ended."""
        with self._changed:
            self._changed.wait_for(lambda: number <= self._n_ended or (number == self._number and self._given_back))
            if number <= self._n_ended:
                return ()
            names, self._given_back = tuple(self._given_back), []
            return names
