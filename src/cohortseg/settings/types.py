"""Settings of the classification of what was segmented: the type of a tumour, by features of its region."""

from pydantic import Field

from cohortseg.settings.base import Name, Part, Positive


class RegionSettings(Part):
    """What of the settings of types is asked of single cases: the region that is described, and in which image."""

    label: Name | None = Field(None, description="class or region whose voxels are described; default: the first class")
    channel: Name | None = Field(None, description="channel whose intensities are described; default: the first")
    levels: int = Field(32, ge=2, le=256, description="grey levels of the texture, between the ends of the region")


class TypesSettings(RegionSettings):
    """Tell cases apart by the region that was segmented: a support vector machine on its volume, intensities, texture."""

    column: str = Field(
        min_length=1, description="column of `cohort.clinical` with the type of each case; empty cells take no part"
    )
    penalty: Positive = Field(1.0, description="weight of cases on the wrong side of the border (C)")

    def of_region(self) -> RegionSettings:
        """Only what single cases are asked for: another column or penalty measures no case again."""
        return RegionSettings(**{name: getattr(self, name) for name in RegionSettings.model_fields})
