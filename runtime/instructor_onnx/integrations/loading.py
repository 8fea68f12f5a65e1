"""One loaded model for all components of a process that ask for the same one. Knows no framework.

Components are made in pairs (Haystack has one for queries and one for documents) and made anew (Chroma makes one for
every query of a reopened collection). A model is loaded once for all of them. It is freed when no component holds it
and two others were asked for since.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import NamedTuple
from weakref import WeakValueDictionary

from instructor_onnx.model import INSTRUCTOR

# For who names none. The classes that these replace name a published checkpoint, of which first a bundle must be made.
DEFAULT_MODEL = "instructor-mini"


class ModelOptions(NamedTuple):
    """What tells one loaded model from another: the arguments of `INSTRUCTOR`, and its max_seq_length."""

    model_name: str  # a bundle folder, a Hugging Face id of one, or "instructor-mini"
    variant: str | None = None
    device: str | None = None
    engine: str | None = None
    num_threads: int | None = None
    token_budget: int | None = None
    cuda_graphs: bool = True
    revision: str | None = None
    token: str | bool | None = None
    cache_folder: str | None = None
    local_files_only: bool = False
    max_seq_length: int | None = None  # None: the model's own


_loaded: WeakValueDictionary[ModelOptions, INSTRUCTOR] = WeakValueDictionary()
_recent: deque[INSTRUCTOR] = deque(maxlen=2)  # held here, for those who ask anew each time
_loading = threading.Lock()  # a second thread waits for the first one's model instead of loading another


def shared_model(options: ModelOptions) -> INSTRUCTOR:
    """The model, loaded now or for who asked before.

    Raises:
        As `INSTRUCTOR`; ValueError too for a max_seq_length below 1.
    """
    with _loading:
        model = _loaded.get(options)
        if model is None:
            arguments = options._asdict()
            model_name, max_seq_length = arguments.pop("model_name"), arguments.pop("max_seq_length")
            model = INSTRUCTOR(model_name, **arguments)
            if max_seq_length is not None:
                model.max_seq_length = max_seq_length
            _loaded[options] = model
        if model not in _recent:
            _recent.append(model)
    return model
