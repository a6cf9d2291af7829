"""Measures as a user writes them, right and wrong, for the tests of the analysis."""

MINE = """
def cosine_of_means(x, y):
    return float((x.mean(0) @ y.mean(0)) / (x.mean(0).norm() * y.mean(0).norm()))


def no_number(x, y):
    return float("nan")


def nothing(x, y):
    pass


def broken(x, y):
    return {}["key"]


def in_place(x, y):
    x *= 0
    return 0.5


def constant(x):
    return [1.0] * (len(x) * (len(x) - 1) // 2)


def single(x):
    return 1.0
"""
