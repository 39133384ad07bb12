"""The team's own acceptance test of a served model, as a `command` smoke test runs it.

MODEL_VERSION is the version to test, MODEL_URL the REST address of the model (without /versions). Standard library only.
"""

import json
import os
import time
import urllib.request

import pytest

URL = os.environ["MODEL_URL"]
VERSION = os.environ["MODEL_VERSION"]

# Transactions whose verdict is known: (amount, foreign card, hour) and whether it is fraud.
KNOWN = [
    ([12.5, 0, 14], False),
    ([9800.0, 1, 3], True),
    ([45.0, 0, 9], False),
    ([7200.0, 1, 2], True),
]


def predict(instances):
    """Asks this very version, so that the test also works while another one still has the traffic."""
    request = urllib.request.Request(
        f"{URL}/versions/{VERSION}:predict",
        data=json.dumps({"instances": instances}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)["predictions"]


@pytest.mark.parametrize(("features", "fraud"), KNOWN)
def test_known_transactions_are_judged_right(features, fraud):
    [score] = predict([features])

    assert 0 <= score <= 1
    assert (score > 0.5) == fraud


def test_a_batch_is_answered_in_time():
    started = time.monotonic()

    scores = predict([features for features, _ in KNOWN])

    assert len(scores) == len(KNOWN)
    assert time.monotonic() - started < 2
