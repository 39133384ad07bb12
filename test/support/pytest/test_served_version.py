"""The team's own test of a version that TensorFlow Serving has loaded: MODEL_VERSION of the model at MODEL_URL. Standard library only."""

import json
import os
import urllib.request


def predict(instances):
    request = urllib.request.Request(
        f"{os.environ['MODEL_URL']}/versions/{os.environ['MODEL_VERSION']}:predict",
        data=json.dumps({"instances": instances}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)["predictions"]


def test_every_transaction_is_answered():
    scores = predict([[0.2, 1.7, 0.4], [0.9, 0.1, 0.3]])

    assert len(scores) == 2
    assert all(len(score) == 2 for score in scores)
