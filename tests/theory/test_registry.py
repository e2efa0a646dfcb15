"""Rules of the user's own: for layers, initializers, activations and odd calls."""

import keras
import pytest

import fixinit
from fixinit import theory
from fixinit.theory import NoRuleError, calculus

layers = keras.layers


def keeps(operation, mean_square):
    return mean_square


def test_a_rule_of_the_users_own():
    class Halved(layers.Layer):
        def call(self, x):
            return x / 2

    class Spread(keras.initializers.Initializer):
        def __call__(self, shape, dtype=None):
            return keras.random.normal(shape, stddev=2.0, dtype=dtype)

    def cube(x):
        return x**3

    @theory.register(Halved)
    def halved(layer, setting, x):
        assert setting.output_shape == (8,)
        return theory.calculus.scale(x, 0.5)

    @theory.register(Spread)
    def spread(initializer, shape):
        return 0.0, 4.0

    @theory.register(cube)
    def cubed(function):
        return theory.Function(lambda x: x**3, lambda x: 3 * x**2)

    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(8, kernel_initializer=Spread(), name="dense"),
            Halved(name="halved"),
            layers.Activation(cube, name="cube"),
        ]
    )
    prediction = theory.predict(model)
    assert prediction["dense"].variance == pytest.approx(16)
    assert prediction["halved"].variance == pytest.approx(4)
    # The sixth moment of a Gaussian is 15 times the cube of its variance.
    assert prediction["cube"].mean_square == pytest.approx(15 * 4**3)
    # E[f'^2] = 9 E[h^4] = 27 * 4^2, and a quarter of it before the halving.
    assert prediction["halved"].gradient == pytest.approx(27 * 16)
    assert prediction["dense"].gradient == pytest.approx(27 * 4)


class Multiples(layers.Layer):
    """Twice and three times the input."""

    def call(self, x):
        return 2 * x, 3 * x


@theory.register(Multiples)
def multiples(layer, setting, x):
    assert setting.output_shape == ((8,), (8,))
    return calculus.scale(x, 2.0), calculus.scale(x, 3.0)


def test_a_rule_for_two_outputs():
    x = keras.Input((8,))
    y = layers.Dense(8, name="dense")(x)
    twice, thrice = Multiples(name="multiples")(y)
    prediction = theory.predict(keras.Model(x, [twice, thrice]))
    size = prediction["dense"].mean_square
    assert prediction["multiples"].mean_square == pytest.approx(4 * size)
    assert prediction["multiples.1"].mean_square == pytest.approx(9 * size)
    assert prediction["multiples"].gradient == prediction["multiples.1"].gradient == 1
    assert prediction["dense"].gradient == pytest.approx(4 + 9)


def test_only_the_second_output_is_used():
    x = keras.Input((8,))
    _, thrice = Multiples(name="multiples")(x)
    prediction = theory.predict(keras.Model(x, layers.Rescaling(2.0)(thrice)))
    assert prediction.layers[-1].mean_square == pytest.approx(36)
    assert prediction["multiples"].gradient == 0
    assert prediction["multiples.1"].gradient == pytest.approx(4)


class TwoHeads(layers.Layer):
    """Two dense layers that read the same input."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.heads = [layers.Dense(8) for _ in range(2)]

    def call(self, x):
        return [head(x) for head in self.heads]


@theory.register(TwoHeads)
def two_heads(layer, setting, x):
    return [calculus.mix(x, [], 8, (0.0, 1 / 8)) for _ in layer.heads]


def test_outputs_of_a_layer_share_weights_with_themselves_alone():
    x, other = keras.Input((8,)), keras.Input((8,))
    heads = TwoHeads()
    a, b = heads(x)
    added = theory.predict(keras.Model(x, layers.Add()([a, b])))
    assert added.layers[-1].mean_square == pytest.approx(2)
    again, _ = heads(other)
    both = keras.Model([x, other], layers.Add()([a, again]))
    with pytest.raises(NoRuleError, match="depend on the same weights"):
        theory.predict(both)


class Attention(layers.MultiHeadAttention):
    """Keras's, of which a test has its own idea."""


@theory.register(Attention)
def attention(layer, setting, query, value, key=None, return_attention_scores=False):
    # As if every position attended to nothing but the same position of the value.
    output = calculus.add([query, value], [0.0, 0.5])
    if not return_attention_scores:
        return output
    return output, theory.Moments.inputs(setting.output_shape[1], 1.0, 0.0)


@pytest.mark.parametrize(
    "call",
    [
        lambda layer, x, z: layer(x, z),
        lambda layer, x, z: layer(x, value=z),
        lambda layer, x, z: layer(query=x, value=z),
        lambda layer, x, z: layer(x, z, training=False, use_causal_mask=True),
        lambda layer, x, z: layer(x, value=z, return_attention_scores=True)[0],
    ],
)
def test_tensors_given_by_keyword_reach_the_rule(call):
    x, z = keras.Input((6, 8)), keras.Input((6, 8), name="z")
    twice = layers.Rescaling(2.0, name="twice")(z)
    y = call(Attention(2, 4, name="attention"), x, twice)
    prediction = theory.predict(keras.Model([x, z], y))
    assert prediction["attention"].mean_square == pytest.approx(1)
    assert prediction["twice"].gradient == pytest.approx(0.25)


def test_a_tensor_that_the_rule_does_not_take_is_not_left_out():
    class Shifted(layers.Layer):
        def call(self, x, shift=None):
            return x if shift is None else x + shift

    @theory.register(Shifted)
    def shifted(layer, setting, x):
        return x

    x = keras.Input((8,))
    shift = Shifted(name="shift")
    assert theory.predict(keras.Model(x, shift(x)))["shift"].variance == 1
    model = keras.Model(x, shift(x, shift=layers.Dense(8)(x)))
    with pytest.raises(NoRuleError, match="`shift` takes no argument `shift`"):
        theory.predict(model)
    model = keras.Model(x, shift(x, layers.Dense(8)(x)))
    with pytest.raises(NoRuleError, match="`shift` takes 1 of the 2 inputs"):
        theory.predict(model)


def test_a_rule_that_returns_nothing_is_a_mistake():
    class Silent(layers.Layer):
        def call(self, x):
            return x

    theory.register(Silent)(lambda layer, setting, x: None)
    x = keras.Input((8,))
    with pytest.raises(TypeError, match=r"rule for Silent must return.*None.*`silent`"):
        theory.predict(keras.Model(x, Silent(name="silent")(x)))


def test_the_first_argument_by_keyword():
    x = keras.Input((8,))
    model = keras.Model(x, layers.Dense(8, kernel_initializer="he_normal")(inputs=x))
    assert theory.predict(model).layers[-1].mean_square == pytest.approx(2)


def test_a_rule_that_returns_too_little_is_a_mistake():
    class Pair(layers.Layer):
        def call(self, x):
            return x, x

    theory.register(Pair)(lambda layer, setting, x: x)
    x = keras.Input((8,))
    model = keras.Model(x, Pair(name="pair")(x))
    for run in (theory.predict, lambda m: theory.propagate(m, look(), assume=keeps)):
        with pytest.raises(ValueError, match="Pair `pair` must return 2 Moments"):
            run(model)


def look():
    return fixinit.graph.Hook()


class Broken(layers.Layer):
    def call(self, x):
        return x


@theory.register(Broken)
def broken(layer, setting, x):
    raise ValueError("operands could not be broadcast")


class Partly(layers.Layer):
    def call(self, x):
        return x


@theory.register(Partly)
def partly(layer, setting, x):
    raise NoRuleError("Partly is not covered on Sundays.")


def residual(layer):
    """A network with one normalized branch, whose first layer is `layer`."""
    x = keras.Input((8,))
    y = layers.Dense(8)(x)
    z = layers.BatchNormalization()(layer(y))
    z = layers.Dense(8)(layers.ReLU()(z))
    return keras.Model(x, layers.Dense(2)(layers.ReLU()(layers.Add()([y, z]))))


@pytest.mark.parametrize(
    "run",
    [
        theory.predict,
        lambda model: theory.propagate(model, look(), assume=keeps),
        lambda model: fixinit.convert(model, "scaled_residual"),
    ],
)
def test_a_mistake_inside_a_rule_is_not_taken_for_a_missing_rule(run):
    with pytest.raises(ValueError, match="broadcast") as caught:
        run(residual(Broken()))
    assert not isinstance(caught.value, NoRuleError)


def test_a_rule_may_refuse():
    model = residual(Partly(name="partly"))
    with pytest.raises(NoRuleError, match="on Sundays"):
        theory.predict(model)
    assert theory.propagate(model, look(), assume=keeps) == ["partly"]
    assert len(fixinit.convert(model, "scaled_residual").layers) > 4


def test_shapes_that_a_layer_cannot_say_have_no_rule():
    class Shapeless(layers.Layer):
        def call(self, x):
            return x[:, :10]

        def compute_output_shape(self, input_shape):
            return input_shape[0], 10 if input_shape[1] is None else 1 // 0, 8

    x = keras.Input((None, 8))
    model = keras.Model(x, Shapeless(name="shapeless")(x))
    with pytest.raises(NoRuleError, match="`shapeless` cannot say"):
        theory.propagate(model, look(), assume=keeps)
