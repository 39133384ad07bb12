"""A person at MLflow's own client: takes orders as lines of JSON, answers each with a line of JSON."""

import json
import sys

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import ModelSignature, infer_signature
from mlflow.models.utils import _enforce_schema
from mlflow.pyfunc.scoring_server import _parse_json_data
from mlflow.types import Schema


class Model(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [0.0] * len(model_input)


client = mlflow.MlflowClient()
signature = infer_signature(np.array([[12.5, 0.0, 14.0]]), np.array([0.02]))


def register(model, metrics, inputs=None, tags=None):
    own = signature if inputs is None else ModelSignature(inputs=Schema.from_json(json.dumps(inputs)))
    mlflow.set_experiment("training")
    with mlflow.start_run() as run:
        info = mlflow.pyfunc.log_model(
            name="model", python_model=Model(), signature=own, registered_model_name=model, pip_requirements=[]
        )
        for key, value in metrics.items():
            mlflow.log_metric(key, float(value))
        mlflow.set_tags(tags or {})
    return {"version": str(info.registered_model_version), "run_id": run.info.run_id, "model_id": info.model_id}


samples = {"integer": 3, "long": 3, "float": 2.5, "double": 2.5, "string": "a", "boolean": True, "any": "a"}
numpy_types = {"integer": "int32", "long": "int64", "float": "float32", "double": "float64", "boolean": "bool"}


def sample(value, whole):
    if value["type"] == "array":
        return [sample(value["items"], whole)]
    if value["type"] == "map":
        return {"key": sample(value["values"], whole)}
    if value["type"] == "object":
        parts = value["properties"].items()
        return {name: sample(part, whole) for name, part in parts if whole or part.get("required", True)}
    return samples[value["type"]]


def requests_of(inputs):
    """What callers of a model send: whole, and without what may be left out; as JSON, and with the types of numpy."""
    for whole in (True, False):
        kept = [value for value in inputs if whole or value.get("required", True)]
        if kept[0]["type"] == "tensor":
            arrays = {
                value["name"]: np.ones([1 if size == -1 else size for size in value["tensor-spec"]["shape"]], value["tensor-spec"]["dtype"])
                for value in kept
            }
            yield json.dumps({"inputs": {name: array.tolist() for name, array in arrays.items()}}), arrays
        else:
            row = [sample(value, whole) for value in kept]
            frame = pd.DataFrame(
                {
                    value["name"]: pd.Series([cell], dtype=numpy_types.get(value["type"], "object"))
                    for value, cell in zip(kept, row, strict=True)
                }
            )
            yield json.dumps({"dataframe_split": {"columns": [value["name"] for value in kept], "data": [row]}}), frame


def takes(text, typed, schema):
    answers = []
    for data in (lambda: _parse_json_data(text, None, schema).data, lambda: typed):
        try:
            _enforce_schema(data(), schema)
            answers.append(True)
        except Exception:
            answers.append(False)
    return answers


def enforce(current, target):
    """Which requests of the one MLflow's scoring server takes for the other, `[as JSON, with types]` each."""
    schema = Schema.from_json(json.dumps(target))
    return {"taken": [takes(text, typed, schema) for text, typed in requests_of(current)]}


def create_versions(model, count):
    """Versions without run and artifacts: quick where every call is asked for its password."""
    client.create_registered_model(model)
    for number in range(1, count + 1):
        client.create_model_version(model, source=f"s3://models/{model}/{number}")
    return {}


def evaluate(metrics, model_id=None, tags=None, experiment="evaluation"):
    mlflow.set_experiment(experiment)
    with mlflow.start_run(run_name="evaluation", tags=tags) as run:
        for key, value in metrics.items():
            mlflow.log_metric(key, float(value), **({} if model_id is None else {"model_id": model_id}))
    return {"run_id": run.info.run_id}


def describe(model):
    found = client.get_registered_model(model)
    versions = [client.get_model_version(model, entry.version) for entry in client.search_model_versions(f"name='{model}'")]
    return {
        "aliases": {alias: str(version) for alias, version in found.aliases.items()},
        "versions": {str(entry.version): dict(entry.tags) for entry in versions},
    }


def set_alias(model, alias, version):
    client.set_registered_model_alias(model, alias, version)
    return {}


def set_tag(model, version, key, value):
    client.set_model_version_tag(model, version, key, value)
    return {}


def create_user(name, password, model, permission):
    from mlflow.server import get_app_client

    auth = get_app_client("basic-auth", tracking_uri=mlflow.get_tracking_uri())
    auth.create_user(name, password)
    auth.grant_user_permission(name, "registered_model", model, permission)
    return {}


orders = {f.__name__: f for f in (register, enforce, create_versions, evaluate, describe, set_alias, set_tag, create_user)}
# What libraries print must not look like an answer.
answers, sys.stdout = sys.stdout, sys.stderr
for line in sys.stdin:
    order = json.loads(line)
    try:
        answer = {"ok": orders[order.pop("do")](**order)}
    except Exception as error:  # told to the test
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), file=answers, flush=True)
