"""Hours, memory and energy add up, and the assumption stands beside them."""

import pandas as pd
import pytest
from report_content import empty_content, full_content

from cohortseg.report.resources import resource_table, totals


def test_resources_are_in_readable_units():
    lines = [[cell.text for cell in row] for row in resource_table(full_content()).rows]
    assert lines[1] == ["train", "3", "29 min 50 s", "1 h 30 min", "30 min 0 s", "1 h 30 min", "3.9 GB"]


def test_the_sums_are_right():
    found = dict(totals(full_content()).tiles)
    assert found["CPU-hours"] == "0.56"  # 2000 s
    assert found["GPU-hours"] == "1.50"
    assert found["Largest memory of a job"] == "3.9 GB"
    assert found["Work per case, without training"] == "13 s"  # 193 s over 15 cases
    assert found["Energy, estimated"] == "0.46 kWh"  # 2000 s * 12 W + 5400 s * 300 W
    assert "12 W" in totals(full_content()).assumption
    assert "300 W" in totals(full_content()).assumption


@pytest.mark.parametrize("missing", ["cpu_seconds_total", "gpu_seconds_total"])
def test_older_records_without_cpu_time_count_their_wall_time(missing):
    content = full_content(resources=full_content().resources.drop(columns=missing))
    assert dict(totals(content).tiles)["CPU-hours"] == ("1.55" if missing.startswith("cpu") else "0.56")


def test_nothing_recorded_is_nothing_shown():
    assert resource_table(empty_content()) is totals(empty_content()) is None
    only = pd.DataFrame({"stage": ["train"], "n": [2], "seconds_total": [9.0], "peak_memory_mb": [5.0]})
    assert dict(totals(full_content(resources=only)).tiles)["Work per case, without training"] == "–"
