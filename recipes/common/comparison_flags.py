"""The command line of `recipes.compare_stability`."""

import dataclasses

from absl import flags

from fixinit import schemes
from recipes.common import comparison_settings, datasets, families
from recipes.common.comparison_settings import Settings

_DEFAULTS = {field.name: field.default for field in dataclasses.fields(Settings)}


def define(flag_values=flags.FLAGS):
    """Defines the flags. A function, as other recipes have flags of these names."""
    _define_experiment(flag_values)
    _define_training(flag_values)
    _define_run(flag_values)


def settings(flag_values=flags.FLAGS):
    """The settings that the parsed flags ask for.

    Raises:
        ValueError: If a flag is outside its range.
    """
    names = [field.name for field in dataclasses.fields(Settings)]
    values = {name: flag_values[name].value for name in names}
    for name, kind in (("depths", int), ("learning_rates", float), ("seeds", int)):
        values[name] = _numbers(name, values[name], kind)
    values["schemes"] = tuple(values["schemes"])
    if flag_values["quick"].value:
        family = families.get(values["model"])
        for name, value in comparison_settings.quick(
            family, values["optimizer"]
        ).items():
            if not flag_values[name].present:
                values[name] = value
    return Settings(**values)


def _numbers(name, texts, kind):
    if texts is None:
        return None
    try:
        return tuple(kind(text) for text in texts)
    except ValueError:
        what = "integers" if kind is int else "numbers"
        raise ValueError(
            f"--{name} takes {what} with commas between them. "
            f"Received: {','.join(texts)}"
        ) from None


def _define_experiment(flag_values):
    flags.DEFINE_list(
        "schemes",
        list(_DEFAULTS["schemes"]),
        "What keeps the networks trainable, compared side by side. Any of "
        f"{', '.join(schemes.names())}.",
        flag_values=flag_values,
    )
    flags.DEFINE_list(
        "depths",
        None,
        "Depths of the networks, counted in weight layers. Which there are depends on "
        "--model: residual_mlp has every even number from 4. Default for "
        f"residual_mlp: {_join(families.get('residual_mlp').depths)}.",
        flag_values=flag_values,
    )
    rates = comparison_settings.LEARNING_RATES
    flags.DEFINE_list(
        "learning_rates",
        None,
        "Learning rates to try for every scheme and depth. Default: "
        f"{_join(rates['sgd'])} with sgd, {_join(rates['adam'])} with adam and adamw.",
        flag_values=flag_values,
    )
    flags.DEFINE_list(
        "seeds",
        [str(seed) for seed in _DEFAULTS["seeds"]],
        "Seeds of weights and data order. The best learning rate is trained once per "
        "seed; the rates are compared at the first seed.",
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "model",
        _DEFAULTS["model"],
        f"Family of networks, one of {', '.join(families.FAMILIES)}.",
        flag_values=flag_values,
    )
    flags.DEFINE_integer(
        "units",
        None,
        "Width of the network: units of residual_mlp (default 64), filters of the "
        "first stage of the others (16, for wide_resnet 32).",
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "dataset",
        _DEFAULTS["dataset"],
        f"Data set, one of {', '.join(datasets.names())}; the last stands for a file "
        "of your own.",
        flag_values=flag_values,
    )


def _define_training(flag_values):
    flags.DEFINE_integer(
        "map_epochs",
        _DEFAULTS["map_epochs"],
        "Epochs of the short runs that compare learning rates.",
        flag_values=flag_values,
    )
    flags.DEFINE_integer(
        "epochs",
        _DEFAULTS["epochs"],
        "Epochs of the runs at the best learning rate.",
        flag_values=flag_values,
    )
    flags.DEFINE_integer(
        "batch_size",
        _DEFAULTS["batch_size"],
        "Samples in a training step. The default divides the 4,000 samples of mnist1d, "
        "so that no batch is smaller than the others.",
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "optimizer",
        _DEFAULTS["optimizer"],
        f"One of {', '.join(comparison_settings.OPTIMIZERS)}. sgd has momentum 0.9. "
        "Scalar multipliers and biases train at a tenth of the learning rate.",
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "mixed_precision",
        _DEFAULTS["mixed_precision"],
        f"One of {', '.join(comparison_settings.DTYPE_POLICIES)}: compute in half "
        "precision, with variables in float32. Pays on GPUs and TPUs.",
        flag_values=flag_values,
    )
    flags.DEFINE_float(
        "divergence_loss",
        _DEFAULTS["divergence_loss"],
        "A run whose training loss on a batch exceeds this, or is not finite, has "
        "diverged: it is stopped and the others go on. 'inf' for non-finite only.",
        flag_values=flag_values,
    )


def _define_run(flag_values):
    flags.DEFINE_string(
        "output_dir",
        "results/compare_stability",
        "Directory for the results. Started again with the same flags, a run goes on "
        "from what is finished there.",
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "data_dir",
        None,
        "Directory that holds the CIFAR archive or the folder extracted from it. By "
        "default Keras downloads the data or takes it from its cache.",
        flag_values=flag_values,
    )
    flags.DEFINE_bool(
        "quick",
        False,
        "A small version of the whole in under ninety seconds: other defaults for "
        "--depths, --learning_rates, --seeds, --map_epochs and --epochs.",
        flag_values=flag_values,
    )


def _join(values):
    return ",".join(str(value) for value in values)
