"""Flags of `recipes.language_model`, checked."""

import dataclasses

from fixinit import schemes
from fixinit.models.language_model import POSITIONS
from recipes.common.experiment import settings as settings_lib
from recipes.common.experiment.settings import setting
from recipes.common.training.compute import ComputeSettings
from recipes.language_model import text

TOKENS = ("bytes", "characters")
STACKED = ("auto", "on", "off")
# What is done with a trained model: another choice is no other run.
SAMPLING = ("samples", "prompt", "sample_tokens", "temperature", "top_k")


@dataclasses.dataclass(frozen=True)
class Settings(ComputeSettings):
    """The settings of one training run; `None` stands for a default of the model."""

    dataset: str = setting(
        "text:stdlib",
        f"text:PATH, a file, or a folder of which all files that end in "
        f"{', '.join(text.SUFFIXES)} are read in sorted order; text:stdlib is the "
        "source of this Python's standard library without its tests.",
        check=text.check_name,
    )
    tokens: str = setting(
        "bytes",
        f"One of {', '.join(TOKENS)}: what a token is. bytes: one of 256; characters: "
        "of UTF-8, one of those in the training text, or unknown.",
        choices=TOKENS,
    )
    max_bytes: int = setting(20_000_000, "What follows in the text is left out.")
    validation_share: float = setting(
        0.1,
        "Share of the text, at its end, on which the network is not trained.",
        below=1,
    )
    validation_windows: int = setting(
        256,
        "The most windows for validation, which do not overlap and are spread over "
        "that share.",
    )
    length: int = setting(128, "Tokens of a window, the most that attention sees.")
    scheme: str = setting(
        "t_fixup",
        f"What keeps the network trainable: {', '.join(schemes.names())}.",
        check=schemes.get,
    )
    num_blocks: int = setting(4, "Number of blocks, of attention and an MLP each.")
    width: int = setting(128, "Channels of the stream.")
    num_heads: int = setting(4, "Heads of the queries; they divide --width.")
    num_key_value_heads: int | None = setting(
        None, "Heads of keys and values; they divide --num_heads. Default: as many."
    )
    positions: str = setting(
        "learned", f"One of {', '.join(POSITIONS)}.", choices=POSITIONS
    )
    gated: bool = setting(False, "Gated linear units as MLPs; with silu: SwiGLU.")
    activation: str | None = setting(
        None, "Keras activation of the MLP. Default: GELU in its tanh form."
    )
    tied: bool = setting(True, "Score tokens by the table of their embeddings.")
    use_bias: bool = setting(
        True, "Biases of weight layers, where the scheme leaves them to the network."
    )
    stacked: str = setting(
        "auto",
        f"One of {', '.join(STACKED)}: all blocks as one fixinit.layers.Stack. auto: "
        "from 50 blocks on, on PyTorch from 500.",
        choices=STACKED,
    )
    query_key_norm: bool = setting(False, "Normalize queries and keys head by head.")
    soft_cap: float | None = setting(None, "Bound of attention scores. Default: none.")
    dropout_rate: float = setting(
        0.0, "Dropout behind the embedding.", at_least=0, below=1
    )
    stochastic_depth_rate: float = setting(
        0.0,
        "Probability with which a sample passes the last block without its branch, in "
        "proportion less for earlier ones.",
        at_least=0,
        below=1,
    )
    epochs: int = setting(10, "Number of epochs, each followed by validation.")
    steps_per_epoch: int = setting(
        100, "Batches in an epoch, of windows at random places."
    )
    batch_size: int = setting(16, "Windows in a batch, over all devices.")
    learning_rate: float = setting(
        1e-3, "Peak learning rate of AdamW; a cosine takes it to 0."
    )
    warmup_epochs: int = setting(
        1,
        "Epochs at the beginning in which the learning rate grows linearly from 0.",
        at_least=0,
    )
    weight_decay: float = setting(
        0.1,
        "Decoupled weight decay of kernels; embeddings, biases, scales and scalars "
        "have none.",
        at_least=0,
    )
    beta_2: float = setting(
        0.95, "Decay rate of AdamW's second moments.", at_least=0, below=1
    )
    clip_norm: float = setting(
        1.0,
        "The longest gradient of all variables together; those that the scheme trains "
        "at another rate have a norm of their own. 0 is off.",
        at_least=0,
    )
    samples: int = setting(
        3, "Texts that the trained network writes. 0: none.", at_least=0
    )
    prompt: str = setting(
        "\n", "What they go on from, by default the beginning of a line."
    )
    sample_tokens: int | None = setting(
        None, "Tokens that are added to the prompt. Default: up to --length."
    )
    temperature: float = setting(
        0.8,
        "Temperature at which tokens are drawn; 0 takes the likeliest.",
        at_least=0,
    )
    top_k: int | None = setting(
        None, "How many of the likeliest tokens are drawn from. Default: all."
    )
    seed: int = setting(
        0,
        "Seed of weights, windows, noise and samples. On a CPU the same seed gives "
        "the same run, bit for bit.",
        at_least=0,
        below=2**31,
    )

    def __post_init__(self):
        super().__post_init__()
        settings_lib.check_warmup(self)

    def of_training(self):
        """A dict of the settings that determine the trained weights."""
        values = dataclasses.asdict(self)
        return {name: x for name, x in values.items() if name not in SAMPLING}
