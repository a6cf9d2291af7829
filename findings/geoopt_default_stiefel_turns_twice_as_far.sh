#!/usr/bin/env bash
# geoopt 0.5.1: on Stiefel, with its default metric, retr and expmap turn a point twice as far as the tangent vector
# says, and proju changes vectors that are tangent already.
#
# A retraction goes off in the direction that it is given: its slope at 0 is the tangent vector (Absil et al. 2008). By
# the documentation retr is one, expmap is the exponential map or the best approximation, and proju projects on the
# tangent space. The Cayley transform inside is made for the gradient of the space around (Wen and Yin 2013), but gets
# the tangent vector: so the part of it that turns the columns among themselves, x (x^T u), counts twice. proju is the
# gradient for this metric, not a projection: what it has projected it changes again, by the same part. All results are
# on the manifold, so no check tells anything. RiemannianSGD, RiemannianAdam and the line search go by retr: a square
# orthogonal weight learns with twice the learning rate that was set, a tall one with twice in some directions only.
# Right would be u - x (x^T u) / 2 in the place of u inside, and the projection of EuclideanStiefel for proju. Until
# then: Stiefel(canonical=False), which does all of it right.
# Seen with Python 3.11, torch 2.13.0: a turn of 30 degrees by expmap is one of 55.3 (30.0 with canonical=False); of a
# 6 x 3 point the slope of retr has 2.000 times the turning part and 1.000 times the rest (1.000 and 1.000), and proju
# changes a tangent vector by .493 of its length (0); the loss of a square weight falls by 2.000 times what gradient and
# learning rate give (1.000).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check geoopt==0.5.1 torch==2.13.0 \
    numpy==2.4.6 scipy==1.17.1
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import math

import geoopt
import torch

torch.set_default_dtype(torch.float64)
torch.manual_seed(0)


def tangent(point, vector):
    """The orthogonal projection on the tangent space."""
    product = point.T @ vector
    return vector - point @ (product + product.T) / 2


def degrees_turned(manifold):
    """How far a 3 x 3 rotation is turned by the tangent vector of a turn of 30 degrees about the third axis."""
    generator = torch.zeros(3, 3)
    generator[1, 0], generator[0, 1] = math.radians(30), -math.radians(30)
    point = torch.linalg.qr(torch.randn(3, 3))[0]
    assert manifold.check_vector_on_tangent(point, point @ generator)
    turn = point.T @ manifold.expmap(point, point @ generator)
    return math.degrees(math.atan2(turn[1, 0], turn[0, 0]))


def slope(manifold, step=1e-6):
    """How much the slope of retr has of the turning part of a tangent vector, and of the rest; the change by proju."""
    point = torch.linalg.qr(torch.randn(6, 3))[0]
    vector = tangent(point, torch.randn(6, 3))
    found = (manifold.retr(point, step * vector) - manifold.retr(point, -step * vector)) / (2 * step)
    turning, found_turning = point @ (point.T @ vector), point @ (point.T @ found)
    rest, found_rest = vector - turning, found - found_turning
    shares = [float((a * b).sum() / (b * b).sum()) for a, b in ((found_turning, turning), (found_rest, rest))]
    return *shares, float((manifold.proju(point, vector) - vector).norm() / vector.norm())


def fall(manifold, rate=1e-4):
    """The fall of a loss in one step of RiemannianSGD, as a multiple of rate times the squared norm of the gradient."""
    inputs, wanted = torch.randn(2, 50, 4)
    weight = geoopt.ManifoldParameter(torch.linalg.qr(torch.randn(4, 4))[0], manifold=manifold)
    optimizer = geoopt.optim.RiemannianSGD([weight], lr=rate)
    before = (inputs @ weight - wanted).square().mean()
    before.backward()
    gradient = manifold.egrad2rgrad(weight.detach(), weight.grad)
    expected = rate * manifold.inner(weight.detach(), gradient)
    optimizer.step()
    after = (inputs @ weight - wanted).square().mean()
    return float((before - after) / expected)


found = {}
for canonical in (True, False):
    manifold = geoopt.Stiefel(canonical=canonical)
    found[canonical] = degrees_turned(manifold), *slope(manifold), fall(manifold)
    degrees, turning, rest, change, times = found[canonical]
    print(f"canonical={canonical}: 30 degrees are {degrees:.1f}; slope of retr: turning part {turning:.3f}, rest "
          f"{rest:.3f}; proju changes by {change:.3f}; the loss falls by {times:.3f} times the expected")
assert isinstance(geoopt.Stiefel(), geoopt.CanonicalStiefel), "the default is another one now"
degrees, turning, rest, change, times = found[False]
assert abs(degrees - 30) < 1e-6 and change < 1e-9, "geoopt behaves in another way now"
assert all(abs(value - 1) < 0.01 for value in (turning, rest, times)), "geoopt behaves in another way now"
degrees, turning, rest, change, times = found[True]
assert abs(degrees - 55.3) < 0.1 and change > 0.05, "geoopt behaves in another way now"
assert abs(turning - 2) < 0.01 and abs(rest - 1) < 0.01, "geoopt behaves in another way now"
assert abs(times - 2) < 0.02, "geoopt behaves in another way now"
PYTHON
