"""The command line of a recipe that trains one network in a directory of its own."""

import re
import sys

from absl import flags

from recipes.common.experiment import command_line
from recipes.common.training.callbacks import TrainingDiverged


def define_flags(settings_class, recipe, name, flag_values=flags.FLAGS):
    """Defines a flag for every setting, --output_dir and --restart.

    Args:
        settings_class: Subclass of `recipes.common.experiment.settings.Settings`.
        recipe: str. Name of the recipe.
        name: str. What names the directory of a run, for the help.
        flag_values: Where to define them.
    """
    command_line.define(settings_class, flag_values)
    flags.DEFINE_string(
        "output_dir",
        None,
        "Where checkpoints, logs and results go. A run that was interrupted goes on "
        "from its last finished epoch when it is started again with the same flags. "
        f"Default: results/{recipe}/ and a name made of {name}.",
        flag_values=flag_values,
    )
    flags.DEFINE_bool(
        "restart",
        False,
        "Delete what earlier runs left in --output_dir and start from the beginning.",
        flag_values=flag_values,
    )


def one_line_ends(recipe, train):
    """Trains; errors and Ctrl-C end in one line.

    Args:
        recipe: str. Name of the recipe.
        train: Callable from the parsed flags to the line that is printed at the end.

    Returns:
        The exit status.
    """
    values = flags.FLAGS
    try:
        line = train(values)
    except KeyboardInterrupt:
        path = values.output_dir or "the output directory"
        print(f"\n{command_line.interrupted(recipe, path)}", file=sys.stderr)
        return 130
    except (ValueError, TypeError, OSError, ImportError, TrainingDiverged) as error:
        # One line, without the frames that led to it.
        message = re.sub(r"\s+", " ", str(error))
        print(f"error: {message}", file=sys.stderr)
        return 1
    print(line)
    return 0
