"""From the command line to `Settings`, and from mistakes on it to one line of text."""

import contextlib
import dataclasses
import sys

from absl import flags

from recipes.common.experiment.errors import UnusableFileError
from recipes.common.experiment.settings import kind_of

# The flags are those of the recipe that defines them: --help shows them there.
flags.disclaim_key_flags()


def define(settings_class, flag_values=flags.FLAGS):
    """Defines a flag for every field, and --quick where that changes any of them.

    A function, as recipes have flags of the same names.
    """
    for field in dataclasses.fields(settings_class):
        _define(field, flag_values)
    defaults = {f.name: f.default for f in dataclasses.fields(settings_class)}
    if names := settings_class.quick(defaults):
        flags.DEFINE_bool(
            "quick",
            False,
            "A small version of the whole: other defaults for "
            f"{', '.join(f'--{name}' for name in names)}.",
            flag_values=flag_values,
        )


def define_output_dir(recipe, flag_values=flags.FLAGS):
    """Defines --output_dir for a recipe that keeps finished arms."""
    flags.DEFINE_string(
        "output_dir",
        f"results/{recipe}",
        "Directory for the results. Started again with the same flags, a run goes on "
        "from what is finished there.",
        flag_values=flag_values,
    )


def parse(settings_class, argv, flag_values=flags.FLAGS):
    """The settings that the parsed flags ask for.

    Args:
        settings_class: Subclass of `recipes.common.experiment.settings.Settings`.
        argv: What is left of the command line, the program's name first.
        flag_values: The parsed flags.

    Raises:
        ValueError: If a flag is outside its range, or what is left are not flags.
    """
    if argv[1:]:
        raise ValueError(f"Flags start with --. Received: {' '.join(argv[1:])}")
    values = {
        field.name: _value(field, flag_values[field.name].value)
        for field in dataclasses.fields(settings_class)
    }
    if "quick" in flag_values and flag_values["quick"].value:
        for name, value in settings_class.quick(values).items():
            if not flag_values[name].present:
                values[name] = value
    return settings_class(**values)


@contextlib.contextmanager
def one_line_errors(recipe):
    """Ends the program with one line where the flags ask for what cannot be done."""
    try:
        yield
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"{recipe}: {' '.join(str(error).split())}")


@contextlib.contextmanager
def one_line_ends(recipe, output_dir):
    """Ends the program with one line where a file cannot be used, or after Ctrl-C.

    Errors in the program itself keep their frames.
    """
    try:
        yield
    except UnusableFileError as error:
        sys.exit(f"{recipe}: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        print(f"\n{interrupted(recipe, output_dir)}", file=sys.stderr)
        # What shells give to a program that Ctrl-C ends.
        sys.exit(130)


def interrupted(recipe, output_dir):
    """The line after Ctrl-C."""
    return (
        f"{recipe}: interrupted. Give the same command again to go on from what is "
        f"finished in {output_dir}."
    )


def _define(field, flag_values):
    kind, is_tuple = kind_of(field)
    define, default = (
        {
            int: flags.DEFINE_integer,
            float: flags.DEFINE_float,
            bool: flags.DEFINE_bool,
            str: flags.DEFINE_string,
        }[kind],
        field.default,
    )
    if is_tuple:
        # Items are converted later, with an error that names the flag.
        define = flags.DEFINE_list
        default = default if default is None else [str(item) for item in default]
    define(field.name, default, field.metadata["help"], flag_values=flag_values)


def _value(field, value):
    kind, is_tuple = kind_of(field)
    if not is_tuple or value is None:
        return value
    try:
        return tuple(kind(item) for item in value)
    except ValueError:
        what = "integers" if kind is int else "numbers"
        raise ValueError(
            f"--{field.name} takes {what} with commas between them. "
            f"Received: {','.join(value)}"
        ) from None
