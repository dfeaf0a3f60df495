"""Noise schedules: α(t) and σ(t) of x_t = α(t) x₀ + σ(t) ε, for t from 0 (data) to 1 (noise).

Discrete steps are a view on them: step i of T is the time i / T. The pair (α, σ) is all that samplers and predictions
see, and each schedule finds the time of a pair again.
"""

import math

import keras
import numpy as np
import tensorflow as tf

from genmodels.settings import checked_count, checked_positive

END = -10.0  # log-SNR at t = 1 of the schedules whose papers end at none: ε there still tells the data; DDPM's is -10.1
SPACINGS = ("uniform", "quadratic", "karras")


class Schedule:
    """A noise schedule. A subclass gives `levels` and `time`, and may give other `first` times and `training_times`.

    Attributes:
        first: the smallest time at which a sampler asks the network; where it is free of noise, the end itself.

    Raises:
        TypeError: when a method is called that the subclass lacks.

    Example:
        >>> times, alphas, sigmas = Linear().grid(4)
        >>> times.shape, float(alphas[-1]), float(sigmas[-1])
        ((5,), 1.0, 0.0)
    """

    first = 0.0

    def levels(self, t):
        """α and σ at the times t, tensors as t."""
        raise TypeError(f"{type(self).__name__} must define `levels(t)`.")

    def time(self, alpha, sigma):
        """The time at which σ / α is that of the pair; tensors as the pair."""
        raise TypeError(f"{type(self).__name__} must define `time(alpha, sigma)`.")

    def training_times(self, u):
        """Times to train at, from uniform numbers; uniform between `first` and 1."""
        return self.first + (1.0 - self.first) * u

    def grid(self, num: int, spacing: str = "uniform", *, start: float = 1.0, first: float | None = None):
        """The levels at which a sampler of `num` steps asks the network, from noise to data, and the end.

        The first level is that of t = `start`, the last one asked that of t = `first`, None for the schedule's own.
        "uniform" takes equal steps of t, "quadratic" of √t, "karras" of (σ / α)^(1/7) (Karras et al. 2022).

        Returns:
            times `[num + 1]`, alphas and sigmas of them, float64 arrays; the last level is 0, 1, 0.

        Raises:
            ValueError: for fewer than one step, an unknown spacing, and for "karras" where t = 1 is pure noise.
        """
        num = checked_count("steps", num, 1)
        if spacing not in SPACINGS:
            raise ValueError(f"`spacing` must be one of {', '.join(SPACINGS)}; got {spacing!r}.")
        first = self.first if first is None else first
        end = self.values([first])[1][0] == 0.0  # the first level is the end
        count = num + 1 if end else num
        if spacing == "karras":
            times = self._karras_times(count, start, first)
        else:
            power = 2.0 if spacing == "quadratic" else 1.0
            times = np.linspace(start ** (1.0 / power), first ** (1.0 / power), count) ** power
        alphas, sigmas = self.values(times)
        if end:
            return times, alphas, sigmas
        return np.append(times, 0.0), np.append(alphas, 1.0), np.append(sigmas, 0.0)

    def values(self, times):
        """α and σ at times as float64 arrays, also while a graph is traced."""
        with tf.init_scope():
            alphas, sigmas = self.levels(tf.constant(np.asarray(times), tf.float64))
            return alphas.numpy(), sigmas.numpy()

    def _karras_times(self, count, start, first, rho=7.0):
        alphas, sigmas = self.values([start, first])
        if alphas[0] < 1e-6:
            raise ValueError('spacing "karras" needs a largest σ / α, and this schedule ends in pure noise.')
        if sigmas[1] == 0.0:
            raise ValueError('spacing "karras" needs a smallest σ above 0, and this schedule ends at 0.')
        ratios = np.linspace(*(sigmas / alphas) ** (1 / rho), count) ** rho
        with tf.init_scope():
            return self.time(tf.ones([count], tf.float64), tf.constant(ratios, tf.float64)).numpy()

    def get_config(self):
        """The constructor's arguments, which it leaves in `settings`; none of a schedule without any."""
        return dict(getattr(self, "settings", {}))

    @classmethod
    def from_config(cls, config):
        """The schedule of a config."""
        return cls(**config)


class VariancePreserving(Schedule):
    """A schedule with α² + σ² = 1; a subclass gives `squares` and their inverse, each exact where it is small.

    Raises:
        TypeError: when a method is called that the subclass lacks.

    Example:
        >>> isinstance(Cosine(), VariancePreserving), isinstance(Karras(), VariancePreserving)
        (True, False)
    """

    first = 1e-3  # the first of DDPM's thousand steps
    end = 1.0  # the subclass's own time at t = 1

    def levels(self, t):
        """α and σ at the times t."""
        kept, lost = self.squares(t * self.end)
        return tf.sqrt(kept), tf.sqrt(lost)

    def time(self, alpha, sigma):
        """The time at which σ / α is that of the pair."""
        size = alpha**2 + sigma**2
        return self.inverse(alpha**2 / size, sigma**2 / size) / self.end

    def squares(self, t):
        """α² and σ² at the schedule's own times."""
        raise TypeError(f"{type(self).__name__} must define `squares(t)`.")

    def inverse(self, kept, lost):
        """The schedule's own time of α² and σ²."""
        raise TypeError(f"{type(self).__name__} must define `inverse(kept, lost)`.")

    def _end_of(self, log_snr):
        kept = 1.0 / (1.0 + math.exp(-log_snr))
        with tf.init_scope():
            return float(self.inverse(tf.constant(kept, tf.float64), tf.constant(1.0 - kept, tf.float64)))


@keras.saving.register_keras_serializable(package="genmodels")
class Linear(VariancePreserving):
    """Noise at a rate β(t) that rises linearly: α² = exp(-∫β), DDPM's schedule (Ho et al. 2020) in continuous time.

    DDPM's thousand discrete steps, β from 1e-4 to 0.02, are the times i / 1000, to within 2e-4 of each β (Song et al.
    2021, appendix B).

    Args:
        beta_min: β(0).
        beta_max: β(1).

    Raises:
        ValueError: unless 0 < β(0) < β(1).

    Example:
        >>> alpha, sigma = Linear().levels(tf.constant(1.0))
        >>> bool(alpha < 0.01)
        True
    """

    def __init__(self, beta_min=0.1, beta_max=20.0):
        self.settings = {
            "beta_min": checked_positive("beta_min", beta_min), "beta_max": checked_positive("beta_max", beta_max)
        }  # fmt: skip
        if not beta_min < beta_max:
            raise ValueError(f"`beta_min` must be below `beta_max`; got {beta_min} and {beta_max}.")
        self.low, self.rise = float(beta_min), float(beta_max) - float(beta_min)

    def squares(self, t):
        """exp(-∫β), and what is missing from 1."""
        exponent = t * (self.low + 0.5 * self.rise * t)
        return tf.exp(-exponent), -tf.math.expm1(-exponent)

    def inverse(self, kept, lost):
        """The time of ∫β = log(1 + σ²/α²)."""
        exponent = tf.math.log1p(lost / kept)
        return 2.0 * exponent / (self.low + tf.sqrt(self.low**2 + 2.0 * self.rise * exponent))


@keras.saving.register_keras_serializable(package="genmodels")
class Cosine(VariancePreserving):
    """α² = cos²(φ) / cos²(φ₀), an angle φ that grows linearly (Nichol & Dhariwal 2021, arXiv:2102.09672).

    It ends at a log-SNR of -10, at 0.996 of the paper's time; beyond, ε does not tell the data.

    Args:
        offset: the paper's s, by which the first steps are not too small.

    Example:
        >>> alpha, sigma = Cosine().levels(tf.constant(0.5))
        >>> bool(abs(alpha**2 + sigma**2 - 1) < 1e-6)
        True
    """

    def __init__(self, offset=0.008):
        self.settings = {"offset": checked_positive("offset", offset)}
        self.angle = 0.5 * math.pi / (1.0 + offset)
        self.start = self.angle * offset
        self.end = self._end_of(END)

    def squares(self, t):
        """cos²(φ) / cos²(φ₀), and sin(φ - φ₀) sin(φ + φ₀) / cos²(φ₀)."""
        turn, whole = self.angle * t, math.cos(self.start) ** 2
        return tf.cos(turn + self.start) ** 2 / whole, tf.sin(turn) * tf.sin(turn + 2.0 * self.start) / whole

    def inverse(self, kept, lost):
        """The time of the angle."""
        cosine, sine = math.cos(self.start) ** 2, math.sin(self.start) ** 2
        return (tf.atan2(tf.sqrt(sine + lost * cosine), tf.sqrt(kept * cosine)) - self.start) / self.angle


@keras.saving.register_keras_serializable(package="genmodels")
class Sigmoid(VariancePreserving):
    """α² falls as a sigmoid (Jabri et al. 2022, arXiv:2212.11972); it ends at a log-SNR of -10.

    Args:
        start: of the sigmoid's argument.
        stop: of the sigmoid's argument; above `start`.
        temperature: by which the argument is divided.

    Raises:
        ValueError: for a start that is not below the stop, and a temperature that is not above 0.

    Example:
        >>> alpha, sigma = Sigmoid().levels(tf.constant(0.0))
        >>> bool(alpha == 1.0), bool(sigma == 0.0)
        (True, True)
    """

    def __init__(self, start=-3.0, stop=3.0, temperature=1.0):
        if not start < stop:
            raise ValueError(f"`start` must be below `stop`; got {start} and {stop}.")
        temperature = checked_positive("temperature", temperature)
        self.settings = {"start": float(start), "stop": float(stop), "temperature": temperature}
        self.begin, self.finish = start / temperature, stop / temperature
        self.low, self.high = (1.0 / (1.0 + math.exp(-x)) for x in (self.begin, self.finish))
        self.end = self._end_of(END)

    def squares(self, t):
        """What is left of the sigmoid's rise from start to stop, and what is done of it."""
        # sigmoid(p) - sigmoid(q) = sigmoid(p) sigmoid(-q) (1 - e^(q - p)): no difference of near numbers.
        here, rise = self.begin + (self.finish - self.begin) * t, self.high - self.low
        left = self.high * tf.sigmoid(-here) * -tf.math.expm1(here - self.finish)
        done = tf.sigmoid(here) * (1.0 - self.low) * -tf.math.expm1(self.begin - here)
        return left / rise, done / rise

    def inverse(self, kept, lost):
        """The time of the sigmoid's argument."""
        rise = self.high - self.low
        here = tf.math.log(self.low + lost * rise) - tf.math.log(1.0 - self.high + kept * rise)
        return (here - self.begin) / (self.finish - self.begin)


@keras.saving.register_keras_serializable(package="genmodels")
class ZeroTerminalSNR(Schedule):
    """A schedule whose α is shifted and scaled to reach 0 at t = 1: no data left (Lin et al. 2024, arXiv:2305.08891).

    ε says nothing of the data there: it needs a prediction of x0, v, or velocity.

    Args:
        schedule: one with α² + σ² = 1, such as `Linear()`.

    Raises:
        ValueError: for another kind of schedule.

    Example:
        >>> alpha, sigma = ZeroTerminalSNR(Linear()).levels(tf.constant(1.0))
        >>> float(alpha), float(sigma)
        (0.0, 1.0)
    """

    def __init__(self, schedule):
        if not isinstance(schedule, VariancePreserving):
            raise ValueError(f"`schedule` must have α² + σ² = 1 and some data left at t = 1; got {schedule!r}.")
        self.schedule, self.first = schedule, schedule.first
        self.last = float(schedule.values([1.0])[0][0])

    def levels(self, t):
        """α and σ at the times t."""
        alpha, sigma = self.schedule.levels(t)
        lost = sigma**2 / (1.0 + alpha) / (1.0 - self.last)  # 1 - α of the shifted schedule
        lost = tf.where(t >= 1.0, tf.ones_like(lost), lost)
        return 1.0 - lost, tf.sqrt(lost * (2.0 - lost))

    def time(self, alpha, sigma):
        """The time at which σ / α is that of the pair."""
        size = tf.sqrt(alpha**2 + sigma**2)
        alpha, sigma = alpha / size, sigma / size
        lost = sigma**2 / (1.0 + alpha) * (1.0 - self.last)
        return self.schedule.time(1.0 - lost, tf.sqrt(lost * (2.0 - lost)))

    def get_config(self):
        """The constructor's arguments."""
        return {"schedule": keras.saving.serialize_keras_object(self.schedule)}

    @classmethod
    def from_config(cls, config):
        """The schedule of a config."""
        return cls(keras.saving.deserialize_keras_object(config["schedule"]))


@keras.saving.register_keras_serializable(package="genmodels")
class VarianceExploding(Schedule):
    """α = 1 and σ geometric from `sigma_min` to `sigma_max` (Song & Ermon 2019; Song et al. 2021).

    Args:
        sigma_min: σ(0), in the network's units, in which images go from -1 to 1.
        sigma_max: σ(1).

    Example:
        >>> float(VarianceExploding(0.01, 100.0).levels(tf.constant(0.5))[1])
        1.0
    """

    def __init__(self, sigma_min=0.02, sigma_max=50.0):
        self.settings = _between(sigma_min, sigma_max)
        self.low, self.ratio = math.log(sigma_min), math.log(sigma_max / sigma_min)

    def levels(self, t):
        """α and σ at the times t."""
        return tf.ones_like(t), tf.exp(self.low + self.ratio * t)

    def time(self, alpha, sigma):
        """The time at which σ / α is that of the pair."""
        return (tf.math.log(sigma / alpha) - self.low) / self.ratio


@keras.saving.register_keras_serializable(package="genmodels")
class Karras(Schedule):
    """α = 1 and σ^(1/ρ) linear from `sigma_min` to `sigma_max`; trained at log-normal σ (Karras et al. 2022, "EDM").

    Args:
        sigma_min: σ(0), in the network's units, in which images go from -1 to 1.
        sigma_max: σ(1).
        rho: ρ; larger takes more steps near the data.
        mean: of ln σ in training.
        deviation: of ln σ in training.

    Example:
        >>> round(float(Karras().levels(tf.constant(1.0))[1]), 3)
        80.0
    """

    def __init__(self, sigma_min=0.002, sigma_max=80.0, rho=7.0, mean=-1.2, deviation=1.2):
        self.settings = {
            **_between(sigma_min, sigma_max), "rho": checked_positive("rho", rho), "mean": float(mean),
            "deviation": checked_positive("deviation", deviation),
        }  # fmt: skip
        self.rho, self.mean, self.deviation = rho, mean, deviation
        self.low = sigma_min ** (1.0 / rho)
        self.rise = sigma_max ** (1.0 / rho) - self.low

    def levels(self, t):
        """α and σ at the times t."""
        return tf.ones_like(t), (self.low + self.rise * t) ** self.rho

    def time(self, alpha, sigma):
        """The time at which σ / α is that of the pair."""
        return ((sigma / alpha) ** (1.0 / self.rho) - self.low) / self.rise

    def training_times(self, u):
        """Times of log-normal σ; σ beyond the ends have times below 0 and above 1."""
        return self.time(1.0, tf.exp(self.mean + self.deviation * tf.math.ndtri(u)))


@keras.saving.register_keras_serializable(package="genmodels")
class Straight(Schedule):
    """α = 1 - t and σ = t: straight paths of flow matching (Lipman et al. 2023), of rectified flow (Liu et al. 2023).

    Args:
        normal: train at t = sigmoid of a standard normal number, more in the middle (Esser et al. 2024), not uniformly.

    Example:
        >>> alpha, sigma = Straight().levels(tf.constant(0.25))
        >>> float(alpha), float(sigma)
        (0.75, 0.25)
    """

    def __init__(self, normal=False):
        self.settings = {"normal": bool(normal)}

    def levels(self, t):
        """α and σ at the times t."""
        return 1.0 - t, t

    def time(self, alpha, sigma):
        """The time at which σ / α is that of the pair."""
        return sigma / (alpha + sigma)

    def training_times(self, u):
        """Uniform times, or those of the constructor's choice."""
        return tf.sigmoid(tf.math.ndtri(u)) if self.settings["normal"] else u


SCHEDULES = {
    "linear": Linear, "cosine": Cosine, "sigmoid": Sigmoid, "exploding": VarianceExploding, "karras": Karras,
    "straight": Straight,
}  # fmt: skip


def get(schedule) -> Schedule:
    """A schedule by its name, or as it is.

    Raises:
        ValueError: for an unknown name, and what is no schedule.

    Example:
        >>> type(get("cosine")).__name__
        'Cosine'
    """
    if isinstance(schedule, str) and schedule in SCHEDULES:
        return SCHEDULES[schedule]()
    if not isinstance(schedule, Schedule):
        raise ValueError(
            f"`schedule` must be {', '.join(SCHEDULES)}, or a genmodels.diffusion.Schedule; got {schedule!r}."
        )
    return schedule


def _between(low, high):
    settings = {"sigma_min": checked_positive("sigma_min", low), "sigma_max": checked_positive("sigma_max", high)}
    if not low < high:
        raise ValueError(f"`sigma_min` must be below `sigma_max`; got {low} and {high}.")
    return settings
