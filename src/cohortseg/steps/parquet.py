"""Tables of results as Parquet beside the CSVs, where the settings ask for them: types and numbers as they are."""

import os
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from cohortseg.errors import SettingsError


def need_pyarrow() -> None:
    """Say what is missing before anything is computed.

    Raises
    ------
    SettingsError
        When pyarrow is not installed.
    """
    if find_spec("pyarrow") is None:
        raise SettingsError(
            "report.parquet needs pyarrow: pip install 'cohortseg[parquet]', or leave report.parquet out"
        )


def write_parquet(path: Path, frame: pd.DataFrame) -> None:
    """Write a table; numbers keep every bit, texts stay as they are, what is missing is null.

    A column that holds texts beside other things becomes texts, as in the CSV.
    """
    plain = frame.copy()
    for name in plain.columns:
        if plain[name].dtype == object:
            plain[name] = plain[name].map(lambda value: None if pd.isna(value) else str(value)).astype("string")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        plain.to_parquet(part, engine="pyarrow", index=False)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
