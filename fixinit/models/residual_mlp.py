import keras

from fixinit import schemes
from fixinit._checked import checked_but
from fixinit._typing import Identifier, Shape
from fixinit._validation import (
    MOST_BRANCHES,
    check_positive_int,
    check_shape,
    check_size,
)
from fixinit.models._network import Network
from fixinit.models._noise import with_noise
from fixinit.models._plan import BlockPlan
from fixinit.schemes.scheme import SchemeLike


@checked_but("scheme", "input_shape")
def ResidualMLP(
    num_blocks: int = 20,
    units: int = 256,
    branch_depth: int = 2,
    scheme: SchemeLike = "fixup",
    preactivation: bool = True,
    activation: Identifier = "relu",
    dropout_rate: float = 0.0,
    drop_rate: float = 0.0,
    stochastic_depth_rate: float = 0.0,
    shake_drop_rate: float = 0.0,
    plain: bool = False,
    input_shape: Shape = (40,),
    classes: int = 10,
    classifier_activation: Identifier = None,
    seed: int | None = None,
    stacked: bool | str = "auto",
    remat: str | int | None = None,
    name: str | None = None,
) -> keras.Model:
    """A residual network of dense layers, all of one width.

    A dense stem, `num_blocks` residual blocks of `branch_depth` dense layers
    each, and the classification layer.

    Example:

    >>> model = fixinit.models.ResidualMLP(num_blocks=20, units=64, seed=0)
    >>> model.output_shape
    (None, 10)

    Args:
        num_blocks: int. Number of residual blocks (L).
        units: int. Width of every block.
        branch_depth: int. Number of dense layers in a branch (m).
        scheme: Name, config or instance: see `fixinit.schemes.get`.
        preactivation: bool. `True` (default): activations stand in front of the
            weight layers of a branch, and the sum passes none.
        activation: Keras activation. The schemes are derived for `"relu"`.
        dropout_rate: float in `[0, 1)`. Dropout in front of every weight layer
            of a branch but the first.
        drop_rate: float in `[0, 1)`. Dropout in front of the classification layer.
        stochastic_depth_rate: float in `[0, 1)`. In training, block l of L loses its
            branch with this times l / L as probability, sample by sample; branches that
            are kept are scaled so that the mean stays.
        shake_drop_rate: float in `[0, 1)`. The same for `fixinit.layers.ShakeDrop` in
            the place of stochastic depth.
        plain: bool. `True` leaves every shortcut out.
        input_shape: Tuple `(features,)`.
        classes: int. Number of classes.
        classifier_activation: Activation of the class scores. By default none:
            the model returns logits.
        seed: int. The same seed gives the same weights, bit for bit.
        stacked: bool or `"auto"`. `True` makes one `fixinit.layers.Stack` of equal
            consecutive blocks, which builds and compiles in constant time and holds
            each weight of all blocks in one variable. `"auto"` (default) does so in
            networks of 50 or more blocks, on PyTorch of 500 or more. The same seed
            gives the same weights either way.
        remat: What a stack keeps for the gradient: `None` (default), `"sqrt"`,
            `"block"` or an integer, see `fixinit.layers.Stack`.
        name: Name of the model.

    Returns:
        A `keras.Model`.

    Raises:
        ValueError: If an argument is outside its range.
    """
    scheme = schemes.get(scheme)
    check_positive_int("num_blocks", num_blocks, maximum=MOST_BRANCHES)
    check_size("units", units)
    check_positive_int("branch_depth", branch_depth, maximum=MOST_BRANCHES)
    check_size("classes", classes)
    input_shape = check_shape("input_shape", input_shape, "(40,)", 0)
    if len(input_shape) != 1 or not input_shape[0]:
        raise ValueError(
            "Argument `input_shape` of ResidualMLP must be (features,). Received: "
            f"input_shape={input_shape}. Flatten the data or use a ResNet."
        )
    plans = [
        BlockPlan(
            f"block{index + 1}",
            filters=(units,) * branch_depth,
            kernel_sizes=(1,) * branch_depth,
            strides=(1,) * branch_depth,
            stage_block=index,
        )
        for index in range(num_blocks)
    ]
    plans = with_noise(plans, stochastic_depth_rate, shake_drop_rate, plain)
    network = Network(
        scheme,
        plans,
        units,
        input_shape=input_shape,
        preactivation=preactivation,
        activation=activation,
        dropout_rate=dropout_rate,
        plain=plain,
        seed=seed,
        stacked=stacked,
        remat=remat,
    )
    return network.model(
        network.stem(units, kernel_size=1),
        classes,
        classifier_activation,
        name or f"residual_mlp_{scheme.name}",
        drop_rate=drop_rate,
    )
