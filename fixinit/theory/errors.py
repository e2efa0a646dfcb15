"""The exception for what the closed form has no rule for."""


class NoRuleError(ValueError):
    """No rule covers a layer, operation, activation or initializer as it is used.

    `fixinit.theory.propagate(..., assume=...)` and `fixinit.convert` catch this class
    and no other: a mistake inside a rule is never taken for a missing one. Rules raise
    it for what they do not cover.

    Example:

    >>> class Mystery(keras.layers.Layer):
    ...     def call(self, x):
    ...         return keras.ops.sort(x)
    >>> model = keras.Sequential([keras.Input((8,)), Mystery(name="mystery")])
    >>> try:
    ...     fixinit.theory.predict(model)
    ... except fixinit.theory.NoRuleError as error:
    ...     print(str(error).partition(".")[0])
    No variance rule for Mystery `mystery`
    """
