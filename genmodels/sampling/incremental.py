"""Cached sampling of autoregressive networks: at each pixel only what is new is computed.

The network is read as a graph of layers. What a tensor `Sees` decides when it is computed: once a batch where it sees
labels only, once a row where it sees complete rows, once a pixel where it sees the pixels before, once a channel where
it sees the pixel's own earlier channels, and after the pixel is drawn where it sees the pixel. Coarser tensors (behind
a stride) are computed at every second row and column, and so on. A tensor that is read at other positions than
its own is kept in a buffer of as many rows as its readers look up.

Each layer computes on a window of its input with the same code that computes the whole image: no computation is
written twice. Both run in float32, whatever the dtype policy, so that they agree to rounding. (Ramachandran et al.
2017, "Fast Generation for Convolutional Autoregressive Models", keep such buffers, by hand, for one network.)
"""

import dataclasses
import itertools

import keras
import tensorflow as tf
from tensorflow.compiler.tf2xla.python import xla

from genmodels.layers.causal import CausalLayer, Sees

# Keras layers that act on each pixel alone. Others would be wrong in a row or a pixel, without an error.
POINTWISE = (
    keras.layers.Activation, keras.layers.Add, keras.layers.Average, keras.layers.Concatenate, keras.layers.Dense,
    keras.layers.Dropout, keras.layers.ELU, keras.layers.Identity, keras.layers.LayerNormalization,
    keras.layers.LeakyReLU, keras.layers.Maximum, keras.layers.Minimum, keras.layers.Multiply, keras.layers.ReLU,
    keras.layers.Rescaling, keras.layers.Subtract,
)  # fmt: skip


@dataclasses.dataclass
class Tensor:
    """What the graph knows of one tensor; rows and columns count its own pixels, `stride` pixels of the image."""

    sees: Sees
    stride: int
    shape: tuple  # height, width, channels
    above: int = 0  # how far its readers look
    left: int = 0
    right: int = 0
    buffered: bool = False

    @property
    def rows(self):
        """Rows of the buffer, used in turn."""
        return self.above + 1

    def buffer(self, batch):
        """Zeros: what lies beyond the border stays so."""
        return tf.zeros([batch, self.rows, self.left + self.shape[1] + self.right, self.shape[2]])


@dataclasses.dataclass(frozen=True)
class Step:
    """One layer's call: which tensors it reads and which it makes, by number."""

    layer: keras.Layer
    node: object  # Keras' record of the call's arguments
    inputs: tuple[int, ...]
    output: int


class CausalGraph:
    """A functional Keras model of causal layers, evaluated on whole images or filled in pixel by pixel.

    Args:
        network: from the image and perhaps labels, to the parameters of each pixel's distribution.

    Raises:
        ValueError: for networks that are not functional, that hold layers which are not known to be causal, or
            whose output sees the pixel it predicts.
    """

    def __init__(self, network):
        network = getattr(network, "_functional", network)  # of a Sequential
        if not hasattr(network, "_nodes_by_depth"):
            raise ValueError(f"`network` must be a functional keras.Model; got {type(network).__name__}.")
        self.tensors: list[Tensor] = []
        self.steps: list[Step] = []
        self._numbers: dict[int, int] = {}  # of Keras' symbolic tensors
        image, *labels = network.inputs
        self.input = self._add(image, Sees.EVERYTHING, 1)
        self.labels = [self._add(label, Sees.LABELS, 1) for label in labels]
        for depth in sorted(network._nodes_by_depth, reverse=True):
            for node in network._nodes_by_depth[depth]:
                if not node.is_input:
                    self._add_step(node)
        self.output = self._numbers[id(network.outputs[0])]
        if self.tensors[self.output].sees == Sees.EVERYTHING:
            raise ValueError(
                "the network's output sees the pixel that it predicts: a path from the image passes no Shift and no "
                "mask A."
            )
        self._plan()

    def _add(self, symbol, sees, stride):
        self._numbers[id(symbol)] = len(self.tensors)
        self.tensors.append(Tensor(sees, stride, tuple(symbol.shape[1:])))
        return len(self.tensors) - 1

    def _add_step(self, node):
        layer, inputs = node.operation, tuple(self._numbers[id(t)] for t in node.input_tensors)
        seen = [self.tensors[i].sees for i in inputs]
        strides = {self.tensors[i].stride for i in inputs if self.tensors[i].sees > Sees.LABELS} or {1}
        if isinstance(layer, CausalLayer):
            if any(isinstance(value, keras.KerasTensor) for value in keras.tree.flatten(node.arguments.kwargs)):
                raise ValueError(f"layer {layer.name!r} is given an input by name: give it by its place.")
            sees = layer.sees(*seen)
            stride = 1 if sees == Sees.LABELS else max(strides) * layer.stride  # labels have no grid of the image's
            if stride < 1:
                raise ValueError(f"layer {layer.name!r} makes an image larger than the data's: halve before doubling.")
            stride = int(stride)
        elif max(seen) == Sees.LABELS or _pointwise(layer):
            sees, stride = max(seen), max(strides)
        else:
            raise ValueError(
                f"layer {layer.name!r} ({type(layer).__name__}) is not known to be causal: use CausalConv2D or another "
                "layer of genmodels.layers, your own CausalLayer, or a Keras layer that acts on each pixel alone, such "
                "as Dense, Activation, Add, Concatenate, Dropout or LayerNormalization on the channels."
            )
        if getattr(layer, "variable_dtype", "float32") != "float32":
            raise ValueError(
                f"layer {layer.name!r} keeps its weights in {layer.variable_dtype}; likelihoods and samples are "
                "computed in float32: use float32 or a mixed policy, such as mixed_bfloat16."
            )
        if sees == Sees.CHANNELS and any(self.tensors[i].sees == Sees.EVERYTHING and i != self.input for i in inputs):
            raise ValueError(f"layer {layer.name!r} puts channels in order: give it the image itself, unmixed.")
        if Sees.CHANNELS in seen:
            raise ValueError(f"layer {layer.name!r} comes after a layer of channels in order, which must be the last.")
        if stride > 1 and hasattr(layer, "states"):
            raise ValueError(f"layer {layer.name!r} keeps a state, which is possible at full resolution only.")
        maps = [self.tensors[i] for i in inputs if self.tensors[i].sees == Sees.LABELS and sees > Sees.LABELS]
        if max(strides) > 1 and any(len(t.shape) == 3 and t.shape[:2] != (1, 1) for t in maps):
            raise ValueError(f"layer {layer.name!r} reads a map made of labels: possible at full resolution only.")
        if len(strides) > 1 or len(node.outputs) > 1:
            raise ValueError(f"layer {layer.name!r} must have one output, and inputs of one resolution; got {strides}.")
        self.steps.append(Step(layer, node, inputs, self._add(node.outputs[0], sees, stride)))

    def _plan(self):
        """Which tensors are kept, and how many rows and columns of them."""
        self.read_by_pixels = {
            i
            for step in self.steps
            for i in step.inputs
            if self.tensors[i].sees == Sees.ROWS and self.tensors[step.output].sees > Sees.ROWS
        }
        if self.tensors[self.output].sees == Sees.ROWS:
            self.read_by_pixels.add(self.output)
        seen = {step.output: self.tensors[step.output].sees for step in self.steps}
        self.when = {sees: self._ordered([s for s in self.steps if seen[s.output] == sees]) for sees in Sees}
        groups = [group for steps in self.when.values() for _, group in self.by_stride(steps)]
        made_in = {step.output: number for number, group in enumerate(groups) for step in group}
        for step in self.steps:
            layer = step.layer
            for index, number in enumerate(step.inputs):
                tensor = self.tensors[number]
                if isinstance(layer, CausalLayer):
                    tensor.above = max(tensor.above, layer.above)
                    tensor.left = max(tensor.left, layer.left)
                    tensor.right = max(tensor.right, layer.right)
                    if index in layer.kept_whole:
                        tensor.above, tensor.buffered = max(tensor.above, tensor.shape[0] - 1), True
                # A coarse tensor must outlast the pixels at which it is not computed, and the group that computes it.
                tensor.buffered |= tensor.stride > 1 and made_in[number] != made_in[step.output]
                tensor.buffered |= bool(tensor.above or tensor.left or tensor.right)

    def _ordered(self, steps):
        """The steps in an order that seldom changes stride; unchanged where all have one."""
        waiting, unknown, ordered, stride = list(steps), {step.output for step in steps}, [], 1
        while waiting:
            ready = (s for s in waiting if self.tensors[s.output].stride == stride and unknown.isdisjoint(s.inputs))
            step = next(ready, waiting[0])
            waiting.remove(step)
            unknown.remove(step.output)
            ordered.append(step)
            stride = self.tensors[step.output].stride
        return ordered

    def by_stride(self, steps):
        """`(stride, steps)` of consecutive steps of one stride, which are computed together."""
        for stride, group in itertools.groupby(steps, lambda step: self.tensors[step.output].stride):
            yield stride, list(group)

    @property
    def channels_in_order(self):
        """Whether the parameters of a channel see the pixel's earlier channels."""
        return bool(self.when[Sees.CHANNELS])

    # ------------------------------------------------------------------ whole images

    def __call__(self, x, *labels):
        """The network in float32, `[B, H, W, parameters]`; `call` of each layer, past Keras' casting."""
        values = {self.input: x, **dict(zip(self.labels, labels))}
        for step in self.steps:
            args, kwargs = self._arguments(step, values)
            values[step.output] = _in_float32(step.layer, args, kwargs)
        return tf.cast(values[self.output], tf.float32)

    def _arguments(self, step, values):
        return step.node.arguments.fill_in({id(t): values[i] for t, i in zip(step.node.input_tensors, step.inputs)})

    # ------------------------------------------------------------------ pixel by pixel

    def fill(self, known, mask, uniform, draw, scaled, labels=()):
        """Draws the unknown pixels in raster order. To be called inside a function that XLA compiles.

        Args:
            known: images in data units, float32 `[B, H, W, C]`.
            mask: True where a pixel is known, `[B, H, W, 1]`.
            uniform: random numbers of each pixel, `[B, H, W, n]`.
            draw: `draw(params, uniform) -> pixel`, `[B, 1, 1, ·]` each.
            scaled: data units to what the network takes.
            labels: one-hot labels, `[B, K]` each.

        Returns:
            The images, float32 `[B, H, W, C]`.
        """
        batch, height, width = known.shape[:3]
        once = _Position(self, dict(zip(self.labels, labels)), {})
        once.run(self.when[Sees.LABELS])
        buffers = {str(i): t.buffer(batch) for i, t in enumerate(self.tensors) if t.buffered}
        for number, step in enumerate(self.steps):
            for name, size in getattr(step.layer, "states", {}).items():
                grid = self.tensors[step.output].shape[:2]
                buffers[f"{number}/{name}"] = state_tensor(grid, size, step.layer).buffer(batch)

        rows = {str(step.output) for step in self.when[Sees.ROWS]}

        def fill_row(row, image, buffers):
            line = _Position(self, once.values, buffers, row)
            line.run(self.when[Sees.ROWS])

            # Column by column in memory, as the pixels will read them: [W, B, 1, 1, C].
            columns = {i: tf.transpose(line.values[i], [2, 0, 1, 3])[:, :, None] for i in self.read_by_pixels}
            # Only what the pixels of a row change is carried from one to the next.
            of_rows = {name: buffer for name, buffer in line.buffers.items() if name in rows}
            of_pixels = {name: buffer for name, buffer in line.buffers.items() if name not in rows}

            def fill_pixel(column, image, buffers):
                here = _Position(self, line.values, {**line.buffers, **buffers}, row, column, columns)
                here.run(self.when[Sees.PIXELS])
                given, free, u = (_cut(t, row, column) for t in (known, ~mask, uniform))
                pixel = self._pixel(here, given, free, lambda params: draw(params, u), scaled)
                here.put(self.input, scaled(pixel))
                here.run(self.when[Sees.EVERYTHING])
                return column + 1, _put(image, pixel, row, column), {name: here.buffers[name] for name in of_pixels}

            _, image, of_pixels = tf.while_loop(lambda c, *_: c < width, fill_pixel, (0, image, of_pixels))
            return row + 1, image, {**of_rows, **of_pixels}

        return tf.while_loop(lambda r, *_: r < height, fill_row, (0, tf.zeros_like(known), buffers))[1]

    def _pixel(self, here, given, free, draw, scaled):
        """The pixel at a position, `[B, 1, 1, C]`; channel by channel where the network asks for it."""
        if not self.channels_in_order:
            return tf.where(free, draw(here.value(self.output)), given)
        channels = given.shape[-1]
        pixel = tf.where(free, 0.0, given)
        for channel in range(channels):
            partly = _Position(self, here.values, here.buffers, here.row, here.column, here.columns)
            partly.values[self.input] = scaled(pixel)
            partly.run([*self.when[Sees.EVERYTHING], *self.when[Sees.CHANNELS]])
            drawn = draw(partly.value(self.output))
            pixel = tf.where(free & tf.one_hot(channel, channels, True, False), drawn, pixel)
        return pixel


class _Position:
    """The tensors' values at one row, or at one pixel of it, while the sampler is traced."""

    def __init__(self, graph, values, buffers, row=None, column=None, columns=None):
        self.graph, self.values, self.buffers = graph, dict(values), dict(buffers)
        self.row, self.column, self.columns = row, column, columns

    def run(self, steps):
        """Computes steps in order; those of a coarser grid only where a row or pixel of it begins."""
        for stride, group in self.graph.by_stride(steps):
            if stride == 1:
                for step in group:
                    self._compute(step)
            else:
                self._run_coarse(group, stride)

    def _run_coarse(self, group, stride):
        begins = self.row % stride == 0
        if self.column is not None:
            begins &= self.column % stride == 0
        kept = [step.output for step in group if self.graph.tensors[step.output].buffered]

        def compute():
            inner = _Position(self.graph, self.values, self.buffers, self.row, self.column, self.columns)
            for step in group:
                inner._compute(step, keep=False)
            return [inner.values[i] for i in kept]

        values = tf.cond(begins, compute, lambda: [self._kept(i) for i in kept])
        for number, value in zip(kept, values):
            self.put(number, value)

    def _compute(self, step, keep=True):
        here = _Here(self, step)
        if isinstance(step.layer, CausalLayer) and self.row is not None:
            value = step.layer.at(here)
        else:
            inputs = {i: self.value(i) for i in step.inputs}
            args, kwargs = self.graph._arguments(step, inputs)
            value = _in_float32(step.layer, args, kwargs)
        self.put(step.output, value, keep)

    def put(self, number, value, keep=True):
        """Sets a tensor's value here, and writes it to its buffer."""
        tensor = self.graph.tensors[number]
        self.values[number] = value
        if keep and tensor.buffered and self.row is not None:
            self.write(str(number), tensor, value)

    def value(self, number):
        """A tensor's value here: at a pixel, `[B, 1, 1, C]` also of a row's and of a map's made of labels."""
        value, tensor = self.values[number], self.graph.tensors[number]
        if tensor.sees == Sees.LABELS and len(tensor.shape) == 3 and self.row is not None:
            for axis, place in ((1, self.row), (2, self.column)):
                if tensor.shape[axis - 1] > 1 and place is not None:
                    value = tf.gather(value, [place], axis=axis)
            return value
        if self.column is None or tensor.sees != Sees.ROWS:
            return value
        return tf.gather(self.columns[number], self.column // tensor.stride)

    def window(self, number, above, left, right):
        """A tensor's value here and around, `[B, above + 1, left + w + right, C]`; zeros where it is not known yet."""
        tensor = self.graph.tensors[number]
        if tensor.sees == Sees.LABELS or not (above or left or right):
            return self.value(number)
        # Of a row, a tensor that sees the row's pixels is not known yet, nor the pixel itself before it is drawn.
        now = self.value(number) if number in self.values else None
        return self.around(str(number), tensor, now, above, left, right)

    def around(self, name, tensor, now, above, left, right):
        """`now` with what its buffer holds of the rows above and the columns to the left."""
        buffer, (_, width, channels) = self.buffers[name], tensor.shape
        row, column = self._place(tensor)
        width = width if self.column is None else 1
        start, wide = tensor.left - left + column, left + width + right
        rows = [_cut(buffer, (row - i) % tensor.rows, start, wide) for i in range(above, 0, -1)]
        if now is None:
            now = tf.zeros([buffer.shape[0], 1, width, channels])
        if self.column is not None and left:
            now = tf.concat([_cut(buffer, row % tensor.rows, start, left), now], 2)
        now = tf.pad(now, [[0, 0], [0, 0], [wide - right - now.shape[2], right], [0, 0]])
        return tf.concat([*rows, now], 1)

    def whole(self, number):
        """All of a tensor, `[B, H, W, C]`: zeros where it is not known yet."""
        tensor = self.graph.tensors[number]
        height, width, _ = tensor.shape
        return self.buffers[str(number)][:, :height, tensor.left : tensor.left + width]

    def _place(self, tensor):
        """This place on the tensor's own grid: the first column where a whole row is meant."""
        return self.row // tensor.stride, 0 if self.column is None else self.column // tensor.stride

    def write(self, name, tensor, value):
        """Puts a value in a buffer."""
        row, column = self._place(tensor)
        self.buffers[name] = _put(self.buffers[name], value, row % tensor.rows, tensor.left + column)

    def _kept(self, number):
        tensor = self.graph.tensors[number]
        row, column = self._place(tensor)
        width = tensor.shape[1] if self.column is None else 1
        return _cut(self.buffers[str(number)], row % tensor.rows, tensor.left + column, width)


class _Here:
    """What a layer is given in `at`: its place, and windows of its inputs and of its own state.

    Attributes:
        row: of the output's own grid, a scalar tensor.
        column: of the output's own grid, a scalar tensor, or None where a whole row is computed.
        inputs: how many inputs the layer has.
    """

    def __init__(self, position, step):
        self._position, self._step = position, step
        self.inputs, stride = len(step.inputs), position.graph.tensors[step.output].stride
        self.row, self.column = (None if i is None else i // stride for i in (position.row, position.column))
        self._number = position.graph.steps.index(step)
        self._grid = position.graph.tensors[step.output].shape[:2]

    def read(self, index, above=0, left=0, right=0):
        """A window of an input, `[B, above + 1, left + w + right, C]`, w the row's width or 1."""
        return self._position.window(self._step.inputs[index], above, left, right)

    def memory(self, index):
        """All that is known of an input that is `kept_whole`, `[B, H, W, C]`; zeros elsewhere."""
        return self._position.whole(self._step.inputs[index])

    def state(self, name, above=0, left=0, right=0):
        """A window of the layer's own state: of the rows above, and of the columns to the left in the present row."""
        return self._position.around(self._name(name), self._state(name), None, above, left, right)

    def keep(self, name, value):
        """Keeps the layer's state here, `[B, 1, w, size]`."""
        self._position.write(self._name(name), self._state(name), value)

    def _name(self, name):
        return f"{self._number}/{name}"

    def _state(self, name):
        return state_tensor(self._grid, self._step.layer.states[name], self._step.layer)


def _in_float32(layer, args, kwargs):
    """A layer's computation past Keras' casting. Some cast what they return to the type that they compute in."""
    casts = isinstance(layer, (keras.layers.LayerNormalization, keras.layers.Rescaling))
    if not casts or layer.compute_dtype == "float32":
        return layer.call(*args, **kwargs)
    policy, layer.dtype_policy = layer.dtype_policy, "float32"
    try:
        return layer.call(*args, **kwargs)
    finally:
        layer.dtype_policy = policy


def state_tensor(grid, size, layer):
    """A layer's state, of which the row above and one column (or the layer's `side`) to either side can be read."""
    side = getattr(layer, "side", 1)
    return Tensor(Sees.PIXELS, 1, (*grid, size), above=1, left=side, right=side)


def _pointwise(layer):
    """Whether a Keras layer is known to act on each pixel alone."""
    axis = getattr(layer, "axis", -1)  # of a concatenation or a normalization
    return isinstance(layer, POINTWISE) and axis in (-1, 3, [-1], [3])


def _cut(image, row, column, width=1):
    """`[B, 1, width, C]` of an image, at a place known only when it runs."""
    return tf.slice(image, tf.stack([0, row, column, 0]), [image.shape[0], 1, width, image.shape[3]])


def _put(image, part, row, column):
    """The image with a part of it replaced, in place under XLA."""
    return xla.dynamic_update_slice(image, part, tf.stack([0, row, column, 0]))
