"""Invertible linear maps of the channels."""

import keras
import numpy as np
import tensorflow as tf
from scipy.linalg import lu

from genmodels.models.flows.bijections import PACKAGE, Bijection, constant_log_det, positions


@keras.saving.register_keras_serializable(package=PACKAGE)
class InvertibleLinear(Bijection):
    """An invertible 1×1 convolution, or a linear map of vectors: z = W x for each pixel (Kingma & Dhariwal 2018).

    W = P L (U + diag(s)) with a fixed permutation P, L unit lower and U strictly upper triangular, so that log |det W|
    is Σ log |s|. W starts as a random rotation.

    Example:
        >>> import genmodels as gm
        >>> z, log_det = gm.flows.InvertibleLinear()(tf.ones([2, 5]))
        >>> bool(tf.reduce_all(tf.abs(log_det) < 1e-5))  # a rotation keeps volumes
        True
    """

    def build(self, x_shape, condition_shape=None):
        """Factorizes a random rotation."""
        size = x_shape[-1]
        rotation = np.asarray(keras.initializers.Orthogonal()((size, size)), np.float64)
        permutation, lower, upper = lu(rotation)
        diagonal = np.diag(upper)

        def weight(name, value, trainable=True):
            def initializer(shape, dtype):
                return keras.ops.convert_to_tensor(value, dtype)

            return self.add_weight(value.shape, initializer=initializer, trainable=trainable, name=name)

        self.permutation = weight("permutation", permutation, trainable=False)
        self.sign = weight("sign", np.sign(diagonal), trainable=False)
        self.log_scale = weight("log_scale", np.log(np.abs(diagonal)))
        self.lower = weight("lower", np.tril(lower, -1))
        self.upper = weight("upper", np.triu(upper, 1))
        self.built = True

    def forward_and_log_det(self, x, condition=None):
        """z and H·W Σ log |s|."""
        lower, upper = self._factors()
        z = tf.matmul(x, self.permutation.value @ lower @ upper, transpose_b=True)
        return z, self._log_det(x)

    def inverse_and_log_det(self, z, condition=None):
        """x and -H·W Σ log |s|."""
        lower, upper = self._factors()
        inverse = tf.linalg.triangular_solve(lower, tf.transpose(self.permutation.value))
        inverse = tf.linalg.triangular_solve(upper, inverse, lower=False)
        return tf.matmul(z, inverse, transpose_b=True), -self._log_det(z)

    def _factors(self):
        lower = tf.linalg.band_part(self.lower.value, -1, 0)
        lower = tf.linalg.set_diag(lower, tf.ones_like(self.log_scale.value))
        upper = tf.linalg.band_part(self.upper.value, 0, -1)
        return lower, tf.linalg.set_diag(upper, self.sign.value * tf.exp(self.log_scale.value))

    def _log_det(self, x):
        return constant_log_det(positions(x.shape) * tf.reduce_sum(self.log_scale.value), x)
