r"""Compares how stably deep residual networks train with and without normalization.

Every scheme is trained at every depth, in two phases. The map tries every learning rate
for a few epochs. The training takes the best of them, so that every scheme is seen at
its best, and repeats it over seeds, with measurements of variance and gradients.

    python -m recipes.compare_stability
    python -m recipes.compare_stability --quick --output_dir=results/quick
    python -m recipes.compare_stability --schemes=batch_norm,fixup --depths=10,302 \
        --learning_rates=0.01,0.1 --output_dir=results/deep

Results go to --output_dir: report.html, PNGs, results.csv and results.json. A run that
was killed goes on from its finished arms when it is started again with the same flags;
a finished one draws its report again.
"""

import dataclasses

from absl import app, flags

from recipes.common.data import datasets
from recipes.common.experiment import command_line
from recipes.common.experiment.results import Results
from recipes.compare_stability.comparison import Comparison
from recipes.compare_stability.publish import publish
from recipes.compare_stability.settings import Settings

RECIPE = "compare_stability"
TITLE = "Stability of deep residual networks with and without normalization"


def prepare(settings, output_dir, data_dir=None):
    """Loads the data and opens the results directory; wrong flags fail here.

    Returns:
        `(data, results)`: a `Dataset` in the shape that the networks take, and the
        `Results` directory.
    """
    data = settings.family.adapt(datasets.load(settings.dataset, data_dir))
    # The smallest network, for its complaints: samples may be too small for it.
    settings.family.build(
        settings.depths[0], settings.units, data, settings.schemes[0], seed=0
    )
    config = dataclasses.asdict(settings)
    results = Results(output_dir, RECIPE, config, num_classes=data.num_classes)
    return data, results


def run(settings, data, results):
    """Trains and writes the report. Returns the content of results.json."""
    arm_ids = Comparison(settings, data, results).run()
    return publish(results, TITLE, arm_ids)


def define_flags(flag_values=flags.FLAGS):
    command_line.define(Settings, flag_values)
    command_line.define_output_dir(RECIPE, flag_values)
    flags.DEFINE_string(
        "data_dir",
        None,
        "Directory that holds the original CIFAR archive, such as "
        "cifar-10-python.tar.gz. By default Keras takes the data from its cache, or "
        "downloads them.",
        flag_values=flag_values,
    )


def main(argv):
    flag_values = flags.FLAGS
    with command_line.one_line_ends(RECIPE, flag_values.output_dir):
        with command_line.one_line_errors(RECIPE):
            settings = command_line.parse(Settings, argv, flag_values)
            data, results = prepare(
                settings, flag_values.output_dir, flag_values.data_dir
            )
        run(settings, data, results)


if __name__ == "__main__":
    define_flags()
    app.run(main)
