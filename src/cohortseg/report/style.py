"""Colours and symbols of the report: one palette for the page, the figures and the outlines.

Figures are drawn in the light colours, so that a saved figure can go into a paper as it is. Inside the page each of
them is replaced by a CSS variable (see svg.py), so that the same figure follows a light or a dark screen.
"""

from dataclasses import dataclass

PALETTE: dict[str, tuple[str, str]] = {
    "paper": ("#ffffff", "#14181d"),
    "panel": ("#f5f7f9", "#1c2229"),
    "ink": ("#1b2128", "#e7eaee"),
    "muted": ("#5a6572", "#a0abb8"),
    "rule": ("#dbe0e6", "#323b45"),
    "frame": ("#8a95a1", "#66717d"),
    "accent": ("#0f5f82", "#79c3e6"),
    "warning": ("#8a5300", "#f0b556"),
    "series-1": ("#1f6fb4", "#6cb0ec"),
    "series-2": ("#c05412", "#f09a5e"),
    "series-3": ("#1d8563", "#58c9a1"),
    "series-4": ("#8546ad", "#c49ae6"),
    "series-5": ("#8f6d12", "#d9b855"),
    "series-6": ("#b5315f", "#f089ac"),
    "series-7": ("#2c7f92", "#6fcadb"),
    "series-8": ("#5f6670", "#b3bac4"),
}
"""Name: colour on a light and on a dark page."""

SHAPES: tuple[tuple[str, str], ...] = (
    ("o", "●"),
    ("s", "■"),
    ("^", "▲"),
    ("D", "◆"),
    ("v", "▼"),
    ("P", "✚"),
    ("X", "✖"),
    ("*", "★"),
)
"""Marker of matplotlib, and the same shape as a character for legends in the page."""

N_COLOURS = 8
OUTLINE_ONE: tuple[str, str] = ("#3fe0ff", "#ffb21a")
"""Outline of reference and prediction when there is a single class."""

OUTLINES: tuple[tuple[str, str], ...] = (
    ("#3fe0ff", "#3fe0ff"),
    ("#ffb21a", "#ffb21a"),
    ("#ff7ad1", "#ff7ad1"),
    ("#8dff5a", "#8dff5a"),
    ("#b9a2ff", "#b9a2ff"),
    ("#ff6b57", "#ff6b57"),
    ("#fff35c", "#fff35c"),
    ("#5cffc9", "#5cffc9"),
)
"""With several classes the colour says which class and the line (solid, dashed) says whose."""


@dataclass(frozen=True)
class Series:
    """How one experiment or model looks everywhere on the page.

    Parameters
    ----------
    colour : str
        The light colour, `#rrggbb`.
    variable : str
        The CSS variable of that colour, `--series-1`.
    marker, glyph : str
        The same shape for matplotlib and as a character.
    """

    colour: str
    variable: str
    marker: str
    glyph: str


def series(number: int) -> Series:
    """Look of the n-th experiment or model, counted from 0; colours repeat after 8 with other shapes."""
    name = f"series-{number % N_COLOURS + 1}"
    marker, glyph = SHAPES[(number + number // N_COLOURS) % len(SHAPES)]
    return Series(PALETTE[name][0], f"--{name}", marker, glyph)


def colour(name: str) -> str:
    """The light colour called `name`, `#rrggbb`."""
    return PALETTE[name][0]


def label_colours(n_labels: int) -> dict[int, tuple[str, str]]:
    """Outline colours (reference, prediction) of label 1, 2, … n; empty for 0. Colours repeat after 8 labels."""
    if n_labels == 1:
        return {1: OUTLINE_ONE}
    return {number: OUTLINES[(number - 1) % len(OUTLINES)] for number in range(1, n_labels + 1)}


def css_variables() -> str:
    """CSS that defines each colour as a variable; dark ones on dark screens only, never on paper."""
    light = "".join(f"--{name}:{pair[0]};" for name, pair in PALETTE.items())
    dark = "".join(f"--{name}:{pair[1]};" for name, pair in PALETTE.items())
    return f":root{{{light}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
