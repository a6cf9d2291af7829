"""Texts in tables, as sequences of tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from orthotrace.core.errors import UserError, checked, one_line, refuse_unknown
from orthotrace.data.images import Images
from orthotrace.data.sources.base import Limit, Source, check_names, within
from orthotrace.data.sources.table import parts_at


@checked
def text(
    name: str | None = None,
    path: str | None = None,
    subset: str | None = None,
    train: str = "train",
    test: str = "test",
    text: str = "text",
    label: str = "label",
    tokenizer: Callable[[str], Any] | None = None,
    length: Annotated[int, Field(ge=1)] = 128,
    pad: Annotated[int, Field(ge=0)] = 0,
    classes: list[str | int] | None = None,
    limit: Limit | None = None,
) -> Source:
    """Texts from a data set of the Hugging Face hub, or from a local folder of Parquet files, as tokens (n, length).

    Longer texts are cut, shorter ones filled up in front, so that a recurrent network ends with a text's last token.

    Args:
        name: of the data set on the hub; with a path only the name that is shown.
        path: a local folder with train*.parquet and test*.parquet, at any depth, instead of the hub.
        subset: of the data set on the hub, where it has several.
        train: the split of the training part; of local files the beginning of their names.
        test: the split of the test part, likewise.
        text: the column of texts.
        label: the column of labels: whole numbers from 0, or names.
        tokenizer: called with a text, it gives numbers from 0, or an object with input_ids, as those of transformers
            do; None for the bytes of a text, as numbers from 1 to 256.
        length: of a sequence.
        pad: the token that fills up short texts.
        classes: names by label; None for those in the files.
        limit: texts of each class in each part at most, the first ones; None for all.

    Raises:
        UserError: the hub cannot be reached, a file is missing or damaged, a part or a column is absent, a row has no
            text or no label, or the tokenizer gives no tokens.
    """
    if name is None and path is None:
        raise UserError("give a folder of Parquet files, or the name of a data set on the hub", "path")
    made = parts_at(name, path, subset, train, test)
    found = {}
    for key, part in made.items():
        refuse_unknown([text], part.features, f"{part.name} has no column", "text")
        refuse_unknown([label], part.features, f"{part.name} has no column", "label")
        texts, labels = [], []
        for row, (value, of) in enumerate(part.values([text, label])):
            if not isinstance(value, str) or of is None:
                what = "label" if isinstance(value, str) else "text"
                raise UserError(f"row {row} of {part.name} has no {what}", what)
            texts.append(value)
            labels.append(of)
        if not texts:
            raise UserError(f"{part.name} has no rows", "path")
        found[key] = texts, labels
    names = _names(made["train"].features[label], [of for _, labels in found.values() for of in labels])
    kept = {}
    for key, (texts, labels) in found.items():
        among = within(limit)
        numbers = [names.index(of) if isinstance(of, str) else int(of) for of in labels]
        places = [place for place, number in enumerate(numbers) if among(number)]
        tokens = tokens_of([texts[place] for place in places], tokenizer, length, pad)
        kept[key] = Images(tokens, torch.tensor([numbers[place] for place in places]))
    if classes is not None and len(classes) != len(names):
        raise UserError(f"{len(classes)} names for {len(names)} classes", "classes")
    shown = check_names(names if classes is None else classes)
    return Source(name or Path(str(path)).name, kept["train"], kept["test"], shown)


def tokens_of(
    texts: Sequence[str], tokenizer: Callable[[str], Any] | None = None, length: int = 128, pad: int = 0
) -> Tensor:
    """Texts as tokens, (n, length), see text.

    Raises:
        UserError: the tokenizer raises an error, or gives something else than numbers from 0.

    Example:
        >>> tokens_of(["ab", "abcde"], length=4).tolist()
        [[0, 0, 98, 99], [98, 99, 100, 101]]
    """
    tokens = torch.full((len(texts), length), pad, dtype=torch.int64)
    call = tokenizer or _bytes
    for row, one in enumerate(texts):
        try:
            ids = call(one)
        except Exception as error:  # the user's own may raise anything
            raise UserError(f"raised an error: {one_line(error)}", "tokenizer") from error
        numbers = _numbers(ids)
        if numbers is None:
            raise UserError(f"gives {type(ids).__name__} for a text, and no numbers from 0", "tokenizer")
        numbers = numbers[:length]
        if numbers:
            tokens[row, length - len(numbers) :] = torch.tensor(numbers)
    return tokens


def _bytes(text: str) -> list[int]:
    return [byte + 1 for byte in text.encode()]


def _numbers(ids: Any) -> list[int] | None:
    """The tokens in what a tokenizer gives; None where there are none."""
    if isinstance(ids, Mapping):
        ids = ids.get("input_ids")
    ids = getattr(ids, "input_ids", ids)
    if isinstance(ids, str) or not isinstance(ids, Iterable):
        return None
    found = list(ids)
    whole = all(hasattr(one, "__index__") and not isinstance(one, bool) and int(one) >= 0 for one in found)
    return [int(one) for one in found] if whole else None


def _names(feature: Any, labels: Sequence[Any]) -> list[str]:
    """Names by label: those of the files, the sorted names themselves, or the numbers."""
    if getattr(feature, "names", None):
        return [str(name) for name in feature.names]
    if all(isinstance(one, str) for one in labels):
        return sorted(set(labels))
    if not all(isinstance(one, int) and one >= 0 for one in labels):
        raise UserError("labels are whole numbers from 0, or names", "label")
    return [str(number) for number in range(max(labels) + 1)]
