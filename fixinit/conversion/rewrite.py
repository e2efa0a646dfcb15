"""Makes a Keras model again, with changes at some of its calls."""

import keras
from keras import tree

from fixinit import _keras
from fixinit._functional import deep_graphs
from fixinit.conversion.converted import ConvertedModel
from fixinit.conversion.edits import place_of
from fixinit.graph.copies import copied
from fixinit.graph.functional import ends_again, functional_of, input_again
from fixinit.layers import ResidualBlock, Stack


class Rewriter:
    """Makes models and layers again.

    Args:
        edits: `Edits`.

    Attributes:
        made: Dict from ids of old layers and operations to the new ones.
    """

    def __init__(self, edits):
        self.edits = edits
        self.made = {}
        self._applied = {}
        self._own, self._ends = {}, {}  # places of new calls, by those of old ones
        self._owners = {}  # from ids of variables to the layers that hold them

    def model(self, model, record=None):
        """A functional model like the given one, after the edits."""
        functional, tensors = functional_of(model), {}
        for layer in _keras.flatten_layers(functional):
            for variable in layer.weights:
                self._owners.setdefault(id(variable), []).append(layer)
        for old in functional.inputs:
            tensors[id(old)] = self._input(old)
        for node in _keras.calls(functional):
            if not node.is_input:
                outputs = tree.flatten(self._node(node, tensors))
                tensors.update(zip(map(id, node.outputs), outputs, strict=True))
        inputs, outputs = ends_again(functional, tensors)
        if record is None:
            with deep_graphs():
                new = keras.Model(inputs, outputs, name=model.name)
        else:
            new = ConvertedModel.make(inputs, outputs, model.name, record)
        new.dtype_policy = model.dtype_policy
        if not model.trainable:
            new.trainable = False
        return new

    def _input(self, tensor):
        layer, _, _ = _keras.origin(tensor)
        new = input_again(tensor)
        self.made[id(layer)], _, _ = _keras.origin(new)
        return new

    def _node(self, node, tensors):
        operation = node.operation
        read = list({id(t): t for t in node.input_tensors}.values())
        new = [
            self._through(self.edits.before.get((node, index), []), tensors[id(tensor)])
            for index, tensor in enumerate(read)
        ]
        if node in self.edits.merges:
            y = self._merge(*self.edits.merges[node], new)
        elif node in self.edits.calls:
            y = self.edits.calls[node](new[0])
        else:
            made = self.layer(operation)
            y = new[0]
            edited = id(operation) in self.edits.layers
            if edited and type(made) is not type(operation):
                # What a layer was called with is not for one of another kind.
                y = y if made is None else made(y)
            else:
                by_id = dict(zip(map(id, read), new, strict=True))
                args, kwargs = tree.map_structure(
                    lambda x: self._variable(x, operation),
                    node.arguments.fill_in(by_id),
                )
                y = made(*args, **kwargs)
        self._own[node] = _node_of(y)
        # What else a layer gives, as states and scores, is no signal.
        signal, outputs = self.edits.outputs.get(node, 0), tree.flatten(y)
        outputs[signal] = self._through(self.edits.after.get(node, []), outputs[signal])
        y = tree.pack_sequence_as(y, outputs)
        self._ends[node] = _node_of(outputs[signal])
        return y

    def _variable(self, x, reader):
        """The new model's variable where a call reads one, as tied weights do."""
        if not isinstance(x, keras.Variable):
            return x
        # The innermost layer that holds it says best which of its weights it is.
        for layer in reversed(self._owners.get(id(x), [])):
            made = getattr(self.made.get(id(layer)), "weights", ())
            if len(made) == len(layer.weights):
                return made[[id(variable) for variable in layer.weights].index(id(x))]
            alike = [v for v in made if (v.name, v.shape) == (x.name, x.shape)]
            if len(alike) == 1:
                return alike[0]
        raise ValueError(
            f"`{reader.name}` reads the variable `{x.path}`, which no layer that the "
            "model calls before holds, so that the converted model would share it with "
            "this one. Call the layer that holds it first, or make the operation a "
            "layer."
        )

    def own_place(self, call):
        """The place in the new model of what stands for a call of the old one."""
        place = place_of(call)
        return self._own.get(place, self.made.get(id(call.operation)))

    def end_place(self, call):
        """The place in the new model of what gives what a call of the old one gave."""
        place, edits = place_of(call), self.edits
        if place in self._ends:
            return self._ends[place]
        if edits.after.get(place):
            return edits.after[place][-1]
        if place in edits.merges:
            return edits.merges[place][0]
        return self.made.get(id(call.operation))

    def _merge(self, layer, shortcut, branches, tensors):
        branch = tensors[branches[0]]
        if len(branches) > 1:
            name = f"{layer.name}_branches"
            while name in self.edits.taken:
                name += "_"
            total = keras.layers.Add(name=name, dtype=layer.dtype_policy)
            branch = total([tensors[i] for i in branches])
        return layer([tensors[shortcut], branch])

    def _through(self, layers, tensor):
        """The tensor behind some layers, called once on each tensor."""
        for layer in layers:
            key = (id(layer), id(tensor))
            if key not in self._applied:
                # The tensor is kept, so that no other gets its id.
                self._applied[key] = (layer(tensor), tensor)
            tensor = self._applied[key][0]
        return tensor

    def layer(self, layer):
        """A layer or an operation made again, once; `None` if it is taken out."""
        if id(layer) not in self.made:
            self.made[id(layer)] = self._make(layer)
        return self.made[id(layer)]

    def _make(self, layer):
        if id(layer) in self.edits.layers:
            return self.edits.layers[id(layer)]
        if layer in self.edits.calls:
            return self.edits.calls[layer]
        if isinstance(layer, keras.Model):
            return self.model(layer)
        if isinstance(layer, ResidualBlock):
            return self.residual_block(layer)
        return copied(layer)

    def residual_block(self, block):
        """A `ResidualBlock` like the given one, after the edits."""
        edits, merge = self.edits, self._block_merge(block)
        branch, starts = [], []
        for layer in block.branch:
            starts.append(len(branch))
            branch += self._chain(layer)
        branch += edits.before.get((block.merge, 1), [])
        shared = starts[block.shared_layers]
        if block.shortcut and id(block) in edits.shared:
            shared = self._shared(block, starts)
        # Behind what stands in front of the layer that further inputs go to.
        before = edits.before.get((block.branch[block.context_layer], 0), [])
        context = starts[block.context_layer] + len(before)
        shortcut = [new for layer in block.shortcut for new in self._chain(layer)]
        after = [new for layer in block.after_merge for new in self._chain(layer)]
        after = edits.after.get(block.merge, []) + after
        end = edits.ends.get(id(block))
        return ResidualBlock(
            branch,
            shortcut + edits.before.get((block.merge, 0), []),
            merge,
            block.activation if end is None else None,
            shared,
            block.plain,
            context_layer=min(context, len(branch) - 1),
            after_merge=after if end is None else [*after, end],
            name=block.name,
            trainable=block.trainable,
            dtype=block.dtype_policy,
        )

    def _block_merge(self, block):
        if block.merge in self.edits.merges:
            return self.edits.merges[block.merge][0]
        return self.layer(block.merge)

    def _chain(self, layer):
        """A layer made again between what is put in front of it and behind it."""
        made = self.layer(layer)
        before = self.edits.before.get((layer, 0), [])
        after = self.edits.after.get(layer, [])
        return [*before, *([] if made is None else [made]), *after]

    def _shared(self, block, starts):
        """How many layers the shortcut shares: up to what is put in front next."""
        for index in range(block.shared_layers, len(block.branch)):
            layer = block.branch[index]
            before = self.edits.before.get((layer, 0), [])
            if before or self.layer(layer) is not None:
                return starts[index] + len(before)
        return starts[block.shared_layers]


def _node_of(outputs):
    """Keras's record of the call that has given some tensors."""
    operation, call, _ = _keras.origin(tree.flatten(outputs)[0])
    return _keras.calls_of(operation)[call]


def cloned_stack(stack, block, depth, seed_step):
    """A stack like the given one, of other blocks: a template, or a list of them."""
    options = {
        "remat": stack.remat,
        "seed_step": seed_step,
        "name": stack.name,
        "trainable": stack.trainable,
    }
    if isinstance(block, list):
        return Stack.from_blocks(block, **options)
    return Stack(block, depth, **options)
