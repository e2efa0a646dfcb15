"""The files of a run of `recipes.language_model`."""

from recipes.common.training import run_directory

SAMPLES = "samples.txt"


class RunDirectory(run_directory.RunDirectory):
    """The results directory of one run, with its samples."""

    recipe = "language_model"
    more_files = (SAMPLES,)
    foreign = (*run_directory.RunDirectory.foreign, SAMPLES)
    held_out = "validation"
