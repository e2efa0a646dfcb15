"""Families of residual networks, each for any scheme."""

from fixinit.models.families import (
    CifarResNet,
    ImageNetResNet,
    ResNet1D,
    WideResNet,
)
from fixinit.models.language_model import LanguageModel
from fixinit.models.nf_resnet import NFResNet
from fixinit.models.nfnet import NFNet
from fixinit.models.residual_mlp import ResidualMLP
from fixinit.models.resnet import ResNet
from fixinit.models.transformer_encoder import TransformerEncoder
from fixinit.models.vision_transformer import VisionTransformer

__all__ = [
    "CifarResNet",
    "ImageNetResNet",
    "LanguageModel",
    "NFNet",
    "NFResNet",
    "ResNet",
    "ResNet1D",
    "ResidualMLP",
    "TransformerEncoder",
    "VisionTransformer",
    "WideResNet",
]
