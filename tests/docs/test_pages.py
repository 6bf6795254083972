"""Pages of the documentation: links, commands, constants and tables agree with the repository."""

import inspect
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.sql_files import FIRST_QUESTIONS, list_queries
from infra.pages import cookbook
from infra.pages.command_reference import commands
from infra.pages.frozen import thawed
from infra.pages.model_reference import working_types
from infra.pages.page import without_links
from infra.pages.site import PAGES as GENERATED
from mlprune.capabilities.search.strategy.registry import SEARCH_METHODS
from mlprune.evaluation.inference import estimates
from mlprune.numeric.evaluation import choice, metrics
from mlprune.numeric.statistics import cluster_score, power, proportions, sign_flips, variance_components
from mlprune.numeric.statistics.bootstrap import N_RESAMPLES, cluster_resamples
from mlprune.steps.questions import answers
from ray_jobs.cli import command_table
from ray_jobs.cli.command_line import present_arguments, select_form
from ray_jobs.cli.command_table import GROUPS
from ray_jobs.cli.commands import query
from tests.docs.pages import FENCE, ROOT, anchors, blocks, links, pages

PAGES = pages()
_NAMED = re.compile(r"(?<![\w/.{-])(?:infra|tests|ray_jobs|mlprune|catalog)/[\w/.*-]+")
"""Paths that start with a folder of the repository."""


NUMBER_WORDS = (
    *("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen"),
    *("fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
COUNTED: dict[str, tuple[str, Callable[[], int]]] = {
    "named queries": (r"(\w+) (?:named|built-in) queries\b", lambda: len(list_queries())),
    "first questions": (r"(\w+) (?:queries|questions) to begin with", lambda: len(FIRST_QUESTIONS)),
    "commands": (r"(?:are|has) (\w+) commands\b", lambda: len({name.split()[0] for name in command_table.COMMANDS})),
    "model types": (r"(\d+) types\b", lambda: len(working_types())),
}
"""What is counted -> how a page states its number, and the number that the code has."""


@pytest.mark.parametrize("what", COUNTED)
def test_a_number_on_a_page_is_what_the_code_counts(what: str) -> None:
    pattern, count = COUNTED[what]
    stated = {}
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")):
        text = without_links(page.read_text("utf-8"))
        for word in re.findall(pattern, text):
            if word.isdecimal() or word in NUMBER_WORDS:
                number = int(word) if word.isdecimal() else NUMBER_WORDS.index(word) + 1
                stated[page.relative_to(ROOT).as_posix(), word] = number
    assert stated == dict.fromkeys(stated, count())


def test_the_numbers_of_the_readme_are_found_and_those_of_the_command_line_follow_from_the_lists() -> None:
    text = " ".join((ROOT / "README.md").read_text("utf-8").split()).replace("[", "")
    assert all(re.search(COUNTED[what][0], text) for what in ("named queries", "commands", "model types"))
    assert NUMBER_WORDS[len(FIRST_QUESTIONS) - 1] in str(query.query.__doc__)


def test_pages_with_answers_of_the_demo_say_on_which_processor_they_were_computed() -> None:
    with thawed("demo") as store:
        environments = [store.read_json(path) for path in store.list("runs") if "/environment" in path]
    (machine,) = {f"{one['processor']}, {str(one['instructions']).replace('AVX', 'AVX-')}" for one in environments}
    texts = [(ROOT / "docs" / name).read_text("utf-8") for name in ("quick-start.md", "python.md")]
    for text in (*texts, cookbook.OPENING):
        assert f"({machine})" in " ".join(text.split())
        assert "another processor" in " ".join(text.split())


def test_there_are_pages_with_links() -> None:
    assert ROOT / "README.md" in PAGES
    assert len(links(ROOT / "docs" / "README.md")) > 10


@pytest.mark.thorough("runs the commands of a page")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_on_a_page_lead_to_files_and_headings(page: Path) -> None:
    wrong = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        if "://" in path or path.startswith("mailto:"):
            continue
        target = page.parent / path if path else page
        exists = target.exists() and (not anchor or (target.suffix == ".md" and anchor in anchors(target)))
        wrong += [] if exists else [link]
    assert not wrong


def test_a_repeated_heading_has_two_anchors(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `b` & [c](d.md)\n\n## Twice\n\n## Twice\n\n```\n# no heading\n```\n")
    assert anchors(page) == {"a-b--c", "twice", "twice-1"}


def test_links_in_code_are_ignored(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("[yes](a.md#b) `[no](c.md)` [`code`](d.md)\n\n```\n[no](e.md)\n```\n")
    assert links(page) == ["a.md#b", "d.md"]


@pytest.mark.thorough("runs the commands of a page")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_repository_files_named_on_a_page_exist(page: Path) -> None:
    named = _NAMED.findall(page.read_text(encoding="utf-8"))
    missing = [name for name in named if not any(ROOT.glob(name.rstrip("/.")))]
    assert not missing


def test_every_page_of_the_documentation_is_reached_from_the_entry_page() -> None:
    entry = ROOT / "docs" / "README.md"
    listed = {(entry.parent / link.partition("#")[0]).resolve() for link in links(entry)}
    assert [page for page in sorted((ROOT / "docs").rglob("*.md")) if page != entry and page not in listed] == []


MOST_PAGES, MOST_WORDS, MOST_WORDS_OF_A_PAGE = 21, 43_500, 4_600
"""Limits of the pages of docs/ that are not generated, and of the words on them. The formulas (`definitions.md`) are a
page with a limit of its own. An issue that adds a capability may raise the words, by at most 1,500."""
MOST_WORDS_OF_THE_FORMULAS = 14_800
"""Text that leaves another page must not hide among the formulas."""


def words(page: Path) -> int:
    """Return the number of words with a letter or a digit, without the answers that are written by commands."""
    text = page.read_text("utf-8")
    for block in reversed(list(FENCE.finditer(text))):
        if block[2] == "text" and text[: block.start()].endswith("```\n\n"):
            text = text[: block.start()] + text[block.end() :]
    return sum(bool(re.search(r"\w", word)) for word in re.sub(r"^ *```.*$", "", text, flags=re.MULTILINE).split())


def test_the_pages_of_the_documentation_are_few_and_short() -> None:
    counts = {
        page.relative_to(ROOT / "docs").as_posix(): words(page)
        for page in (ROOT / "docs").rglob("*.md")
        if page.relative_to(ROOT / "docs").as_posix() not in GENERATED
    }
    assert len(counts) <= MOST_PAGES
    assert counts.pop("definitions.md") <= MOST_WORDS_OF_THE_FORMULAS
    assert sum(counts.values()) <= MOST_WORDS, counts
    assert {name: count for name, count in counts.items() if count > MOST_WORDS_OF_A_PAGE} == {}


def test_answers_of_commands_are_no_words_of_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One two | three\n\n```sh\nfour five\n```\n\n```text\nsix\n```\n\n```\nseven\n```\n")
    assert words(page) == 6


def test_the_first_page_of_the_repository_fits_on_a_screen() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.splitlines()) <= 78


COMMANDS = dict(commands())
_CALL = re.compile(r"(?:^|\$\()[ ]*mlprune +([a-z][\w-]*)(?:\s+([a-z][\w-]*))?(.*)$", re.MULTILINE)
OF_THE_PAST = ROOT / "CHANGELOG.md"
"""The page that also names commands of earlier versions."""


def calls_on(page: Path) -> list[tuple[str, list[str]]]:
    """Return (command with its form, options) of every call on a page, in blocks and in inline code."""
    prose = FENCE.sub("", page.read_text("utf-8"))
    code = [block.text for block in blocks(page)] + re.findall(r"`([^`]+)`", prose)
    calls = [call for text in code for call in _CALL.findall(text)]
    return [
        called([first, second, *rest.partition(" #")[0].split()], is_old=page == OF_THE_PAST)
        for first, second, rest in calls
    ]


def called(words: list[str], *, is_old: bool) -> tuple[str, list[str]]:
    given = [word.rstrip(",;:)`'") for word in words if word]
    given = present_arguments(given, shows=False) if is_old else given
    n_words = 2 if given[0] in GROUPS else 1
    command = " ".join(given[:n_words])
    form, others = select_form(command, given[n_words:])
    return f"{command} {form}".rstrip(), re.findall(r"(?<![\w-])--[a-z][\w-]*", " ".join(others))


def test_pages_mention_most_commands() -> None:
    calls = {command for page in pages() if page != OF_THE_PAST for command, _ in calls_on(page)}
    assert len(calls & set(COMMANDS)) > 0.8 * len(COMMANDS)


@pytest.mark.thorough("runs the commands of a page")
@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_on_a_page_exist(page: Path) -> None:
    wrong = []
    for command, options in calls_on(page):
        known = (
            {option for parameter in COMMANDS[command].params for option in parameter.opts}
            if command in COMMANDS
            else set()
        )
        wrong += [command] if command not in COMMANDS else []
        wrong += [f"{command} {option}" for option in options if option not in known | {"--help"}]
    assert not wrong


TABLE = re.compile(r"^\| constant \| value \|\n\|---\|---\|\n((?:\|.*\|\n)+)", re.MULTILINE)


def default(function: Callable[..., object], parameter: str) -> float:
    return float(inspect.signature(function).parameters[parameter].default)


def most_clusters_with_all_signs() -> int:
    return max(n for n in range(1, 16) if len(sign_flips.sign_flips(n)) == 2**n)


CONSTANTS: dict[str, tuple[float, ...]] = {
    "random sign vectors": (sign_flips.N_FLIPS, len(estimates.flips_of(20)) - 1),
    "p below which a sign-flip p is that of all sign vectors": (sign_flips.RESOLVED,),
    "draws of 9999 exchanges, at most": (sign_flips.N_DRAWS,),
    "exchanges as extreme as the observed one after which no more are drawn": (sign_flips.ENOUGH_EXTREME,),
    "clusters up to which all sign vectors are used": (most_clusters_with_all_signs(),),
    "resamples of clusters": (N_RESAMPLES, len(estimates.resamples_of(2))),
    "seed of sign vectors and of resamples of clusters": (
        estimates.SEED,
        default(sign_flips.sign_flips, "seed"),
        default(cluster_resamples, "seed"),
    ),
    "seed of resamples of seeds": (default(variance_components.two_way_resamples, "seed"),),
    "coverage of an interval": (estimates.LEVEL, 1 - answers.ALPHA),
    "level of a test": (answers.ALPHA, default(power.detectable_difference, "alpha")),
    "power of a detectable difference": (
        default(power.detectable_difference, "power"),
        default(power.detectable_difference_of_items, "power"),
        default(power.detectable_difference_of_mean, "power"),
    ),
    "nodes of the integral of a mean's power": (power.N_NODES,),
    "share by which equal sums may differ": (sign_flips.TOLERANCE,),
    "changed clusters from which sign flips are used alone": (cluster_score.FEW_CHANGED_CLUSTERS,),
    "right or wrong items up to which Wilson's end is a Poisson end": (proportions.N_POISSON_ENDS,),
    "weight of an item in a design effect": (proportions.SHRINKAGE,),
    "bins of confidence": (metrics.N_BINS,),
    "seeds from which the interval is a bootstrap": (variance_components.ENOUGH_SEEDS,),
    "binary digits after the point of values among which is chosen": (-math.log2(choice.TIED),),
}
"""Name on the page -> values in the code."""


def test_constants_on_the_page_are_those_of_the_code() -> None:
    table = TABLE.search((ROOT / "docs/definitions.md").read_text("utf-8"))
    assert table is not None
    rows = [row.strip("| ").split(" | ") for row in table[1].splitlines()]
    stated = {name: float(value) for name, value in rows}
    assert stated == {name: values[0] for name, values in CONSTANTS.items()}
    assert {name: values for name, values in CONSTANTS.items() if len(set(values)) > 1} == {}


_SEARCH = (ROOT / "docs/analyses.md").read_text("utf-8").partition("## Search\n")[2].partition("\n## ")[0]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in re.findall(r"^\| `(?!method).*\|$", _SEARCH, re.MULTILINE)
]


def test_the_table_has_all_methods_in_the_order_of_the_registry() -> None:
    assert [row[0].strip("`") for row in ROWS] == list(SEARCH_METHODS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row[0]).strip("`"))
def test_a_row_states_rungs_and_the_source_of_the_registry(row: list[str]) -> None:
    method = SEARCH_METHODS[row[0].strip("`")]
    required = {False: "no", True: "yes" if method.asks_whole_rungs else "optional"}
    assert row[2] == required[method.uses_rungs]
    identifiers = re.findall(r"\d{4}\.\d{5}|NIPS \d{4}", method.citation or "")
    assert all(identifier in row[3] for identifier in identifiers)
    assert bool(identifiers) == bool(row[3])
