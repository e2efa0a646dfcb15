"""A differentiable loop for TensorFlow, of static shape, with or without XLA.

The gradient that TensorFlow gives a `tf.while_loop` keeps a second copy of everything
that the loop reads, and adds up whole lists at every turn: without XLA, its time is
quadratic in the number of turns. Here the step is traced once, together with its
gradient. The graph is cut in two: the forward loop runs the part that does not depend
on the upstream gradient and keeps the values that cross the cut; the backward loop
runs the other part.
"""

import tensorflow as tf

from fixinit.backend.compilation import under_xla
from fixinit.backend.custom_gradients import custom_gradient

# What the backward loop computes again rather than to read what the forward loop kept.
# Without XLA, values are kept by reference, which costs nothing.
_CONSTANT = frozenset(["Const", "TensorListReserve"])
# Under XLA these, fused with what reads them, cost less than to be written to memory
# and read back.
_CHEAP = _CONSTANT | frozenset(
    "AddV2 BiasAdd BroadcastGradientArgs BroadcastTo Cast ConcatV2 DynamicStitch "
    "ExpandDims Fill FloorDiv FloorMod Greater GreaterEqual Identity IdentityN Less "
    "LessEqual Maximum Minimum Mul Neg OnesLike Pack Prod Range RealDiv Relu Reshape "
    "Select SelectV2 Shape ShapeN Size Square Squeeze StopGradient StridedSlice Sub "
    "TensorListFromTensor ZerosLike".split()
)


def scan(step, carry, xs, y_like, keep):
    """See `fixinit.backend.scan`.

    Args:
        keep: bool. Whether to keep what the gradient needs. If not, a gradient runs
            the loop a second time.
    """
    carry = [tf.convert_to_tensor(c) for c in carry]
    num_carry = len(carry)
    length = int(xs[0].shape[0])

    @custom_gradient
    def differentiable(*flat):
        carry, xs = list(flat[:num_carry]), list(flat[num_carry:])
        arrays = [_unstacked(x) for x in xs]
        traced = []

        def forward(run, like, arrays):
            outputs = [
                tf.TensorArray(y.dtype, size=length, element_shape=y.shape)
                for y in like
            ]

            def body(index, carry, outputs):
                before = carry
                carry, y = run(list(carry), [array.read(index) for array in arrays])
                for new, old in zip(carry, before, strict=True):
                    new.set_shape(old.shape)
                outputs = [a.write(index, t) for a, t in zip(outputs, y, strict=True)]
                return index + 1, carry, outputs

            return _loop(body, length, carry, outputs)

        def forward_and_keep(arrays):
            traced.append(_Step(step, carry, xs))
            like = [*y_like, *traced[0].kept]
            carry_out, outputs = forward(traced[0].forward, like, arrays)
            kept = outputs[len(y_like) :]
            if under_xla():
                # There, a list in a list is slow, and a list is a tensor anyway.
                kept = [array.stack() for array in kept]
            return carry_out, outputs[: len(y_like)], kept

        if keep:
            carry_out, ys, kept = forward_and_keep(arrays)
        else:
            carry_out, ys = forward(step, y_like, arrays)

        def gradient(*upstream):
            if keep:
                read, saved = arrays, kept
            else:
                # Lists of the forward pass could not be exported with this function.
                read = [_unstacked(x) for x in xs]
                saved = forward_and_keep(read)[2]
            saved = [_unstacked(t) if tf.is_tensor(t) else t for t in saved]
            return _backward(traced[0], read, saved, upstream[:num_carry], length)

        return [*carry_out, *(y.stack() for y in ys)], gradient

    outputs = differentiable(*carry, *xs)
    return list(outputs[:num_carry]), list(outputs[num_carry:])


def _backward(step, arrays, kept, upstream, length):
    outputs = [
        tf.TensorArray(g.dtype, size=length, element_shape=g.shape)
        for g in step.x_gradients
        if g is not None
    ]

    def body(turn, upstream, outputs):
        index = length - 1 - turn
        before = upstream
        upstream, gradients = step.backward(
            list(upstream),
            [array.read(index) for array in arrays],
            [array.read(index) for array in kept],
        )
        for new, old in zip(upstream, before, strict=True):
            new.set_shape(old.shape)
        outputs = [a.write(index, g) for a, g in zip(outputs, gradients, strict=True)]
        return turn + 1, upstream, outputs

    upstream, outputs = _loop(body, length, list(upstream), outputs)
    stacked = iter(array.stack() for array in outputs)
    return [
        *upstream,
        *(None if g is None else next(stacked) for g in step.x_gradients),
    ]


def _loop(body, length, carry, outputs):
    _, carry, outputs = tf.while_loop(
        lambda index, *_: index < length,
        body,
        (0, carry, outputs),
        maximum_iterations=length,
    )
    return list(carry), list(outputs)


def _unstacked(x):
    array = tf.TensorArray(x.dtype, size=x.shape[0], element_shape=x.shape[1:])
    return array.unstack(x)


class _Step:
    """One step and its gradient, traced once and cut in two.

    Attributes:
        kept: List of tensors of the traced graph that the backward part needs from
            the forward part.
        x_gradients: The gradients with respect to `x`, `None` where there are none.
    """

    def __init__(self, step, carry, xs):
        def step_and_gradient(carry, x, upstream):
            sources = [*carry, *(t for t in x if t.dtype.is_floating)]
            with tf.GradientTape() as tape:
                tape.watch(sources)
                carry_out, ys = step(list(carry), list(x))
            gradients = tape.gradient(list(carry_out), sources, list(upstream))
            # Those of gathers are sparse.
            gradients = [
                None if g is None else tf.convert_to_tensor(g) for g in gradients
            ]
            carry_gradients = [
                tf.zeros_like(c) if g is None else g
                for c, g in zip(carry, gradients[: len(carry)], strict=True)
            ]
            found = iter(gradients[len(carry) :])
            x_gradients = [next(found) if t.dtype.is_floating else None for t in x]
            return [
                [tf.identity(t) for t in carry_out],
                [tf.identity(t) for t in ys],
                [tf.identity(t) for t in carry_gradients],
                [None if g is None else tf.identity(g) for g in x_gradients],
            ]

        carry_specs = [tf.TensorSpec(t.shape, t.dtype) for t in carry]
        x_specs = [tf.TensorSpec(t.shape[1:], t.dtype) for t in xs]
        traced = tf.function(step_and_gradient, autograph=False)
        traced = traced.get_concrete_function(carry_specs, x_specs, carry_specs)
        graph = self.graph = traced.graph
        inputs = iter(graph.inputs)
        self.carry = [next(inputs) for _ in carry]
        self.x = [next(inputs) for _ in xs]
        self.upstream = [next(inputs) for _ in carry]
        self.captures = dict(
            zip(_names(graph.internal_captures), graph.external_captures, strict=True)
        )
        self.carry_out, self.ys, self.carry_gradients, self.x_gradients = (
            graph.structured_outputs
        )
        self.gradients = [
            *self.carry_gradients,
            *(g for g in self.x_gradients if g is not None),
        ]
        self.kept = self._cut()

    def _cut(self):
        """The tensors that the backward part needs from the forward part."""
        late = {t.op for t in self.upstream}
        for op in self.graph.get_operations():
            before = [t.op for t in op.inputs] + op.control_inputs
            if any(op in late for op in before):
                late.add(op)
        free = {t.op for t in self.x} | {t.op for t in self.graph.internal_captures}
        compiled = under_xla()
        cheap = _CHEAP if compiled else _CONSTANT
        kept, seen = {}, set()
        pending = list(self.gradients)
        while pending:
            tensor = pending.pop()
            if tensor.ref() in seen or tensor.op in free:
                continue
            seen.add(tensor.ref())
            again = tensor.op.type in cheap or (compiled and _cannot_be_read(tensor))
            if tensor.op in late or again:
                pending.extend(tensor.op.inputs)
            else:
                kept[tensor.ref()] = tensor
        return list(kept.values())

    def forward(self, carry, x):
        known = dict(zip(_names([*self.carry, *self.x]), [*carry, *x], strict=True))
        outputs = self._run([*self.carry_out, *self.ys, *self.kept], known)
        return outputs[: len(carry)], outputs[len(carry) :]

    def backward(self, upstream, x, kept):
        names = _names([*self.upstream, *self.x, *self.kept])
        known = dict(zip(names, [*upstream, *x, *kept], strict=True))
        outputs = self._run(self.gradients, known)
        return outputs[: len(upstream)], outputs[len(upstream) :]

    def _run(self, wanted, known):
        """The wanted tensors in the current graph, computed from the known ones."""
        known = {**self.captures, **known}
        needed, read, pending = set(), set(), [t for t in wanted if t.name not in known]
        while pending:
            op = pending.pop().op
            if op.name not in needed:
                needed.add(op.name)
                read.update(t.name for t in op.inputs)
                pending.extend(t for t in op.inputs if t.name not in known)
        computed = iter(
            tf.import_graph_def(
                self._definition(needed),
                # Identities bring tensors of outer graphs into this one.
                {n: tf.identity(t) for n, t in known.items() if n in read},
                [t.name for t in wanted if t.name not in known],
                name="step",
            )
        )
        return [known[t.name] if t.name in known else next(computed) for t in wanted]

    def _definition(self, needed):
        """The traced graph, of which only the needed operations are left."""
        definition = self.graph.as_graph_def()
        nodes = [node for node in definition.node if node.name in needed]
        for node in nodes:
            inputs = [i for i in node.input if not _is_control(i) or i[1:] in needed]
            node.ClearField("input")
            node.input.extend(inputs)
        pruned = type(definition)(versions=definition.versions)
        pruned.node.extend(nodes)
        pruned.library.CopyFrom(definition.library)
        return pruned


def _cannot_be_read(tensor):
    """Whether XLA cannot use it from a list: a shape, or the list of an inner loop."""
    is_shape = tensor.dtype.is_integer and (tensor.shape.rank or 0) <= 1
    return bool(tensor.op.inputs) and (is_shape or tensor.dtype == tf.variant)


def _is_control(name):
    return name.startswith("^")


def _names(tensors):
    return [tensor.name for tensor in tensors]


def rematerialized(function):
    """`function(carry, x, keep)`, computed again when its gradient is needed.

    `tf.recompute_grad` fails where an argument, such as a seed, is an integer.
    """

    def recomputed(carry, x):
        def call(args, keep):
            carry_out, y = function(
                list(args[: len(carry)]), list(args[len(carry) :]), keep
            )
            return [*carry_out, *y]

        @custom_gradient
        def flat(*args):
            def gradient(*upstream):
                # What depends on the upstream gradient is not kept but computed.
                with tf.control_dependencies(upstream):
                    inputs = [tf.identity(arg) for arg in args]
                sources = [t for t in inputs if t.dtype.is_floating]
                with tf.GradientTape() as tape:
                    tape.watch(sources)
                    outputs = call(inputs, keep=True)[: len(carry)]
                found = iter(tape.gradient(outputs, sources, upstream[: len(carry)]))
                return [next(found) if t.dtype.is_floating else None for t in inputs]

            return call(args, keep=False), gradient

        outputs = flat(*carry, *x)
        return list(outputs[: len(carry)]), list(outputs[len(carry) :])

    return recomputed
