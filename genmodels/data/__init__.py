"""Data: named sets, folders of pictures, arrays and streams, and the order in which training reads them."""

from genmodels.data.augment import Augment
from genmodels.data.dataset import Dataset
from genmodels.data.inputs import Stream, as_dataset
from genmodels.data.named import place
from genmodels.data.pipeline import batches, once
from genmodels.data.sources import data_names, load_data

__all__ = ["Augment", "Dataset", "Stream", "as_dataset", "batches", "data_names", "load_data", "once", "place"]
