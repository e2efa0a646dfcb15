r"""Trains a decoder-only Transformer on text, with or without normalization.

    python -m recipes.language_model

learns the source of Python's standard library byte by byte, in a few minutes on two
CPU cores: four of GPT-2's blocks, of width 128, by T-Fixup, without normalization, with
AdamW, warmup and cosine. --scheme takes any other, as pre_layer_norm.

    python -m recipes.language_model --dataset=text:PATH --tokens=characters

learns a file or a folder of your own by its characters.

    python -m recipes.language_model --scheme=pre_rms_norm --positions=rotary \
        --gated --activation=silu --nouse_bias

has Llama's blocks. The loss is the cross-entropy of the next token in nats; of bytes,
bits per byte are beside it.

The output directory receives config.json, history.csv (a row per epoch), the newest
checkpoint and, at the end, samples.txt, model.keras and results.json, which also holds
the vocabulary of characters. A run that was killed goes on from its last finished epoch
when the same command is given again, and ends with the same weights. Given with another
--prompt, --temperature, --top_k, --samples or --sample_tokens, a finished run writes
other samples and trains no more.

References:

* [Radford et al., 2019](https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf)
* [Loshchilov and Hutter, 2019](https://arxiv.org/abs/1711.05101) (AdamW).
* [Touvron et al., 2023](https://arxiv.org/abs/2302.13971) (Llama).
"""

from absl import app, flags

from recipes.common.experiment import command_line
from recipes.common.training import program
from recipes.language_model.run import run
from recipes.language_model.settings import Settings


def define_flags(flag_values=flags.FLAGS):
    name = "text, tokens, scheme and seed"
    program.define_flags(Settings, "language_model", name, flag_values)


def main(argv):
    def train(values):
        settings = command_line.parse(Settings, argv, values)
        results = run(settings, values.output_dir, values.restart)
        metrics = results["metrics"]
        bits = metrics.get("validation_bits_per_byte")
        shown = "" if bits is None else f" ({bits:.3f} bits per byte)"
        return (
            f"Validation loss {metrics['validation_loss']:.3f} nats per token{shown} "
            f"after {metrics['epoch']} epochs, {results['seconds']:.0f} seconds of "
            "training."
        )

    return program.one_line_ends("language_model", train)


if __name__ == "__main__":
    define_flags()
    app.run(main)
