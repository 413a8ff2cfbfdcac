"""Search spaces: conditions, grids, and spans as text."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from asdbench.errors import ConfigError, unknown
from asdbench.plugin.entries import Between, OneOf, Space, Span

Values = Mapping[str, Any]
"""Option -> its value."""


def applies(span: Span, chosen: Values) -> bool:
    """Return whether a span is searched, given the values of the spans before it."""
    return all(chosen.get(option) in values for option, values in span.when.items())


def check_space(space: Space, *, of: str) -> None:
    """Check that every condition names an earlier option of the space.

    Raises:
        ConfigError: One does not.
    """
    earlier: list[str] = []
    for option, span in space.items():
        for other in span.when:
            if other not in earlier:
                raise ConfigError(
                    f"{of}: {option} depends on {unknown('earlier option', other, known=earlier)}"
                )
        earlier.append(option)


def points(space: Space) -> Iterator[Values]:
    """Yield every point of a grid once; an option whose condition fails is not part of a point.

    Raises:
        ConfigError: An option is a range, which has no grid.
    """
    for option, span in space.items():
        if isinstance(span, Between):
            raise ConfigError(
                f"{option} is a range from {span.low} to {span.high}, which has no grid; give its values, for example "
                f"--param '{option}={span.low}|{span.high}', choose a grid with --space, or another sampler"
            )
    seen = set()
    for values in itertools.product(*(span.ends for span in space.values())):
        chosen: dict[str, Any] = {}
        for (option, span), value in zip(space.items(), values, strict=True):
            if applies(span, chosen):
                chosen[option] = value
        # Points that differ only in an option that does not apply are one point.
        if (key := msgspec.json.encode(chosen)) not in seen:
            seen.add(key)
            yield chosen


def text_of(value: Any) -> str:
    """Return the value of an option as the command line reads it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "none" if value is None else str(value)


def parse_span(text: str) -> tuple[str, Span | None]:
    """Parse ``OPTION``, ``OPTION=LOW..HIGH``, ``OPTION=LOW..HIGH:log`` or ``OPTION=A|B|C``.

    Returns:
        The option, and its span; None: the method's own.

    Raises:
        ConfigError: The text has another form.
    """
    option, equals, values = text.partition("=")
    option, values = option.strip(), values.strip()
    if not option or (equals and not values):
        raise ConfigError(f"parameter {text!r} is not of the form NAME, NAME=LOW..HIGH[:log] or NAME=A|B")
    if not equals:
        return option, None
    if ".." not in values:
        return option, OneOf(values=tuple(_value(each.strip()) for each in values.split("|")))
    span, _, scale = values.partition(":")
    low, _, high = span.partition("..")
    ends = (_value(low), _value(high))
    if scale not in ("", "log") or not all(type(end) in (int, float) for end in ends):
        raise ConfigError(
            f"parameter {text!r}: a range is two numbers, for example lr=1e-4..1e-2:log or scorer.k=1..16"
        )
    return option, Between(low=ends[0], high=ends[1], log=scale == "log")


def span_text(span: Span) -> str:
    """Return a span as ``parse_span`` reads it, and where it applies."""
    if isinstance(span, Between):
        text = f"{span.low}..{span.high}{':log' if span.log else ''}"
    else:
        text = "|".join(str(text_of(value)) for value in span.values)
    where = " and ".join(f"{option}={'|'.join(map(str, values))}" for option, values in span.when.items())
    return f"{text}, if {where}" if where else text


def _value(text: str) -> Any:
    """Return a number, a truth value, None, or the text itself."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None if text == "none" else text
