"""scikit-learn: `InstructorVectorizer`, texts to vectors in a pipeline."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from instructor_onnx.extras import pip_install
from instructor_onnx.integrations.loading import DEFAULT_MODEL, ModelOptions, shared_model
from instructor_onnx.model import INSTRUCTOR

try:
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
except ImportError as error:
    raise ImportError(f"scikit-learn is not installed ({error}): {pip_install('sklearn')}") from error

Float32 = npt.NDArray[np.float32]
EXPECTED = "expected a one-dimensional sequence of texts, or one column of them"


class InstructorVectorizer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Texts under one instruction -> float32 [texts, embedding_dim]. Stateless: `fit` learns nothing.

    A pickle of it holds its parameters, not the model: whoever loads it needs the bundle under the same name.

    Args:
        model_name: a bundle folder, a Hugging Face id of one, or "instructor-mini".
        instruction: what the texts are, and what their vectors are for; "": none.
        variant: "fp32", "int8", ...; None: the most exact one that the device runs well.
        device: "cpu", "cuda" or "cuda:N"; None: CUDA where onnxruntime has it, else the CPU.
        batch_size: most texts of one run.
        num_threads: CPU threads; None: all that the process may use. Set 1 beside `n_jobs`.
        max_seq_length: tokens kept of instruction and text; None: the model's own, 512.
        truncate_dim: numbers kept of every vector; None: all.

    >>> from instructor_onnx.integrations.sklearn import InstructorVectorizer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> classifier = make_pipeline(InstructorVectorizer("my-bundle"), LogisticRegression())
    >>> classifier.fit(["good", "lovely", "bad", "awful"], [1, 1, 0, 0]).predict(["a good day"]).tolist()
    [1]
    """

    def __init__(
        self,
        model_name: str = DEFAULT_MODEL,
        *,
        instruction: str = "",
        variant: str | None = None,
        device: str | None = None,
        batch_size: int = 32,
        num_threads: int | None = None,
        max_seq_length: int | None = None,
        truncate_dim: int | None = None,
    ) -> None:
        self.model_name = model_name
        self.instruction = instruction
        self.variant = variant
        self.device = device
        self.batch_size = batch_size
        self.num_threads = num_threads
        self.max_seq_length = max_seq_length
        self.truncate_dim = truncate_dim

    def fit(self, X: Any, y: Any = None) -> InstructorVectorizer:
        """Load the model and check the form of `X`; `y` is ignored.

        Raises:
            TypeError, ValueError: as `transform`.
        """
        as_texts(X)
        self._load()
        return self

    def transform(self, X: Any) -> Float32:
        """Vectors of texts: float32 [texts, embedding_dim].

        Args:
            X: a list, array or series of strings, or one column of them (a data frame or an array [texts, 1], as a
                ColumnTransformer hands on).

        Raises:
            TypeError: one string, or a row that is no string; names the row.
            ValueError: several columns.
        """
        rows = [(self.instruction, text) for text in as_texts(X)]
        vectors = self._load().encode(
            rows, batch_size=self.batch_size, show_progress_bar=False, truncate_dim=self.truncate_dim
        )
        return np.asarray(vectors, dtype=np.float32)

    def _load(self) -> INSTRUCTOR:
        """The model of the parameters as they are now (`set_params` may have changed them)."""
        self._model = shared_model(
            ModelOptions(
                self.model_name,
                variant=self.variant,
                device=self.device,
                num_threads=self.num_threads,
                max_seq_length=self.max_seq_length,
            )
        )
        return self._model

    @property
    def _n_features_out(self) -> int:
        """For scikit-learn's `get_feature_names_out`: the width of a vector."""
        return self._load().form(truncate_dim=self.truncate_dim).columns

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())
        state.pop("_model", None)  # reopened from its bundle where the pickle is loaded
        return state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.requires_fit = False
        tags.transformer_tags.preserves_dtype = []
        return tags


def as_texts(X: Any) -> list[Any]:
    """The texts of `X`, as a list; whether each is a string is for `encode` to say.

    Raises:
        TypeError: one string instead of a sequence.
        ValueError: several columns.
    """
    if isinstance(X, str | bytes):
        raise TypeError(f"X: found one string, {EXPECTED}; put it in a list.")
    shape = getattr(X, "shape", None)
    if shape is None:
        return list(X)
    if len(shape) == 2 and shape[1] == 1:
        return list(np.asarray(X, dtype=object)[:, 0])
    if len(shape) != 1:
        raise ValueError(f"X: found shape {tuple(shape)}, {EXPECTED}. Name the column, as in X['text'].")
    return list(X)
