"""Soak of all commands: each is paused, killed and repeated until it ends, then its result is compared."""

import random
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from infra.soak.cases import CASES, Scene, write_scene
from infra.soak.damage import damage_store, fresh_copy
from infra.soak.forked import ForkedCommand
from infra.soak.tally import Tally, say

MOST_KILLS = 6
"""Kills of one command before it may finish."""
REPAIR_S = 2.0
"""Time of a run over a damaged store, at least."""
SCENE = "scene"
"""Name of the preparation among the undisturbed commands."""
PAUSED, DAMAGED = 0.15, 0.3
"""Share of kills after a pause, and of kills after which a store is damaged."""


@dataclass(frozen=True)
class Undisturbed:
    """A command that nothing disturbed."""

    folder: Path
    elapsed_s: float


class CommandSoak:
    """Kills of random commands.

    Args:
        folder: for inputs, stores and logs.
        kills: how many processes to kill.
        seed: of commands, delays and damages.
        minutes: time after which nothing more is killed.
    """

    def __init__(self, folder: Path, *, kills: int, seed: int, minutes: float) -> None:
        self._folder = folder
        self._log = folder / "commands.log"
        self._kills = kills
        self._seed = seed
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._deadline = time.monotonic() + 60 * minutes
        self.tally = Tally.read(folder)

    def run(self) -> Tally:
        """Kill until all kills are done, and compare every result."""
        scene = self._scene()
        names = [name for name, case in CASES.items() for _ in range(case.weight)]
        while self.tally.n_kills < self._kills and time.monotonic() < self._deadline:
            self._random.seed(f"{self._seed}:{self.tally.stores}")
            name = self._random.choice(names)
            self._disturb(scene, name)
            self.tally.write(self._folder)
        return self.tally

    def _scene(self) -> Scene:
        """Return the inputs, and the finished stores that commands start from; an earlier call may have made them."""
        if SCENE not in self.tally.undisturbed:
            for path in self._folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            began = time.monotonic()
            scene = write_scene(self._folder)
            for words in scene.preparations():
                self._finish(words)
            self.tally.undisturbed[SCENE] = time.monotonic() - began
            self.tally.write(self._folder)
        return Scene(self._folder)

    def _undisturbed(self, scene: Scene, name: str) -> Undisturbed:
        """Return the result of a command that nothing disturbed; an earlier call may have made it."""
        work = self._folder / "undisturbed" / "-".join(re.findall(r"\w+", name))
        if name not in self.tally.undisturbed:
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True)
            CASES[name].prepare(scene, work)
            began = time.monotonic()
            self._finish(CASES[name].words(scene, work))
            self.tally.undisturbed[name] = time.monotonic() - began
            self.tally.write(self._folder)
            say(f"undisturbed: {name}, {self.tally.undisturbed[name]:.1f} s")
        return Undisturbed(work, self.tally.undisturbed[name])

    def _finish(self, words: Sequence[str]) -> None:
        self.tally.starts += 1
        code = ForkedCommand(words, self._log).wait()
        if code:
            raise SystemExit(f"{' '.join(words)} ended with exit code {code}: see {self._log}")

    def _disturb(self, scene: Scene, name: str) -> None:
        """Kill one command several times, let it finish, and compare."""
        case, undisturbed = CASES[name], self._undisturbed(scene, name)
        work = self._folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        case.prepare(scene, work)
        events = list(self._kill(scene, name, work, usual_s=undisturbed.elapsed_s))
        problems: list[str] = []
        if not (case.writes_once and (work / "out").exists()):
            self.tally.starts += 1
            code = ForkedCommand(case.words(scene, work), self._log).wait()
            problems += [f"exit code {code}"] if code else []
        problems += case.compare(work, undisturbed.folder)
        self.tally.finished[name] += 1
        self.tally.leftovers += len(list(work.rglob("*.writing-*")))
        if problems:
            kept = self._folder / f"different-{self.tally.stores}"
            fresh_copy(work, kept)
            self.tally.differences += [f"{name} {events}: {problem} ({kept})" for problem in problems]
        if self.tally.stores % 20 == 0:
            say(f"{self.tally.summary()}")

    def _kill(self, scene: Scene, name: str, work: Path, *, usual_s: float) -> Iterator[str]:
        """Start and kill a command; yield what was done to it and to the store.

        Args:
            usual_s: time that it takes undisturbed.
        """
        case = CASES[name]
        for _ in range(self._random.randint(1, MOST_KILLS)):
            if (
                case.is_damaged
                and self._random.random() < DAMAGED
                and (done := damage_store(work / "store", self._random))
            ):
                self.tally.damages += 1
                yield done
            if case.writes_once and (work / "out").exists():
                return
            self.tally.starts += 1
            command = ForkedCommand(case.words(scene, work), self._log)
            shortest_s = REPAIR_S if case.is_damaged else 0.0
            delay_s = self._random.uniform(0, max(usual_s, shortest_s))
            pause_s = 0.05 if self._random.random() < PAUSED else 0.0
            with suppress(ProcessLookupError):  # it ended meanwhile
                if command.kill_after(delay_s, pause_s=pause_s):
                    self.tally.kills[name] += 1
                    yield f"killed after {delay_s:.2f} s" + (" and a pause" if pause_s else "")
            code = command.wait()
            if code not in (0, -9):
                yield f"exit code {code}"
