"""Kill runs and commands at random and check that no result is lost, duplicated or changed.

    python -m infra.soak --kills 1000 --seed 0                       all commands, in forked processes
    python -m infra.soak --kills 50 --seed 0 --where here            one recipe, one process, without Ray
    python -m infra.soak --kills 50 --seed 0 --where cluster         one recipe, a Ray cluster of three nodes
    python -m infra.soak --kills 1000 --minutes 30 --folder soak/    repeat this line until all kills are done

`commands` draws a command of `infra.soak.cases`, kills it with SIGKILL at random moments, sometimes after a pause,
repeats it until it ends, and compares the result with an undisturbed one: every record, artefact and output byte for
byte, every table of the catalog except `jobs` and `failures`, and the result of `check store`. Stores of
`run --scrub` are also damaged at random.

`here` and `cluster` run a larger recipe on the embedded model, and kill the driver and, on a cluster, workers, shard
actors and raylets of nodes other than the head.

The seed determines what is killed and damaged, and the delays. A call in the folder of an earlier one continues it: the
counts of all calls, by command, are in `soak.json`. Exits 0 if all results are equal, else 1, and prints the counts.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from infra.soak.commands import CommandSoak
from infra.soak.runs import Soak
from infra.soak.tally import Tally, say
from tests.soak_targets import place


def soak(given: argparse.Namespace, folder: Path) -> Tally:
    """Run the soak that the arguments ask for."""
    limits = {"kills": given.kills, "seed": given.seed, "minutes": given.minutes}
    if given.where == "commands":
        return CommandSoak(folder, **limits).run()
    with place(given.where) as where:
        return Soak(folder, where, **limits).run()


def main() -> None:
    """Parse the arguments, run, and print a summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="kills of all calls together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--where", choices=("commands", "here", "cluster"), default="commands")
    parser.add_argument("--minutes", type=float, default=600.0, help="stop killing after N minutes of this call")
    parser.add_argument("--folder", type=Path, help="folder for stores, logs and counts; default: a new one")
    given = parser.parse_args()
    folder = (given.folder or Path(tempfile.mkdtemp(prefix="mlprune-soak-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    tally = soak(given, folder)
    for line in tally.differences:
        say(line)
    for line in tally.table():
        say(line)
    say(f"{tally.summary()}; call {tally.calls}, {time.monotonic() - began:.0f} s, seed {given.seed}, {folder}")
    sys.exit(1 if tally.differences else 0)


if __name__ == "__main__":
    main()
