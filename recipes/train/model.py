"""Model, optimizer and weight decay of `recipes.train`, from its settings."""

import keras
import numpy as np

import fixinit
from fixinit.optimizers import Rule
from recipes.train.settings import MODELS


def adapted(x, model):
    """The samples in the shape that a family of models reads."""
    if model == "residual_mlp":
        return x.reshape(len(x), -1)
    if model == "resnet1d" and x.ndim == 2:
        return x[..., np.newaxis]
    return x


def build_model(settings, input_shape, classes):
    """The untrained network that the settings ask for."""
    options = {
        "scheme": settings.scheme,
        "input_shape": input_shape,
        "classes": classes,
        "seed": settings.seed,
        **_noise(settings),
    }
    models, depth = fixinit.models, settings.depth
    if settings.model == "cifar_resnet":
        return models.CifarResNet(depth, **options)
    if settings.model == "wide_resnet":
        return models.WideResNet(depth, settings.widen_factor, **options)
    if settings.model == "imagenet_resnet":
        return models.ImageNetResNet(depth, **options)
    if settings.model == "resnet1d":
        blocks = _blocks(depth, per_block=6)
        return models.ResNet1D(stages=(blocks,) * 3, **options)
    if settings.model == "residual_mlp":
        return models.ResidualMLP(_blocks(depth, per_block=2), **options)
    if settings.model == "nf_resnet":
        return models.NFResNet(depth, **options)
    if settings.model == "nfnet":
        return models.NFNet(settings.variant, **options)
    raise ValueError(f"Unknown model {settings.model!r}. Valid: {', '.join(MODELS)}.")


def _noise(settings):
    """The arguments of what distorts activations; the others are the model's own."""
    rates = ("drop_rate", "stochastic_depth_rate", "shake_drop_rate")
    asked = {name: getattr(settings, name) for name in rates}
    if not settings.shake_drop_rate:
        del asked["shake_drop_rate"]  # Not every family has it.
    return {name: rate for name, rate in asked.items() if rate is not None}


def _blocks(depth, per_block):
    """The n of a family whose depths are `per_block * n + 2`."""
    blocks = max(1, (depth - 2) // per_block)
    if depth != per_block * blocks + 2:
        raise ValueError(
            f"Argument `depth` must be {per_block}n + 2. The nearest are "
            f"{per_block * blocks + 2} and {per_block * (blocks + 1) + 2}. "
            f"Received: depth={depth}"
        )
    return blocks


def add_weight_decay(model, settings):
    """Puts an L2 penalty of `weight_decay / 2` on every variable to be decayed.

    The published recipes add `weight_decay * w` to the gradient, so that it enters
    the momentum. `SGD(weight_decay=...)` would subtract it from the weights beside the
    momentum: ten times less, in the long run, at a momentum of 0.9.
    """
    left_out = []
    if not settings.decay_scalars:
        left_out.append(Rule("scalar"))
    if not settings.decay_biases:
        left_out += [Rule("bias"), Rule("normalization")]
    for variable in model.trainable_variables if settings.weight_decay else ():
        if not any(rule.matches(variable) for rule in left_out):
            variable.regularizer = keras.regularizers.L2(settings.weight_decay / 2)


def compile_model(model, settings, schedule, jit_compile):
    """Compiles the model by the rules and the clipping of its scheme."""
    add_weight_decay(model, settings)
    accumulate = settings.gradient_accumulation_steps
    multiplier = settings.scalar_learning_rate_multiplier
    rules = () if multiplier is None else (Rule("scalar", multiplier),)
    optimizer = fixinit.optimizers.by_role(
        keras.optimizers.SGD(
            schedule,
            momentum=settings.momentum,
            use_ema=settings.ema_momentum > 0,
            ema_momentum=settings.ema_momentum,
            gradient_accumulation_steps=accumulate if accumulate > 1 else None,
        ),
        (*rules, *fixinit.schemes.get(settings.scheme).optimizer_rules),
    )
    if settings.clipping:
        clipping = settings.clipping
        optimizer = fixinit.optimizers.adaptive_clipping(optimizer, model, clipping)
    model.compile(
        optimizer,
        keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=settings.label_smoothing
        ),
        # Weighted, so that samples that only fill up a batch can be left out. The
        # loss holds the L2 penalty, hence the cross-entropy beside it.
        weighted_metrics=[
            keras.metrics.CategoricalCrossentropy(
                name="cross_entropy", from_logits=True
            ),
            keras.metrics.CategoricalAccuracy(name="accuracy"),
        ],
        jit_compile=jit_compile,
    )
    # Built in the first step, the optimizer would have TensorFlow trace it twice.
    model.optimizer.build(model.trainable_variables)
