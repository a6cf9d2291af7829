import json
from pathlib import Path

import pytest

from orthotrace.analysis.concepts.images import ConceptImageLoader
from orthotrace.results.run_folder import find


@pytest.mark.filterwarnings("ignore:.*the mean features of")
def test_concept_images_that_have_changed_are_told(train):
    assert train(
        "dataset=digits", "stream.tasks=1", "method=finetune", "model=convnet", "model.channels=[4]", "concepts=strokes",
        "concepts.layer=bn1", "concepts.sets.attributes=[thick]", "trainer.max_epochs=1", "hydra.run.dir=one",
    ).code == 0  # fmt: skip
    (run,) = find("one")
    # Warnings are errors.
    ConceptImageLoader().of(run, 1)
    scores = run.scores
    scores["digests"]["concepts"] = "0"
    Path("one/scores.json").write_text(json.dumps(scores))
    with pytest.warns(UserWarning, match="the concept images are not those that one was trained with: held-out ones"):
        ConceptImageLoader().of(run, 1)
