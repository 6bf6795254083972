"""The language detector py3langid: an optional package that contains its model.

Its name and version are part of the names of the metrics that need it, and so of the ids of their evaluations.
"""

from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from mlprune.errors import BadInputError

PACKAGE = "py3langid"
INSTALL = "pip install 'mlprune[language]'"
VARIANTS: Mapping[str, str] = {"ary": "ar", "arz": "ar", "no": "nb"}
"""Code of the detector -> tag of a recipe: Moroccan and Egyptian Arabic count as Arabic."""

Detect = Callable[[str], str]
"""Text -> tag of its language; `zxx` for none."""


def installed_detector() -> str:
    """Return the name and version of the detector, such as `py3langid-0.4.0`.

    Raises:
        BadInputError: it is not installed.
    """
    try:
        return f"{PACKAGE}-{version(PACKAGE)}"
    except PackageNotFoundError as err:
        message = "the language detector is not installed"
        raise BadInputError(message, package=PACKAGE, expected=INSTALL, got=None) from err


@cache
def language_detector(detector: str) -> Detect:
    """Return the detector of the given name and version. The installed version is looked up once per process.

    Raises:
        BadInputError: another version is installed, or none.
    """
    installed = installed_detector()
    if installed != detector:
        name, _, number = detector.partition("-")
        expected = f"pip install '{PACKAGE}=={number}'" if name == PACKAGE else f"{PACKAGE}-VERSION"
        message = "these values were computed by another language detector"
        raise BadInputError(message, expected=expected, detector=detector, got=installed)
    return _detect


@cache
def detected_languages() -> tuple[str, ...]:
    """Return the tags of the languages that the installed detector knows.

    Raises:
        BadInputError: it is not installed.
    """
    installed_detector()
    from py3langid import rank  # noqa: PLC0415 - optional

    return tuple(sorted({VARIANTS.get(code, code) for code, _ in rank("")}))


def _detect(text: str) -> str:
    from py3langid import classify  # noqa: PLC0415 - optional

    code = str(classify(text)[0])
    return VARIANTS.get(code, code)
