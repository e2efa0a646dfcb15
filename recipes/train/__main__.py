"""Trains one network, with or without normalization, as one would for a paper.

    python -m recipes.train --dataset=cifar10 --model=cifar_resnet --depth=110

The defaults are the published recipe for CIFAR-10: ResNet-110, batches of 128, SGD
with momentum 0.9, a learning rate of 0.1 that a cosine takes to zero in 200 epochs,
weight decay 1e-4, random crops and flips, mixup with alpha 1.

    python -m recipes.train --dataset=digits --depth=20 --epochs=30

takes a few minutes on two CPU cores.

    python -m recipes.train --model=nf_resnet --dataset=npz:PATH --label_smoothing=0.1

trains a normalizer-free network with adaptive gradient clipping. What replaces the
noise of BatchNorm are flags for every model: --stochastic_depth_rate, or
--shake_drop_rate, --drop_rate, --mixup_alpha, --cutmix_alpha, --rand_augment_factor,
--label_smoothing and, for averaged weights, --ema_momentum.

The output directory receives config.json, history.csv (a row per epoch), logs for
TensorBoard, the newest checkpoint and, at the end, model.keras and results.json. A run
that was killed goes on from its last finished epoch when the same command is given
again, and ends with the same weights.

References:

* [He et al., 2016](https://arxiv.org/abs/1512.03385), section 4.2.
* [Zhang, Dauphin and Ma, 2019](https://arxiv.org/abs/1901.09321), section 4.
* [Zhang et al., 2018](https://arxiv.org/abs/1710.09412) (mixup).
* [Yun et al., 2019](https://arxiv.org/abs/1905.04899) (CutMix).
* [Cubuk et al., 2020](https://arxiv.org/abs/1909.13719) (RandAugment).
* [Brock et al., 2021](https://arxiv.org/abs/2102.06171) (NFNets, adaptive clipping).
"""

from absl import app, flags

from recipes.common.experiment import command_line
from recipes.common.training import program
from recipes.train.run import run
from recipes.train.settings import Settings


def define_flags(flag_values=flags.FLAGS):
    name = "data set, model, scheme and seed"
    program.define_flags(Settings, "train", name, flag_values)
    flags.DEFINE_string(
        "data_dir",
        None,
        "Directory that holds the original CIFAR archive, such as "
        "cifar-10-python.tar.gz. By default Keras takes the data from its cache, or "
        "downloads them.",
        flag_values=flag_values,
    )


def main(argv):
    def train(values):
        settings = command_line.parse(Settings, argv, values)
        results = run(settings, values.output_dir, values.data_dir, values.restart)
        metrics = results["metrics"]
        return (
            f"Test accuracy {100 * metrics['test_accuracy']:.2f} % after "
            f"{metrics['epoch']} epochs, {results['seconds']:.0f} seconds of training."
        )

    return program.one_line_ends("train", train)


if __name__ == "__main__":
    define_flags()
    app.run(main)
