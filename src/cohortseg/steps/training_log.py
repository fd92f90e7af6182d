"""What a training says of itself: lines in the log while it goes on, the history as CSV in the end."""

import csv
import io
import time
from typing import Any

import numpy as np

from cohortseg.steps.batch import log

LOG_SECONDS = 30.0
"""Time between two lines of progress in the log."""


def report(row: dict[str, Any]) -> None:
    """A line for a new row of the history."""
    score = f"Dice {row['dice']:.4f}" if "dice" in row else f"MAE {row['mae']:.4g}"
    log(f"step {row['step']}: loss {row['loss']:.4f}, validation {score}")


class Progress:
    """Every half minute a line with the time left."""

    def __init__(self, steps: int) -> None:
        self.steps, self.first, self.began = steps, 0, time.monotonic()
        self.told = self.began

    def __call__(self, done: int) -> None:
        """Count a step."""
        now = time.monotonic()
        if not self.first:  # a resumed training begins somewhere; the first step also waits for its batch
            self.first, self.began = done, now
        elif now - self.told > LOG_SECONDS:
            seconds = (now - self.began) / (done - self.first)
            left = seconds * (self.steps - done) / 60.0
            log(f"step {done} of {self.steps}: {seconds:.3g} s per step, about {left:.0f} min left")
            self.told = now


def history_text(history: list[dict[str, Any]]) -> str:
    """The training history as CSV; numbers round-trip exactly."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in history)
    return text.getvalue()


def _cell(value: Any) -> Any:
    return "" if isinstance(value, float) and np.isnan(value) else value
