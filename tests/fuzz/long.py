"""A long campaign of damaged files and series; exits 1 at any finding.

usage: python tests/fuzz/long.py --files 2000 --series 200 --seed 1
"""

import argparse
import sys
import time

from campaign import run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--series", type=int, default=200)
    parser.add_argument("--others", type=int, default=200, help="RTSTRUCT, DICOM-SEG, NIfTI and PNG files")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    started = time.perf_counter()
    tally = run(chosen.files, chosen.series, chosen.others, chosen.seed)
    print(f"files {chosen.files}, series {chosen.series}, others {chosen.others}, seed {chosen.seed}: ", end="")
    print(f"{time.perf_counter() - started:.0f} s, {len(tally.findings)} findings\n")
    for word, count in tally.outcomes.most_common():
        print(f"{count:7d}  {word}")
    for finding in tally.findings:
        print(f"\nFINDING {finding}")
    return 1 if tally.findings else 0


if __name__ == "__main__":
    sys.exit(main())
