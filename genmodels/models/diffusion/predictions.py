"""What a denoising network predicts, and how much each noise level counts in the loss.

Whatever it predicts, the output F is linear in the data: the estimate of x₀ is D = skip · x + out · F, with two numbers
that depend on the level alone. So this pair is a prediction's whole definition.
"""

import keras
import tensorflow as tf

from genmodels.settings import checked_positive

# (skip, out) of x = α x₀ + σ ε. All are homogeneous: x, α and σ in other units give the same D from the same F.
PREDICTIONS = {
    "epsilon": lambda a, s: (1.0 / a, -s / a),  # F = ε
    "x0": lambda a, s: (tf.zeros_like(a), tf.ones_like(a)),  # F = x₀
    # F = α ε - σ x₀ (Salimans & Ho 2022), over √(α² + σ²), which is 1 in the paper.
    "v": lambda a, s: (a / (a**2 + s**2), -s * tf.math.rsqrt(a**2 + s**2)),
    "score": lambda a, s: (1.0 / a, s / a),  # F = σ ∇ log p(x), which has one size at all levels (Song & Ermon 2020)
    "velocity": lambda a, s: (1.0 / (a + s), -s / (a + s)),  # F = ε - x₀ (Lipman et al. 2023)
}


@keras.saving.register_keras_serializable(package="genmodels")
class Prediction:
    """What the network predicts, by name: "epsilon", "x0", "v", "score" (times σ), "velocity" (ε - x₀), or "edm".

    "edm" is the preconditioning of Karras et al. 2022, of data of a given deviation: input and target have variance 1
    at all levels. The other predictions see x / √(α² + σ²).

    Args:
        name: of the prediction.
        data_deviation: standard deviation of the data in the network's units, for "edm".

    Raises:
        ValueError: for an unknown name.

    Example:
        >>> prediction = Prediction("epsilon")
        >>> x, alpha, sigma = tf.constant([1.0]), tf.constant([0.6]), tf.constant([0.8])
        >>> bool(prediction.denoised(x, tf.constant([0.5]), alpha, sigma) == (1 - 0.8 * 0.5) / 0.6)
        True
    """

    def __init__(self, name="epsilon", data_deviation=0.5):
        if name not in (*PREDICTIONS, "edm"):
            raise ValueError(f"`prediction` must be {', '.join(PREDICTIONS)} or edm; got {name!r}.")
        self.name, self.deviation = name, checked_positive("data_deviation", data_deviation)

    def coefficients(self, alpha, sigma):
        """skip and out, for which the estimate of the data is skip · x + out · F."""
        if self.name != "edm":
            return PREDICTIONS[self.name](alpha, sigma)
        variance = sigma**2 + (alpha * self.deviation) ** 2  # of x
        return alpha * self.deviation**2 / variance, sigma * self.deviation / tf.sqrt(variance)

    def input_scale(self, alpha, sigma):
        """The factor by which the network sees x."""
        return tf.math.rsqrt(sigma**2 + (alpha * (self.deviation if self.name == "edm" else 1.0)) ** 2)

    def denoised(self, x, output, alpha, sigma):
        """The estimate of x₀ from the network's output; α and σ are scalars, or shaped to go with x."""
        skip, out = self.coefficients(alpha, sigma)
        return skip * x + out * output

    def target(self, x0, noise, alpha, sigma):
        """The output for which the estimate is x₀ itself."""
        skip, out = self.coefficients(alpha, sigma)
        return (1.0 - skip * alpha) / out * x0 - skip * sigma / out * noise

    def get_config(self):
        """The constructor's arguments."""
        return {"name": self.name, "data_deviation": self.deviation}

    @classmethod
    def from_config(cls, config):
        """The prediction of a config."""
        return cls(**config)


@keras.saving.register_keras_serializable(package="genmodels")
class Weighting:
    """How much each noise level counts in the loss, by name.

    "simple": the network's outputs count alike at all levels, whatever they are: DDPM's L_simple where that is ε, λ(σ)
    of EDM where it is preconditioned. "min_snr": the error of the estimate of x₀ times min(SNR, γ) (Hang et al. 2023).
    "edm": times (ς² + s²) / (ς s)² with ς = σ / α, whatever is predicted (Karras et al. 2022). "elbo": the terms of the
    variational bound, for likelihood.

    Args:
        name: of the weighting.
        gamma: γ of "min_snr".
        data_deviation: s of "edm", the standard deviation of the data in the network's units.

    Raises:
        ValueError: for an unknown name.

    Example:
        >>> float(Weighting("min_snr").factor(tf.constant(1.0), tf.constant(1.0), tf.constant(0.1)))
        5.0
    """

    def __init__(self, name="simple", gamma=5.0, data_deviation=0.5):
        if name not in ("simple", "min_snr", "edm", "elbo"):
            raise ValueError(f"`weighting` must be simple, min_snr, edm or elbo; got {name!r}.")
        self.name, self.gamma = name, checked_positive("gamma", gamma)
        self.deviation = checked_positive("data_deviation", data_deviation)

    def factor(self, out, alpha, sigma):
        """What multiplies the squared error of the output F, of which the estimate of x₀ has `out` parts."""
        if self.name == "min_snr":
            return tf.minimum((alpha / sigma) ** 2, self.gamma) * out**2
        if self.name == "edm":
            # (σ² + d²) / (σ d)² of the paper, whose α is 1; where α is 0, at the end of some schedules, 1 / d².
            return (sigma**2 + (alpha * self.deviation) ** 2) / (sigma * self.deviation) ** 2 * out**2
        return tf.ones_like(out)

    def get_config(self):
        """The constructor's arguments."""
        return {"name": self.name, "gamma": self.gamma, "data_deviation": self.deviation}

    @classmethod
    def from_config(cls, config):
        """The weighting of a config."""
        return cls(**config)
