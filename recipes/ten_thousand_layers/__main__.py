r"""Trains a network of ten thousand layers, with and without normalization.

A residual network of 10,000 weight layers learns MNIST-1D on two CPU cores, beside
the same network with BatchNorm and with He initialization alone: one network after the
other, with the same steps.

    python -m recipes.ten_thousand_layers
    python -m recipes.ten_thousand_layers --quick --output_dir=results/quick
    python -m recipes.ten_thousand_layers --layers=100000 --schemes=scaled_residual \
        --epochs=2 --output_dir=results/100000

Results go to --output_dir: report.html, PNGs, results.csv and results.json. A run that
was killed goes on from its finished networks when it is started again with the same
flags; a finished one draws its report again. docs/ten_thousand_layers.md says how the
defaults were found.
"""

import dataclasses

import keras
from absl import app, flags

from recipes.common.data import datasets
from recipes.common.experiment import command_line
from recipes.common.experiment.progress import Progress
from recipes.common.experiment.results import Results
from recipes.common.training import families
from recipes.compare_stability.comparison import describe
from recipes.compare_stability.publish import publish
from recipes.ten_thousand_layers.settings import Settings
from recipes.ten_thousand_layers.trainer import train

RECIPE = "ten_thousand_layers"


def prepare(settings, output_dir):
    """Loads the data and opens the results directory; wrong flags fail here.

    Returns:
        `(data, results)`: a `Dataset` of vectors and the `Results` directory.
    """
    data = families.get("residual_mlp").adapt(datasets.load(settings.dataset))
    config = dataclasses.asdict(settings)
    results = Results(output_dir, RECIPE, config, num_classes=data.num_classes)
    return data, results


def run(settings, data, results):
    """Trains and writes the report. Returns the content of results.json."""
    progress = Progress(settings.epochs * len(settings.schemes))
    for scheme in settings.schemes:
        if results.arm(scheme) is not None:
            progress.skip(settings.epochs)
            continue
        progress.start(f"{scheme}, building")
        # Epochs that are left out if the network diverges or learns nothing.
        end = progress.done + settings.epochs
        record = train(settings, data, scheme, progress)
        results.add(record)
        progress.skip(end - progress.done)
        progress.write(describe(record))
        keras.utils.clear_session()
    progress.finish()
    title = f"{settings.layers:,} layers, with and without normalization"
    return publish(results, title, settings.schemes)


def define_flags(flag_values=flags.FLAGS):
    command_line.define(Settings, flag_values)
    command_line.define_output_dir(RECIPE, flag_values)


def main(argv):
    flag_values = flags.FLAGS
    with command_line.one_line_ends(RECIPE, flag_values.output_dir):
        with command_line.one_line_errors(RECIPE):
            settings = command_line.parse(Settings, argv, flag_values)
            data, results = prepare(settings, flag_values.output_dir)
        run(settings, data, results)


if __name__ == "__main__":
    define_flags()
    app.run(main)
