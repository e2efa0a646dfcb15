"""Data sets by name, standardized and ready to train on.

The work of each source is in a module of its own (`mnist_1d`, `cifar`, `npz`); each has
a `load_data` that returns `(x_train, y_train), (x_test, y_test)` as the source holds
them, which is the shape of Keras's loaders. What a model needs is added here.
"""

import dataclasses
import difflib

import numpy as np

from recipes.common.data import cifar, mnist_1d, npz


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """A classification data set, split into training and test samples.

    Attributes:
        name: The name it was loaded by.
        x_train: float32 array of shape `(num_train, *input_shape)`, channels last.
        y_train: int32 array of shape `(num_train,)`, values in `[0, num_classes)`.
        x_test: float32 array of shape `(num_test, *input_shape)`.
        y_test: int32 array of shape `(num_test,)`.
        num_classes: Integer, the number of classes.
    """

    name: str
    x_train: np.ndarray = dataclasses.field(repr=False)
    y_train: np.ndarray = dataclasses.field(repr=False)
    x_test: np.ndarray = dataclasses.field(repr=False)
    y_test: np.ndarray = dataclasses.field(repr=False)
    num_classes: int

    @property
    def input_shape(self):
        """Tuple of integers, the shape of one sample, as Keras models take it."""
        return self.x_train.shape[1:]

    @property
    def is_image(self):
        """Whether one sample is `(height, width, channels)`."""
        return len(self.input_shape) == 3


def names():
    """Returns the names that `load` takes; `npz:PATH` stands for any path."""
    return ["cifar10", "cifar100", "digits", "mnist1d", "npz:PATH"]


def load(name, data_dir=None, seed=0):
    """Loads a data set by name.

    * `mnist1d`: MNIST-1D (Greydanus and Kobak, arXiv 2011.14439), 4,000 training and
      1,000 test signals of 40 samples, 10 classes. Generated, never downloaded.
    * `digits`: scikit-learn's handwritten digits, 8 x 8 x 1 images, 10 classes, split
      80 to 20 with every class in the same proportion.
    * `cifar10`, `cifar100` (fine labels): 32 x 32 x 3 images, from the archive in
      `data_dir`, or the one that `keras.datasets` has in its cache or downloads.
    * `npz:PATH`: arrays of your own `.npz` file, named in `recipes.common.data.npz`.

    Features are standardized with the mean and the standard deviation of the training
    samples: images with one pair per channel, everything else with a single pair over
    all features. Floating-point features of `npz:PATH` are left as they are.

    Example:

    >>> digits = load("digits")
    >>> digits.input_shape, digits.num_classes, len(digits.x_train)
    ((8, 8, 1), 10, 1437)

    Args:
        name: String, one of `names()`.
        data_dir: Optional path of the directory that holds the CIFAR archive, such as
            `cifar-10-python.tar.gz`. Nothing is written to it. Other data sets do not
            look at it.
        seed: Integer, draws the split of `digits`. The other data sets come with a
            split, and are the same for every seed.

    Returns:
        A `Dataset`. The same arguments give the same arrays; NumPy's and Python's
        global random states are left as they were.

    Raises:
        ValueError: Unknown name, or a file with unusable contents (it is named).
        FileNotFoundError: A file is missing; the message says where to put which.
        ModuleNotFoundError: The package that holds the data set is not installed.
    """
    if not isinstance(name, str):
        raise TypeError(
            f"`name` must be a string, one of {', '.join(names())}. "
            f"Received: name={name!r} (of type {type(name).__name__})"
        )
    try:
        if name == "mnist1d":
            return _standardized(name, *mnist_1d.load_data())
        if name == "digits":
            return _standardized(name, *_digits(seed))
        if name in cifar.NUM_CLASSES:
            train, test = cifar.load_data(name, data_dir)
            return _standardized(name, train, test, cifar.NUM_CLASSES[name])
        if name.startswith("npz:"):
            return _npz(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"The data set {name!r} needs the package {error.name!r}. Install what "
            'recipes need: pip install -e ".[recipes]"',
            name=error.name,
        ) from error
    raise ValueError(_unknown_name(name))


def _unknown_name(name):
    message = f"Unknown data set: name={name!r}. Valid names: {', '.join(names())}."
    if name.endswith(".npz"):
        return f"{message} Did you mean 'npz:{name}'?"
    nearest = difflib.get_close_matches(name.lower(), names(), n=1)
    return f"{message} Did you mean {nearest[0]!r}?" if nearest else message


def _digits(seed):
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    x_train, x_test, y_train, y_test = train_test_split(
        bunch.images[..., np.newaxis],
        bunch.target,
        test_size=0.2,
        stratify=bunch.target,
        random_state=seed,
    )
    return (x_train, y_train), (x_test, y_test)


def _npz(name):
    train, test = npz.load_data(name.removeprefix("npz:"))
    if train[0].dtype == np.uint8:
        return _standardized(name, train, test)
    return _dataset(name, train, test)


def _standardized(name, train, test, num_classes=None):
    (x_train, y_train), (x_test, y_test) = train, test
    mean, std = _statistics(x_train)

    def standardize(x):
        # In place: another float copy of CIFAR would take 600 MB.
        x = x.astype(np.float32, order="C")
        x -= mean
        x /= std
        return x

    train, test = (standardize(x_train), y_train), (standardize(x_test), y_test)
    return _dataset(name, train, test, num_classes)


def _statistics(x):
    """Returns mean and standard deviation, one per channel of images, else one."""
    # One channel at a time, as np.std makes a float64 copy of what it reads, and in
    # float64, as float32 loses count in the 51 million pixels of a CIFAR channel.
    channels = np.moveaxis(x, -1, 0) if x.ndim == 4 else [x]
    mean = np.array([np.mean(channel, dtype=np.float64) for channel in channels])
    std = np.array([np.std(channel, dtype=np.float64) for channel in channels])
    # A channel that never changes becomes 0, not 0 / 0.
    return mean, np.where(std > 0, std, 1.0)


def _dataset(name, train, test, num_classes=None):
    (x_train, y_train), (x_test, y_test) = train, test
    if num_classes is None:
        num_classes = int(np.max(y_train)) + 1
    return Dataset(
        name=name,
        x_train=x_train.astype(np.float32, order="C", copy=False),
        y_train=y_train.astype(np.int32),
        x_test=x_test.astype(np.float32, order="C", copy=False),
        y_test=y_test.astype(np.int32),
        num_classes=num_classes,
    )
