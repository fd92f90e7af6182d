"""The pictures of cases, grouped and described for eyes and for screen readers."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from cohortseg.report.content import Overlay, Plane
from cohortseg.report.numbers import UNDEFINED, is_number, metric_look, number
from cohortseg.report.style import label_colours

KINDS = ("worst", "median", "best", "unscored")
"""Why a case is shown, in the order of the page."""


@dataclass(frozen=True)
class View:
    """One plane of one case with the outlines of one experiment, as the page shows it.

    Parameters
    ----------
    name : str
        The CSS class whose background is the image, and which says whose reference is shown.
    plane, alt, place : str
        Name of the plane, words for those who cannot see it, and which slice is shown first.
    width, height, n, key : int
        Pixels of a slice, number of slices, the one shown first.
    numbers : str
        Numbers of the slices in the stored image, separated by commas.
    n_slices : int
        How many slices the image has along this axis.
    prediction : str
        Address of the outlines, empty for none.
    """

    name: str
    plane: str
    alt: str
    place: str
    width: int
    height: int
    n: int
    key: int
    numbers: str
    n_slices: int
    prediction: str


@dataclass(frozen=True)
class Picture:
    """One case of one experiment as the page shows it."""

    case: str
    kind: str
    value: str
    caption: str
    views: tuple[View, ...]


@dataclass(frozen=True)
class Wall:
    """The pictures of one experiment: the worst, then the median, then the best ones, each in the order given."""

    experiment: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class LegendLine:
    """Colours of one label's outlines."""

    label: str
    reference: str
    prediction: str


def walls(overlays: Sequence[Overlay], views: Mapping[str, Sequence[Plane]]) -> list[Wall]:
    """Pictures by experiment (alphabetical): the worst, then the median, then the best ones."""
    names = _names(views)
    ordered = sorted(overlays, key=lambda overlay: KINDS.index(overlay.kind))
    return [
        Wall(
            experiment,
            tuple(
                _picture(overlay, views[overlay.case], names[overlay.case])
                for overlay in ordered
                if overlay.experiment == experiment
            ),
        )
        for experiment in sorted({overlay.experiment for overlay in overlays})
    ]


def _names(views: Mapping[str, Sequence[Plane]]) -> dict[str, list[str]]:
    """A CSS class for each plane of each case: made by counting, because names of cases come from outside."""
    return {
        case: [f"view-{number}-{k}" for k, _ in enumerate(planes)]
        for number, (case, planes) in enumerate(views.items(), start=1)
    }


def backgrounds(views: Mapping[str, Sequence[Plane]]) -> Markup:
    """CSS: the image of each plane as a background, and its reference as that of the first layer above it.

    Here each picture stands once, however many experiments show it.
    """
    rules = []
    for case, names in _names(views).items():
        for name, plane in zip(names, views[case], strict=True):
            rules.append(f".{name}{{background-image:url({address(plane.image)})}}")
            if plane.reference:
                rules.append(f".{name} .reference{{background-image:url({address(plane.reference)})}}")
    return Markup("\n".join(rules))


def address(picture: bytes) -> str:
    """A WebP picture as an address that needs no file; empty for no bytes."""
    return f"data:image/webp;base64,{b64encode(picture).decode('ascii')}" if picture else ""


def _picture(overlay: Overlay, planes: Sequence[Plane], names: Sequence[str]) -> Picture:
    look = metric_look(overlay.metric)
    value = number(overlay.value, look.decimals) if is_number(overlay.value) else UNDEFINED
    views = tuple(
        _view(overlay, plane, name, outlines)
        for plane, name, outlines in zip(planes, names, overlay.predictions, strict=True)
    )
    text = "not scored" if overlay.kind == "unscored" else f"{look.title} {value}"
    return Picture(overlay.case, overlay.kind, text, overlay.caption, views)


def _view(overlay: Overlay, plane: Plane, name: str, outlines: bytes) -> View:
    whose = ["the reference (solid)"] if plane.reference else []
    whose += [f"the prediction of {overlay.experiment} (dashed)"] if outlines else []
    drawn = f"outlines of {' and '.join(whose)}: {', '.join(overlay.label_names)}" if whose else "no outline in sight"
    return View(
        name=name,
        plane=plane.name,
        alt=f"{plane.name.capitalize()} slices of case {overlay.case} with {drawn}.",
        place=f"{plane.numbers[plane.key]} of {plane.n_slices}",
        width=plane.size_px[1],
        height=plane.size_px[0],
        n=len(plane.numbers),
        key=plane.key,
        numbers=",".join(map(str, plane.numbers)),
        n_slices=plane.n_slices,
        prediction=address(outlines),
    )


def window_sentence(window_hu: tuple[float, float] | None) -> str:
    """In which window a CT is shown; empty for other images."""
    if window_hu is None:
        return ""
    low, high = (number(value, 0) for value in window_hu)
    return f"CT is drawn from {low} HU (black) to {high} HU (white)."


def legend(overlays: Sequence[Overlay]) -> list[LegendLine]:
    """A line per label; the pictures of one study share their labels, so the longest list counts."""
    names: Sequence[str] = max((overlay.label_names for overlay in overlays), key=len, default=())
    colours = label_colours(len(names))
    return [LegendLine(name, *colours[number]) for number, name in enumerate(names, start=1)]
