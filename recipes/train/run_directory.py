"""The files of a run of `recipes.train`."""

from recipes.common.training import run_directory

TENSORBOARD = "tensorboard"


class RunDirectory(run_directory.RunDirectory):
    """The results directory of one run, with its logs for TensorBoard."""

    recipe = "train"
    more_files = (f"{TENSORBOARD}/*/events.out.tfevents.*",)
