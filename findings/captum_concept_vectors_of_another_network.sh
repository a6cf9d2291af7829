#!/usr/bin/env bash
# captum 0.9.0: concept vectors of a second network hold activations of the first, with force_train=True too.
#
# TCAV keeps activations and concept vectors in files, by the names of model and layer (by default ./cav, and one name for
# all models). interpret takes what is there: a second seed, or the same network after its next task, is scored along the
# first one's vectors, and has no option not to. compute_cavs(force_train=True) writes its activations anew, a file for
# each batch, but all files of the folder are read: where this concept has fewer batches than the last, the vector is
# learned from both networks. Nothing is said. Right would be what an empty folder gives.
# Seen with Python 3.11, torch 2.13.0, one hidden layer of 5, vectors between the means of two concepts. After another
# network: TCAV's magnitude .516 in place of -.139; with force_train, 16 images a concept and 32 before, the classifier
# sees 64 rows in place of 32, and the magnitude is .195 in place of -.131.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check torch==2.13.0 captum==0.9.0
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import torch
from captum.concept import TCAV, Classifier, Concept
from torch import nn
from torch.utils.data import DataLoader


class Means(Classifier):
    """The direction between the means of two concepts: no chance in it."""

    def __init__(self):
        pass

    def train_and_eval(self, dataloader, **kwargs):
        rows, concepts = (torch.cat(part) for part in zip(*[batch[:2] for batch in dataloader]))
        self.names = [int(concepts.min()), int(concepts.max())]
        direction = rows[concepts == self.names[0]].mean(0) - rows[concepts == self.names[1]].mean(0)
        self.directions = torch.stack([direction, -direction])
        return {"rows": len(rows)}

    def weights(self):
        return self.directions

    def classes(self):
        return self.names


images = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))


def network(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2))


def tcav(model, folder, count, **options):
    """Rows that the classifier saw, and the magnitude, of two concepts of so many images in batches of 8."""
    concepts = [Concept(0, "one", DataLoader(images[:count] + 1, 8)), Concept(1, "other", DataLoader(images[-count:] - 1, 8))]
    method = TCAV(model, ["1"], classifier=Means(), save_path=folder)
    rows = method.compute_cavs([concepts], **options)["0-1"]["1"].stats["rows"]
    return rows, method.interpret(images, [concepts], target=0)["0-1"]["1"]["magnitude"][0].item()


tcav(network(0), "shared", 32)
_, after = tcav(network(1), "shared", 32)
_, alone = tcav(network(1), "empty", 32)
print(f"second network, 32 images: magnitude {after:.3f} after the first network, {alone:.3f} in an empty folder")
tcav(network(0), "again", 32)
forced = tcav(network(1), "again", 16, force_train=True)
fresh = tcav(network(1), "new", 16, force_train=True)
print(f"force_train, 16 images: {forced[0]} rows and {forced[1]:.3f} after the first network, "
      f"{fresh[0]} rows and {fresh[1]:.3f} in an empty folder")
assert abs(after - alone) > 0.1, "captum behaves in another way now"
assert (forced[0], fresh[0]) == (64, 32) and abs(forced[1] - fresh[1]) > 0.1, "captum behaves in another way now"
PYTHON
