"""A person at MLflow's own client: takes orders as lines of JSON, answers each with a line of JSON."""

import json
import sys

import mlflow
import numpy as np
from mlflow.models import infer_signature


class Model(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [0.0] * len(model_input)


client = mlflow.MlflowClient()
signature = infer_signature(np.array([[12.5, 0.0, 14.0]]), np.array([0.02]))


def register(model, metrics):
    mlflow.set_experiment("training")
    with mlflow.start_run() as run:
        info = mlflow.pyfunc.log_model(
            name="model", python_model=Model(), signature=signature, registered_model_name=model, pip_requirements=[]
        )
        for key, value in metrics.items():
            mlflow.log_metric(key, float(value))
    return {"version": str(info.registered_model_version), "run_id": run.info.run_id, "model_id": info.model_id}


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


orders = {f.__name__: f for f in (register, create_versions, evaluate, describe, set_alias, set_tag, create_user)}
# What libraries print must not look like an answer.
answers, sys.stdout = sys.stdout, sys.stderr
for line in sys.stdin:
    order = json.loads(line)
    try:
        answer = {"ok": orders[order.pop("do")](**order)}
    except Exception as error:  # told to the test
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), file=answers, flush=True)
