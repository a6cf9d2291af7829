"""Names that users chose, as a figure writes them."""

import re
from textwrap import fill

MATHEMATICS = re.compile(r"(?<!\\)\$[^$\n]*?(?<!\\)\$")


def shown(name: str) -> str:
    r"""A name as it is written: mathematics where every line has its ``$`` in pairs and can be read, else plain text.

    matplotlib reads any two ``$`` of a line as mathematics, whatever they were meant to be, and stops at what it cannot
    read.

    Example:
        >>> print(shown(r"$\alpha$ = 1"), shown("path=$HOME"), shown(r"$\nothing$"))
        $\alpha$ = 1 path=\$HOME \$\nothing\$
    """
    plain = re.sub(r"(?<!\\)\$", r"\\$", name)
    if plain == name:
        return name
    return name if all(_readable(line) for line in name.split("\n")) else plain


def _readable(line: str) -> bool:
    from matplotlib.mathtext import MathTextParser

    if len(re.findall(r"(?<!\\)\$", line)) % 2:
        return False
    try:
        MathTextParser("path").parse(line)
    except ValueError:
        return False
    return True


def filled(name: str, width: int, break_long_words: bool = True) -> str:
    """A name in lines of at most width letters, see textwrap.fill; mathematics is not broken.

    Example:
        >>> filled("a long name", 6).splitlines(), filled("$a + b + c$ of it", 4).splitlines()
        (['a long', 'name'], ['$a + b + c$', 'of', 'it'])
    """
    joined = MATHEMATICS.sub(lambda found: found[0].replace(" ", "\0"), name)
    broken = fill(joined, width, break_long_words=break_long_words and joined == name)
    return shown(broken.replace("\0", " "))


def wrapped(name: str, width: int) -> str:
    """A name in lines of at most width letters, broken at spaces and behind slashes, never within a word.

    Example:
        >>> wrapped("texture/very striped", 8).splitlines(), wrapped("texture/striped", 15).splitlines()
        (['texture/', 'very', 'striped'], ['texture/striped'])
    """
    found: list[str] = []
    for piece in re.split(r"(?<=/)| ", name):
        joint = "" if not found or found[-1].endswith("/") else " "
        if found and len(found[-1] + joint + piece) <= width:
            found[-1] += joint + piece
        else:
            found.append(piece)
    return shown("\n".join(found))
