"""How often two networks answer differently: what they do, beside how they represent."""

from numpy.typing import ArrayLike

from orthotrace.analysis.rdm.arrays import finite, same_index
from orthotrace.core.errors import UserError


def disagreement(x: ArrayLike, y: ArrayLike) -> float:
    """The share of stimuli to which two networks answer differently.

    Args:
        x: outputs (n, classes), of which the largest counts, the first of equal ones; or the classes chosen, (n,).
        y: likewise, of the same stimuli.

    Returns:
        In [0, 1].

    Raises:
        UserError: what is no outputs or classes of the same stimuli.

    Source: Fort, Hu & Lakshminarayanan, Deep Ensembles: A Loss Landscape Perspective, 2019.

    Example:
        >>> disagreement([[0.1, 0.9], [0.8, 0.2]], [[0.3, 0.7], [0.4, 0.6]])
        0.5
    """
    same_index(x=x, y=y)
    chosen, shapes = [], []
    for name, one in (("x", x), ("y", y)):
        values = finite(one, name)
        if values.ndim not in (1, 2) or not values.size:
            raise UserError(f"outputs (n, classes) or classes (n,) are needed, got shape {values.shape}", name)
        if values.shape[1:] == (1,):
            raise UserError("one output alone has no largest: give the classes that were chosen, (n,)", name)
        shapes.append(values.shape)
        chosen.append(values.argmax(axis=1) if values.ndim == 2 else values)
    if shapes[0] != shapes[1]:
        raise UserError(f"the same stimuli and classes are needed, got shapes {shapes[0]} and {shapes[1]}")
    return float((chosen[0] != chosen[1]).mean())
