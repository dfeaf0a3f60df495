"""The peers of `gans.py`: its networks and steps in PyTorch, as its second process builds and times them.

As PyTorch's tutorials write them, but frugal: channels-last memory, no gradients where none are needed, no copies
between the dense layers and the convolutions.
"""

import itertools

import torch
from pairs import Variant, repeated
from torch import nn
from torch.nn.functional import softplus

LATENT, WIDTH, LARGEST = 100, 64, 8  # of the networks, as ours have them
PENALTY = 10.0


def variants(name, shape, updates, precisions, batch, samples, images, threads):
    """A variant a precision.

    Args:
        name: "DCGAN" or "WGANGP".
        shape: of an image, (height, width, channels), of equal height and width.
        updates: of the critic, for one of the generator.
        precisions: "float32", and "bfloat16" for autocast.
        batch: images an update.
        samples: images that a call draws.
        images: of the data.
        threads: of PyTorch.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    size, _, channels = shape
    x = (2.0 * torch.rand(images, channels, size, size) - 1.0).contiguous(memory_format=torch.channels_last)
    found = []
    for precision in precisions:
        networks = generator(size, channels), critic(size, channels, normalized=name == "DCGAN")
        networks = [network.to(memory_format=torch.channels_last) for network in networks]
        facts = {"generator": parameters(networks[0]), "critic": parameters(networks[1])}
        game = (Saturating if name == "DCGAN" else Wasserstein)(*networks, batch, precision == "bfloat16")
        tasks = {"step": steps_of(game, x.split(batch), updates), "sample": repeated(game.sample, samples)}
        found.append(Variant(f"PyTorch, {precision}", facts, tasks))
    return found


def parameters(network):
    return sum(p.numel() for p in network.parameters())


# ---------------------------------------------------------------------- networks


class ToImage(nn.Module):
    """[B, side · side · C] to [B, C, side, side], in channels-last memory without a copy."""

    def __init__(self, side, channels):
        super().__init__()
        self.shape = (side, side, channels)

    def forward(self, x):
        return x.unflatten(1, self.shape).permute(0, 3, 1, 2)


class ToVector(nn.Module):
    """The way back."""

    def forward(self, x):
        return x.permute(0, 2, 3, 1).flatten(1)


def stages(size):
    """Image sizes from the data's on, halved down to 4 pixels, and channels."""
    sizes = [size]
    while sizes[-1] > 4:
        sizes.append((sizes[-1] + 1) // 2)
    return sizes, [WIDTH * min(2**stage, LARGEST) for stage in range(len(sizes) - 1)]


def generator(size, channels):
    """Ours. Where 4 pixels become 7 it is ours turned by 180°: PyTorch drops the odd row in front, Keras behind."""
    sizes, widths = stages(size)
    layers = [nn.Linear(LATENT, sizes[-1] ** 2 * widths[-1], bias=False), ToImage(sizes[-1], widths[-1])]
    for stage in reversed(range(len(widths))):
        odd, wanted = sizes[stage] % 2, widths[stage - 1] if stage else channels
        layers += [nn.BatchNorm2d(widths[stage], eps=1e-5, momentum=0.1), nn.ReLU(inplace=True)]
        options = {"stride": 2, "padding": 1 + odd, "output_padding": odd, "bias": stage == 0}
        layers.append(nn.ConvTranspose2d(widths[stage], wanted, 4, **options))
    return nn.Sequential(*layers, nn.Tanh())


def critic(size, channels, normalized):
    """Ours; turned like the generator where 7 pixels become 4."""
    sizes, widths = stages(size)
    layers = []
    for stage, (before, after) in enumerate(itertools.pairwise([channels, *widths])):
        odd, norm = sizes[stage] % 2, normalized and stage > 0
        layers += [nn.ZeroPad2d((2, 1, 2, 1))] if odd else []
        layers.append(nn.Conv2d(before, after, 4, stride=2, padding=1 - odd, bias=not norm))
        layers += [nn.BatchNorm2d(after, eps=1e-5, momentum=0.1)] if norm else []
        layers.append(nn.LeakyReLU(0.2, inplace=True))
    return nn.Sequential(*layers, ToVector(), nn.Linear(sizes[-1] ** 2 * widths[-1], 1))


# ---------------------------------------------------------------------- steps


class Game:
    """Two networks, their optimizers and updates; a subclass has the losses."""

    def __init__(self, generator, critic, batch, half):
        self.generator, self.critic, self.batch, self.half = generator, critic, batch, half
        networks, options = (critic, generator), {"fused": True, **self.adam}
        self.optimizers = [torch.optim.Adam(network.parameters(), **options) for network in networks]

    def autocast(self):
        return torch.autocast("cpu", torch.bfloat16, enabled=self.half)

    def fake(self):
        return self.generator(torch.randn(self.batch, LATENT))

    def judged(self, x):
        """The critic's values, [B] float32."""
        return self.critic(x).float()[:, 0]

    def update_critic(self, real):
        self.critic.requires_grad_(True)
        self.optimizers[0].zero_grad(set_to_none=True)
        loss = self.critic_loss(real)
        loss.backward()
        self.optimizers[0].step()
        return loss

    def update_generator(self):
        self.critic.requires_grad_(False)
        self.optimizers[1].zero_grad(set_to_none=True)
        with self.autocast():
            loss = self.generator_loss(self.judged(self.fake()))
        loss.backward()
        self.optimizers[1].step()
        return loss

    @torch.no_grad()
    def sample(self, num):
        self.generator.eval()
        with self.autocast():
            x = self.generator(torch.randn(num, LATENT))
        self.generator.train()
        return x.float().numpy()


class Saturating(Game):
    """DCGAN's: cross-entropy, batch norm of real and generated images apart."""

    adam = {"lr": 2e-4, "betas": (0.5, 0.999)}  # noqa: RUF012

    def critic_loss(self, real):
        with self.autocast():
            with torch.no_grad():
                fake = self.fake()
            on_real, on_fake = self.judged(real), self.judged(fake)
        return softplus(-on_real).mean() + softplus(on_fake).mean()

    def generator_loss(self, on_fake):
        return softplus(-on_fake).mean()


class Wasserstein(Game):
    """WGAN-GP's."""

    adam = {"lr": 1e-4, "betas": (0.0, 0.9)}  # noqa: RUF012

    def critic_loss(self, real):
        with self.autocast():
            with torch.no_grad():
                fake = self.fake().float()
            on_real, on_fake = self.judged(real), self.judged(fake)
            between = torch.lerp(real, fake, torch.rand(len(real), 1, 1, 1)).requires_grad_()
            value = self.judged(between).sum()
        (gradient,) = torch.autograd.grad(value, between, create_graph=True)
        norm = (gradient.square().sum((1, 2, 3)) + 1e-12).sqrt()
        return on_fake.mean() - on_real.mean() + PENALTY * (norm - 1.0).square().mean()

    def generator_loss(self, on_fake):
        return -on_fake.mean()


def steps_of(game, batches, updates):
    """Training steps on batches in their order."""
    source = itertools.cycle(batches)

    def steps(count):
        for _ in range(count):
            for real in itertools.islice(source, updates):
                game.update_critic(real)
            loss = game.update_generator()
        return loss.item()

    return steps
