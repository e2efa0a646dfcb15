"""Data of rows: measured tables, and some that are drawn to resemble them."""

from collections.abc import Callable

import numpy as np
import sklearn.datasets

Data = tuple[np.ndarray, np.ndarray]


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def floats(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(np.asarray(array, "float32") for array in arrays)


def one_hot(y: np.ndarray, classes: int) -> np.ndarray:
    return np.eye(classes, dtype="float32")[np.asarray(y, int)]


def standardized(x: np.ndarray, epsilon: float = 0.0) -> np.ndarray:
    """Every column with mean 0 and standard deviation 1."""
    return (x - x.mean(0)) / (x.std(0) + epsilon)


def shuffled(x: np.ndarray, y: np.ndarray) -> Data:
    return x[rng(0).permutation(len(x))], y[rng(0).permutation(len(y))]


def xor(samples: int) -> Data:
    x = np.array([[1, 1], [1, 0], [0, 0], [0, 1]] * (samples // 4), "float32")
    return x, np.array([[0], [1], [0], [1]] * (samples // 4), "float32")


def iris(hot: bool = True, scaled: bool = False) -> Data:
    x, y = sklearn.datasets.load_iris(return_X_y=True)
    order = rng(0).permutation(len(x))
    x, y = x[order], y[order]
    x = standardized(x) if scaled else x
    return x.astype("float32"), one_hot(y, 3) if hot else y.astype("int32")


def classes(name: str, binary: bool = False) -> Data:
    """A table of scikit-learn, standardized, with classes to tell."""
    x, y = getattr(sklearn.datasets, f"load_{name}")(return_X_y=True)
    order = rng(0).permutation(len(x))
    x, y = standardized(x[order].astype("float64"), 1e-9), y[order]
    y = y.astype("float32")[:, None] if binary else y.astype("int32")
    return x.astype("float32"), y


def quantities(name: str) -> Data:
    """A table of scikit-learn with quantities to predict, all of it standardized."""
    x, y = getattr(sklearn.datasets, f"load_{name}")(return_X_y=True)
    order = rng(0).permutation(len(x))
    x = standardized(x[order].astype("float64"), 1e-9)
    return floats(x, standardized(y[order].reshape(len(y), -1).astype("float64")))


def adult(scaled: bool = False, samples: int = 1000) -> Data:
    """Columns as of a census: ages, weights of 1e5, years, gains of 0 or thousands."""
    r = rng(4)
    age = r.normal(38, 13, samples).clip(17, 90)
    weight = r.lognormal(12, 0.5, samples)
    education = r.integers(1, 17, samples)
    gain = r.choice([0.0] * 9 + [1], samples) * r.lognormal(8.5, 1, samples)
    hours = r.normal(40, 12, samples).clip(1, 99)
    kinds = r.integers(0, 8, (samples, 8)) == 0
    loss = r.choice([0.0] * 19 + [1900.0], samples)
    left = [age, kinds[:, 0], weight, kinds[:, 1], education, kinds[:, 2:7]]
    x = np.column_stack([*left, gain, loss, hours, kinds[:, 7]]).astype("float64")
    score = 0.05 * (age - 38) + 0.3 * (education - 10) + 0.04 * (hours - 40)
    y = (score + gain / 4000 + r.normal(size=samples) > 1).astype(int)
    x = standardized(x, 1e-9) if scaled else x
    return x.astype("float32"), one_hot(y, 2)


def pima(scaled: bool = False, samples: int = 760) -> Data:
    """Columns as of patients: counts, pressures, ages, concentrations to 846."""
    r = rng(5)
    columns = [
        r.poisson(3.8, samples),
        r.normal(121, 30, samples),
        r.normal(69, 19, samples),
        r.normal(20, 15, samples).clip(0),
        r.lognormal(4, 1.2, samples).clip(0, 846),
        r.normal(32, 7, samples),
        r.gamma(2, 0.24, samples),
        r.normal(33, 11, samples).clip(21),
    ]
    x = np.column_stack(columns)
    z = standardized(x)
    score = z @ [0.4, 1.1, -0.2, 0, 0, 0.7, 0.3, 0.2]
    y = (score + r.logistic(size=samples) > 0.8).astype("float32")[:, None]
    return (z if scaled else x).astype("float32"), y


def house(scaled: bool = False, samples: int = 600) -> Data:
    """Prices of about 1.6e5, standardized if `scaled`."""
    r = rng(12)
    x = r.normal(size=(samples, 30))
    noise = 0.1 * r.normal(size=samples)
    y = np.exp(12 + 0.3 * x[:, :6].sum(1) / 2 + noise)
    return floats(x, (standardized(y) if scaled else y)[:, None])


def connections(samples: int = 800) -> Data:
    """Five kinds of network connections, 41 columns."""
    r, y = rng(10), rng(11).integers(0, 5, samples)
    noise = r.normal(size=(samples, 41))
    x = noise + one_hot(y, 5) @ r.normal(size=(5, 41))
    return floats(x, one_hot(y, 5))


def large_linear(scaled: bool = False, samples: int = 1000) -> Data:
    """A linear function of inputs up to 1e4."""
    x = rng(9).uniform(0, 10000, (samples, 3))
    y = x @ [2.0, 1.0, 0.5] + 2.2
    if scaled:
        x, y = standardized(x), standardized(y)
    return floats(x, y[:, None])


def linear(scaled: bool = False, samples: int = 500) -> Data:
    """A linear function of five inputs up to 300, or of standard normal ones."""
    if scaled:
        x = rng(8).normal(size=(samples, 5))
        return floats(x, x @ [[0.9], [0.4], [-0.3], [0.2], [0.6]])
    (x,) = floats(rng(8).uniform(0, 300, (samples, 5)))
    return floats(x, (x @ [3, 1.5, -1, 0.5, 2])[:, None])


def curve(
    function: Callable[[np.ndarray], np.ndarray],
    low: float,
    high: float,
    scaled: bool = False,
    samples: int = 400,
) -> Data:
    """A function of one number, from left to right."""
    x = np.linspace(low, high, samples)[:, None]
    y = function(x)
    if scaled:
        x, y = standardized(x), standardized(y)
    return floats(x, y)


def direction(samples: int = 300) -> Data:
    """Whether a sine rises, from two values that follow each other."""
    t = np.arange(samples) * 0.0628
    x = np.stack([np.sin(t), np.sin(t - 0.06)], 1)
    return floats(x, (np.cos(t) > 0)[:, None])


def several_labels() -> Data:
    x, y = sklearn.datasets.make_multilabel_classification(
        n_samples=1000, n_features=20, n_classes=3, random_state=0
    )
    return floats(x, y)


def three_blobs() -> Data:
    x, y = sklearn.datasets.make_blobs(
        n_samples=700, centers=3, n_features=2, cluster_std=2, random_state=2
    )
    return x.astype("float32"), one_hot(y, 3)
