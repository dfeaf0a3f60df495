"""ACGAN."""

import keras
import tensorflow as tf

from genmodels.models.gans.gan import GAN
from genmodels.settings import checked_positive


@keras.saving.register_keras_serializable(package="genmodels")
class ACGAN(GAN):
    """Auxiliary classifier GAN (Odena et al. 2016): the discriminator is not shown the class, but predicts it.

    Both players descend the cross-entropy of the class, of real and of generated examples. Logged besides:
    `class_loss`, its sum over the two in nats, and `class_accuracy` on real examples.

    Args:
        event_shape: `(height, width, channels)`, or `(dimensions,)` for points.
        num_classes: number of classes.
        weight: of the cross-entropy beside the adversarial loss.
        **options: as `GAN` has them; a `critic` of one's own takes no label and gives
            `[B, 1 + num_classes]`: its value, then the logits of the classes.

    Raises:
        ValueError: without classes, for a weight that is not above 0, and as `GAN`.

    Example:
        >>> import genmodels as gm
        >>> model = gm.ACGAN((8, 8, 1), levels=17, num_classes=3)
        >>> model.sample(2, labels=[0, 2]).shape
        TensorShape([2, 8, 8, 1])
    """

    title, paper, year = "ACGAN", "Odena et al., arXiv:1610.09585", 2016

    image_normalization = "batch"
    critic_sees_labels = False

    def __init__(self, event_shape, *, num_classes, weight=1.0, **options):
        if num_classes is None:
            raise ValueError("ACGAN predicts classes: `num_classes` must be an integer ≥ 2; got None.")
        self.weight = checked_positive("weight", weight)
        super().__init__(event_shape, num_classes=num_classes, **options)

    @property
    def critic_outputs(self):
        """The value, and a logit a class."""
        return 1 + self.num_classes

    def critic_terms(self, on_real, on_fake, latents, labels):
        """The cross-entropy of real and of generated examples."""
        loss = _cross_entropy(on_real, labels) + _cross_entropy(on_fake, labels)
        right = tf.equal(tf.argmax(on_real, 1, tf.int32), tf.cast(labels, tf.int32))
        metrics = {"class_loss": loss, "class_accuracy": tf.reduce_mean(tf.cast(right, tf.float32))}
        return self.weight * loss, metrics

    def generator_terms(self, on_fake, latents, labels):
        """The cross-entropy of generated examples."""
        return self.weight * _cross_entropy(on_fake, labels)


def _cross_entropy(logits, labels):
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
