"""The networks of the papers, as a trained method may name them instead of the planned U-Net."""

from itertools import pairwise
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from cohortseg.settings.base import Part

Features: TypeAlias = tuple[Annotated[int, Field(ge=1)], ...]
Dropout: TypeAlias = Annotated[float, Field(ge=0, lt=1)]
Padding: TypeAlias = Literal["valid", "same"]


class NetworkPart(Part):
    """The options of a network: the arguments of its builder."""

    @property
    def is_unpadded(self) -> bool:
        """Whether its tiles see more than they give, and are laid side by side."""
        return getattr(self, "padding", "same") == "valid"


class PaperUNet(NetworkPart):
    """The U-Net of Ronneberger 2015; without padding its tiles see more than they give."""

    name: Literal["unet_paper"]
    features: Features = Field((64, 128, 256, 512, 1024), min_length=1, description="channels per level, finest first")
    padding: Padding = Field("valid", description="valid: no zeros around, as the paper; same: the size is kept")
    dropout: Dropout = Field(0.5, description="dropout at the end of the contracting path")


class Paper3DUNet(NetworkPart):
    """The 3D U-Net of Cicek 2016; without padding its tiles see more than they give."""

    name: Literal["unet_3d_paper"]
    features: Features = Field(
        (32, 64, 128, 256), min_length=1, description="channels of each level's first convolution"
    )
    padding: Padding = Field("valid", description="valid: no zeros around, as the paper; same: the size is kept")
    norm: bool = Field(True, description="batch norm before each ReLU")


class ResizedUNet(NetworkPart):
    """The padded U-Net that enlarges by resizing (31,031,685 parameters)."""

    name: Literal["unet_resized"]
    features: Features = Field((64, 128, 256, 512, 1024), min_length=3, description="channels per level, finest first")
    dropout: Dropout = Field(0.5, description="dropout after the two coarsest levels")


class FCN(NetworkPart):
    """FCN-32s, 16s or 8s on VGG-16; planes only."""

    name: Literal["fcn"]
    stride: Literal[8, 16, 32] = Field(8, description="stride of the finest scores")
    features: Features = Field((64, 128, 256, 512, 512), min_length=5, max_length=5, description="channels per stage")
    hidden: int = Field(4096, ge=1, description="channels of the two layers of the classifier")
    dropout: Dropout = Field(0.5, description="dropout after each of them")


class DeepLab(NetworkPart):
    """DeepLab with an atrous spatial pyramid; planes only. Its CRF is a post-process."""

    name: Literal["deeplab"]
    backbone: Literal["vgg16", "resnet101"] = Field("resnet101", description="what computes the features")
    rates: Features = Field((6, 12, 18, 24), min_length=1, description="dilation of each branch of the pyramid")
    hidden: int = Field(1024, ge=1, description="channels of each branch's layers (vgg16)")


class FastFCN(NetworkPart):
    """FastFCN on a ResNet with joint pyramid upsampling; planes only."""

    name: Literal["fastfcn"]
    blocks: Features = Field((3, 4, 6, 3), min_length=4, max_length=4, description="residual blocks of each stage")
    joint: int = Field(512, ge=1, description="channels of each branch of the joint pyramid")


LEVELS = {"dsn3d": (6, 6), "highres3dnet": (3, 3), "segnet": (2, 5), "vnet": (2, 5)}
"""Fewest and most levels of the networks that cannot have any number of them."""


class LevelledNetwork(NetworkPart):
    """A network of a paper whose channels per level are all there is to choose."""

    name: Literal["vnet", "segnet", "attention_unet", "dcan", "drinet", "dsn3d", "gated_scnn", "highres3dnet"]
    features: Features | None = Field(
        None, min_length=2, description="channels per level; those of the paper when empty"
    )

    @model_validator(mode="after")
    def _levels(self) -> Self:
        fewest, most = LEVELS.get(self.name, (2, None))
        if self.features is not None and most is not None and not fewest <= len(self.features) <= most:
            wanted = str(most) if fewest == most else f"{fewest} to {most}"
            raise ValueError(f"{self.name} has {wanted} levels, got features {list(self.features)}")
        if self.name == "vnet" and any(wide != 2 * narrow for narrow, wide in pairwise(self.features or ())):
            raise ValueError(f"features of vnet double from level to level, got {list(self.features or ())}")
        return self


class AutoencoderNetwork(NetworkPart):
    """A convolutional autoencoder that segments: no skips."""

    name: Literal["autoencoder"]
    features: Features = Field((16, 32, 64, 128), min_length=1, description="channels per level, finest first")
    code: int = Field(16, ge=1, description="channels of the code")


class DenseVNet(NetworkPart):
    """DenseVNet of Gibson 2018."""

    name: Literal["densevnet"]
    prior: int | None = Field(
        None, ge=2, description="voxels along each axis of a learned spatial prior; none when empty"
    )


class DeepMedic(NetworkPart):
    """DeepMedic of Kamnitsas 2017: no padding, its tiles see more than they give."""

    name: Literal["deepmedic"]
    factors: Features = Field((1, 3), min_length=1, description="averaging of the image in each path, odd numbers")
    dropout: Dropout = Field(0.5, description="dropout before the classifying layers")

    @property
    def is_unpadded(self) -> bool:
        """Always."""
        return True


class SyntheticCT(NetworkPart):
    """The padded U-Net of Han 2017 and Li 2018 for images made of images; for labels it is `unet_paper` with `same`."""

    name: Literal["synthetic_ct"]
    features: Features = Field((64, 128, 256, 512, 1024), min_length=1, description="channels per level, finest first")


class Fusion(NetworkPart):
    """U-Nets of several image channels, joined early, late or in the decision."""

    name: Literal["fusion"]
    level: Literal["feature", "classifier", "decision"] = Field("classifier", description="where the channels meet")
    features: Features = Field((32, 64, 128, 256), min_length=1, description="channels per level of each U-Net")
    channels: Features | None = Field(
        None, min_length=1, description="numbers of the image channels that take part, from 1; all when empty"
    )
    together: bool = Field(
        False, description="of `decision`: the networks learn by the loss of their mean, not each by its own"
    )


NETWORK_SETTINGS: tuple[type[NetworkPart], ...] = (
    PaperUNet,
    Paper3DUNet,
    ResizedUNet,
    FCN,
    DeepLab,
    FastFCN,
    LevelledNetwork,
    AutoencoderNetwork,
    DenseVNet,
    DeepMedic,
    SyntheticCT,
    Fusion,
)

PLANES_ONLY = ("fcn", "deeplab", "fastfcn")

Network: TypeAlias = Annotated[
    PaperUNet
    | Paper3DUNet
    | ResizedUNet
    | FCN
    | DeepLab
    | FastFCN
    | LevelledNetwork
    | AutoencoderNetwork
    | DenseVNet
    | DeepMedic
    | SyntheticCT
    | Fusion,
    Field(discriminator="name"),
]
