"""The pictures of cases, grouped and described for eyes and for screen readers."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from cohortseg.report.content import Overlay
from cohortseg.report.numbers import UNDEFINED, is_number, metric_look, number
from cohortseg.report.style import label_colours

KIND_TITLES = {"worst": "Worst cases", "median": "Median cases"}


@dataclass(frozen=True)
class Picture:
    """One picture as the page shows it."""

    case: str
    value: str
    caption: str
    alt: str
    source: str


@dataclass(frozen=True)
class Wall:
    """The pictures of one experiment and one kind, in the order given."""

    experiment: str
    title: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class LegendLine:
    """Colours of one label's outlines."""

    label: str
    reference: str
    prediction: str


def walls(overlays: Sequence[Overlay]) -> list[Wall]:
    """Pictures by experiment (alphabetical), the worst before the median ones."""
    keys = sorted(
        {(overlay.experiment, overlay.kind) for overlay in overlays}, key=lambda key: (key[0], key[1] != "worst")
    )
    return [
        Wall(
            experiment,
            KIND_TITLES.get(kind, kind),
            tuple(
                _picture(overlay) for overlay in overlays if (overlay.experiment, overlay.kind) == (experiment, kind)
            ),
        )
        for experiment, kind in keys
    ]


def _picture(overlay: Overlay) -> Picture:
    look = metric_look(overlay.metric)
    value = number(overlay.value, look.decimals) if is_number(overlay.value) else UNDEFINED
    spoken = value if is_number(overlay.value) else "undefined"
    alt = (
        f"One slice of case {overlay.case} with the outlines of reference (solid) and prediction of "
        f"{overlay.experiment} (dashed): {', '.join(overlay.label_names)}. {look.title} {spoken}."
    )
    source = f"data:image/png;base64,{b64encode(overlay.png).decode('ascii')}"
    return Picture(overlay.case, f"{look.title} {value}", overlay.caption, alt, source)


def legend(overlays: Sequence[Overlay]) -> list[LegendLine]:
    """A line per label; the pictures of one study share their labels, so the longest list counts."""
    names: Sequence[str] = max((overlay.label_names for overlay in overlays), key=len, default=())
    colours = label_colours(len(names))
    return [LegendLine(name, *colours[number]) for number, name in enumerate(names, start=1)]
