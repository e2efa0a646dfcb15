"""One published method per file, and the contract that they all meet."""

from fixinit.schemes._registry import (
    get,
    names,
    register,
    register_own,
    remedies,
    serialize,
    unregister,
)
from fixinit.schemes.batch_norm import BatchNorm
from fixinit.schemes.deep_norm import DeepNorm
from fixinit.schemes.derf import Derf
from fixinit.schemes.dyt import DyT
from fixinit.schemes.fixup import Fixup
from fixinit.schemes.idinit import IDInit
from fixinit.schemes.layer_norm_scaling import LayerNormScaling
from fixinit.schemes.layer_scale import LayerScale
from fixinit.schemes.normalized_sum import NormalizedSum
from fixinit.schemes.normalizer_free import NormalizerFree
from fixinit.schemes.post_layer_norm import PostLayerNorm
from fixinit.schemes.pre_layer_norm import PreLayerNorm
from fixinit.schemes.pre_rms_norm import PreRMSNorm
from fixinit.schemes.rezero import ReZero
from fixinit.schemes.scaled_residual import ScaledResidual
from fixinit.schemes.scheme import Scheme
from fixinit.schemes.site import Site
from fixinit.schemes.skip_init import SkipInit
from fixinit.schemes.start import Start
from fixinit.schemes.t_fixup import TFixup
from fixinit.schemes.tailored import Tailored
from fixinit.schemes.unnormalized import Unnormalized
from fixinit.schemes.zero import ZerO

__all__ = [
    "BatchNorm",
    "Derf",
    "DyT",
    "Fixup",
    "IDInit",
    "LayerScale",
    "NormalizedSum",
    "NormalizerFree",
    "DeepNorm",
    "LayerNormScaling",
    "PreLayerNorm",
    "PostLayerNorm",
    "PreRMSNorm",
    "ReZero",
    "ScaledResidual",
    "Scheme",
    "Site",
    "SkipInit",
    "Start",
    "TFixup",
    "Tailored",
    "Unnormalized",
    "ZerO",
    "get",
    "names",
    "register",
    "remedies",
    "serialize",
    "unregister",
]

for _scheme in (
    Unnormalized,
    BatchNorm,
    Fixup,
    ScaledResidual,
    SkipInit,
    ReZero,
    NormalizedSum,
    NormalizerFree,
    LayerScale,
    Tailored,
    ZerO,
    IDInit,
    PreLayerNorm,
    PostLayerNorm,
    PreRMSNorm,
    LayerNormScaling,
    DeepNorm,
    TFixup,
    DyT,
    Derf,
):
    register_own(_scheme)
