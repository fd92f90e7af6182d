"""`cohortseg compare STUDY_A STUDY_B`: two studies on the scans they share, and the settings in which they differ.

A scan is the same when the voxels of its image and of its reference are the same (their content digests): names of
cases are counted anew in every study and prove nothing.
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from cohortseg.cohort import read_cases, safe_cell
from cohortseg.errors import StudyError
from cohortseg.io.sidecar import read_json, read_sidecar, write_text
from cohortseg.layout import Layout

if TYPE_CHECKING:
    import pandas as pd

METRICS = ("dice", "nsd", "hd95_mm", "assd_mm")
MISSING = "(default)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Two studies, and where the table goes."""
    parser.add_argument("study_a", type=Path, help="study folder, for example results/before")
    parser.add_argument("study_b", type=Path, help="study folder, for example results/after")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the comparison as a table, too")


def run(arguments: argparse.Namespace) -> None:
    """Print what differs in settings and results.

    Raises
    ------
    StudyError
        When a study has no tables, or the two share no scan and no experiment.
    """
    a, b = Layout(arguments.study_a), Layout(arguments.study_b)
    rows, counts = shared_rows(a, b)
    table = compared(rows)
    print("\n".join([*_settings_lines(a, b), "", *counts, "", *table_lines(table)]))
    if arguments.csv is not None:
        write_text(arguments.csv, table.map(safe_cell).to_csv(index=False, lineterminator="\n"))


def _settings_lines(a: Layout, b: Layout) -> list[str]:
    parts = [
        _flat(yaml.safe_load(layout.settings.read_text()) if layout.settings.exists() else {}) for layout in (a, b)
    ]
    different = [
        key for key in sorted({*parts[0], *parts[1]}) if key != "study" and parts[0].get(key) != parts[1].get(key)
    ]
    lines = [f"  {key}: {parts[0].get(key, MISSING)} → {parts[1].get(key, MISSING)}" for key in different]
    plans = [read_json(layout.plan) if layout.plan.exists() else None for layout in (a, b)]
    same = "the same plan" if plans[0] == plans[1] else "different plans"
    return [f"settings ({same}):", *(lines or ["  the same"])]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Settings by their dotted names."""
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = str(value)
    return found


def shared_rows(a: Layout, b: Layout) -> "tuple[pd.DataFrame, list[str]]":
    """Rows of `metrics_by_case.csv` of both, of the scans and experiments that both have, and how many that are.

    `study` says `A` or `B`; case and subject have the names of A.
    """
    import pandas as pd

    scans = [{digest: case for case, digest in _scans(layout)} for layout in (a, b)]
    shared = sorted(set(scans[0]) & set(scans[1]))
    names = {scans[1][digest]: scans[0][digest] for digest in shared}
    tables = [_metrics(layout) for layout in (a, b)]
    subjects = dict(zip(tables[0]["case"], tables[0]["subject"], strict=True))
    first = tables[0][tables[0]["case"].isin(names.values())].assign(study="A")
    second = tables[1][tables[1]["case"].isin(names)].assign(study="B")
    second = second.assign(case=second["case"].map(names))
    second = second.assign(subject=second["case"].map(subjects))
    experiments = sorted(set(tables[0]["experiment"]) & set(tables[1]["experiment"]))
    counts = [
        f"scans: {len(shared)} in both, {len(scans[0]) - len(shared)} in A alone, "
        f"{len(scans[1]) - len(shared)} in B alone",
        f"experiments in both: {', '.join(experiments) or 'none'}",
    ]
    if not shared or not experiments:
        raise StudyError(f"nothing to compare; {'; '.join(counts)}")
    both = pd.concat([first, second], ignore_index=True)
    return both[both["experiment"].isin(experiments)], counts


def _scans(layout: Layout) -> Iterator[tuple[str, str]]:
    """Case and the digests of the voxels of its image and reference."""
    for case in read_cases(layout.cases_table):
        record = read_sidecar(layout.case(case.case) / "image.json")
        if record is not None and record["status"] == "ok" and record["contents"]["label"] is not None:
            yield case.case, f"{record['contents']['image']} {record['contents']['label']}"


def _metrics(layout: Layout) -> "pd.DataFrame":
    import pandas as pd

    path = layout.table("metrics_by_case")
    if not path.exists():
        raise StudyError(f"no tables in {layout.root}; run `snakemake --cores all` first")
    texts = ("study", "experiment", "case", "subject", "label", "stage", "split", "undefined")
    return pd.read_csv(path, dtype=dict.fromkeys(texts, str), keep_default_na=True)


def compared(rows: "pd.DataFrame") -> "pd.DataFrame":
    """One line per experiment, label and metric, after post-processing: medians of both and the paired difference.

    Columns `experiment, label, metric, n_pairs, n_subjects, median_a, median_b, median_difference` (A minus B),
    `p` (Wilcoxon's signed-rank test over subjects) and `note`. The tests are not corrected for their number.
    """
    import pandas as pd

    from cohortseg.metrics.comparison import compare

    lines = []
    post = rows[rows["stage"] == "post"]
    for (experiment, label), part in post.groupby(["experiment", "label"], sort=True):
        for metric in METRICS:
            medians = part.groupby("study")[metric].median()
            for pair in compare(part, metric=metric, by="study").to_dict("records"):
                line = {"experiment": experiment, "label": label, "metric": metric}
                line |= {name: pair[name] for name in ("n_pairs", "n_subjects")}
                line |= {"median_a": medians.get("A"), "median_b": medians.get("B")}
                lines.append(line | {name: pair[name] for name in ("median_difference", "p", "note")})
    return pd.DataFrame(lines)


def table_lines(table: "pd.DataFrame") -> list[str]:
    """The table for a screen."""
    head = f"{'experiment':<20}{'label':<16}{'metric':<10}{'pairs':>6}{'A':>10}{'B':>10}{'A - B':>10}{'p':>9}"
    lines = [head]
    for line in table.to_dict("records"):
        numbers = "".join(f"{line[name]:>10.4g}" for name in ("median_a", "median_b", "median_difference"))
        lines.append(
            f"{line['experiment']:<20}{line['label']:<16}{line['metric']:<10}{line['n_pairs']:>6}{numbers}"
            f"{line['p']:>9.3g}  {line['note']}".rstrip()
        )
    return [*lines, "medians after post-processing; A - B: median of the paired differences; p: Wilcoxon, uncorrected"]
