"""IDInit's identity kernels."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from fixinit._checked import checked_but
from fixinit._typing import Tensor
from fixinit._validation import (
    check_bool,
    check_factor,
    check_initializer_seed,
    check_number,
    check_positive_int,
)
from fixinit.initializers.constant_kernel import ConstantKernel


@keras.saving.register_keras_serializable("fixinit")
class IDInit(ConstantKernel, keras.initializers.RandomNormal):
    """IDInit's identity kernels, padded with further identities where not square.

        kernel[i, j] = gain * (1 + noise * z_ij)    where i = j modulo p

    and 0 elsewhere, p the smaller of the numbers of inputs and outputs, z standard
    normal: for dense layers, and at the centre of convolutions, which are 0 elsewhere.
    A layer that widens repeats its input, so that no channel is zero; one that narrows
    adds up what comes round to the same output.
    The little noise lets units part that would be copies of each other for good.

    With `gain=1e-6` it takes the place of zeros in the last layer of a branch, where
    zeros leave the layers in front without a gradient (`fixinit.schemes.IDInit`).

    The paper also lays the ones of a convolution over all taps of its window
    ("patch-maintain"), in order to mix neighbours from the start; here they are at the
    centre, where they keep the signal as it is.

    Example:

    >>> kernel = fixinit.initializers.IDInit(noise=0.0)((2, 5))
    >>> keras.ops.convert_to_numpy(kernel).tolist()
    [[1.0, 0.0, 1.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0, 0.0]]

    Args:
        gain: float. Factor of the kernel, 1 by default.
        noise: float, at least 0. Relative standard deviation of the entries that are
            not zero, 1e-6 by default.
        groups: int. That of a grouped convolution, 1 by default.
        depthwise: bool. Whether the kernel is that of a depthwise convolution, whose
            channels are groups of one. `False` by default.
        seed: int or `keras.random.SeedGenerator`, of the noise. An integer or `None`
            repeats the same values at every call: give each layer a seed of its own.

    The shape is that of a kernel, `(inputs, outputs)` or
    `(*kernel_size, channels in, channels out)` with one to three spatial axes. Of an
    even kernel size k, the centre is at `(k - 1) // 2`, where `padding="same"` puts it.

    Raises:
        ValueError: If an argument is outside its range; when called, if the shape is
            neither, or its last axis not divisible by `groups`.

    Reference:

    - [Pan et al., 2025](https://arxiv.org/abs/2503.04626), section 3.
    """

    @checked_but("gain", "noise", "groups", "depthwise")
    def __init__(
        self,
        gain: float = 1.0,
        noise: float = 1e-6,
        groups: int = 1,
        depthwise: bool = False,
        seed: Any = None,
    ) -> None:
        self.gain = check_factor("gain", gain)
        self.noise = check_number("noise", noise, "at least 0", lambda x: x >= 0)
        self.groups = check_positive_int("groups", groups)
        self.depthwise = check_bool("depthwise", depthwise)
        super().__init__(1.0, self.noise, check_initializer_seed("seed", seed))

    def matrix(self, inputs: int, outputs: int) -> np.ndarray:
        period = min(inputs, outputs)
        rows, columns = np.arange(inputs) % period, np.arange(outputs) % period
        return self.gain * (rows[:, None] == columns)

    def perturbed(self, kernel: Tensor) -> Tensor:
        if not self.noise:
            return kernel
        shape = tuple(kernel.shape)
        return kernel * keras.random.normal(
            shape, 1.0, self.noise, kernel.dtype, self.seed
        )

    def taken_channels(
        self, inputs: int, outputs: int
    ) -> tuple[float, Sequence[int]] | None:
        if outputs < inputs:
            return None
        return self.gain, [output % inputs for output in range(outputs)]

    def get_config(self) -> dict[str, Any]:
        return {
            "gain": self.gain,
            "noise": self.noise,
            "groups": self.groups,
            "depthwise": self.depthwise,
            "seed": super().get_config()["seed"],
        }
