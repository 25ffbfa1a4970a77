"""Stand-in for `statistics`: exact sums of ints, floats and Decimals, rounded once, as there.

`StatisticsError` is `ValueError`. What it lacks: `NormalDist`, `linear_regression` and their like.
"""

import math
from decimal import Decimal

__all__ = [
    *("StatisticsError", "fmean", "geometric_mean", "harmonic_mean", "mean", "median"),
    *("median_high", "median_low", "mode", "multimode", "pstdev", "pvariance", "quantiles"),
    *("stdev", "variance"),
]

StatisticsError = ValueError


def _ratio(x):
    """Give a number as numerator and denominator; those of no finite number have 0 below."""
    if isinstance(x, int):
        return int(x), 1
    if isinstance(x, float):
        if math.isnan(x) or math.isinf(x):
            return x, 0
        fraction, exponent = math.frexp(x)
        top, exponent = int(math.ldexp(fraction, 53)), exponent - 53
        return _reduced(top << max(0, exponent), 1 << max(0, -exponent))
    if isinstance(x, Decimal):
        return x.as_integer_ratio() if x.is_finite() else (x, 0)
    raise TypeError(f"can't convert type '{type(x).__name__}' to numerator/denominator")


def _reduced(top, below):
    common = math.gcd(top, below)
    return top // common, below // common


def _kind(data):
    """Give the type that results have: of floats and Decimals together there is none."""
    kinds = {type(x) for x in data}
    if Decimal in kinds and float in kinds:
        raise TypeError("don't know how to coerce float and Decimal")
    if Decimal in kinds:
        return Decimal
    return float if float in kinds else int


def _sum(ratios):
    """Add ratios of one denominator at a time, then all of them."""
    by = {}
    for top, below in ratios:
        by[below] = by.get(below, 0) + top
    if 0 in by:
        return by[0], 0
    whole = max(by, default=1)
    for below in by:
        whole = whole * below // math.gcd(whole, below)
    return _reduced(sum([by[below] * (whole // below) for below in by]), whole)


def _made(top, below, kind):
    """Give a ratio as a number of a kind."""
    if below == 0:
        return top
    if kind is Decimal:
        return Decimal(top) / below
    if kind is int and below == 1:
        return top
    return top / below


def mean(data):
    data = list(data)
    if not data:
        raise StatisticsError("mean requires at least one data point")
    top, below = _sum([_ratio(x) for x in data])
    if below == 0:
        return top / len(data)
    return _made(*_reduced(top, below * len(data)), _kind(data))


def fmean(data, weights=None):
    data = list(data)
    if weights is None:
        if not data:
            raise StatisticsError("fmean requires at least one data point")
        return math.fsum(data) / len(data)
    weights = list(weights)
    if len(data) != len(weights):
        raise StatisticsError("data and weights must be the same length")
    whole = math.fsum(weights)
    if not whole:
        raise StatisticsError("sum of weights must be non-zero")
    return math.fsum([x * weight for x, weight in zip(data, weights)]) / whole


def geometric_mean(data):
    data = [float(x) for x in data]
    if not data or min(data) <= 0:
        raise StatisticsError(
            "geometric mean requires a non-empty dataset containing positive numbers"
        )
    return math.exp(math.fsum([math.log(x) for x in data]) / len(data))


def harmonic_mean(data, weights=None):
    data = list(data)
    if not data:
        raise StatisticsError("harmonic_mean requires at least one data point")
    if len(data) == 1 and weights is None:
        if data[0] < 0:
            raise StatisticsError("harmonic mean does not support negative values")
        return data[0]
    weights = [1] * len(data) if weights is None else list(weights)
    if len(weights) != len(data):
        raise StatisticsError("Number of weights does not match data size")
    if min(data) < 0:
        raise StatisticsError("harmonic mean does not support negative values")
    if any([x == 0 and weight for x, weight in zip(data, weights)]):
        return 0
    parts = [weight / x if weight else 0 for x, weight in zip(data, weights)]
    whole, one = _sum([_ratio(weight) for weight in weights])
    top, below = _sum([_ratio(part) for part in parts])
    if top <= 0:
        raise StatisticsError("Weighted sum must be positive")
    if below == 0:
        return whole / one / top
    return _made(*_reduced(whole * below, one * top), _kind(parts))


def median(data):
    data = _ordered(data)
    half = len(data) // 2
    if len(data) % 2:
        return data[half]
    return (data[half - 1] + data[half]) / 2


def median_low(data):
    data = _ordered(data)
    return data[(len(data) - 1) // 2]


def median_high(data):
    data = _ordered(data)
    return data[len(data) // 2]


def _ordered(data):
    data = sorted(data)
    if not data:
        raise StatisticsError("no median for empty data")
    return data


def _counted(data):
    """Give each value, as it first came, with how often it came."""
    found = {}
    for x in data:
        if x in found:
            found[x][1] += 1
        else:
            found[x] = [x, 1]
    return list(found.values())


def mode(data):
    counted = _counted(data)
    if not counted:
        raise StatisticsError("no mode for empty data")
    return max(counted, key=lambda pair: pair[1])[0]


def multimode(data):
    counted = _counted(data)
    most = max([times for _, times in counted], default=0)
    return [value for value, times in counted if times == most]


def quantiles(data, *, n=4, method="exclusive"):
    if n < 1:
        raise StatisticsError("n must be at least 1")
    data = sorted(data)
    if len(data) < 2:
        raise StatisticsError("must have at least two data points")
    if method not in ("inclusive", "exclusive"):
        raise ValueError(f"Unknown method: {method!r}")
    is_inclusive = method == "inclusive"
    steps = len(data) - 1 if is_inclusive else len(data) + 1
    result = []
    for i in range(1, n):
        j = i * steps // n
        if not is_inclusive:
            j = min(max(j, 1), len(data) - 1) - 1
        delta = i * steps - (j if is_inclusive else j + 1) * n
        result.append((data[j] * (n - delta) + data[j + 1] * delta) / n)
    return result


def _squares(data, centre):
    """Give the sum of squared distances from the mean, or from `centre`, as a ratio."""
    ratios = [_ratio(x) for x in data]
    if any([below == 0 for _, below in ratios]):
        total = sum(data)
        return total - total, 0
    if centre is not None:
        top, below = _ratio(centre)
        ratios = [_reduced(a * below - top * b, b * below) for a, b in ratios]
        return _sum([(a * a, b * b) for a, b in ratios])
    top, below = _sum(ratios)
    squares, under = _sum([(a * a, b * b) for a, b in ratios])
    n = len(data)
    # the sum of squares less the square of the sum over n
    return _reduced(squares * n * below * below - top * top * under, under * n * below * below)


def _spread(data, centre, less, name):
    data = list(data)
    if len(data) < 1 + less:
        points = "two data points" if less else "one data point"
        raise StatisticsError(f"{name} requires at least {points}")
    top, below = _squares(data, centre)
    if below == 0:
        return top, 0, _kind(data)
    return *_reduced(top, below * (len(data) - less)), _kind(data)


def variance(data, xbar=None):
    return _made(*_spread(data, xbar, 1, "variance"))


def pvariance(data, mu=None):
    return _made(*_spread(data, mu, 0, "pvariance"))


def stdev(data, xbar=None):
    return _root(*_spread(data, xbar, 1, "stdev"))


def pstdev(data, mu=None):
    return _root(*_spread(data, mu, 0, "pstdev"))


def _root(top, below, kind):
    """Give the square root of a ratio, rounded once."""
    if below == 0:
        return top
    if kind is Decimal:
        return (Decimal(top) / Decimal(below)).sqrt()
    if not top:
        return 0.0
    shift = (len(bin(top)) - len(bin(below)) - 109) // 2
    if shift >= 0:
        return float(_odd_root(top, below << 2 * shift) << shift)
    return _odd_root(top << -2 * shift, below) / (1 << -shift)


def _odd_root(top, below):
    """Give the root of a quotient in whole numbers, odd where it is not exact."""
    root = math.isqrt(top // below)
    return root | (root * root * below != top)
