"""The width multiplier of all models."""


def scaled(units: int, width: float) -> int:
    """A number of units or channels times a width multiplier, at least 1.

    Example:
        >>> scaled(64, 0.5), scaled(64, 1.5), scaled(1, 0.1)
        (32, 96, 1)
    """
    return max(1, round(units * width))
