"""What a study cost: time, memory, and an estimate of the energy with its assumption."""

from dataclasses import dataclass

from cohortseg.report.content import RESOURCE_COLUMNS, ReportContent, with_columns
from cohortseg.report.numbers import duration, is_number, memory, number
from cohortseg.report.table import Cell, Table, figure, headed, rows_of, sort_key, words

WATTS_PER_CORE = 12.0
WATTS_PER_GPU = 300.0
"""Assumed draw of one busy core and of one busy accelerator; the page states both."""


@dataclass(frozen=True)
class Totals:
    """The sums over all stages, in words; empty where nothing was recorded."""

    tiles: tuple[tuple[str, str], ...]
    assumption: str


def resource_table(content: ReportContent) -> Table | None:
    """Time and memory per stage; None where nothing was recorded."""
    table = with_columns(content.resources, RESOURCE_COLUMNS)
    shown = {"seconds_median": "Median time", "seconds_total": "Total time", "cpu_seconds_total": "CPU time"}
    if (table["gpu_seconds_total"].fillna(0) > 0).any():
        shown["gpu_seconds_total"] = "GPU time"
    rows = rows_of(
        [
            words(line["stage"]),
            figure(line["n"], 0),
            *(Cell(duration(line[name]), key=sort_key(line[name])) for name in shown),
            Cell(memory(line["peak_memory_mb"]), key=sort_key(line["peak_memory_mb"])),
        ]
        for line in table.to_dict("records")
    )
    titles = ("Jobs or cases", *shown.values(), "Peak memory")
    columns = (*headed("Stage"), *headed(*titles, is_number=True))
    note = "CPU time where the step recorded it."
    if len(shown) > 3:
        note += " GPU time is the time of steps that ran on one."
    return Table("Time and memory", columns, rows, note=note) if rows else None


def totals(content: ReportContent) -> Totals | None:
    """CPU- and GPU-hours, largest memory, time per case, energy; None where nothing was recorded."""
    table = with_columns(content.resources, RESOURCE_COLUMNS)
    if table.empty:
        return None
    seconds, cpu, gpu = (
        float(table[name].fillna(0).sum()) for name in ("seconds_total", "cpu_seconds_total", "gpu_seconds_total")
    )
    busy = cpu if cpu > 0 else seconds
    kwh = (busy * WATTS_PER_CORE + gpu * WATTS_PER_GPU) / 3.6e6
    training = table.loc[table["stage"] == "train", "seconds_total"].sum()
    n_cases = table.loc[table["stage"] == "convert", "n"].max()
    per_case = (seconds - training) / n_cases if is_number(n_cases) and n_cases > 0 else None
    tiles = (
        ("CPU-hours", _hours(busy)),
        ("GPU-hours", _hours(gpu) if gpu else "0"),
        ("Largest memory of a job", memory(table["peak_memory_mb"].max())),
        ("Work per case, without training", duration(per_case)),
        ("Energy, estimated", _energy(kwh)),
    )
    assumption = (
        f"Energy: {WATTS_PER_CORE:g} W for each busy core and {WATTS_PER_GPU:g} W for each busy GPU are assumed, "
        "without cooling and idle time; a measurement would replace this. Only the work behind the present results "
        "is counted, not that of runs it replaced."
    )
    return Totals(tiles, assumption)


def _energy(kwh: float) -> str:
    """Watt-hours where there are few: a small study did not cost nothing."""
    if kwh < 0.1:
        return f"{number(1000 * kwh, 2 if kwh < 0.001 else 1)} Wh"
    return f"{number(kwh, 2 if kwh < 10 else 0)} kWh"


def _hours(seconds: float) -> str:
    hours = seconds / 3600
    return number(hours, 3 if hours < 0.1 else 2 if hours < 10 else 0)
