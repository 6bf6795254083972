"""Kill a run at random, again and again, and see that nothing is lost and nothing is doubled.

    python infra/soak.py --kills 50 --seed 0 --address none

A recipe on the embedded model is run once undisturbed. Then it is run into a new store while SIGKILL goes to the
driver, to workers and to shard actors at random moments; the same command is given again after every death of the
driver. A store that is finished is compared with the undisturbed one: every record and artefact byte for byte, every
table of the catalog but `jobs` and `failures`, and what `catalog check` says. If kills are left, the next store begins.

The seed fixes whom the kills go to and after which delay; what is hit there depends on the machine. Ends 0 if every
store was equal, 1 otherwise, and prints what was done.
"""

import argparse
import os
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

import mlprune.demo
from catalog.check import check
from catalog.store import Catalog
from mlprune.storage import Store

ROOT = Path(__file__).resolve().parent.parent
MODEL = Path(mlprune.demo.__file__).parent / "xglm-cldr-2m"
VICTIMS = {"driver": None, "worker": "WorkerActor", "shard": "ShardActor"}
"""Kind of process -> what its command line holds; the driver is the process we started."""
PATIENCE_S = 600.0
DONE, SOME_FAILED = 0, 3


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
    """What was done."""

    kills: Counter[str] = field(default_factory=Counter)
    """Kind of process -> how many were killed."""
    starts: int = 0
    stores: int = 0
    """Finished and compared."""
    leftovers: int = 0
    """Temporary files of killed writers, which nothing reads."""
    differences: list[str] = field(default_factory=list)

    @property
    def n_kills(self) -> int:
        """Of all kinds."""
        return sum(self.kills.values())


class Run:
    """The recipe as a process, at the head of its own process group."""

    def __init__(self, recipe_path: Path, store: Path, *, address: str, log: Path) -> None:
        command = [sys.executable, "-m", "ray_jobs.cli", "run", str(recipe_path), "--store", str(store)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
        with log.open("ab") as stream:
            self.process = subprocess.Popen(  # noqa: S603 - our own command
                [*command, "--address", address],
                stdout=stream,
                stderr=stream,
                env=environment,
                start_new_session=True,
            )

    def victims(self, kind: str) -> list[psutil.Process]:
        """The processes of a kind that live now."""
        word = VICTIMS[kind]
        try:
            if word is None:
                return [psutil.Process(self.process.pid)]
            children = psutil.Process(self.process.pid).children(recursive=True)
            return [one for one in children if word in _command_line(one)]
        except psutil.NoSuchProcess:
            return []

    def end(self) -> None:
        """Kill what is left of it, its Ray included."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def results(store: Path) -> dict[str, bytes]:
    """All records and artefacts."""
    opened = Store(store)
    names = (path for path in opened.list("") if not path.startswith(("runs/", "claims/", "quarantine/", "catalog.")))
    return {path: (store / path).read_bytes() for path in names}


def differences(store: Path, undisturbed: Path) -> Iterator[str]:
    """What a store has otherwise than the undisturbed one."""
    ours, theirs = results(store), results(undisturbed)
    yield from (f"lost: {path}" for path in sorted(theirs.keys() - ours.keys()))
    yield from (f"too many: {path}" for path in sorted(ours.keys() - theirs.keys()))
    yield from (f"different: {path}" for path in sorted(ours.keys() & theirs.keys()) if ours[path] != theirs[path])
    damages, notes = check(Store(store))
    yield from (f"damaged: {one}" for one in damages)
    yield from (f"no record reaches: {path}" for path in notes)
    tables, expected = fingerprints(store), fingerprints(undisturbed)
    yield from (f"table: {name}" for name in sorted(expected) if tables.get(name) != expected[name])


def fingerprints(store: Path) -> dict[str, tuple[int, int]]:
    """Table of the catalog -> rows and fingerprint, of all that do not tell how runs went."""
    with Catalog.open(Store(store)) as catalog:
        catalog.fold()
        return {name: found for name, found in catalog.fingerprints().items() if name not in ("jobs", "failures")}


class Soak:
    """The whole of it.

    Args:
        folder: where recipe, stores and logs go.
        address: none or local.
        kills: how many processes to kill.
        seed: of whom and when.
    """

    def __init__(self, folder: Path, *, address: str, kills: int, seed: int) -> None:
        self._folder = folder
        self._address = address
        self._kills = kills
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._recipe = folder / "recipe.yaml"
        self._recipe.write_text(yaml.safe_dump(recipe(2 if address == "local" else 1)), encoding="utf-8")
        self._log = folder / "runs.log"
        self.tally = Tally()

    def run(self) -> Tally:
        """Kill until there have been enough kills, and compare every store."""
        undisturbed = self._folder / "undisturbed"
        began = time.monotonic()
        if self._start(undisturbed).process.wait(PATIENCE_S) != DONE:
            raise SystemExit(f"the undisturbed run failed: see {self._log}")
        longest_s = time.monotonic() - began
        say(f"undisturbed: {longest_s:.0f} s, {len(results(undisturbed))} records and artefacts")
        while self.tally.n_kills < self._kills:
            store = self._folder / f"store-{self.tally.stores}"
            self._finish(store, longest_s=longest_s)
            self.tally.stores += 1
            self.tally.leftovers += len(list(store.rglob("*.writing-*")))
            self.tally.differences += [f"{store.name}: {one}" for one in differences(store, undisturbed)]
            say(
                f"{store.name}: done after {self.tally.n_kills} kills in all, {len(self.tally.differences)} differences"
            )
            shutil.rmtree(store)
        return self.tally

    def _start(self, store: Path) -> Run:
        self.tally.starts += 1
        return Run(self._recipe, store, address=self._address, log=self._log)

    def _finish(self, store: Path, *, longest_s: float) -> None:
        """Give the command until it ends with everything done, killing as long as kills are left."""
        while True:
            run = self._start(store)
            try:
                code = self._disturb(run, store, longest_s=longest_s)
            finally:
                run.end()
            if code == DONE:
                return
            if code not in (SOME_FAILED, -signal.SIGKILL):
                raise SystemExit(f"a run ended with exit code {code}: see {self._log}")

    def _disturb(self, run: Run, store: Path, *, longest_s: float) -> int:
        """Kill processes of a run, from when it begins to work until it ends; returns its exit code."""
        self._until_it_works(run, store)
        while run.process.poll() is None and self.tally.n_kills < self._kills:
            time.sleep(self._random.uniform(0, longest_s / 8))
            kind = self._random.choice(list(VICTIMS) if self._address == "local" else ["driver"])
            found = run.victims(kind)
            if run.process.poll() is None and found:
                self._random.choice(found).kill()
                self.tally.kills[kind] += 1
        return run.process.wait(PATIENCE_S)

    @staticmethod
    def _until_it_works(run: Run, store: Path) -> None:
        """Wait until the run has written that it began; killing it while it imports would show nothing."""
        give_up, before = time.monotonic() + PATIENCE_S, set(store.glob("runs/*"))
        while run.process.poll() is None and set(store.glob("runs/*")) == before:
            if time.monotonic() > give_up:
                raise SystemExit("a run does not begin to work")
            time.sleep(0.02)


def say(line: str) -> None:
    """A line for whoever looks on."""
    print(line, flush=True)  # noqa: T201 - a script


def main() -> None:
    """Read the arguments, run, and print what was done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--address", choices=("none", "local"), default="none")
    parser.add_argument("--folder", type=Path, help="where stores and logs go; a temporary folder if left out")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="mlprune-soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    tally = Soak(folder, address=given.address, kills=given.kills, seed=given.seed).run()
    for line in tally.differences:
        say(line)
    kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(tally.kills.items()))
    say(f"{tally.n_kills} kills survived ({kinds}) in {tally.starts} starts and {tally.stores} stores,")
    say(f"{time.monotonic() - began:.0f} s, seed {given.seed}, {tally.leftovers} temporary files left behind")
    say(f"{len(tally.differences)} differences to an undisturbed run")
    sys.exit(1 if tally.differences else 0)


if __name__ == "__main__":
    main()
