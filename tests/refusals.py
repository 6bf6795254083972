"""Refusals that tests expect: the class of an error and values of its context, whatever its sentence says."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mlprune.errors import MlpruneError


@contextmanager
def refused(error: type[MlpruneError], /, **context: object) -> Iterator[pytest.ExceptionInfo[MlpruneError]]:
    """Expect an error whose context has these values, among others."""
    with pytest.raises(error) as caught:
        yield caught
    assert context.items() <= caught.value.context.items()
