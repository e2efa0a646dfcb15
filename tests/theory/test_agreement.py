"""Predictions of whole networks against networks that are drawn and run."""

import keras
import numpy as np
import pytest

from fixinit import theory
from tests.marks import ON_TORCH, on_torch
from tests.theory import networks

BATCH = 8
# Networks with normalization differ little from draw to draw.
NORMALIZED = {
    name: networks.application(name)
    for name in (
        *("MobileNet", "MobileNetV2", "MobileNetV3Small", "ResNet50V2"),
        *("DenseNet121", "EfficientNetB0", "EfficientNetV2B0", "ConvNeXtTiny"),
    )
} | {
    "u_net_with_shortcuts": networks.u_net_with_shortcuts,
    "mixer": networks.mixer,
}
PLAIN = {
    make.__name__: make
    for make in (
        *(networks.classifier, networks.u_net, networks.dilated_segmentation),
        *(networks.feature_pyramid, networks.pixel_shuffle_network),
        *(networks.sub_pixel_network, networks.shuffled_groups, networks.wave_net),
    )
}


def mean_squares(make, seeds, training):
    """The mean squares of all layers: dict from their names to averages over draws."""
    rng, found = np.random.default_rng(0), []
    for seed in range(seeds):
        keras.utils.set_random_seed(seed)
        model = make()
        parts = [x for x in model.layers if not isinstance(x, keras.layers.InputLayer)]
        parts = [x for x in parts if isinstance(x.output, keras.KerasTensor)]
        probe = keras.Model(model.inputs, [x.output for x in parts])
        x = rng.standard_normal((BATCH, *model.input_shape[1:])).astype("float32")
        outputs = map(keras.ops.convert_to_numpy, probe(x, training=training))
        found.append([np.mean(np.square(y, dtype="float64")) for y in outputs])
    return model, dict(zip((x.name for x in parts), np.mean(found, 0), strict=True))


def median_gap(make, seeds, training):
    """The median of |log2 (predicted / measured)| over the layers of a network."""
    model, measured = mean_squares(make, seeds, training)
    prediction = theory.predict(model, training=training, batch_size=BATCH)
    gaps = [
        abs(np.log2(prediction[name].mean_square / square))
        for name, square in measured.items()
        if name in prediction and square > 0
    ]
    assert len(gaps) > 0.9 * len(measured)
    return float(np.median(gaps))


# What takes longest; the others are of the same kinds.
LONG = ("MobileNetV3Small", "DenseNet121", "EfficientNetB0", "EfficientNetV2B0")


@pytest.mark.parametrize(
    "left_out",
    [pytest.param(LONG, marks=ON_TORCH), pytest.param((), marks=pytest.mark.evidence)],
    ids=["quick", "all"],
)
def test_nine_networks_in_ten_agree_in_the_median_layer(left_out):
    gaps = {
        name: median_gap(make, 3, True)
        for name, make in NORMALIZED.items()
        if name not in left_out
    }
    gaps |= {name: median_gap(make, 16, False) for name, make in PLAIN.items()}
    close = sum(gap < 0.1 for gap in gaps.values())
    assert close >= 0.9 * len(gaps), gaps


@on_torch
def test_a_network_of_slices_and_shuffles_agrees():
    assert median_gap(networks.wave_net, 6, False) < 0.1
