"""A fraud model for MLServer: the score of a transaction. Version v2 cannot take amounts over 700; v0 cannot even be loaded."""

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceRequest, InferenceResponse


class FraudModel(MLModel):
    async def load(self) -> bool:
        if self.version == "v0":
            raise RuntimeError("no such object: weights of v0")
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        transactions = NumpyCodec.decode_input(payload.inputs[0])
        if self.version == "v2" and (transactions > 700).any():
            raise InferenceError("amount out of range")
        score = transactions.mean(axis=1) / 1000
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=[NumpyCodec.encode_output("score", score)])
