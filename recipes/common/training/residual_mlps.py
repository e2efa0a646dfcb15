"""Residual MLPs that a recipe trains and looks at."""

from recipes.common.data import datasets
from recipes.common.training import families
from recipes.common.training.runs import Runs


def residual_mlp_runs(settings, **options):
    """`Runs` of residual MLPs on the data set of a recipe, which differ by their seed.

    Args:
        settings: The recipe's settings, with the flags `dataset`, `num_blocks`,
            `units`, `batch_size` and `seed`.
        **options: Further arguments of the model, such as its scheme.
    """
    data = families.get("residual_mlp").adapt(datasets.load(settings.dataset))
    shape = (settings.num_blocks, settings.units)
    options = {"stacked": True} | options

    def build(seed):
        return families.residual_mlp(data, *shape, seed=seed, **options)

    scheme = options.get("scheme")
    return Runs(build, data, settings.batch_size, settings.seed, scheme=scheme)
