import dataclasses

import keras

from fixinit import initializers
from fixinit.schemes._identity_kernels import with_fitting_kernel
from fixinit.schemes.scheme import Scheme
from fixinit.schemes.site import ATTENTION_ROLES, Site
from fixinit.schemes.start import Start


@keras.saving.register_keras_serializable("fixinit.schemes")
@dataclasses.dataclass(frozen=True)
class ZerO(Scheme):
    """ZerO initialization: kernels of zeros and ones alone, nothing is drawn.

    The last weight layer of every branch and the classification layer start at 0,
    all others as identities where they keep or lower the number of channels, and as
    Hadamard matrices where they raise it: see `fixinit.initializers.ZerO`. Every branch
    starts at zero, so the variance stays what it is at the input.

    Embeddings, attention, and kernels of other layouts, as of separable and transposed
    convolutions, start with He initialization.

    Its name is that of the paper's title in small letters, "zero_init": `"zero"` would
    read like Keras's initializer of zeros.

    Example:

    >>> site = fixinit.schemes.Site(branch=0, num_branches=9)
    >>> fixinit.schemes.ZerO().kernel_initializer(site)((2, 2)).shape == (2, 2)
    True

    Reference:

    - [Zhao, Schäfer and Anandkumar, 2022](https://arxiv.org/abs/2110.12661)
    """

    name = "zero_init"
    remedies = ("exploding", "exploding_gradients")

    def start(self, site: Site) -> Start:
        return Start(0.0, by="kernel")

    def draw(self, site: Site) -> keras.initializers.Initializer:
        if site.role == "head":
            return keras.initializers.Zeros()
        if site.role in ("embedding", *ATTENTION_ROLES):
            return super().draw(site)
        return initializers.ZerO()

    def weight_layer(self, site: Site, layer: keras.layers.Layer) -> keras.layers.Layer:
        return with_fitting_kernel(layer)
