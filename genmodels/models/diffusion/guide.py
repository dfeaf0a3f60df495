"""Guidance: denoisers that lean towards a class."""

import tensorflow as tf


def classifier_free(denoise, labels, scale):
    """D = D(no label) + scale · (D(label) - D(no label)), both in one call (Ho & Salimans 2022, arXiv:2207.12598).

    Args:
        denoise: `(x, alpha, sigma, labels)` to the estimate of x₀, and to what else goes with it (a learned variance).
        labels: one-hot `[B, num_classes]`.
        scale: 1 is the conditional estimate, 0 the unconditional one.

    Returns:
        A function of (x, alpha, sigma) like `denoise`.
    """
    both = tf.concat([labels, tf.zeros_like(labels)], 0)

    def guided(x, alpha, sigma):
        estimate, *rest = denoise(tf.concat([x, x], 0), alpha, sigma, both)
        with_label, without = tf.split(estimate, 2)
        return without + scale * (with_label - without), *[None if r is None else tf.split(r, 2)[0] for r in rest]

    return guided


def by_classifier(denoise, classifier, schedule, labels, scale):
    """D + scale · σ²/α ∇ₓ log p(label | x): the estimate of a denoiser whose score has the classifier's added.

    Dhariwal & Nichol 2021 (arXiv:2105.05233), equation 14.

    Args:
        denoise: `(x, alpha, sigma)` to the estimate of x₀, and to what else goes with it.
        classifier: Keras model of x `[B, …]` and t `[B]` to logits `[B, classes]`.
        schedule: on which the classifier was trained. Where a solver leaves it, x is brought back to it by a factor.
        labels: classes `[B]`.
        scale: of the gradient.

    Returns:
        A function of (x, alpha, sigma) like `denoise`.
    """

    def guided(x, alpha, sigma):
        estimate, *rest = denoise(x, alpha, sigma)
        t = schedule.time(alpha, sigma)
        on_alpha, on_sigma = schedule.levels(t)
        factor = tf.sqrt((on_alpha**2 + on_sigma**2) / (alpha**2 + sigma**2))
        with tf.GradientTape() as tape:
            tape.watch(x)
            logits = classifier([factor * x, tf.fill([tf.shape(x)[0]], t)], training=False)
            chosen = tf.gather(tf.nn.log_softmax(tf.cast(logits, tf.float32)), labels, batch_dims=1)
        # At pure noise α is 0 and x tells no class; the step there is as large as at an α of 0.01.
        return estimate + scale * sigma**2 / tf.maximum(alpha, 1e-2) * tape.gradient(chosen, x), *rest

    return guided


def estimate_of(denoiser):
    """The denoiser's estimate alone, without the place of the variance."""
    return lambda x, alpha, sigma: denoiser(x, alpha, sigma)[0]
