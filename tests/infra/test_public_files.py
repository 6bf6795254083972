"""Files of a public project: workflows, Dependabot, issue forms, citation, devcontainer."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
PINNED = re.compile(r"^\s*(?:- )?uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")


def loaded(path: Path) -> Any:
    # YAML 1.1 reads the key `on` as true.
    return yaml.safe_load(path.read_text("utf-8").replace("\non:", "\n'on':"))


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = loaded(path)["jobs"]
    return found


@pytest.fixture(params=WORKFLOWS, ids=lambda path: str(path.stem))
def workflow(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_there_are_workflows_for_checks_releases_and_data_sets() -> None:
    assert [path.stem for path in WORKFLOWS] == ["check", "hub-data", "release"]


def test_every_action_is_pinned_by_a_commit_with_its_version(workflow: Path) -> None:
    uses = [line for line in workflow.read_text("utf-8").splitlines() if "uses:" in line]
    assert uses
    assert [line for line in uses if not PINNED.match(line)] == []


def test_one_action_has_one_commit_in_all_workflows() -> None:
    text = "\n".join(path.read_text("utf-8") for path in WORKFLOWS)
    pins = set(re.findall(r"uses: ([\w./-]+)@(\w+) # (\S+)", text))
    assert len(pins) == len({action for action, _, _ in pins})


def test_permissions_are_none_by_default_and_declared_by_every_job(workflow: Path) -> None:
    assert loaded(workflow)["permissions"] == {}
    assert all("permissions" in job for job in jobs(workflow).values())
    assert "pull_request_target" not in loaded(workflow)["on"]


def test_no_checkout_keeps_credentials(workflow: Path) -> None:
    steps = [step for job in jobs(workflow).values() for step in job["steps"] if "checkout@" in step.get("uses", "")]
    assert all(step["with"]["persist-credentials"] is False for step in steps)


def test_only_publishing_gets_a_token_that_writes() -> None:
    writing = {
        (path.stem, name): job["permissions"]
        for path in WORKFLOWS
        for name, job in jobs(path).items()
        if "write" in str(job["permissions"])
    }
    assert writing == {("release", "publish"): {"id-token": "write"}, ("release", "pages"): {"contents": "write"}}


def test_what_is_published_was_built_once_and_tested() -> None:
    release = jobs(GITHUB / "workflows/release.yml")
    assert (release["test"]["needs"], release["publish"]["needs"]) == ("build", "test")
    uploads = [step for job in release.values() for step in job["steps"] if "upload-artifact@" in step.get("uses", "")]
    downloads = [release[name]["steps"] for name in ("test", "publish")]
    assert len(uploads) == 1
    assert all(any("download-artifact@" in step.get("uses", "") for step in steps) for steps in downloads)
    assert not any("run" in step for step in release["publish"]["steps"])


def test_files_modules_and_make_targets_that_a_workflow_names_exist(workflow: Path) -> None:
    text = workflow.read_text("utf-8") + "".join(path.read_text("utf-8") for path in (ROOT / "infra").glob("*_site.sh"))
    named = set(re.findall(r"(?<![\w/])(?:infra|\.ci)/[\w./-]+", text))
    modules = {name.replace(".", "/") for name in re.findall(r"-m (infra[\w.]*)", text)}
    assert [name for name in named if not (ROOT / name).is_file()] == []
    assert [name for name in modules if not ((ROOT / f"{name}.py").is_file() or (ROOT / name).is_dir())] == []
    targets = set(
        re.findall(r"^(\$\(VENV\)|[a-z-]+)(/[\w.-]+)?:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    )
    known = {name.replace("$(VENV)", ".venv") + rest for name, rest in targets}
    assert set(re.findall(r"\bmake (?:--\S+ )*([\w./-]+)", text)) <= known


def test_the_workflow_of_checks_runs_continuous_integration_on_the_promised_versions() -> None:
    job = jobs(GITHUB / "workflows/check.yml")["test"]
    matrix = {(entry["python"], entry["constraint"]) for entry in job["strategy"]["matrix"]["include"]}
    assert matrix == {("3.11", ""), ("3.13", ""), ("3.11", "infra/lowest.txt")}
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]


def test_data_sets_are_loaded_only_where_a_variable_says_so() -> None:
    (job,) = jobs(GITHUB / "workflows/hub-data.yml").values()
    assert job["if"] == "vars.LOAD_HUB_DATA == 'true'"


def test_dependabot_proposes_libraries_actions_and_containers() -> None:
    updates = loaded(GITHUB / "dependabot.yml")["updates"]
    assert [update["package-ecosystem"] for update in updates] == ["pip", "github-actions", "devcontainers"]


@pytest.mark.parametrize("name", ["bug", "question"])
def test_issue_forms_ask_for_the_check_of_the_machine(name: str) -> None:
    form = loaded(GITHUB / f"ISSUE_TEMPLATE/{name}.yml")
    assert {"name", "description", "body"} <= set(form)
    fields = {field["id"]: field for field in form["body"] if field["type"] != "markdown"}
    assert "mlprune check machine" in fields["machine"]["attributes"]["label"]


def test_the_citation_names_the_authors_and_the_licence_of_the_package() -> None:
    citation = loaded(ROOT / "CITATION.cff")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert (citation["authors"], citation["license"]) == (project["authors"], project["license"])
    assert citation["keywords"] == project["keywords"]


def test_the_devcontainer_opens_no_port() -> None:
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text("utf-8"))
    assert not {"appPort", "runArgs"} & set(container)


@pytest.mark.parametrize(
    "command", [("zizmor", "--offline", "--quiet", ".github"), ("actionlint",)], ids=("zizmor", "actionlint")
)
def test_linters_find_nothing_in_the_workflows(command: tuple[str, ...]) -> None:
    program = shutil.which(command[0], path=str(Path(sys.executable).parent)) or shutil.which(command[0])
    if program is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run([program, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
