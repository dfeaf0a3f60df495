"""HTML from Python: elements that escape what they are given."""

import html
import math

VOID = ("img", "meta", "br")


class Markup(str):
    """Text that is HTML already. All other text is escaped where it enters an element."""


def element(tag, /, *children, **attributes) -> Markup:
    """An element; attributes in Python's spelling, `class_` and `aria_label`; those of None are left out.

    Example:
        >>> element("p", "a < b", class_="note")
        '<p class="note">a &lt; b</p>'
    """
    marks = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{tag}{marks}>" if tag in VOID else f"<{tag}{marks}>{joined(children)}</{tag}>")


def joined(children) -> Markup:
    """Children one after the other, those that are no markup escaped."""
    return Markup("".join(child if isinstance(child, Markup) else html.escape(str(child)) for child in children))


def number(value: float) -> str:
    """A number for people: six digits, the thousands of integers apart.

    Example:
        >>> number(-2.39457111344)
        '−2.39457'
    """
    if isinstance(value, int) or (value.is_integer() and abs(value) >= 1e6):
        shown = f"{int(value):,}".replace(",", "\u202f")
    else:
        shown = f"{value:.6g}"
    return shown.replace("-", "−") if math.isfinite(value) else shown


def duration(seconds: float) -> str:
    """Seconds in words, two units at most.

    Example:
        >>> duration(3725.0)
        '1 h 2 min'
    """
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes else f"{rest} s"
    hours, rest = divmod(round(seconds / 60), 60)
    return f"{hours} h {rest} min"
