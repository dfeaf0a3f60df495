"""What of a trained model can be taken away: networks for plain Keras, SavedModels, ONNX and LiteRT."""

from genmodels.export.converted import litert, onnx
from genmodels.export.formats import FORMATS, write
from genmodels.export.plain import plain
from genmodels.export.saved import saved_model
from genmodels.export.separate import networks

__all__ = ["FORMATS", "litert", "networks", "onnx", "plain", "saved_model", "write"]
