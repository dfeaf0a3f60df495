"""Data: named sets, folders of pictures, arrays and streams, and the order in which training reads them."""

from genmodels.data.augment import Augment
from genmodels.data.dataset import Dataset
from genmodels.data.files import cache_folder
from genmodels.data.inputs import Stream, as_dataset
from genmodels.data.named import place
from genmodels.data.pipeline import batches, check_end, once
from genmodels.data.sources import data_names, load_data, load_test

__all__ = [
    "Augment",
    "Dataset",
    "Stream",
    "as_dataset",
    "batches",
    "cache_folder",
    "check_end",
    "data_names",
    "load_data",
    "load_test",
    "once",
    "place",
]
