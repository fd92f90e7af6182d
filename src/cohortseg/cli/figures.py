"""`cohortseg figures STUDY [NAME …]`: figures for a paper from the tables of a study, as PNG and SVG."""

import argparse
from pathlib import Path

from cohortseg.errors import StudyError
from cohortseg.layout import Layout


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The study, the figures, and what they are about."""
    parser.add_argument("study", type=Path, help="study folder, for example results/demo")
    parser.add_argument("names", nargs="*", metavar="NAME", help="figures; default: all that the study has data for")
    parser.add_argument("--experiment", help="experiment; default: the one with the best median")
    parser.add_argument("--label", help="class; default: the first")


def run(arguments: argparse.Namespace) -> None:
    """Write `report/figures/NAME.png` and `.svg`, and say which.

    Raises
    ------
    StudyError
        When a name is unknown, or a figure that was asked for has no data.
    """
    # pandas and matplotlib are loaded only here.
    from cohortseg.cli.figure_targets import TARGETS, wish_of
    from cohortseg.cli.figure_wish import Wish
    from cohortseg.report.paper import encoded

    unknown = [name for name in arguments.names if name not in TARGETS]
    if unknown:
        raise StudyError(f"no figure {', '.join(unknown)}; choices: {', '.join(TARGETS)}")
    layout = Layout(arguments.study)
    wish: Wish = wish_of(layout, arguments.experiment, arguments.label)
    for name in arguments.names or TARGETS:
        figure = TARGETS[name](wish)
        if figure is None:
            if arguments.names:
                raise StudyError(f"the study has no data for {name}")
            continue
        for kind, picture in encoded(figure).items():
            path = layout.figure(name, kind)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture)
        print(layout.figure(name, "png"))
