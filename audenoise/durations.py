"""A length of time as a person says it."""


def in_words(seconds: float) -> str:
    """Such as ``3 h 20 min``.

    >>> [in_words(seconds) for seconds in (0.31, 9, 600, 7200, 12_000)]
    ['0.3 s', '9 s', '10 min', '2 h', '3 h 20 min']
    """
    if seconds < 90:
        return f"{seconds:.1g} s" if seconds < 1 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    return " ".join([f"{hours} h"] * bool(hours) + [f"{rest} min"] * bool(rest))
