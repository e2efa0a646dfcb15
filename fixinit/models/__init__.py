"""Families of residual networks, each for any scheme."""

from fixinit.models.families import (
    CifarResNet,
    ImageNetResNet,
    ResNet1D,
    WideResNet,
)
from fixinit.models.nf_resnet import NFResNet
from fixinit.models.nfnet import NFNet
from fixinit.models.residual_mlp import ResidualMLP
from fixinit.models.resnet import ResNet

__all__ = [
    "CifarResNet",
    "ImageNetResNet",
    "NFNet",
    "NFResNet",
    "ResNet",
    "ResNet1D",
    "ResidualMLP",
    "WideResNet",
]
