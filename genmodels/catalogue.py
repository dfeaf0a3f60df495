"""The models there are, by the names of their papers."""

import difflib
import inspect
import re

from genmodels.core import GenerativeModel, LatentModel
from genmodels.settings import constructor_arguments

FAMILIES = {
    "autoencoders": "autoencoder", "autoregressive": "autoregressive", "gans": "GAN", "flows": "normalizing flow",
    "diffusion": "diffusion",
}  # fmt: skip


def models() -> dict[str, type[GenerativeModel]]:
    """The public models that data alone define, by their names on the command line; oldest paper of a family first.

    Example:
        >>> models()["wgan-gp"].__name__
        'WGANGP'
    """
    classes = [c for c in _public() if c.title]
    families = list(FAMILIES.values())
    classes.sort(key=lambda c: (families.index(family(c)), c.year, c.title.lower()))
    return {slug(c): c for c in classes}


def _public():
    """All public classes of models."""
    import genmodels

    public = (getattr(genmodels, name) for name in genmodels.__all__)
    return [c for c in public if inspect.isclass(c) and issubclass(c, GenerativeModel)]


def model_class(name: str) -> type[GenerativeModel]:
    """The model of a name; dashes, underscores and case do not matter.

    Raises:
        ValueError: there is none; names the nearest.

    Example:
        >>> model_class("GatedPixelCNN").title
        'Gated PixelCNN'
    """
    known = {_letters(text): c for slug, c in models().items() for text in (slug, c.__name__)}
    if _letters(name) in known:
        return known[_letters(name)]
    if _letters(name) in {_letters(c.__name__) for c in _public()}:
        raise ValueError(f"{name} is made in Python, of networks or models that are handed to it: see its docstring.")
    near = difflib.get_close_matches(_letters(name), known, 1)
    hint = f" Did you mean {slug(known[near[0]])!r}?" if near else ""
    raise ValueError(f"no model is called {name!r}.{hint} There are {', '.join(models())}.")


def slug(cls) -> str:
    """The model's name on the command line: its title in lower case, with dashes."""
    return cls.title.lower().replace(" ", "-")


def family(cls) -> str:
    """The family of a model class: its folder's; "own" for a user's.

    Example:
        >>> import genmodels as gm
        >>> family(gm.Glow)
        'normalizing flow'
    """
    parts = cls.__module__.split(".")
    return FAMILIES[parts[2]] if parts[:2] == ["genmodels", "models"] else "own"


def abilities(cls) -> dict[str, str]:
    """What a model class can do, in words: likelihood, latents, encoder, conditions.

    Example:
        >>> import genmodels as gm
        >>> abilities(gm.DCGAN)["likelihood"]
        'none'
    """
    arguments = constructor_arguments(cls)
    latent = issubclass(cls, LatentModel)
    return {
        "likelihood": "; ".join(dict.fromkeys(cls.scores.values())) or "none",
        "latent": "none" if not latent else "encoder" if cls.encode is not LatentModel.encode else "by search",
        "conditions": " or ".join(
            word for name, word in (("num_classes", "classes"), ("condition_dim", "vectors")) if name in arguments
        ) or "none",
    }  # fmt: skip


def _letters(name):
    return re.sub(r"[^a-z0-9+]", "", name.lower())
