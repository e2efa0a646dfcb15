"""All networks, by name, and what becomes of each origin."""

import functools

from recipes.common.training import applications
from recipes.real_models.examples import EXAMPLES
from recipes.real_models.hub import BACKBONES
from recipes.real_models.network import Network

# One network of every family of keras.applications, and its residual additions.
FAMILIES = {
    "ConvNeXtTiny": 18,
    "DenseNet121": 0,
    "EfficientNetB0": 9,
    "EfficientNetV2B0": 15,
    "InceptionResNetV2": 40,
    "InceptionV3": 0,
    "MobileNet": 0,
    "MobileNetV2": 10,
    "MobileNetV3Small": 6,
    "NASNetMobile": None,
    "ResNet50": 16,
    "ResNet50V2": 16,
    "VGG16": 0,
    "Xception": 12,
}


def _application(name):
    return applications.build(name, applications.smallest_size(name), classes=10)


APPLICATIONS = {
    name: Network(functools.partial(_application, name), blocks)
    for name, blocks in FAMILIES.items()
}
ORIGINS = {
    "keras-hub": BACKBONES,
    "keras.applications": APPLICATIONS,
    "example": EXAMPLES,
}
NETWORKS = BACKBONES | APPLICATIONS | EXAMPLES


def origin(name):
    """Where a network comes from."""
    return next(key for key, found in ORIGINS.items() if name in found)


def check_name(name):
    """Refuses what is not the name of a network."""
    if name not in NETWORKS:
        raise ValueError(f"must be one of {', '.join(NETWORKS)}")
