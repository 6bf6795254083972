"""Soak of one recipe: runs in processes of their own, or on a Ray cluster, are killed until they have finished."""

import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import yaml

import mlprune.demo
from infra.soak.comparison import differences, results
from infra.soak.tally import Tally, say
from tests.soak_targets import Here, Hit

ROOT = Path(__file__).resolve().parents[2]
MODEL = Path(mlprune.demo.__file__).parent / "xglm-cldr-2m"
PATIENCE_S = 900.0
DONE, SOME_FAILED = 0, 3
PAUSES = 3
"""The largest delay between two kills is the time of an undisturbed run divided by this."""


def recipe(shards: int) -> dict[str, Any]:
    """Two orderings, two sweeps and a combination over the embedded model, evaluated in two languages."""
    sizes = {"shots": 2, "samples": 8, "max_tokens": 96}
    wanda = {"demonstrations": "mt", "score": "wanda"}
    return {
        "name": "soak",
        "model": {"path": str(MODEL)},
        "corpus": {"kind": "cldr", "lines": 200, "leave_out_evaluated": True},
        "demonstrations": [
            {"name": "mt", "kind": "translation", "source": ["fr", "sw"], "target": "en", **sizes},
        ],
        "variants": [
            {"name": "dense", **wanda, "sparsity": [0.25, 0.5], "propagation": "dense"},
            {"name": "sweep", **wanda, "sparsity": 0.5, "propagation": "sequential"},
            {"name": "random", "score": "random", "sparsity": [0.25, 0.5]},
        ],
        "evaluations": [
            {"task": "facts", "path": "corpus", "languages": ["en", "fr"], "split": "dev", "limit": 20},
            {"task": "perplexity", "path": "corpus", "languages": ["fr"], "split": "dev", "limit": 8},
        ],
        "compute": {"batch_tokens": 256, **({"shards": shards, "replicas": 1} if shards > 1 else {})},
    }


class Soak:
    """A soak: runs, kills and comparisons.

    Args:
        folder: for recipes, stores and logs.
        where: one process or a cluster, with its processes to kill.
        kills: how many processes to kill.
        seed: of kinds and delays.
        minutes: time after which nothing more is killed.
    """

    def __init__(self, folder: Path, where: Here, *, kills: int, seed: int, minutes: float) -> None:
        self._folder = folder
        self._where = where
        self._kills = kills
        self._seed = seed
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._deadline = time.monotonic() + 60 * minutes
        self._log = folder / "runs.log"
        self.tally = Tally.read(folder)

    def run(self) -> Tally:
        """Kill until all kills are done, and compare every store."""
        undisturbed = self._folder / "undisturbed"
        if "run" not in self.tally.undisturbed:
            shutil.rmtree(undisturbed, ignore_errors=True)
            began = time.monotonic()
            if self._start(undisturbed, Here(), n_shards=1).wait(PATIENCE_S) != DONE:
                raise SystemExit(f"the undisturbed run failed: see {self._log}")
            self.tally.undisturbed["run"] = time.monotonic() - began
        longest_s = self.tally.undisturbed["run"]
        say(f"undisturbed: {longest_s:.0f} s, {len(results(undisturbed))} records and artefacts")
        while self._continues():
            self._random.seed(f"{self._seed}:{self.tally.stores}")
            store = self._folder / f"store-{self.tally.stores}"
            shutil.rmtree(store, ignore_errors=True)
            n_shards = self._where.n_shards[self.tally.stores % len(self._where.n_shards)]
            self._finish(store, n_shards=n_shards, longest_s=longest_s)
            self.tally.finished["run"] += 1
            self.tally.leftovers += len(list(store.rglob("*.writing-*")))
            self.tally.differences += [f"run [{store.name}]: {line}" for line in differences(store, undisturbed)]
            self.tally.write(self._folder)
            say(f"{store.name}, {n_shards} shards: done after {self.tally.summary()}")
            shutil.rmtree(store)
        return self.tally

    def _continues(self) -> bool:
        return self.tally.n_kills < self._kills and time.monotonic() < self._deadline

    def _start(self, store: Path, where: Here, *, n_shards: int) -> subprocess.Popen[bytes]:
        """Start the recipe as a process."""
        self.tally.starts += 1
        recipe_path = self._folder / f"recipe-{n_shards}.yaml"
        recipe_path.write_text(yaml.safe_dump(recipe(n_shards)), encoding="utf-8")
        command = [sys.executable, "-m", "ray_jobs.cli", "run", str(recipe_path), "--store", str(store)]
        environment = {**where.environment, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
        with self._log.open("ab") as stream:
            return subprocess.Popen(  # noqa: S603 - our own command
                [*command, "--address", where.address], stdout=stream, stderr=stream, env=environment
            )

    def _finish(self, store: Path, *, n_shards: int, longest_s: float) -> None:
        """Repeat the command until everything is done, killing processes as long as kills remain."""
        while True:
            run = self._start(store, self._where, n_shards=n_shards)
            try:
                code = self._disturb(run, store, n_shards=n_shards, longest_s=longest_s)
            finally:
                run.kill()
            if code == DONE:
                return
            if code not in (SOME_FAILED, -signal.SIGKILL):
                raise SystemExit(f"a run ended with exit code {code}: see {self._log}")

    def _disturb(self, run: subprocess.Popen[bytes], store: Path, *, n_shards: int, longest_s: float) -> int:
        """Kill processes of a run from its first job to its end; return its exit code."""
        self._until_it_works(run, store)
        while run.poll() is None and self._continues():
            kind = self._random.choice(self._where.kinds(n_shards))
            while run.poll() is None and not self._living(kind, run):
                time.sleep(0.2)
            time.sleep(self._random.uniform(0, longest_s / PAUSES))
            hits = self._living(kind, run)
            with suppress(psutil.NoSuchProcess, IndexError, ValueError):  # it ended meanwhile
                self._random.choice(hits)()
                self.tally.kills[kind] += 1
        return run.wait(PATIENCE_S)

    def _living(self, kind: str, run: subprocess.Popen[bytes]) -> list[Hit]:
        """Return how to kill each living process of a kind, while the run lives."""
        return self._where.targets(kind, psutil.Process(run.pid)) if run.poll() is None else []

    @staticmethod
    def _until_it_works(run: subprocess.Popen[bytes], store: Path) -> None:
        """Wait until the run has written its first file: killing it during imports would test nothing."""
        deadline, before = time.monotonic() + PATIENCE_S, set(store.glob("runs/*"))
        while run.poll() is None and set(store.glob("runs/*")) == before:
            if time.monotonic() > deadline:
                raise SystemExit("a run did not start to work")
            time.sleep(0.02)
