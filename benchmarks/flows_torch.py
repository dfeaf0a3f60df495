"""The peers of `flows.py`: flows of normflows and zuko, as its second process builds and times them."""

import normflows as nf
import numpy as np
import torch
import zuko
from pairs import Variant, repeated


def variants(flow, dim, batch, layers, width, bins, bound, parameters, nums, threads, compiled):
    """The variants of a flow: "RealNVP" or "spline".

    Args:
        flow: which.
        dim: dimensions of a point.
        batch: points a training step.
        layers: number of couplings.
        width: units of their networks' two hidden layers.
        bins: of a spline.
        bound: of a spline.
        parameters: numbers that a coupling's network gives for an element.
        nums: how many points a call draws.
        threads: of PyTorch.
        compiled: also `torch.compile`.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(batch, dim)).astype(np.float32))
    sizes = [dim // 2, width, width, (dim - dim // 2) * parameters]
    modules = {**normflows_of(flow, dim, layers, sizes, bins, bound), **zuko_of(flow, dim, layers, width, bins)}
    found = []
    for name, module in modules.items():
        numbers = {key: p.numel() for key, p in module.named_parameters()}
        dense = sum(number for key, number in numbers.items() if key.endswith("weight"))
        facts = {"parameters": sum(numbers.values()), "multiply_adds": dense}
        loss, sample = functions_of(module)
        samples = {f"sample_{num}": repeated(sample, num) for num in nums}
        found.append(Variant(name, facts, {"step": steps_of(module, loss, x), **samples}))
        if compiled and "as built" not in name:
            faster = steps_of(module, torch.compile(loss), x)
            found.append(Variant(f"{name}, compiled", facts, {"step": faster}, optional=True))
    return found


def normflows_of(flow, dim, layers, sizes, bins, bound):
    """Flows of normflows by name; the last layer is the first that the data meet."""
    width = sizes[1]

    class Network(nf.nets.MLP):
        hidden_features = width  # by whose root normflows divides widths and heights

        def forward(self, x, context=None):
            return self.net(x)

    def affine(index):
        half = ("channel", "channel_inv")[index % 2]
        return [nf.flows.AffineCouplingBlock(nf.nets.MLP(sizes, init_zeros=True), split_mode=half)]

    def splines(index, same):
        layer = nf.flows.CoupledRationalQuadraticSpline(dim, 1, width, num_bins=bins, tail_bound=bound)
        if same:
            layer.prqct.transform_net = Network(sizes, init_zeros=True)
            layer.prqct.unconditional_transform = None
        return [layer, nf.flows.LULinearPermute(dim)]

    def whole(layer, *arguments):
        parts = [part for i in range(layers) for part in (*layer(i, *arguments), nf.flows.ActNorm(dim))]
        return nf.NormalizingFlow(nf.distributions.DiagGaussian(dim, trainable=False), parts)

    if flow == "RealNVP":
        return {"normflows, same network": whole(affine)}
    return {"normflows, same network": whole(splines, True), "normflows, as built": whole(splines, False)}


def zuko_of(flow, dim, layers, width, bins):
    """Flows of zuko by name; their splines end at 5."""
    options = {"transforms": layers, "hidden_features": (width, width)}
    if flow == "RealNVP":
        return {"zuko, same network": zuko.flows.NICE(dim, **options)}
    element = {"univariate": zuko.transforms.MonotonicRQSTransform, "shapes": [(bins,), (bins,), (bins - 1,)]}
    return {
        "zuko, same network": zuko.flows.NICE(dim, **element, **options),
        "zuko, as built": zuko.flows.NSF(dim, passes=2, bins=bins, **options),
    }


def functions_of(module):
    """The loss of a batch, and a function that draws samples."""
    if hasattr(module, "forward_kld"):  # normflows
        return module.forward_kld, torch.no_grad()(lambda num: module.sample(num)[0].numpy())
    return lambda x: -module().log_prob(x).mean(), torch.no_grad()(lambda num: module().sample((num,)).numpy())


def steps_of(module, loss, x):
    """Updates as PyTorch's tutorials write them."""
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3, fused=True)

    def steps(count):
        for _ in range(count):
            optimizer.zero_grad()
            value = loss(x)
            value.backward()
            optimizer.step()
        return value.item()

    return steps
