"""Settings of panoptic quality: which classes are counted as objects."""

from collections.abc import Sequence

from pydantic import Field

from cohortseg.settings.base import Name, Part


class PanopticSettings(Part):
    """Score classes as objects (things) and as regions (stuff) together: panoptic quality."""

    things: list[Name] = Field(
        min_length=1,
        description="classes of which each object counts, told apart as `instances` says (components without it); all others are stuff, one region in a case",
    )

    def check(self, classes: Sequence[str]) -> None:
        """Refuse things that are no classes.

        Raises
        ------
        ValueError
            For an unknown class, or one named twice.
        """
        strangers = [name for name in self.things if name not in classes]
        if strangers:
            raise ValueError(f"panoptic.things: no class {strangers[0]!r}; choices: {', '.join(classes)}")
        if len(set(self.things)) < len(self.things):
            raise ValueError("panoptic.things: a class is named twice")
