"""Rules for recurrent layers, against layers that are run."""

import keras
import pytest

from fixinit import theory
from tests.marks import on_torch
from tests.theory.calculus.measured_gradients import gradient_of_input
from tests.theory.measuring import check, network

layers = keras.layers
SHAPE, UNITS = (7, 32), 64


def sequence(kind, **options):
    return lambda: kind(UNITS, return_sequences=True, **options)


@on_torch
@pytest.mark.parametrize(
    "stack",
    [
        [lambda: layers.LSTM(UNITS)],
        [sequence(layers.LSTM, unit_forget_bias=False)],
        [sequence(layers.GRU)],
        [lambda: layers.GRU(UNITS, reset_after=False, bias_initializer="ones")],
        [sequence(layers.SimpleRNN, go_backwards=True)],
        [lambda: layers.RNN([layers.LSTMCell(UNITS), layers.GRUCell(UNITS)])],
        [
            lambda: layers.Bidirectional(layers.LSTM(UNITS, return_sequences=True)),
            lambda: layers.Bidirectional(layers.GRU(UNITS), merge_mode="ave"),
        ],
        # What steps have in common stays in the average over them.
        [sequence(layers.LSTM), layers.GlobalAveragePooling1D],
    ],
)
def test_recurrent_layers(stack):
    check(network(*stack, shape=SHAPE), SHAPE, rtol=0.06)


@on_torch
def test_dropout_of_inputs_and_states():
    stack = [lambda: layers.LSTM(UNITS, dropout=0.4, recurrent_dropout=0.3)]
    check(network(*stack, shape=SHAPE), SHAPE, rtol=0.06, training=True)


@on_torch
def test_convolutional_recurrence():
    shape = (4, 6, 6, 8)
    layer = [lambda: layers.ConvLSTM2D(16, 3, padding="same", return_sequences=True)]
    check(network(*layer, shape=shape), shape, rtol=0.08)


@on_torch
def test_one_axis_of_a_convolutional_recurrence():
    shape = (4, 8, 8)
    layer = [lambda: layers.ConvLSTM1D(32, 3, strides=2, padding="same")]
    check(network(*layer, shape=shape), shape, rtol=0.08)


def test_a_long_sequence_has_settled():
    make = network(lambda: layers.LSTM(UNITS), shape=(200, 32))
    short = network(lambda: layers.LSTM(UNITS), shape=(60, 32))
    a, b = (theory.predict(m()).layers[-1].mean_square for m in (make, short))
    assert a == pytest.approx(b, rel=1e-3)


@on_torch
def test_states_go_from_an_encoder_to_a_decoder():
    def make():
        x = keras.Input(SHAPE)
        _, *states = layers.LSTM(UNITS, return_state=True)(x)
        return keras.Model(x, layers.LSTM(UNITS)(0 * x, initial_state=states))

    row = check(make, SHAPE, rtol=0.08)
    assert row.mean_square > 0


def test_cells_of_other_authors_are_refused():
    class Cell(layers.LSTMCell):
        def call(self, inputs, states, training=False):
            return super().call(inputs, states, training)

    with pytest.raises(theory.NoRuleError, match="cell of the class Cell"):
        theory.predict(network(lambda: layers.RNN(Cell(4)), shape=SHAPE)())


@pytest.mark.slow
@pytest.mark.every_backend
@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU, layers.SimpleRNN])
def test_gradients_of_recurrent_layers(kind):
    make = network(sequence(kind), shape=SHAPE)
    measured, error = gradient_of_input(make, SHAPE)
    predicted = theory.predict(make()).layers[0].gradient
    assert abs(predicted - measured) < 4 * error + 0.06 * measured
