"""The clinical table: checked while the index runs, kept under pseudonyms in `private/`, read by `aggregate`."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from cohortseg.cohort import table_text
from cohortseg.errors import SettingsError
from cohortseg.io.sidecar import write_if_changed
from cohortseg.layout import Layout
from cohortseg.names import Identities

if TYPE_CHECKING:
    import pandas as pd

KEYS = ("case", "subject")


def keep_clinical(source: Path | None, wanted: list[str], identities: Identities, layout: Layout) -> None:
    """Copy the wanted columns of the rows that belong to the study, subjects under their names in it.

    Parameters
    ----------
    source : Path or None
        The table of the settings (CSV, comma or semicolon); without one the copy is removed.
    wanted : list of str
        Columns to keep; nothing else of the table enters the study.
    identities : Identities
        Names of subjects by original id, and of cases. A key of the table may be an original id or a name.
    layout : Layout
        Where it goes.

    Raises
    ------
    SettingsError
        When the table cannot be read, has no column `case` or `subject`, lacks a wanted column or names a key twice.
    """
    if source is None:
        layout.clinical.unlink(missing_ok=True)
        return
    try:
        text = source.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cohort.clinical: the table cannot be read ({type(error).__name__})") from None
    header = text.partition("\n")[0]
    rows = list(csv.DictReader(text.splitlines(), delimiter=";" if header.count(";") > header.count(",") else ","))
    columns = [name.strip() for name in rows[0]] if rows else []
    key = next((name for name in KEYS if name in columns), None)
    if key is None:
        raise SettingsError("cohort.clinical: the table has no column `subject` or `case`, or no rows")
    missing = [name for name in wanted if name not in columns]
    if missing:
        raise SettingsError(f"cohort.clinical: no column {missing[0]!r}; choices: {', '.join(columns)}")
    names = {name: name for name in (identities.subjects if key == "subject" else identities.cases).values()}
    names |= identities.subjects if key == "subject" else {}
    kept: dict[str, dict[str, str]] = {}
    for number, row in enumerate(rows, start=2):
        cells = {name.strip(): (value or "").strip() for name, value in row.items() if isinstance(name, str)}
        name = names.get(cells[key])
        if name is None:
            continue
        if name in kept:
            raise SettingsError(f"cohort.clinical: line {number} names a {key} for the second time")
        kept[name] = {key: name, **{column: cells[column] for column in wanted}}
    write_if_changed(layout.clinical, table_text([kept[name] for name in sorted(kept)], [key, *wanted]))


def read_clinical(layout: Layout, subjects: dict[str, str]) -> "pd.DataFrame":
    """The clinical columns, one row for each case that has any; the index holds the cases.

    Parameters
    ----------
    layout : Layout
    subjects : dict
        Case to subject.

    Returns
    -------
    DataFrame
        Texts; empty without a clinical table.
    """
    import pandas as pd

    if not layout.clinical.exists():
        return pd.DataFrame()
    table = pd.read_csv(layout.clinical, sep="\t", dtype=str, keep_default_na=False)
    by_key = table.set_index(table.columns[0])
    keys = {case: (subject if table.columns[0] == "subject" else case) for case, subject in subjects.items()}
    present = {case: key for case, key in keys.items() if key in by_key.index}
    return by_key.loc[list(present.values())].set_axis(list(present), axis=0)
