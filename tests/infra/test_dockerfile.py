"""The Dockerfile: it copies existing files, turns token authentication on, and runs as a user other than root."""

import re
import shlex
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "infra" / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """(instruction, arguments), without comments, with continued lines joined."""
    lines = [line for line in DOCKERFILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in joined.splitlines() if line.strip()]


def copied() -> list[str]:
    """Paths copied from the repository."""
    copies = [shlex.split(arguments) for name, arguments in instructions() if name == "COPY"]
    return [source for words in copies if not words[0].startswith("--from") for source in words[:-1]]


def test_the_copied_paths_exist_and_are_those_of_the_wheel() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert set(copied()) == {*packages, "pyproject.toml", project["project"]["readme"], "LICENSE"}
    assert all((ROOT / source).exists() for source in copied())


def test_the_build_context_has_exactly_the_copied_paths() -> None:
    lines = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == set(copied())


def test_the_image_runs_as_a_numeric_user_other_than_root() -> None:
    users = [arguments for name, arguments in instructions() if name == "USER"]
    assert users == ["1000"]
    last_of_root = max(i for i, (name, _) in enumerate(instructions()) if name == "RUN")
    assert instructions().index(("USER", "1000")) > last_of_root


def test_ray_requires_a_token_and_is_pinned() -> None:
    environment = " ".join(arguments for name, arguments in instructions() if name == "ENV")
    assert "RAY_AUTH_MODE=token" in environment
    assert not re.search(r"RAY_AUTH_TOKEN(_PATH)?=", environment)
    assert re.search(r'"ray\[default\]==\$\{RAY_VERSION\}"', DOCKERFILE.read_text(encoding="utf-8"))


def test_the_python_of_the_image_is_supported_by_the_project() -> None:
    (image,) = (arguments for name, arguments in instructions() if name == "ARG" and "PYTHON_IMAGE" in arguments)
    (minor,) = re.findall(r"python:3\.(\d+)-slim", image)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert int(minor) >= int(project["requires-python"].removeprefix(">=3."))
