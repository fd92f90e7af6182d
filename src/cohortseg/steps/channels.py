"""One channel of a converted case, by its name."""

from cohortseg.choose import choose
from cohortseg.errors import Rejected
from cohortseg.io import store
from cohortseg.io.sidecar import read_json
from cohortseg.layout import Layout
from cohortseg.volume import Volume


def read_channel(layout: Layout, case: str, name: str | None, channels: list[str]) -> Volume:
    """The image of a channel on the native grid; of the first one where no name is given.

    Raises
    ------
    Rejected
        MISSING_CHANNEL when the case lacks it: nothing is to be found in zeros.
    """
    name = name or channels[0]
    image = choose("channel", name, dict(zip(channels, layout.images(case, channels), strict=True)))
    if name in read_json(layout.case(case) / "image.json")["facts"].get("missing_channels", []):
        raise Rejected("MISSING_CHANNEL", f"channel {name}, which the method works on")
    return store.read_volume(image)
