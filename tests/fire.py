"""`make fire`: strike the study with faults chosen by chance, over and over, and write the table of docs/cluster.md.

Every round takes a fresh study, a fault in turn and a moment of its own, gives the same command again and compares all
bytes with an undisturbed study. The first round that does not end so stops everything and names its seed.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent / "workflow"), str(Path(__file__).parent)]

from faults import FAULTS, prepare, strike_and_mend  # noqa: E402
from tiny_study import ROOT  # noqa: E402

TABLE = ROOT / "docs" / "cluster.md"
BEGIN, END = "<!-- table of make fire -->", "<!-- end of table -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no round after so long")
    arguments = parser.parse_args()
    outcomes: dict[str, Counter[str]] = {name: Counter() for name in FAULTS}
    recoveries: dict[str, Counter[str]] = {name: Counter() for name in FAULTS}
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        admitted, undisturbed = prepare(Path(folder))
        done = 0
        for number in range(arguments.rounds):
            if time.monotonic() - began > 60 * arguments.minutes:
                break
            name, seed = list(FAULTS)[number % len(FAULTS)], arguments.seed + number
            home = Path(folder) / f"round-{number}"
            shutil.copytree(admitted, home)
            print(f"round {number + 1}: {name} (seed {seed})", flush=True)
            struck, recovery = strike_and_mend(name, home, undisturbed, seed)
            outcomes[name][struck.outcome] += 1
            recoveries[name][recovery] += 1
            shutil.rmtree(home)
            done += 1
    rows = [
        f"| {fault.what} | {outcomes[name].total()} | {_told(outcomes[name])} | {_told(recoveries[name])} |"
        for name, fault in FAULTS.items()
        if outcomes[name]
    ]
    head = f"{done} rounds, each ending with the bytes of an undisturbed study (first seed {arguments.seed}).\n\n"
    table = head + "\n".join(["| fault | times | what the run did | what was typed then |", "|---|---|---|---|", *rows])
    before, _, rest = TABLE.read_text().partition(BEGIN)
    TABLE.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}")
    print(table)


def _told(found: Counter[str]) -> str:
    if len(found) == 1:
        return next(iter(found))
    return "; ".join(f"{words} ({n}×)" for words, n in found.most_common())


if __name__ == "__main__":
    main()
