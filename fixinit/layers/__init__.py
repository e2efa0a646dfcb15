"""Keras layers for residual networks that need no normalization."""

from fixinit.layers._keras_facts import register_keras
from fixinit.layers.branch_input_scale import BranchInputScale
from fixinit.layers.broadcast_batch import BroadcastBatch
from fixinit.layers.channel_affine import ChannelAffine
from fixinit.layers.channel_multiplier import ChannelMultiplier
from fixinit.layers.crelu import CReLU
from fixinit.layers.facts import Facts, facts_of, register_facts
from fixinit.layers.gated_unit import GatedUnit
from fixinit.layers.parameter import Parameter
from fixinit.layers.per_location_normalization import PerLocationNormalization
from fixinit.layers.plain import plain_layer
from fixinit.layers.pointwise_normalization import (
    DynamicErf,
    DynamicTanh,
    PointwiseNormalization,
)
from fixinit.layers.positions import ClassToken, PositionEmbedding
from fixinit.layers.residual_block import ResidualBlock
from fixinit.layers.rms_normalization import RMSNormalization
from fixinit.layers.scalars import ScalarBias, ScalarMultiplier
from fixinit.layers.scaled_activation import ScaledActivation, gelu_tanh
from fixinit.layers.scaled_add import ScaledAdd
from fixinit.layers.self_attention import SelfAttention
from fixinit.layers.sequence_pooling import SequencePooling
from fixinit.layers.shake_drop import ShakeDrop
from fixinit.layers.shake_shake import ShakeShake
from fixinit.layers.shortcuts import ProjectionShortcut, ZeroPaddingShortcut
from fixinit.layers.stack import Stack
from fixinit.layers.standardized import (
    StandardizedKernel,
    can_be_standardized,
    standardized,
)
from fixinit.layers.stochastic_depth import StochasticDepth, survival_probability
from fixinit.layers.tailored_activation import TailoredActivation
from fixinit.layers.token_embedding import TokenEmbedding

__all__ = [
    "BranchInputScale",
    "BroadcastBatch",
    "CReLU",
    "ChannelAffine",
    "ChannelMultiplier",
    "ClassToken",
    "DynamicErf",
    "DynamicTanh",
    "Facts",
    "GatedUnit",
    "Parameter",
    "PerLocationNormalization",
    "PointwiseNormalization",
    "PositionEmbedding",
    "ProjectionShortcut",
    "RMSNormalization",
    "ResidualBlock",
    "ScalarBias",
    "ScalarMultiplier",
    "ScaledActivation",
    "ScaledAdd",
    "SelfAttention",
    "ShakeDrop",
    "ShakeShake",
    "SequencePooling",
    "Stack",
    "StandardizedKernel",
    "StochasticDepth",
    "TailoredActivation",
    "TokenEmbedding",
    "ZeroPaddingShortcut",
    "can_be_standardized",
    "facts_of",
    "gelu_tanh",
    "plain_layer",
    "register_facts",
    "standardized",
    "survival_probability",
]

register_keras()
