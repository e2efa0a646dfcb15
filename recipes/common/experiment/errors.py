"""Files that a recipe cannot go on with: errors for people, not for programmers."""


class UnusableFileError(ValueError):
    """A file that is damaged, missing, or not to be written.

    The message is one line that names the file and says what to do. Programs end with
    it, without the frames that led to it.
    """


class DirectoryInUseError(UnusableFileError):
    """An output directory that another process writes to."""


class OtherResultsError(ValueError):
    """An output directory that holds results of other flags, or something else."""
