"""Plug-ins: definitions, installed distributions and lookup."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from mlprune.errors import PluginError
from mlprune.hashing import without_defaults
from mlprune.methods import SCORES, Parameters, parameter
from mlprune.methods.plugins import (
    SCORE_METHODS,
    STRUCTURE_METHODS,
    PluginParameters,
    PluginSource,
    ScorePlugin,
    installed_plugins,
    provide_file,
    provided_files,
    typed_parameters,
)
from mlprune.methods.plugins.lookup import attribute_problems
from tests.plugin_packages import CUBIC, on_path, write_distribution
from tests.refusals import refused


@dataclass(frozen=True)
class Weights(Parameters):
    """Parameters with a list and a seed."""

    power: float = parameter(2.0, "exponent")
    weights: tuple[float, ...] = ()
    seed: int = parameter(0, "seed")


@dataclass(frozen=True)
class Holder:
    """A specification."""

    parameters: Parameters = Parameters()  # noqa: RUF009 - frozen
    plugin: PluginSource | None = None


def test_defaults_are_left_out_and_a_seed_always_stays() -> None:
    assert dict(PluginParameters.of(Weights())) == {"seed": 0}
    assert dict(PluginParameters.of(Weights(power=1.5, weights=(0.5, 1.0)))) == {
        "power": 1.5,
        "seed": 0,
        "weights": (0.5, 1.0),
    }


def test_plain_values_become_typed_parameters_again() -> None:
    given = Weights(power=0.25, weights=(1.0, 2.0), seed=7)
    plain = PluginParameters.of(given)
    assert typed_parameters(Weights, plain) == given
    assert PluginParameters.from_values({"power": 0.25, "weights": [1.0, 2.0], "seed": 7}) == plain
    assert hash(plain) == hash(PluginParameters.of(given))
    assert typed_parameters(Weights, plain.with_seed(3)) == Weights(power=0.25, weights=(1.0, 2.0), seed=3)


def test_ids_have_the_values_by_name_and_never_the_text_of_a_file() -> None:
    source = PluginSource("ab", file="my_score.py", text="code")
    assert without_defaults(Holder(PluginParameters((("power", 1.5),)), source)) == {
        "parameters": {"power": 1.5},
        "plugin": {"sha256": "ab", "file": "my_score.py"},
    }
    assert without_defaults(Holder(PluginParameters())) == {}
    assert source == PluginSource("ab", file="my_score.py")
    assert PluginSource.from_parameters({"sha256": "ab", "file": "my_score.py"}) == source
    assert PluginSource.from_parameters(None) is None


def write(folder: Path, text: str, name: str = "my_score.py") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_a_file_is_found_by_the_name_of_its_plugin(tmp_path: Path) -> None:
    source = provide_file(write(tmp_path, CUBIC + "# found"))
    assert provided_files()[0] == source
    method, found = SCORE_METHODS.find("cubic")
    assert isinstance(method, ScorePlugin)
    assert found == source
    assert (source.file, source.distribution) == ("my_score.py", None)


def test_a_source_needs_its_text_or_a_provided_file(tmp_path: Path) -> None:
    source = provide_file(write(tmp_path, CUBIC + "# travels"))
    assert SCORE_METHODS.resolve("cubic", replace(source, text=None)).formula.startswith("|W")
    unknown = replace(source, sha256="0" * 64, text=None)
    with refused(PluginError, got=f"SHA-256 {source.sha256}"):
        SCORE_METHODS.resolve("cubic", unknown)
    with refused(PluginError, file="other.py"):
        SCORE_METHODS.resolve("cubic", replace(unknown, file="other.py"))


def test_the_code_of_a_file_runs_once_and_not_when_it_is_provided(tmp_path: Path) -> None:
    counter = tmp_path / "runs"
    text = f"open({str(counter)!r}, 'a').write('x')\n" + CUBIC
    source = provide_file(write(tmp_path, text))
    assert not counter.exists()
    assert SCORE_METHODS.resolve("cubic", source) is SCORE_METHODS.resolve("cubic", source)
    assert counter.read_text() == "x"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1", "no plug-in"),
        ("import no_such_library", "no_such_library"),
        ("def broken(:", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit"),
    ],
)
def test_a_file_without_a_usable_plugin_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    source = provide_file(write(tmp_path, text))
    with pytest.raises(PluginError, match=expected):
        SCORE_METHODS.resolve("cubic", source)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="No such file"):
        provide_file(tmp_path / "missing.py")
    (tmp_path / "bytes.py").write_bytes(b"\xff\xfe")
    with pytest.raises(PluginError, match="cannot be read"):
        provide_file(tmp_path / "bytes.py")


GOOD = ScorePlugin("one everywhere", name="ones", function=lambda inputs, _: inputs.weight * 0 + 1)


@dataclass(frozen=True)
class Declared(Parameters):
    """Declared as it should be."""

    power: float = parameter(1.0, "exponent")


@dataclass(frozen=True)
class Undeclared(Parameters):
    """A field without a meaning."""

    power: float = 1.0


def test_a_plugin_as_documented_has_no_problem() -> None:
    assert not list(attribute_problems(GOOD))
    assert not list(attribute_problems(replace(GOOD, parameters=Declared, needs=("sums",))))


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("name", "2:4"),
        ("name", "two words"),
        ("function", 3),
        ("summary", None),
        ("citation", 2026),
        ("needs", "squares"),
        ("needs", ("cubes",)),
        ("parameters", dict),
        ("parameters", Undeclared),
        ("changes_weights", True),
        ("has_contrast", True),
    ],
)
def test_a_wrong_attribute_is_named(attribute: str, value: object) -> None:
    wrong = replace(GOOD, **{attribute: value})  # type: ignore[arg-type]
    assert [problem.attribute for problem in attribute_problems(wrong)] == [attribute]


GROUP = "mlprune.scores"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    with on_path(tmp_path / "site") as folder:
        yield folder


def write_cubic(site: Path, text: str = CUBIC, *, package: str = "cubic_scores", version: str = "1.0") -> None:
    modules = {f"{package}/__init__.py": "", f"{package}/cubic.py": text}
    entry_points = {GROUP: {"cubic": f"{package}.cubic:CUBIC"}}
    write_distribution(site, modules, entry_points, name=package.replace("_", "-"), version=version)


def test_a_built_in_method_has_no_source() -> None:
    assert SCORE_METHODS.find("wanda") == (SCORES["wanda"], None)
    assert SCORE_METHODS.resolve("wanda", None) is SCORES["wanda"]


def test_a_removed_method_is_named_as_such_in_recipes_and_in_stored_variants() -> None:
    for look_up in (lambda: SCORE_METHODS.find("pruner_zero"), lambda: SCORE_METHODS.resolve("pruner_zero", None)):
        with refused(PluginError, name="pruner_zero") as caught:
            look_up()
        assert "next" in caught.value.context


def test_an_installed_plugin_is_listed_without_import_and_loaded_by_name(site: Path) -> None:
    write_cubic(site)
    assert [(one.name, one.label) for one in installed_plugins(GROUP)] == [("cubic", "cubic-scores 1.0")]
    assert "cubic" in SCORE_METHODS.names
    assert SCORE_METHODS.find("wanda")
    assert not [name for name in sys.modules if name.startswith("cubic_scores")]
    method, source = SCORE_METHODS.find("cubic")
    assert source is not None
    assert (method.needs, source.distribution, source.version, source.file) == (
        ("squares",),
        "cubic-scores",
        "1.0",
        None,
    )
    assert SCORE_METHODS.resolve("cubic", source) is method
    assert "cubic_scores.cubic" in sys.modules


def test_the_hash_covers_every_file_of_the_package_and_nothing_else(tmp_path: Path) -> None:
    def hash_with(folder: str, **files: str) -> str:
        with on_path(tmp_path / folder) as site:
            write_cubic(site)
            for name, text in files.items():
                (site / "cubic_scores" / name.replace("_py", ".py").replace("_txt", ".txt")).write_text(text)
            (site / "other.py").write_text(folder)
            source = SCORE_METHODS.find("cubic")[1]
            assert source is not None
            return source.sha256

    first = hash_with("first")
    assert hash_with("second") == first
    assert hash_with("helper", helper_py="A = 1") != first
    assert hash_with("data", table_txt="1 2 3") != first
    assert hash_with("changed", cubic_py=CUBIC.replace("3.0", "2.0")) != first


def test_a_missing_plugin_is_refused_by_name_with_what_made_the_result(site: Path) -> None:
    missing = PluginSource("0" * 64, "cubic-scores", "1.0")
    with refused(PluginError, score="cubic", expected="cubic-scores 1.0") as raised:
        SCORE_METHODS.resolve("cubic", missing)
    assert "pip install 'cubic-scores==1.0'" in str(raised.value)


@pytest.mark.parametrize("other", [{"version": "0.9"}, {"sha256": "0" * 64}])
def test_a_changed_plugin_is_refused_with_both_sources(site: Path, other: dict[str, str]) -> None:
    write_cubic(site)
    source = SCORE_METHODS.find("cubic")[1]
    assert source is not None
    with pytest.raises(PluginError) as raised:
        SCORE_METHODS.resolve("cubic", replace(source, **other))  # type: ignore[arg-type]
    assert str(raised.value.context["got"]).endswith(source.sha256)
    assert next(iter(other.values())) in str(raised.value.context["expected"])


def test_two_distributions_with_one_name_are_refused(site: Path) -> None:
    write_cubic(site)
    write_cubic(site, package="more_scores", version="2.0")
    with refused(PluginError, got="cubic-scores 1.0 and more-scores 2.0"):
        SCORE_METHODS.find("cubic")


def test_a_plugin_with_the_name_of_a_built_in_method_is_refused(site: Path, tmp_path: Path) -> None:
    write_distribution(site, {"own.py": CUBIC}, {GROUP: {"wanda": "own:CUBIC"}})
    with refused(PluginError, source="cubic-scores 1.0"):
        SCORE_METHODS.find("wanda")
    file = tmp_path / "own_file.py"
    file.write_text(CUBIC.replace('name="cubic"', 'name="ria"'))
    source = provide_file(file)
    with refused(PluginError, name="ria", source="own_file.py"):
        SCORE_METHODS.resolve("ria", source)


def test_an_unknown_name_lists_the_nearest_plugin(site: Path) -> None:
    write_cubic(site)
    with refused(PluginError, nearest="cubic"):
        SCORE_METHODS.find("cubik")


@pytest.mark.parametrize(
    ("text", "attribute", "expected"),
    [
        ("raise ValueError('no licence')", "CUBIC", "no licence"),
        ("import missing_library", "CUBIC", "missing_library"),
        (CUBIC, "CUBE", "CUBE"),
        (CUBIC, "cubic", "another class"),
        (CUBIC.replace('name="cubic"', 'name="cube"'), "CUBIC", "entry point"),
        (CUBIC.replace('name="cubic"', 'changes_weights=True, name="cubic"'), "CUBIC", "changes_weights"),
        (CUBIC.replace('name="cubic"', 'has_contrast=True, name="cubic"'), "CUBIC", "has_contrast"),
        (CUBIC.replace('needs=("squares",)', 'needs=("cubes",)'), "CUBIC", "cubes"),
        (CUBIC.replace("parameters=CubicParameters", "parameters=dict"), "CUBIC", "dict"),
        (CUBIC.replace("function=cubic", "function=3"), "CUBIC", "function"),
    ],
)
def test_a_plugin_that_cannot_be_used_is_refused_in_one_line(
    site: Path, text: str, attribute: str, expected: str
) -> None:
    write_distribution(site, {"bad_scores.py": text}, {GROUP: {"cubic": f"bad_scores:{attribute}"}})
    with pytest.raises(PluginError, match=expected) as raised:
        SCORE_METHODS.find("cubic")
    assert "cubic" in str(raised.value)


def test_an_entry_point_of_a_missing_module_is_refused(site: Path) -> None:
    write_distribution(site, {}, {"mlprune.structures": {"tiles": "no_such_module:TILES"}})
    with refused(PluginError, plugin="tiles", source="cubic-scores 1.0"):
        STRUCTURE_METHODS.find("tiles")
