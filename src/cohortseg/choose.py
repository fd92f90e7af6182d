"""Pick an entry of a literal table by name, or say which names there are."""

from collections.abc import Mapping
from typing import TypeVar

from cohortseg.errors import SettingsError

Entry = TypeVar("Entry")


def choose(kind: str, name: str, table: Mapping[str, Entry]) -> Entry:
    """The entry of `table` called `name`.

    Raises
    ------
    SettingsError
        When there is none; the message names the choices.
    """
    if name not in table:
        raise SettingsError(f"{kind} {name!r} is not available; choices: {', '.join(sorted(table))}")
    return table[name]
