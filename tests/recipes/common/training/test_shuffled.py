import keras
import numpy as np

from recipes.common.training.shuffled import Shuffled

X = np.arange(10, dtype="float32")[:, None]
Y = np.arange(10)


def rows(batches, epoch):
    batches.start(epoch)
    return np.concatenate([batches[i][1] for i in range(len(batches))]).tolist()


def test_every_epoch_holds_every_sample_in_a_new_order():
    batches = Shuffled(X, Y, batch_size=4, seed=0)
    first, second = rows(batches, 0), rows(batches, 1)
    assert sorted(first) == sorted(second) == Y.tolist()
    assert first != second
    x, y = batches[2]
    np.testing.assert_array_equal(x[:, 0], y)
    assert len(y) == 2


def test_the_order_depends_on_the_seed_alone():
    orders = []
    for global_seed, seed in ((0, 5), (1, 5), (0, 6)):
        keras.utils.set_random_seed(global_seed)
        batches = Shuffled(X, Y, batch_size=4, seed=seed)
        orders.append([rows(batches, epoch) for epoch in (2, 0, 1)])
    assert orders[0] == orders[1] != orders[2]


def test_fit_sees_the_epochs_one_after_the_other():
    class Seen(keras.layers.Layer):
        def build(self, shape):
            # Reads the sum of x times its position, so that order matters.
            self.total = self.add_weight(initializer="zeros", trainable=False)
            self.step = self.add_weight(initializer="zeros", trainable=False)

        def call(self, x):
            self.step.assign(self.step + 1)
            self.total.assign(self.total + self.step * keras.ops.sum(x))
            return x

    model = keras.Sequential([Seen()])
    model.compile("sgd", "mse")
    batches = Shuffled(X, X, 5, seed=1)
    model(batches[0][0])
    for variable in model.layers[0].variables:
        variable.assign(0.0)
    model.fit(
        batches, epochs=3, shuffle=False, callbacks=[batches.callback()], verbose=0
    )
    expected, step = 0.0, 0
    for epoch in range(3):
        batches.start(epoch)
        for index in range(2):
            step += 1
            expected += step * batches[index][0].sum()
    assert float(model.layers[0].step) == step
    assert float(model.layers[0].total) == expected
