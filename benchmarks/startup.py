"""What starting costs: `cohortseg --help`, and the imports of each step."""

import sys

from measure import in_turn, machine

STEPS = ("convert", "fingerprint", "preprocess", "postprocess", "evaluate", "aggregate", "report", "predict", "train")


def main() -> None:
    """Print a row per command."""
    print(machine())
    commands = {"cohortseg --help": [sys.executable, "-m", "cohortseg", "--help"]}
    commands |= {f"cohortseg {step} --help": [sys.executable, "-m", "cohortseg", step, "--help"] for step in STEPS}
    for name, cost in in_turn(commands, 3).items():
        print(f"{name:<28} {cost.cpu_s:>6.2f} CPU s {cost.peak_mb:>7.0f} MB")


if __name__ == "__main__":
    main()
