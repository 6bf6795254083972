"""Kill runs at random and check that no result is lost, duplicated or changed.

    python infra/soak.py --kills 50 --seed 0 --where here        one process, without Ray
    python infra/soak.py --kills 50 --seed 0 --where cluster     a Ray cluster of three nodes on this machine

A recipe on the embedded model runs once undisturbed, in one process. Then it runs into a new store while processes are
killed with SIGKILL at random moments: the driver and, on a cluster, workers, shard actors and raylets of nodes other
than the head; each lost node is replaced. The same command is repeated after every death of the driver. A finished
store is compared with the undisturbed one: every record and artefact byte for byte, every table of the catalog except
`jobs` and `failures`, and the result of `catalog check`. Further stores follow until all kills are done. On a cluster,
stores alternate between one replica of two shards and replicas of one shard.

The seed determines the kinds of killed processes and the delays. Exits 0 if all stores are equal, else 1, and prints a
summary.
"""

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import mlprune.demo  # noqa: E402 - the repository must be importable first
from catalog.check import check  # noqa: E402
from catalog.store import Catalog  # noqa: E402
from mlprune.store.store import Store  # noqa: E402
from tests.soak_targets import Here, Hit, place  # noqa: E402

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


@dataclass
class Tally:
    """Counts of the whole soak."""

    kills: Counter[str] = field(default_factory=Counter)
    """Kind of process -> how many were killed."""
    starts: int = 0
    stores: int = 0
    """Finished and compared."""
    leftovers: int = 0
    """Temporary files of killed writers, which are never read."""
    differences: list[str] = field(default_factory=list)

    @property
    def n_kills(self) -> int:
        """Return the number of kills of all kinds."""
        return sum(self.kills.values())

    def summary(self) -> str:
        """Return all counts in one sentence."""
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(self.kills.items()))
        counts = f"{self.n_kills} kills survived ({kinds}) in {self.starts} starts and {self.stores} stores"
        left = f"{self.leftovers} temporary files left"
        return f"{counts}, {left}, {len(self.differences)} differences from an undisturbed run"


def results(store: Path) -> dict[str, bytes]:
    """Return all records and artefacts."""
    opened = Store(store)
    names = (path for path in opened.list("") if not path.startswith(("runs/", "claims/", "quarantine/", "catalog.")))
    return {path: (store / path).read_bytes() for path in names}


def differences(store: Path, undisturbed: Path) -> Iterator[str]:
    """Yield the differences of a store from the undisturbed one."""
    actual, expected = results(store), results(undisturbed)
    yield from (f"lost: {path}" for path in sorted(expected.keys() - actual.keys()))
    yield from (f"unexpected: {path}" for path in sorted(actual.keys() - expected.keys()))
    yield from (
        f"different: {path}" for path in sorted(actual.keys() & expected.keys()) if actual[path] != expected[path]
    )
    damages, notes = check(Store(store))
    yield from (f"damaged: {damage}" for damage in damages)
    yield from (f"unreferenced: {path}" for path in notes)
    tables, expected_tables = fingerprints(store), fingerprints(undisturbed)
    yield from (f"table: {name}" for name in sorted(expected_tables) if tables.get(name) != expected_tables[name])


def fingerprints(store: Path) -> dict[str, tuple[int, int]]:
    """Return table -> (rows, fingerprint), without the tables of runs."""
    with Catalog.open(Store(store)) as catalog:
        catalog.fold()
        return {name: value for name, value in catalog.fingerprints().items() if name not in ("jobs", "failures")}


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
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._deadline = time.monotonic() + 60 * minutes
        self._log = folder / "runs.log"
        self.tally = Tally()

    def run(self) -> Tally:
        """Kill until all kills are done, and compare every store."""
        undisturbed = self._folder / "undisturbed"
        began = time.monotonic()
        if self._start(undisturbed, Here(), n_shards=1).wait(PATIENCE_S) != DONE:
            raise SystemExit(f"the undisturbed run failed: see {self._log}")
        longest_s = time.monotonic() - began
        say(f"undisturbed: {longest_s:.0f} s, {len(results(undisturbed))} records and artefacts")
        while self._continues():
            store = self._folder / f"store-{self.tally.stores}"
            n_shards = self._where.n_shards[self.tally.stores % len(self._where.n_shards)]
            self._finish(store, n_shards=n_shards, longest_s=longest_s)
            self.tally.stores += 1
            self.tally.leftovers += len(list(store.rglob("*.writing-*")))
            self.tally.differences += [f"{store.name}: {line}" for line in differences(store, undisturbed)]
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


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)  # noqa: T201 - a script


def main() -> None:
    """Parse the arguments, run, and print a summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--where", choices=("here", "cluster"), default="here")
    parser.add_argument("--minutes", type=float, default=600.0, help="stop killing after N minutes")
    parser.add_argument("--folder", type=Path, help="folder for stores and logs; default: a temporary folder")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="mlprune-soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with place(given.where) as where:
        tally = Soak(folder, where, kills=given.kills, seed=given.seed, minutes=given.minutes).run()
    for line in tally.differences:
        say(line)
    say(f"{tally.summary()}; {time.monotonic() - began:.0f} s, seed {given.seed}")
    sys.exit(1 if tally.differences else 0)


if __name__ == "__main__":
    main()
