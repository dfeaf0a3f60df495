"""How much memory a process takes."""

import sys

try:
    import resource
except ImportError:  # Windows
    resource = None


def peak_memory() -> float | None:
    """MiB that this process has held in main memory at most, until now; None where the system does not tell.

    An accelerator's own memory is not counted.

    Example:
        >>> peak_memory() > 10
        True
    """
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # macOS counts bytes, Linux KiB
