"""Variance rules for the layers, operations and initializers of Keras and fixinit.

One file per family. A rule for a new layer goes into the file of its family, or into a
new file that is imported here. It is a function under `fixinit.theory.register`, made
of the operations in `fixinit.theory.calculus`, which know their gradients:

    @register(keras.layers.GaussianNoise)
    def gaussian_noise(layer, setting, x):
        ...

| file | what it has rules for |
|---|---|
| `activation_layers` | activations, as layers, functions and recorded operations |
| `application_layers` | scales of residual branches in `keras.applications` |
| `attention_layers` | attention, with heads and without |
| `fixinit_layers` | the layers of `fixinit.layers` |
| `functional_operations` | normalization and pooling of `keras.ops` |
| `initializers` | mean and variance of the weights that initializers draw |
| `merging_layers` | sums, products, maxima, concatenations |
| `mixing_operations` | Fourier transforms, gathers of scores |
| `noise_layers` | dropout and other noise |
| `normalization_layers` | normalization by the batch, by the input, by constants |
| `operations` | `keras.ops`, by the names of the classes that Keras records |
| `patches` | patches of images and volumes |
| `pooling_layers` | average and maximum pooling |
| `products` | scores of attention and averages, inner products |
| `recurrent_layers` | LSTM, GRU and their relatives |
| `reductions` | means, sums, maxima over axes |
| `resizing` | interpolation and padding |
| `shape_layers` | reshaping, padding, cropping, repetition |
| `slicing` | slices, splits, rolls, repetition |
| `transformer_layers` | attention, gates and positions of `fixinit.models` |
| `transposing` | reshapes, transpositions, stacks, depth to space |
| `weight_layers` | dense layers, convolutions, embeddings |
| `wrapping_layers` | layers that apply another one at every step |
"""

from fixinit.theory.rules import (
    activation_layers,
    application_layers,
    attention_layers,
    fixinit_layers,
    functional_operations,
    initializers,
    merging_layers,
    mixing_operations,
    noise_layers,
    normalization_layers,
    operations,
    patches,
    pooling_layers,
    products,
    recurrent_layers,
    reductions,
    resizing,
    shape_layers,
    slicing,
    transformer_layers,
    transposing,
    weight_layers,
    wrapping_layers,
)

__all__ = [
    "activation_layers",
    "application_layers",
    "attention_layers",
    "fixinit_layers",
    "functional_operations",
    "initializers",
    "merging_layers",
    "mixing_operations",
    "noise_layers",
    "normalization_layers",
    "operations",
    "patches",
    "pooling_layers",
    "products",
    "recurrent_layers",
    "reductions",
    "resizing",
    "shape_layers",
    "slicing",
    "transformer_layers",
    "transposing",
    "weight_layers",
    "wrapping_layers",
]
