"""What the named figures of a study are about."""

from dataclasses import dataclass

import pandas as pd

from cohortseg.layout import Layout
from cohortseg.settings import Study


@dataclass(frozen=True)
class Wish:
    """The study and what the figures are about: one experiment, one class, cleaned labels, the leading split."""

    layout: Layout
    study: Study
    experiment: str
    label: str
    rows: pd.DataFrame

    @property
    def metric(self) -> str:
        """The primary metric."""
        return self.study.report.primary_metric

    @property
    def own(self) -> pd.DataFrame:
        """The rows of the experiment and the class."""
        return self.rows[(self.rows["experiment"] == self.experiment) & (self.rows["label"] == self.label)]
