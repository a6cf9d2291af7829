#!/usr/bin/env bash
# rockpool 3.1.0: quantised for Xylo, a network's biases are those of another network; weights and thresholds are right.
#
# global_quantize and channel_quantize scale the weights, thresholds and biases of a neuron by one number, so that it
# fires as before. global_quantize takes the hidden layer's number for bias_out. channel_quantize leaves the hidden
# biases as they are where there is one synapse for each neuron (Xylo IMU), so that rounding makes most of them 0; with
# two synapses it scales them. And it writes its results into the arrays bias and bias_out that it was given: a second
# call, say with other bits or by the other method, starts from biases that are scaled already. fuzzy_scaling=True is to
# "scale and clip weights"; nothing is clipped, and weights are beyond the 8 bits asked for. Nothing is said in any of
# these.
# Right would be bias / threshold as before quantisation, and arguments that stay as they are.
# Seen with Python 3.11, numpy 2.4.6, 8 hidden and 3 output neurons, output weights a tenth of the others. Bias /
# threshold is .1 in hidden, .05 in output neurons. With one synapse: global .091, .0053; channel 0, .050; the same call
# again 0, 44. With two: global .094, .0055; channel .100, .050; again 6.5, 37. Largest weight with fuzzy_scaling 148,
# where 127 fits.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check rockpool==3.1.0 numpy==2.4.6 scipy==1.17.1
cd "$folder"
"$folder/env/bin/python" - <<'PYTHON'
import copy

import numpy as np
from rockpool.transform.quantize_methods import channel_quantize, global_quantize


def network(synapses):
    """A specification as the mappers of rockpool give it, in floating point."""
    rng = np.random.default_rng(0)
    return {
        "weights_in": rng.normal(size=(4, 8, synapses)),
        "weights_rec": rng.normal(size=(8, 8, synapses)),
        "weights_out": 0.1 * rng.normal(size=(8, 3)),
        "threshold": np.ones(8),
        "threshold_out": np.ones(3),
        "bias": np.full(8, 0.1),
        "bias_out": np.full(3, 0.05),
        **{f"dash_{name}": np.full(8, 4.0) for name in ("mem", "syn", "syn_2")},
        **{f"dash_{name}_out": np.full(3, 4.0) for name in ("mem", "syn")},
    }


def ratios(specification, given):
    """Mean bias / threshold of hidden and output neurons, and the largest error of an output weight / threshold."""
    hidden = float(np.mean(specification["bias"] / specification["threshold"]))
    output = float(np.mean(specification["bias_out"] / specification["threshold_out"]))
    weights = specification["weights_out"] / specification["threshold_out"]
    return hidden, output, float(abs(weights - given["weights_out"]).max())


found = {}
for synapses in (1, 2):
    given = network(synapses)
    hidden, output, _ = ratios(given, given)
    print(f"{synapses} synapses, bias / threshold as given: hidden neurons {hidden:.4f}, output neurons {output:.4f}")
    for quantise in (global_quantize, channel_quantize):
        specification = copy.deepcopy(given)
        found[quantise.__name__, synapses] = ratios(quantise(**specification), given)
        again = ratios(quantise(**specification), given)
        found[quantise.__name__, synapses, "again"] = again
        for call, (hidden, output, error) in (
            ("", found[quantise.__name__, synapses]),
            (", the same call again", again),
        ):
            print(f"  {quantise.__name__}{call}: {hidden:.4f}, {output:.4f}; output weights off by {error:.4f}")
fuzzy = global_quantize(**network(1), fuzzy_scaling=True)
largest = max(int(abs(fuzzy[name]).max()) for name in ("weights_in", "weights_rec", "weights_out"))
print(f"fuzzy_scaling, 8 bits: largest weight {largest}")

changed = "rockpool behaves in another way now"
assert all(values[2] < 0.002 for values in found.values()), "the weights themselves are not right"
for synapses in (1, 2):
    assert found["global_quantize", synapses][1] < 0.01, changed
    assert found["global_quantize", synapses] == found["global_quantize", synapses, "again"], changed
    assert abs(found["channel_quantize", synapses][1] - 0.05) < 0.002, changed
    assert found["channel_quantize", synapses, "again"][1] > 10, changed
assert found["channel_quantize", 1][0] == 0 and abs(found["channel_quantize", 2][0] - 0.1) < 0.01, changed
assert largest > 127, changed
PYTHON
