"""Residual networks of dense layers, 10,000 layers deep, as one `Stack`.

The arms that are written by hand do the same arithmetic with the same optimizer: stem,
5,000 pre-activation Fixup blocks of two layers, head, cross-entropy, SGD with momentum
0.9. Ours train through `model.fit`.
"""

import threading

import keras
import numpy as np

import fixinit
from benchmarks.common.benchmark import Arm, Benchmark, Ratio

JAX, TENSORFLOW, TORCH = (
    {"KERAS_BACKEND": backend} for backend in ("jax", "tensorflow", "torch")
)
LAYERS, QUICK_LAYERS = 10_000, 20
UNITS, FEATURES, CLASSES, BATCH_SIZE = 64, 40, 10, 100
LEARNING_RATE, MOMENTUM = 1e-3, 0.9


def data():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH_SIZE, FEATURES)).astype("float32")
    return x, rng.integers(CLASSES, size=BATCH_SIZE)


def fit(layers):
    """Steps of `model.fit` on our model."""

    def build(quick):
        model = fixinit.models.ResidualMLP(
            (QUICK_LAYERS if quick else layers) // 2, UNITS, stacked=True, seed=0
        )
        model.compile(
            keras.optimizers.SGD(LEARNING_RATE, momentum=MOMENTUM),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=keras.backend.backend() != "torch",
        )
        return OneStepOfFit(model)

    return build


class OneStepOfFit(keras.callbacks.Callback):
    """`model.fit` in a thread of its own, which runs one step when it is called."""

    def __init__(self, model):
        super().__init__()
        self.go, self.done = threading.Semaphore(0), threading.Semaphore(0)
        self.error = None
        self.thread = threading.Thread(target=self._fit, args=(model,), daemon=True)

    def _fit(self, model):
        x, y = data()

        def batches():
            while True:
                yield x, y

        try:
            model.fit(batches(), steps_per_epoch=10**6, verbose=0, callbacks=[self])
        except Exception as error:
            self.error = error
            self.done.release()

    def on_train_batch_begin(self, batch, logs=None):
        if batch:
            self.go.acquire()

    def on_train_batch_end(self, batch, logs=None):
        # Waits for the step, which some backends run asynchronously.
        float(logs["loss"])
        self.done.release()

    def __call__(self):
        if self.thread.ident is None:
            self.thread.start()
        else:
            self.go.release()
        self.done.acquire()
        if self.error:
            raise self.error


def draw(layers):
    """Building the model: every weight is drawn anew in every step."""

    def build(quick):
        num_blocks = (QUICK_LAYERS if quick else layers) // 2
        # Where TensorFlow is installed, Keras imports it on every backend, in seconds,
        # when it serializes for the first time.
        keras.saving.serialize_keras_object(keras.initializers.Zeros())

        def step():
            model = fixinit.models.ResidualMLP(num_blocks, UNITS, stacked=True, seed=0)
            for variable in model.weights:
                keras.ops.convert_to_numpy(variable)

        return step

    return build


def by_hand_in_jax(quick):
    """`jax.lax.scan`, as one would write it without this library."""
    import jax
    import jax.numpy as jnp

    x, y = data()
    blocks = (QUICK_LAYERS if quick else LAYERS) // 2
    parameters = {k: jnp.asarray(v) for k, v in hand_parameters(blocks).items()}
    velocities = jax.tree.map(jnp.zeros_like, parameters)

    def loss(p, x, y):
        def block(h, q):
            z = jax.nn.relu(h + q["bias1"]) + q["bias2"]
            z = z @ q["kernel1"]
            z = jax.nn.relu(z + q["bias3"]) + q["bias4"]
            z = z @ q["kernel2"] * q["multiplier"] + q["bias5"]
            return h + z, None

        stacked = {k: v for k, v in p.items() if k in STACKED}
        h, _ = jax.lax.scan(block, x @ p["stem"], stacked)
        h = jax.nn.relu(h + p["head_bias1"]) + p["head_bias2"]
        logits = jax.nn.log_softmax(h @ p["head"] + p["bias"])
        return -jnp.mean(jnp.take_along_axis(logits, y[:, None], 1))

    def update(p, v, x, y):
        value, g = jax.value_and_grad(loss)(p, x, y)
        v = jax.tree.map(lambda v, g: MOMENTUM * v - LEARNING_RATE * g, v, g)
        return jax.tree.map(jnp.add, p, v), v, value

    update = jax.jit(update, donate_argnums=(0, 1))

    def step():
        nonlocal parameters, velocities
        parameters, velocities, value = update(parameters, velocities, x, y)
        float(value)

    return step


def by_hand_in_torch(quick):
    """An eager loop over the blocks."""
    import torch

    x, y = (torch.as_tensor(a) for a in data())
    blocks = (QUICK_LAYERS if quick else LAYERS) // 2
    arrays = hand_parameters(blocks)
    p = {
        name: [torch.tensor(row, requires_grad=True) for row in array]
        if name in STACKED
        else torch.tensor(array, requires_grad=True)
        for name, array in arrays.items()
    }
    flat = [t for v in p.values() for t in (v if isinstance(v, list) else [v])]
    optimizer = torch.optim.SGD(flat, LEARNING_RATE, momentum=MOMENTUM)
    relu = torch.nn.functional.relu

    def step():
        optimizer.zero_grad()
        h = x @ p["stem"]
        for b1, b2, k1, b3, b4, k2, m, b5 in zip(*(p[n] for n in STACKED), strict=True):
            z = (relu(h + b1) + b2) @ k1
            z = (relu(z + b3) + b4) @ k2
            h = h + (z * m + b5)
        h = relu(h + p["head_bias1"]) + p["head_bias2"]
        loss = torch.nn.functional.cross_entropy(h @ p["head"] + p["bias"], y)
        loss.backward()
        optimizer.step()
        loss.item()

    return step


STACKED = (
    "bias1", "bias2", "kernel1", "bias3", "bias4", "kernel2", "multiplier", "bias5"
)  # fmt: skip


def hand_parameters(blocks):
    """Fixup's initial weights, as NumPy draws them."""
    rng = np.random.default_rng(0)
    scalars = {name: np.zeros(blocks) for name in STACKED if name[:4] == "bias"}
    he = rng.standard_normal((blocks, UNITS, UNITS)) * (2 / UNITS) ** 0.5
    parameters = scalars | {
        "kernel1": he / blocks**0.5,
        "kernel2": np.zeros((blocks, UNITS, UNITS)),
        "multiplier": np.ones(blocks),
        "stem": rng.standard_normal((FEATURES, UNITS)) * (2 / FEATURES) ** 0.5,
        "head_bias1": np.zeros(()),
        "head_bias2": np.zeros(()),
        "head": np.zeros((UNITS, CLASSES)),
        "bias": np.zeros(CLASSES),
    }
    return {name: value.astype("float32") for name, value in parameters.items()}


def activation_memory(layers, remat):
    """What XLA needs for the gradient of the input of a stack whose weights rest."""

    def build(quick):
        import jax

        depth = (QUICK_LAYERS if quick else layers) // 2
        model = fixinit.models.ResidualMLP(
            depth, UNITS, stacked=True, remat=remat, seed=0
        )
        x, _ = data()
        states = [v.value for v in model.variables]
        model.trainable = False

        def loss(x, states):
            outputs, _ = model.stateless_call([], states, x, training=True)
            return keras.ops.sum(outputs**2)

        compiled = jax.jit(jax.grad(loss)).lower(x, states).compile()
        megabytes = compiled.memory_analysis().temp_size_in_bytes / 2**20
        return lambda: compiled(x, states).block_until_ready(), {
            "xla_memory": megabytes
        }

    return build


BENCHMARKS = [
    Benchmark(
        name="stack_step",
        arms={
            "jax": Arm(fit(LAYERS), JAX),
            "tensorflow": Arm(fit(LAYERS), TENSORFLOW),
            "by_hand_in_jax": Arm(by_hand_in_jax, JAX),
            "by_hand_in_torch": Arm(by_hand_in_torch, TORCH),
        },
        ratios=[
            Ratio("step: JAX / lax.scan by hand", "jax", "by_hand_in_jax", 1.15),
            Ratio(
                "step: TensorFlow / lax.scan by hand",
                "tensorflow",
                "by_hand_in_jax",
                1.25,
            ),
            Ratio("step: JAX / eager PyTorch loop", "jax", "by_hand_in_torch", 0.5),
            Ratio(
                "step: TensorFlow / eager PyTorch loop",
                "tensorflow",
                "by_hand_in_torch",
                0.5,
            ),
        ],
        repeats=12,
        # The first steps find their memory.
        warmup=6,
    ),
    Benchmark(
        name="stack_first_step",
        arms={
            f"{backend}_{layers}": Arm(fit(layers), environment)
            for backend, environment in (("jax", JAX), ("tensorflow", TENSORFLOW))
            for layers in (LAYERS, 100)
        },
        ratios=[
            Ratio(
                "first step: JAX, 10,000 / 100 layers",
                "jax_10000",
                "jax_100",
                1.3,
                "compile",
            ),
            Ratio(
                "first step: TensorFlow, 10,000 / 100 layers",
                "tensorflow_10000",
                "tensorflow_100",
                2.0,
                "compile",
            ),
        ],
        repeats=9,
        starts=3,
    ),
    Benchmark(
        name="stack_build",
        arms={
            "tensorflow": Arm(draw(LAYERS), TENSORFLOW),
            "jax": Arm(draw(LAYERS), JAX),
            "torch": Arm(draw(LAYERS), TORCH),
        },
        ratios=[
            Ratio("first build: TensorFlow [s]", "tensorflow", None, 3, "first_step"),
            Ratio("first build: JAX [s]", "jax", None, 3, "first_step"),
            Ratio("first build: PyTorch [s]", "torch", None, 3, "first_step"),
            Ratio("build: TensorFlow [s]", "tensorflow", None, 3),
            Ratio("build: JAX [s]", "jax", None, 3),
            Ratio("build: PyTorch [s]", "torch", None, 3),
        ],
        repeats=6,
        warmup=0,
        starts=3,
    ),
    Benchmark(
        name="stack_memory",
        arms={
            f"{remat}_{layers}": Arm(activation_memory(layers, remat), JAX)
            for remat in ("sqrt", None)
            for layers in (LAYERS, 1000)
        },
        ratios=[
            Ratio(
                "memory: remat='sqrt', 10,000 / 1,000 layers",
                "sqrt_10000",
                "sqrt_1000",
                3.5,
                "xla_memory",
            ),
            Ratio(
                "memory: remat=None, 10,000 / 1,000 layers",
                "None_10000",
                "None_1000",
                None,
                "xla_memory",
            ),
            Ratio(
                "memory: 10,000 layers, remat='sqrt' [MB]",
                "sqrt_10000",
                None,
                None,
                "xla_memory",
            ),
            Ratio(
                "memory: 10,000 layers, remat=None [MB]",
                "None_10000",
                None,
                None,
                "xla_memory",
            ),
            Ratio("step: remat='sqrt' / None", "sqrt_10000", "None_10000"),
        ],
        repeats=6,
    ),
]
