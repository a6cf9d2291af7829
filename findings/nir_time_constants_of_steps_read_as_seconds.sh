#!/usr/bin/env bash
# NIR files between sinabs 3.1.3 and snntorch 1.0.0: time constants of steps are read as seconds; the network is silent.
#
# NIR's LIF has a time constant tau, and the file no step of time. sinabs writes the number of steps as it is (20.0).
# snntorch takes it for seconds, 10,000 steps each: its neurons have beta 0.999995 and, by the scale of inputs that is
# moved into the threshold, the threshold 200,000 in place of 20. It tells of the scale ("scaling weights to avoid scaling
# inputs"), not that it assumes a step.
# Right would be a step of time in the file, or one that is asked for on reading.
# Seen with Python 3.11, torch 2.13.0, nir 1.0.4, nirtorch 2.0.2 (those that both take), tau of 20 steps, 4 neurons, 100
# steps: 73 spikes in sinabs, 0 in snntorch; with tau times 0.0001 in the file: 70 in snntorch.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check \
  sinabs==3.1.3 snntorch==1.0.0 nir==1.0.4 nirtorch==2.0.2 torch==2.13.0
cd "$folder"
"$folder/env/bin/python" - <<'PYTHON'
import nir
import sinabs.layers as sl
import torch
from sinabs.nir import to_nir
from snntorch.import_nir import import_from_nir

torch.manual_seed(0)
images = torch.rand(1, 100, 3)
linear = torch.nn.Linear(3, 4, bias=False)
torch.nn.init.uniform_(linear.weight, 2, 4)
neurons = sl.LIF(torch.full((4,), 20.0), spike_threshold=torch.ones(4))


def spikes(graph):
    network = import_from_nir(graph)
    (leaky,) = (module for module in network.modules() if hasattr(module, "beta"))
    state, count = None, 0
    for step in images.unbind(1):
        spiked, state = network(step) if state is None else network(step, state)
        count += int(spiked.sum())
    return count, float(leaky.threshold), float(leaky.beta.max())


with torch.no_grad():
    written = int(torch.nn.Sequential(linear, neurons)(images).sum())
    neurons.reset_states()
    nir.write("network.nir", to_nir(torch.nn.Sequential(linear, neurons), images))
    read = spikes(nir.read("network.nir"))
    seconds = nir.read("network.nir")
    for node in seconds.nodes.values():
        if isinstance(node, nir.LIF):
            node.tau = node.tau * 1e-4
    right = spikes(seconds)
print(f"sinabs: {written} spikes; snntorch: {read[0]}, threshold {read[1]:g}, beta {read[2]:.6f}; tau in seconds: {right}")
assert written > 50 and read[0] == 0 and read[1] > 1e5, "the two behave in another way now"
assert right[0] > 50, "the two behave in another way now"
PYTHON
