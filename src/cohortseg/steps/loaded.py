"""The networks of a model of an experiment: where their weights are, and how they are made ready to call."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from cohortseg.errors import SettingsError, StudyError
from cohortseg.io.sidecar import read_sidecar
from cohortseg.layout import Layout
from cohortseg.settings import NetworkMethod, PretrainedMethod
from cohortseg.steps.model_space import read_package
from cohortseg.steps.units import folds_of_model, seed_of_model

if TYPE_CHECKING:
    from cohortseg.infer.regions import Regions

Method = TypeVar("Method", bound=NetworkMethod)
Weights = Mapping[str, tuple[Path, str]]
"""The networks of a model: what they are called, the file and its SHA-256."""


class Network(NamedTuple):
    """How networks are built and where they see images.

    Parameters
    ----------
    name : str
        Of the architecture.
    arguments : dict
        That it was built with.
    regions : Regions, optional
        That it finds instead of classes.
    resolution : {'full', 'low'}
        Of the model space that it sees images in.
    """

    name: str
    arguments: dict[str, Any]
    regions: "Regions | None" = None
    resolution: str = "full"

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> "Network":
        """As the file of the weights says."""
        from cohortseg.infer.regions import Regions

        resolution = metadata.get("resolution", "full")
        return cls(metadata["architecture"], metadata["arguments"], Regions.of(metadata), resolution)


def load(
    weights: Weights, experiment: str, method: NetworkMethod, device: Any, *, makes_images: bool = False
) -> tuple[Any, Network]:
    """Networks ready to call, as an ensemble where there are several, and how they are built.

    Raises
    ------
    SettingsError
        When they find regions and the settings ask for what only classes have.
    """
    from cohortseg.infer.images import image_forward_of
    from cohortseg.infer.networks import forward_of
    from cohortseg.infer.weights import load_network

    found = [load_network(path, device) for path, _ in weights.values()]
    metadata = found[0][1]
    # As they were trained; networks of before there was a choice were trained in full precision.
    precision = metadata.get("precision", "fp32") if method.precision == "auto" else method.precision
    built = Network.of(metadata)
    if built.regions is not None and (method.uncertainty or method.threshold is not None):
        raise SettingsError(f"experiments.{experiment}: `uncertainty` and `threshold` are not for networks of regions")
    networks = [network for network, _ in found]
    if makes_images:
        return image_forward_of(networks, device, precision=precision), built
    return forward_of(
        networks, device, precision=precision, entropy=method.uncertainty, regions=built.regions is not None
    ), built


def weights_of(layout: Layout, experiment: str, model: str, method: NetworkMethod) -> Weights:
    """The networks of a model of an experiment, or of a package."""
    if isinstance(method, PretrainedMethod):
        return _of_package(method, read_package(method.model)["weights"])
    seed = int(seed_of_model(model))
    return {
        f"weights fold {fold}": weights_in(layout.model(experiment, fold, seed))
        for fold in folds_of_model(layout, model)
    }


def weights_before(method: NetworkMethod) -> Weights:
    """The networks of a package that find what a cascade is given; none where it is no cascade."""
    if not isinstance(method, PretrainedMethod):
        return {}
    return _of_package(method, read_package(method.model).get("cascade", {}).get("weights", {}))


def before_in_package(method: NetworkMethod) -> NetworkMethod:
    """How a package's networks that stand before a cascade predict: as in their study, and nothing but labels."""
    packed = read_package(method.model).get("cascade", {}) if isinstance(method, PretrainedMethod) else {}
    return alone(method).model_copy(update=packed.get("predict", {}))


def alone(method: Method) -> Method:
    """The same, with nothing kept but the label; a threshold that is chosen later plays no part in it."""
    threshold = None if method.threshold == "auto" else method.threshold
    return method.model_copy(update={"probabilities": False, "uncertainty": False, "threshold": threshold})


def _of_package(method: PretrainedMethod, files: Mapping[str, str]) -> Weights:
    return {f"weights {name}": (method.model / name, sha256) for name, sha256 in sorted(files.items())}


def weights_in(folder: Path) -> tuple[Path, str]:
    """The weights in the folder of a model, and their SHA-256.

    Raises
    ------
    StudyError
        When it is not trained.
    """
    record = read_sidecar(folder / "train.json")
    if record is None:
        raise StudyError(f"model {folder.name!r} of experiment {folder.parent.name!r} is not trained")
    return folder / "weights.safetensors", str(record["weights"])


def resolution_of(method: NetworkMethod) -> str:
    """The model space that the networks of an experiment see images in."""
    if isinstance(method, PretrainedMethod):
        return str(read_package(method.model).get("resolution", "full"))
    return str(getattr(method, "resolution", "full"))
