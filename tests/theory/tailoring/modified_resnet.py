"""The networks that the recorded constants are for: functions and Keras models."""

import keras

import fixinit

layers = keras.layers
# Blocks of each group, activations of a branch, and which groups project.
GROUPS = {
    18: ((2, 2, 2, 2), 2, (False, True, True, True)),
    50: ((3, 4, 6, 3), 3, (True, True, True, True)),
    152: ((3, 8, 36, 3), 3, (True, True, True, True)),
}


def chain(depth):
    def network(x, local_map):
        for _ in range(depth):
            x = local_map(x)
        return x

    return network


def resnet(depth, weight, preactivation):
    counts, length, projects = GROUPS[depth]

    def branch(x, local_map):
        return chain(length if preactivation else length - 1)(x, local_map)

    def network(x, local_map):
        c = x
        for count, projecting in zip(counts, projects, strict=True):
            for index in range(count):
                reads_activated = preactivation and projecting and index == 0
                shortcut = local_map(c) if reads_activated else c
                c = weight**2 * shortcut + (1 - weight**2) * branch(c, local_map)
                c = c if preactivation else local_map(c)
        return max(local_map(c), branch(x, local_map))

    return network


def chain_model(depth):
    x = inputs = keras.Input((3,))
    for _ in range(depth):
        x = layers.ReLU()(layers.Dense(3)(x))
    return keras.Model(inputs, layers.Dense(2)(x))


def resnet_model(depth, weight, preactivation):
    counts, length, projects = GROUPS[depth]
    x = inputs = keras.Input((4, 4, 2))
    for count, projecting in zip(counts, projects, strict=True):
        for index in range(count):
            h = layers.ReLU()(x) if preactivation else x
            shortcut = x
            if projecting and index == 0 and weight:
                shortcut = layers.Conv2D(2, 1)(h)
            for layer in range(length):
                h = layers.Conv2D(2, 1)(layers.ReLU()(h) if layer else h)
            x = fixinit.layers.ScaledAdd(weight, (1 - weight**2) ** 0.5)([shortcut, h])
            x = x if preactivation else layers.ReLU()(x)
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    return keras.Model(inputs, layers.Dense(2, "softmax")(x))
