"""Requirements of a run on a machine: files of models and plug-ins of distributions."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from mlprune.errors import BadInputError, ModelError
from mlprune.methods.plugins import PluginSource, RequiredPlugin, required_plugins
from ray_jobs.workers.nodes.required_files import ModelFiles
from ray_jobs.workers.nodes.requirements import NONE, Requirements, problem_here
from tests.plugin_packages import CUBIC, on_path, write_distribution

POINTS = {"mlprune.scores": {"cubic": "cubic_of_nodes:CUBIC"}}


def installed(site: Path, *, version: str = "1.0", text: str = CUBIC) -> RequiredPlugin:
    """Install the score in a folder, and return what a driver that has it requires."""
    with on_path(site):
        write_distribution(site, {"cubic_of_nodes.py": text}, POINTS, version=version)
        (plugin,) = required_plugins([("score", "wanda"), ("structure", "2:4"), ("score", "cubic")])
    return plugin


def test_the_check_loads_no_tensor_library() -> None:
    """On every node a process of its own makes it, which would need seconds to load one."""
    code = "import sys, ray_jobs.workers.nodes.requirements; print({'torch', 'transformers'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_problem_of_this_machine_is_returned_as_plain_values(tmp_path: Path) -> None:
    problem = problem_here(Requirements((ModelFiles(str(tmp_path), {"config.json": 2}, {}),)))
    assert problem is not None
    message, context = problem
    assert context["path"] == str(tmp_path / "config.json")
    assert isinstance(ModelError(message, context), BadInputError)
    assert problem_here(NONE) is None


def test_a_plugin_of_the_same_version_and_source_is_found_without_importing_it(tmp_path: Path) -> None:
    plugin = installed(tmp_path / "driver")
    with on_path(tmp_path / "node") as site:
        write_distribution(site, {"cubic_of_nodes.py": CUBIC}, POINTS)
        assert problem_here(Requirements(plugins=(plugin,))) is None
        assert "cubic_of_nodes" not in sys.modules


def test_a_machine_without_the_plugin_or_with_another_one_says_so(tmp_path: Path) -> None:
    plugin = installed(tmp_path / "driver")
    nodes = {
        "none": None,
        "version": ("1.1", CUBIC),
        "source": ("1.0", CUBIC + "# patched on this node\n"),
    }
    for name, installation in nodes.items():
        with on_path(tmp_path / name) as site:
            if installation:
                version, text = installation
                write_distribution(site, {"cubic_of_nodes.py": text}, POINTS, version=version)
            problem = problem_here(Requirements(plugins=(plugin,)))
        assert problem is not None, name
        _, context = problem
        assert context["score"] == "cubic"
        assert "cubic-scores 1.0" in str(context["expected"])
        assert "pip install" in str(context["next"])
        assert ("not installed" if installation is None else "cubic-scores") in str(context["got"])


def test_a_plugin_of_another_distribution_does_not_count(tmp_path: Path) -> None:
    plugin = installed(tmp_path / "driver")
    other = replace(plugin, source=PluginSource(plugin.source.sha256, "other-scores", "1.0"))
    with on_path(tmp_path / "driver"):
        assert problem_here(Requirements(plugins=(plugin,))) is None
        problem = problem_here(Requirements(plugins=(other,)))
    assert problem is not None
    assert problem[1]["got"] == "cubic-scores 1.0"
