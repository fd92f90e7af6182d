"""What each experiment of a finished study reached and took, as one table.

    python benchmarks/study_table.py results/networks [--stage raw] [--out FILE.csv]

Reads the study's own tables, run records and training histories; prints Markdown, best first. Run where the study ran:
`cohortseg figures STUDY costs` draws the same figures.
"""

import argparse
import json
import statistics
from pathlib import Path

import pandas as pd


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("study", type=Path)
    parser.add_argument("--stage", choices=("raw", "post"), default="raw")
    parser.add_argument("--metric", default="dice")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    summary = pd.read_csv(arguments.study / "tables" / "summary.csv", keep_default_na=False)
    wanted = (summary["metric"] == arguments.metric) & (summary["stage"] == arguments.stage)
    rows = [
        {
            "experiment": line["experiment"],
            "label": line["label"],
            "n_cases": int(line["n_cases"]),
            "mean": float(line["mean"]),
            "ci_low": float(line["ci_low"] or "nan"),
            "ci_high": float(line["ci_high"] or "nan"),
            "median": float(line["median"]),
            "lowest": float(line["min"]),
            **costs(arguments.study / "experiments" / line["experiment"]),
        }
        for _, line in summary[wanted].iterrows()
    ]
    table = pd.DataFrame(rows).sort_values("mean", ascending=False)
    if arguments.out:
        table.to_csv(arguments.out, index=False, float_format="%.4g", lineterminator="\n")
    print(
        "| experiment | label | mean (95 %) | median | lowest | weights | CPU s a training | s an epoch | CPU s a case | peak MB |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for row in table.to_dict("records"):
        trained = f"{row['cpu_s_training']:.0f}" if row["cpu_s_training"] == row["cpu_s_training"] else ""
        epoch = f"{row['s_epoch']:.2f}" if row["s_epoch"] == row["s_epoch"] else ""
        weights = f"{row['n_parameters']:,.0f}" if row["n_parameters"] == row["n_parameters"] else ""
        print(
            f"| {row['experiment']} | {row['label']} | {row['mean']:.3f} ({row['ci_low']:.3f}–{row['ci_high']:.3f}) | {row['median']:.3f} "
            f"| {row['lowest']:.3f} | {weights} | {trained} | {epoch} | {row['cpu_s_case']:.2f} | {row['peak_mb']:.0f} |"
        )


def costs(folder: Path) -> dict[str, float]:
    """Medians of the trainings and cases of an experiment; NaN where it has none. Memory is the largest of both."""
    cases = [json.loads(path.read_text()) for path in sorted(folder.glob("*/cases/*/raw.run.json"))]
    runs = [json.loads(path.read_text()) for path in sorted(folder.glob("*/train.run.json"))]
    models = [json.loads(path.read_text()) for path in sorted(folder.glob("*/train.json"))]
    epochs = []
    for path in sorted(folder.glob("fold-*/history.csv")):
        last = pd.read_csv(path).iloc[-1]
        if last["epoch"]:
            epochs.append(float(last["seconds_train"] / last["epoch"]))
    return {
        "n_parameters": _median([one.get("n_parameters", float("nan")) for one in models]),
        "cpu_s_training": _median([one["cpu_seconds"] for one in runs]),
        "s_epoch": _median(epochs),
        "cpu_s_case": _median([one["cpu_seconds"] for one in cases]),
        "peak_mb": max((one["peak_memory_mb"] for one in [*cases, *runs]), default=float("nan")),
    }


def _median(values: list[float]) -> float:
    return statistics.median(values) if values else float("nan")


if __name__ == "__main__":
    main()
