"""Pictures, sequences and texts, most of them drawn."""

import mnist1d.data
import numpy as np
import sklearn.datasets

from benchmarks.doctor.cases.tables import Data, floats, one_hot, rng

Shape = tuple[int, ...]


def digits(shape: Shape = (784,), hot: bool = True, samples: int = 1000) -> Data:
    """The digits of scikit-learn in the size of MNIST, from 0 to 1."""
    data = sklearn.datasets.load_digits()
    order = rng(1).permutation(len(data.target))[:samples]
    x = np.kron(data.images[order] / 16, np.ones((1, 3, 3)))
    x = np.pad(x, ((0, 0), (2, 2), (2, 2))).reshape(len(order), *shape)
    y = data.target[order]
    return x.astype("float32"), one_hot(y, 10) if hot else y.astype("int32")


def pictures(
    size: int = 32,
    classes: int = 10,
    samples: int = 512,
    top: float = 1.0,
    hot: bool = True,
) -> Data:
    """Pictures in color, from 0 to `top`, of one pattern of blobs for each class."""
    r = rng(0)
    grid = np.linspace(0, 1, size)
    rows, columns = np.meshgrid(grid, grid, indexing="ij")
    patterns = np.zeros((classes, size, size, 3))
    for pattern in patterns:
        for _ in range(6):
            row, column, width = r.uniform(0, 1), r.uniform(0, 1), r.uniform(0.1, 0.35)
            distance = (rows - row) ** 2 + (columns - column) ** 2
            blob = np.exp(-distance / (2 * width * width))
            pattern += blob[..., None] * r.uniform(-1, 1, 3)
    y = r.integers(0, classes, samples)
    coarse = r.normal(size=(samples, size // 4, size // 4, 3))
    noise = 0.12 * coarse.repeat(4, 1).repeat(4, 2)
    x = (
        0.45
        + 0.2 * patterns[y]
        + noise
        + 0.05 * r.normal(size=(samples, size, size, 3))
    )
    x = (np.clip(x, 0, 1) * top).astype("float32")
    return x, one_hot(y, classes) if hot else y.astype("int32")


def centred_pictures(size: int, samples: int) -> Data:
    """Pictures with mean 0 and standard deviation 1, about."""
    x, y = pictures(size, samples=samples, hot=False)
    return ((x - 0.45) / 0.25).astype("float32"), y


def segments() -> Data:
    """Pictures, and where they are bright."""
    x, _ = pictures(32, samples=48)
    return x, (x.mean(-1, keepdims=True) > 0.5).astype("float32")


def mnist_1d(flat: bool = True, samples: int = 1000) -> Data:
    arguments = mnist1d.data.get_dataset_args()
    arguments.num_samples = 1250
    data = mnist1d.data.make_dataset(arguments)
    x = data["x"][:samples].astype("float32")
    return (x if flat else x[..., None]), data["y"][:samples].astype("int32")


def steps() -> Data:
    """Numbers from 0 to 1 that say nothing of each other, in sequences of five."""
    r = rng(2)
    return floats(r.uniform(size=(400, 5, 1)), r.uniform(size=(400, 5, 1)))


def walks(samples: int = 600) -> Data:
    """Random walks, half of them with a trend."""
    r = rng(17)
    y = r.integers(0, 2, samples)
    walk = r.normal(size=(samples, 10, 4)).cumsum(1) * 0.3
    x = walk + y[:, None, None] * np.linspace(0, 1, 10)[None, :, None]
    return floats(x - x.mean(), y[:, None])


def words(
    samples: int = 512,
    length: int = 40,
    vocabulary: int = 1000,
    classes: int = 2,
    labels: str = "binary",
) -> Data:
    """Texts as numbers of words, a fifth of them of ten that their class prefers.

    Args:
        labels: `"binary"` for a column of 0 and 1, `"classes"` or `"one_hot"`.
    """
    r = rng(11)
    y = r.integers(0, classes, samples)
    x = r.integers(50, vocabulary, (samples, length))
    for label in range(classes):
        preferred = (y == label)[:, None] & (r.uniform(size=(samples, length)) < 0.2)
        drawn = r.integers(10 * label, 10 * label + 10, (samples, length))
        x = np.where(preferred, drawn, x)
    if labels == "one_hot":
        return x.astype("int32"), one_hot(y, classes)
    targets = y.astype("float32")[:, None] if labels == "binary" else y.astype("int32")
    return x.astype("int32"), targets


def bags_of_words(vocabulary: int = 1000) -> Data:
    """Which words a text holds, 0 or 1 for each."""
    x, y = words(length=120)
    held = np.zeros((len(x), vocabulary), "float32")
    for row, text in zip(held, x, strict=True):
        row[text] = 1
    return held, y
