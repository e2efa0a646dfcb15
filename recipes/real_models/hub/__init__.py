"""Small versions of the backbones of keras-hub, with random weights."""

from recipes.real_models.hub.images import IMAGES
from recipes.real_models.hub.language import LANGUAGE
from recipes.real_models.hub.several import SEVERAL

BACKBONES = LANGUAGE | IMAGES | SEVERAL
