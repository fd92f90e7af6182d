"""A network as a figure: one bar for each layer, as high as the image is there, with its channels."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from cohortseg.report.drawing import drawing_style
from cohortseg.report.style import series

COLOURS: Mapping[str, int] = {"convolution": 0, "pooling": 1, "up": 2}
"""Kind of a layer: number of its colour."""


class Layer(Protocol):
    """What is drawn of a layer."""

    @property
    def kind(self) -> str:
        """A key of `COLOURS`."""

    @property
    def channels(self) -> int:
        """Channels that it gives."""

    @property
    def size(self) -> tuple[int, ...]:
        """Size of what it gives."""


def diagram(layers: Sequence[Layer], *, size: Sequence[int], title: str) -> Figure:
    """The layers of a network from left to right; under each bar its channels, above it the size where that changes.

    Parameters
    ----------
    layers : sequence of Layer
        From `infer.diagram.nodes_of`; may be empty.
    size : sequence of int
        Size of the image that goes in.
    title : str
        What the network is called.
    """
    largest = max(size)
    with drawing_style():
        figure = Figure(figsize=(max(5.0, 1.5 + 0.22 * len(layers)), 4.2), layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(title)
        axes.set_axis_off()
        before = tuple(size)
        axes.text(-1, 0.5 * largest, "×".join(map(str, size)), ha="right", va="center")
        for place, layer in enumerate(layers):
            height = max(layer.size)
            bottom = (largest - height) / 2
            axes.add_patch(Rectangle((place, bottom), 0.8, height, color=series(COLOURS[layer.kind]).colour))
            axes.text(place + 0.4, -0.03 * largest, str(layer.channels), rotation=90, ha="center", va="top", fontsize=7)
            if layer.size != before or place == len(layers) - 1:
                text = "×".join(map(str, layer.size))
                axes.text(place + 0.4, bottom + height * 1.02, text, rotation=90, ha="center", va="bottom", fontsize=7)
            before = layer.size
        axes.set_xlim(-4, len(layers) + 1)
        axes.set_ylim(-0.25 * largest, 1.4 * largest)
        kinds = [kind for kind in COLOURS if kind in {layer.kind for layer in layers}]
        axes.legend(
            handles=[Patch(color=series(COLOURS[kind]).colour, label=kind) for kind in kinds], loc="upper right"
        )
    return figure
