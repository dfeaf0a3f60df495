"""The peer of `diffusion.py`: its U-Net and step in PyTorch, as its second process builds and times them.

The blocks and widths of ours, in channels-last memory, with PyTorch's own attention and fused Adam.
"""

import math

import torch
from pairs import Variant, repeated
from torch import nn
from torch.nn import functional

MULTIPLIERS, BLOCKS, HEADS = (1, 2, 2), 2, 4


def variants(precisions, width, batch, images, threads):
    """A variant a precision.

    Args:
        precisions: "float32", and "bfloat16" for autocast.
        width: channels at the full size.
        batch: images an update.
        images: of the data.
        threads: of PyTorch.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    x = (2.0 * torch.rand(images, 1, 28, 28) - 1.0).contiguous(memory_format=torch.channels_last)
    found = []
    for precision in precisions:
        network = UNet(width).to(memory_format=torch.channels_last)
        facts = {"parameters": sum(p.numel() for p in network.parameters())}
        trainer = Trainer(network, x.split(batch), precision == "bfloat16")
        tasks = {"step": repeated(trainer.step), "network": repeated(trainer.call)}
        found.append(Variant(f"PyTorch, {precision}", facts, tasks))
    return found


class Trainer:
    """DDPM's simple loss with 1000 linear steps."""

    def __init__(self, network, batches, bfloat16):
        self.network, self.batches, self.bfloat16, self.count = network, batches, bfloat16, 0
        self.optimizer = torch.optim.Adam(network.parameters(), 2e-4, fused=True)
        kept = torch.cumprod(1.0 - torch.linspace(1e-4, 0.02, 1000), 0)
        self.alphas, self.sigmas = kept.sqrt(), (1.0 - kept).sqrt()

    def estimate(self, x, t):
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            return self.network(x, t)

    def step(self):
        x = self.batches[self.count % len(self.batches)]
        self.count += 1
        index = torch.randint(1000, [len(x)])
        noise = torch.randn_like(x)
        noisy = self.alphas[index, None, None, None] * x + self.sigmas[index, None, None, None] * noise
        loss = functional.mse_loss(self.estimate(noisy, (index + 1) / 1000.0).float(), noise)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    @torch.no_grad()
    def call(self):
        x = self.batches[0]
        return self.estimate(x, torch.full([len(x)], 0.5))


def norm(channels):
    groups = max(n for n in range(1, min(32, max(channels // 4, 1)) + 1) if channels % n == 0)
    return nn.GroupNorm(groups, channels)


class Block(nn.Module):
    """Norm, SiLU, 3×3, norm with scale and shift, SiLU, 3×3; plus the input."""

    def __init__(self, inputs, outputs, embedding):
        super().__init__()
        self.first, self.second = norm(inputs), norm(outputs)
        self.up = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * outputs)
        self.down = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.beside = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x, embedding):
        y = self.up(functional.silu(self.first(x)))
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, 1)
        y = self.down(functional.silu(self.second(y) * (1.0 + scale) + shift))
        return self.beside(x) + y


class Attention(nn.Module):
    """Self-attention among all pixels; plus the input."""

    def __init__(self, channels):
        super().__init__()
        self.norm, self.parts = norm(channels), nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, x):
        batch, channels, height, width = x.shape
        y = self.norm(x).permute(0, 2, 3, 1).reshape(batch, height * width, channels)
        shape = (batch, height * width, HEADS, channels // HEADS)
        parts = [part.reshape(shape).transpose(1, 2) for part in self.parts(y).chunk(3, -1)]
        y = functional.scaled_dot_product_attention(*parts).transpose(1, 2).reshape(batch, height, width, channels)
        return x + self.out(y).permute(0, 3, 1, 2)


class Stage(nn.Module):
    """A block, and attention where the image is smallest."""

    def __init__(self, inputs, outputs, embedding, attends):
        super().__init__()
        self.block = Block(inputs, outputs, embedding)
        self.attention = Attention(outputs) if attends else nn.Identity()

    def forward(self, x, embedding):
        return self.attention(self.block(x, embedding))


class UNet(nn.Module):
    """The default U-Net of 28×28×1."""

    def __init__(self, width):
        super().__init__()
        embedding = 4 * width
        self.half = embedding // 4  # frequencies
        first, second = nn.Linear(2 * self.half, embedding), nn.Linear(embedding, embedding)
        self.time = nn.Sequential(first, nn.SiLU(), second, nn.SiLU())
        self.inward = nn.Conv2d(1, width, 3, padding=1)
        kept, channels, last = [width], width, len(MULTIPLIERS) - 1
        self.downward, self.upward = nn.ModuleList(), nn.ModuleList()
        for index, multiplier in enumerate(MULTIPLIERS):
            if index:
                self.downward.append(nn.Conv2d(channels, channels, 3, stride=2, padding=1))
                kept.append(channels)
            for _ in range(BLOCKS):
                self.downward.append(Stage(channels, multiplier * width, embedding, index == last))
                channels = multiplier * width
                kept.append(channels)
        self.middle = nn.ModuleList([Stage(channels, channels, embedding, True), Block(channels, channels, embedding)])
        for index in reversed(range(len(MULTIPLIERS))):
            for _ in range(BLOCKS + 1):
                outputs = MULTIPLIERS[index] * width
                self.upward.append(Stage(channels + kept.pop(), outputs, embedding, index == last))
                channels = outputs
            if index:
                double = nn.Upsample(scale_factor=2), nn.Conv2d(channels, channels, 3, padding=1)
                self.upward.append(nn.Sequential(*double))
        self.norm, self.outward = norm(channels), nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, x, t):
        frequencies = torch.exp(-math.log(1e4) * torch.arange(self.half) / (self.half - 1))
        angles = 1000.0 * t[:, None] * frequencies
        embedding = self.time(torch.cat([angles.cos(), angles.sin()], -1))
        x = self.inward(x)
        kept = [x]
        for part in self.downward:
            x = part(x, embedding) if isinstance(part, Stage) else part(x)
            kept.append(x)
        for part in self.middle:
            x = part(x, embedding)
        for part in self.upward:
            x = part(torch.cat([x, kept.pop()], 1), embedding) if isinstance(part, Stage) else part(x)
        return self.outward(functional.silu(self.norm(x)))
