"""The peer of `vae.py`: its networks and step in PyTorch, as its second process builds and times them."""

import math

import torch
from gans_torch import ToImage, ToVector
from pairs import Variant, repeated
from torch import nn
from torch.nn import functional

FILTERS, HIDDEN, LEVELS = (32, 64, 64, 64), 256, 256


def variants(shape, precisions, latent_dim, batch, samples, images, threads):
    """A variant a precision.

    Args:
        shape: (height, width, channels), height and width equal.
        precisions: "float32", and "bfloat16" for autocast.
        latent_dim: number of latent units.
        batch: images an update.
        samples: images that a call draws.
        images: of the data.
        threads: of PyTorch.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    size, _, channels = shape
    x = torch.randint(LEVELS, [images, channels, size, size]).float().contiguous(memory_format=torch.channels_last)
    found = []
    for precision in precisions:
        vae = VAE(size, channels, latent_dim).to(memory_format=torch.channels_last)
        facts = {"parameters": sum(p.numel() for p in vae.parameters())}
        trainer = Trainer(vae, x.split(batch), precision == "bfloat16")
        tasks = {"step": repeated(trainer.step), "sample": repeated(trainer.sample, samples)}
        found.append(Variant(f"PyTorch, {precision}", facts, tasks))
    return found


def activated(x):
    return functional.leaky_relu(x, 0.2)


class Block(nn.Module):
    """Leaky ReLU, 3×3, leaky ReLU, 3×3; plus the input."""

    def __init__(self, width):
        super().__init__()
        self.first, self.second = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return x + self.second(activated(self.first(activated(x))))


class VAE(nn.Module):
    """Ours for images whose longer side is halved to about 4 pixels."""

    def __init__(self, size, channels, latent_dim):
        super().__init__()
        self.latent_dim, sizes = latent_dim, [size]
        filters = FILTERS[: round(math.log2(size / 4))]
        for _ in filters:
            sizes.append((sizes[-1] + 1) // 2)
        layers, before = [], channels
        for width in filters:
            layers += [nn.Conv2d(before, width, 3, stride=2, padding=1), Block(width)]
            before = width
        flat = sizes[-1] ** 2 * before
        layers += [nn.LeakyReLU(0.2), ToVector(), nn.Linear(flat, HIDDEN), nn.LeakyReLU(0.2)]
        layers += [nn.Linear(HIDDEN, 2 * latent_dim)]
        self.encoder = nn.Sequential(*layers)
        layers = [nn.Linear(latent_dim, HIDDEN), nn.LeakyReLU(0.2), nn.Linear(HIDDEN, flat), ToImage(sizes[-1], before)]
        for stage in reversed(range(len(filters))):
            after = filters[stage - 1] if stage else 2 * channels
            layers += [Block(filters[stage]), nn.LeakyReLU(0.2)]
            odd = sizes[stage] % 2  # where 4 pixels become 7, PyTorch drops the odd row in front, Keras behind
            options = {"stride": 2, "padding": 1 + odd, "output_padding": odd}
            layers.append(nn.ConvTranspose2d(filters[stage], after, 4, **options))
        self.decoder = nn.Sequential(*layers)


class Trainer:
    """Steps on the negative ELBO, and samples."""

    def __init__(self, vae, batches, bfloat16):
        self.vae, self.batches, self.bfloat16, self.taken = vae, batches, bfloat16, 0
        self.optimizer = torch.optim.Adam(vae.parameters(), 1e-3, fused=True)

    def autocast(self):
        return torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16)

    def step(self):
        x = self.batches[self.taken % len(self.batches)]
        self.taken += 1
        with self.autocast():
            mean, log_variance = self.vae.encoder(x * (2.0 / (LEVELS - 1)) - 1.0).float().chunk(2, -1)
        log_variance = log_variance.clamp(-20.0, 20.0)
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        with self.autocast():
            params = self.vae.decoder(z)
        reconstruction = log_probs(params.float(), x).sum((1, 2, 3)).mean()
        kl = 0.5 * (mean**2 + log_variance.exp() - 1.0 - log_variance).sum(-1).mean()
        self.optimizer.zero_grad()
        (kl - reconstruction).backward()
        self.optimizer.step()

    @torch.no_grad()
    def sample(self, num):
        with self.autocast():
            params = self.vae.decoder(torch.randn(num, self.vae.latent_dim))
        mean, log_scale = logistic(params.float())
        scale, top = log_scale.exp(), LEVELS - 1.0
        tails = functional.softplus(-mean.abs() / scale) - functional.softplus(-(mean - top).abs() / scale)
        return (mean.clamp(0.0, top) + scale * tails).round().to(torch.uint8).numpy()


def logistic(params):
    """Mean and log-scale in pixels."""
    mean, log_scale = params.chunk(2, 1)
    half = (LEVELS - 1) / 2
    return half * (mean + 1.0), log_scale * (1.0 + (log_scale / 7.0) ** 2).rsqrt() + math.log(half)


def log_probs(params, x):
    """The discretized logistic, without cancellation."""
    mean, log_scale = logistic(params)
    width = (-log_scale).exp()
    below = functional.logsigmoid((x + 0.5 - mean) * width)
    above = functional.logsigmoid((mean - x + 0.5) * width)
    between = below + above + (-torch.expm1(-width)).log()
    return torch.where(x < 0.5, below, torch.where(x > LEVELS - 1.5, above, between))
