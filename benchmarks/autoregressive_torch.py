"""The peer of `autoregressive.py`: its network and step in PyTorch, as its second process builds and times them."""

import torch
from pairs import Variant, repeated
from torch import nn
from torch.nn import functional


def variants(precisions, filters, blocks, batch, samples, images, threads):
    """A variant a precision.

    Args:
        precisions: "float32", and "bfloat16" for autocast.
        filters: channels of each stack.
        blocks: gated blocks.
        batch: images an update.
        samples: images that are drawn at once.
        images: of the data.
        threads: of PyTorch.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    x = torch.randint(2, [images, 1, 28, 28]).float().contiguous(memory_format=torch.channels_last)
    found = []
    for precision in precisions:
        network = GatedPixelCNN(filters, blocks).to(memory_format=torch.channels_last)
        facts = {"parameters": sum(p.numel() for p in network.parameters())}
        trainer = Trainer(network, x.split(batch), precision == "bfloat16")
        tasks = {"step": repeated(trainer.step), "pass": repeated(trainer.one_pass, x[:samples])}
        found.append(Variant(f"PyTorch, {precision}", facts, tasks))
    return found


class Causal(nn.Module):
    """A convolution over the present row and `above` more, with zeros beyond the border."""

    def __init__(self, inputs, outputs, above=0, left=0, right=0, bias=True):
        super().__init__()
        self.border = (left, right, above, 0)
        self.convolution = nn.Conv2d(inputs, outputs, (above + 1, left + 1 + right), bias=bias)

    def forward(self, x):
        return self.convolution(functional.pad(x, self.border) if any(self.border) else x)


def gate(x):
    a, b = x.chunk(2, 1)
    return torch.tanh(a) * torch.sigmoid(b)


class Block(nn.Module):
    """Both stacks; the first block reads 7×7 pixels of shifted images and has no residual."""

    def __init__(self, filters, first):
        super().__init__()
        inputs, side, shifted = (1, 3, 1) if first else (filters, 1, 0)
        self.first = first
        self.above = Causal(inputs, 2 * filters, above=side - shifted, left=side, right=side)
        self.beside = Causal(inputs, 2 * filters, left=side - shifted, bias=False)
        self.link = Causal(2 * filters, 2 * filters)
        self.update = Causal(filters, filters)

    def forward(self, vertical, horizontal):
        above = self.above(vertical)
        update = self.update(gate(self.beside(horizontal) + self.link(above)))
        return gate(above), update if self.first else horizontal + update


class GatedPixelCNN(nn.Module):
    """The default of two levels: logits of the pixels."""

    def __init__(self, filters, blocks):
        super().__init__()
        self.blocks = nn.ModuleList(Block(filters, first=block == 0) for block in range(blocks))
        self.head = nn.Sequential(nn.ReLU(), Causal(filters, filters), nn.ReLU(), Causal(filters, 1))

    def forward(self, x):
        vertical = functional.pad(x, (0, 0, 1, 0))[:, :, :-1]
        horizontal = functional.pad(x, (1, 0, 0, 0))[:, :, :, :-1]
        for block in self.blocks:
            vertical, horizontal = block(vertical, horizontal)
        return self.head(horizontal)


class Trainer:
    """Steps on the exact likelihood, and the pass that a sampler makes for each pixel."""

    def __init__(self, network, batches, bfloat16):
        self.network, self.batches, self.bfloat16, self.taken = network, batches, bfloat16, 0
        self.optimizer = torch.optim.Adam(network.parameters(), 1e-3, fused=True)

    def step(self):
        x = self.batches[self.taken % len(self.batches)]
        self.taken += 1
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            logits = self.network(x)
        loss = functional.binary_cross_entropy_with_logits(logits.float(), x, reduction="sum") / len(x)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    @torch.no_grad()
    def one_pass(self, x):
        pixel = torch.sigmoid(self.network(x)[:, :, 14, 14])
        return torch.bernoulli(pixel).numpy()
