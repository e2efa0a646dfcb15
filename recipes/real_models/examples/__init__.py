"""Architectures as people write them in Keras: functions, and layers of their own.

Each is written from its publication, small, with the parts that make it what it is.
"""

from recipes.real_models.examples.dense_prediction import DENSE_PREDICTION
from recipes.real_models.examples.generative import GENERATIVE
from recipes.real_models.examples.images import IMAGES
from recipes.real_models.examples.sequences import SEQUENCES
from recipes.real_models.examples.series import SERIES
from recipes.real_models.examples.tables import TABLES

EXAMPLES = IMAGES | DENSE_PREDICTION | GENERATIVE | SEQUENCES | SERIES | TABLES
