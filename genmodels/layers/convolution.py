"""Convolutions by other operations than their own, where those are faster on a CPU."""

import math

import keras
import tensorflow as tf

__all__ = ["FastConv2D", "FastConv2DTranspose"]

# Pixels of the smaller image a channel of the larger, up to which the matrix product is taken. Measured on a CPU with
# AMX, batches of 64 and 128, kernels 3 to 5, strides 1 and 2: with 64, 128 and 256 channels it is 1.5 to 2, 2 to 4 and
# 5 to 10 times as fast as oneDNN's gradient at 4×4 pixels; 0.6 to 1, 0.8 to 1.7 and 1.3 to 2 times at 8×8.
MOST_PIXELS = 0.5
# Channels of a transposed convolution's output up to which its phases are computed apart: docs/performance.md.
MOST_CHANNELS = 8


@keras.saving.register_keras_serializable(package="genmodels")
class FastConv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D`, trained faster in bfloat16 on a CPU where its output is small.

    Weights, config and results are those of the parent class. What differs is how the gradient with respect to the
    kernel is computed: oneDNN's kernel for it is slow on small images of many channels, and a matrix product of patches
    takes its place, in derivatives of every order, where the output has at most half as many pixels as the input has
    channels. Other types than bfloat16, other padding than "same", groups, dilation, channels first, images of unknown
    size, and GPUs are left to the parent class. Its bias is kept from a fusion that fails in second derivatives.

    Args:
        *args: as of `keras.layers.Conv2D`.
        **options: as of `keras.layers.Conv2D`.

    Example:
        >>> FastConv2D(8, 4, strides=2, padding="same", dtype="mixed_bfloat16")(tf.zeros([2, 7, 7, 64])).shape
        TensorShape([2, 4, 4, 8])
    """

    def convolution_op(self, inputs, kernel):
        """The convolution of `[B, H, W, I]` with a kernel `[k, l, I, O]`, without bias."""
        if self.groups == 1 and product_pays(self, inputs.dtype, inputs.shape, self.compute_output_shape(inputs.shape)):
            y = convolution(inputs, kernel, self.strides)
        else:
            y = super().convolution_op(inputs, kernel)
        return _apart(y) if self.use_bias else y


@keras.saving.register_keras_serializable(package="genmodels")
class FastConv2DTranspose(keras.layers.Conv2DTranspose):
    """`keras.layers.Conv2DTranspose`, faster on a CPU where its input is small, or its output has few channels.

    On small inputs it is trained as `FastConv2D`, with input and output exchanged. An output of at most 8 channels, by
    a kernel of two strides (4×4 of stride 2), comes from one convolution of the input, in any type: oneDNN's transposed
    one takes 1.2 to 2.5 times as long there. Its gradients are the parent's.

    Args:
        *args: as of `keras.layers.Conv2DTranspose`.
        **options: as of `keras.layers.Conv2DTranspose`.

    Example:
        >>> FastConv2DTranspose(64, 4, strides=2, padding="same", dtype="mixed_bfloat16")(tf.zeros([2, 4, 4, 3])).shape
        TensorShape([2, 8, 8, 64])
    """

    def call(self, inputs):
        """The transposed convolution of `[B, H, W, I]` with the kernel `[k, l, O, I]`, plus bias, activated."""
        shape = self.compute_output_shape(inputs.shape)
        if product_pays(self, inputs.dtype, shape, inputs.shape):
            compute = input_gradient
        elif phases_pay(self, shape, inputs.shape):
            compute = in_phases
        else:
            return super().call(inputs)
        outputs = compute(self.kernel, inputs, self.strides, shape[1:3])
        if self.use_bias:
            outputs = tf.nn.bias_add(outputs, tf.convert_to_tensor(self.bias))
        return outputs if self.activation is None else self.activation(outputs)


@tf.custom_gradient
def _apart(y):
    """y, kept apart from the bias that is added to it.

    TensorFlow's remapper fuses convolution, bias and activation even where a second derivative reads their sum, then
    finds it missing, and gives up on the whole graph with an error in the log. It does not look through this operation.
    """
    return tf.raw_ops.Snapshot(input=y), lambda dy: dy


def product_pays(layer, dtype, large, small):
    """Whether `filter_gradient` below computes a layer's gradient, and is worth it.

    Args:
        layer: a convolution or transposed convolution.
        dtype: of its input.
        large: shape of the image before the convolution, which is after a transposed one.
        small: shape of the image after the convolution.
    """
    fits = tf.as_dtype(dtype) == tf.bfloat16 and _is_plain(layer, large, small)
    return fits and small[1] * small[2] <= MOST_PIXELS * large[3]


def phases_pay(layer, large, small):
    """Whether `in_phases` below computes a transposed convolution, and is worth it; shapes as of `product_pays`."""
    fits = tuple(layer.kernel_size) == tuple(2 * s for s in layer.strides) and _is_plain(layer, large, small)
    return fits and layer.filters <= MOST_CHANNELS


def _is_plain(layer, large, small):
    """Whether a layer is one that the functions below compute, of known sizes, on a CPU."""
    plain = (layer.padding, layer.data_format, layer.dilation_rate) == ("same", "channels_last", (1, 1))
    if not plain or len(large) != 4 or None in (*large[1:3], *small[1:3]) or tf.config.list_logical_devices("GPU"):
        return False
    return all(-(-n // s) == m for n, s, m in zip(large[1:3], layer.strides, small[1:3]))


# A convolution y = x ∗ w is bilinear, so ⟨dy, x ∗ w⟩ is linear in each of x, w and dy. Its derivatives with respect to
# them are the three functions below, and each function's derivatives are the two others.


def convolution(x, w, strides):
    """x ∗ w with padding "same": `[B, H, W, I]` and `[k, l, I, O]` give `[B, ⌈H/s⌉, ⌈W/t⌉, O]`; H and W are static."""

    @tf.custom_gradient
    def value(x, w):
        def gradient(dy):
            return input_gradient(w, dy, strides, x.shape[1:3]), filter_gradient(x, dy, strides, w.shape[:2])

        return tf.nn.conv2d(x, w, strides, "SAME"), gradient

    return value(tf.convert_to_tensor(x), tf.convert_to_tensor(w))


def input_gradient(w, y, strides, size):
    """Derivative of ⟨y, x ∗ w⟩ with respect to x `[B, *size, I]`."""

    @tf.custom_gradient
    def value(w, y):
        def gradient(dx):
            return filter_gradient(dx, y, strides, w.shape[:2]), convolution(dx, w, strides)

        return tf.nn.conv2d_transpose(y, w, [tf.shape(y)[0], *size, w.shape[2]], strides), gradient

    return value(tf.convert_to_tensor(w), tf.convert_to_tensor(y))


def in_phases(w, y, strides, size):
    """`input_gradient` for kernels of two strides, by one convolution of y: every s-th row and column is a channel.

    Its derivatives are those of TensorFlow's own transposed convolution.
    """

    @tf.custom_gradient
    def value(w, y):
        def gradient(dx):
            step = [1, *strides, 1]
            return tf.raw_ops.Conv2DBackpropFilter(
                input=dx, filter_sizes=w.shape, out_backprop=y, strides=step, padding="SAME"
            ), tf.nn.conv2d(dx, w, strides, "SAME")

        return _in_phases(w, y, strides, size), gradient

    return value(tf.convert_to_tensor(w), tf.convert_to_tensor(y))


def _in_phases(w, y, strides, size):
    # With o + before = s m + r, where `before` rows are cut off, row o is y[m] w[r] + y[m - 1] w[s + r]; columns alike.
    (s, t), (height, width), (channels, inputs) = strides, y.shape[1:3], w.shape[2:]
    kernel = tf.reverse(tf.reshape(w, [2, s, 2, t, channels, inputs]), [0, 2])  # y[m - 1] comes first
    kernel = tf.reshape(tf.transpose(kernel, [0, 2, 5, 1, 3, 4]), [2, 2, inputs, s * t * channels])
    phases = tf.nn.conv2d(y, kernel, 1, [[0, 0], [1, 1], [1, 1], [0, 0]])  # [B, height + 1, width + 1, s t C]
    phases = tf.reshape(phases, [-1, height + 1, width + 1, s, t, channels])
    x = tf.reshape(tf.transpose(phases, [0, 1, 3, 2, 4, 5]), [-1, s * (height + 1), t * (width + 1), channels])
    top, left = (_padding(n, m, k, 2 * k, m + 1)[0] for n, m, k in zip(size, (height, width), strides))
    return x[:, top : top + size[0], left : left + size[1]]


def filter_gradient(x, y, strides, kernel_size):
    """Derivative of ⟨y, x ∗ w⟩ with respect to w `[*kernel_size, I, O]`: patches of x, transposed, times y."""

    @tf.custom_gradient
    def value(x, y):
        def gradient(dw):
            return input_gradient(dw, y, strides, x.shape[1:3]), convolution(x, dw, strides)

        return _filter_gradient(x, y, strides, kernel_size), gradient

    return value(tf.convert_to_tensor(x), tf.convert_to_tensor(y))


def _filter_gradient(x, y, strides, kernel_size):
    (s, t), (height, width), inputs = strides, y.shape[1:3], x.shape[-1]
    tall, wide = (-(-k // stride) for k, stride in zip(kernel_size, strides))  # the kernel in strides, rounded up
    rows, columns = height + tall - 1, width + wide - 1  # the image in strides
    padding = [_padding(*sizes) for sizes in zip(x.shape[1:3], (height, width), strides, kernel_size, (rows, columns))]
    x = tf.reshape(tf.pad(x, [[0, 0], *padding, [0, 0]]), [-1, rows, s, columns, t * inputs])
    # A kernel's row a s + r meets, for every pixel, row r of the a-th stride on; its columns come t at once.
    patches = tf.concat(
        [
            x[:, a : a + height, r : r + 1, b : b + width]  # [B, height, 1, width, t I]
            for a, r in (divmod(row, s) for row in range(kernel_size[0]))
            for b in range(wide)
        ],
        -1,
    )
    shape = [kernel_size[0], wide * t, inputs, y.shape[-1]]
    patches = tf.reshape(patches, [-1, math.prod(shape[:3])])
    product = tf.matmul(patches, tf.reshape(y, [-1, shape[3]]), transpose_a=True)
    return tf.reshape(product, shape)[:, : kernel_size[1]]


def _padding(size, out, stride, kernel, whole):
    """Zeros before and after: those of "same", and more after, up to `whole` strides."""
    before = max((out - 1) * stride + kernel - size, 0) // 2
    return [before, whole * stride - size - before]
