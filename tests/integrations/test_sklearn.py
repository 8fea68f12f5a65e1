"""InstructorVectorizer in real scikit-learn pipelines."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn")

import pandas as pd
from instructor_onnx import INSTRUCTOR
from instructor_onnx.integrations.sklearn import InstructorVectorizer
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.validation import check_is_fitted

from tests.integrations.conftest import DOCUMENT, TEXTS
from tests.integrations.examples import output_of

Vectors = list[list[float]]


@pytest.fixture
def vectorizer() -> InstructorVectorizer:
    return InstructorVectorizer("instructor-mini", instruction=DOCUMENT)


@pytest.mark.parametrize(
    "form",
    [
        list,
        tuple,
        iter,
        np.array,
        pd.Series,
        pd.DataFrame,
        lambda texts: np.array(texts, dtype=object)[:, None],
        lambda texts: pd.Series(texts, index=[7, 7, 7]),
    ],
)
def test_forms_of_texts(vectorizer: InstructorVectorizer, document_vectors: Vectors, form: object) -> None:
    found = vectorizer.transform(form(TEXTS))  # type: ignore[operator]
    assert found.dtype == np.float32
    assert np.array_equal(found, document_vectors)


def test_forms_that_are_refused(vectorizer: InstructorVectorizer) -> None:
    with pytest.raises(TypeError, match="found one string"):
        vectorizer.transform("a text")
    with pytest.raises(TypeError, match="row 1: its text is float"):
        vectorizer.transform(pd.Series(["a", np.nan], dtype=object))
    with pytest.raises(ValueError, match=r"found shape \(3, 2\).*Name the column"):
        vectorizer.fit(pd.DataFrame({"a": TEXTS, "b": TEXTS}))


def test_parameters_and_clone(vectorizer: InstructorVectorizer, mini: INSTRUCTOR) -> None:
    other = clone(vectorizer).set_params(instruction="", max_seq_length=4, num_threads=1)
    assert other.get_params()["model_name"] == "instructor-mini"
    short = INSTRUCTOR("instructor-mini")
    short.max_seq_length = 4
    assert np.array_equal(other.fit_transform(TEXTS), short.encode(TEXTS))
    assert np.array_equal(vectorizer.set_params(instruction="").transform(TEXTS), mini.encode(TEXTS))


def test_stateless(vectorizer: InstructorVectorizer) -> None:
    check_is_fitted(vectorizer)
    assert vectorizer.transform([]).shape == (0, 384)
    assert InstructorVectorizer().fit_transform(["a text"]).shape == (1, 384)  # of the model that comes along


def test_pickled_without_the_model(vectorizer: InstructorVectorizer, document_vectors: Vectors) -> None:
    pickled = pickle.dumps(vectorizer.fit(TEXTS))
    assert len(pickled) < 1000
    assert np.array_equal(pickle.loads(pickled).transform(TEXTS), document_vectors)  # noqa: S301


def test_one_column_of_a_table(document_vectors: Vectors) -> None:
    table = pd.DataFrame({"text": TEXTS, "length": [len(text) for text in TEXTS]})
    for selector in ("text", ["text"]):
        columns = ColumnTransformer(
            [("text", InstructorVectorizer("instructor-mini", instruction=DOCUMENT), selector)],
            remainder="passthrough",
        )
        found = columns.fit_transform(table)
        assert np.array_equal(found[:, :-1], document_vectors)
        assert found[:, -1].tolist() == table["length"].tolist()


def test_as_a_named_table(vectorizer: InstructorVectorizer) -> None:
    found = vectorizer.set_output(transform="pandas").fit_transform(pd.Series(TEXTS, index=["x", "y", "z"]))
    assert found.shape == (3, 384)
    assert list(found.columns[:2]) == ["instructorvectorizer0", "instructorvectorizer1"]


def test_instructions_are_searched() -> None:
    """Its parameters are tuned like any others."""
    texts = [f"{word} {number}" for word in ("bread", "python") for number in range(6)]
    pipeline = make_pipeline(InstructorVectorizer("instructor-mini"), LogisticRegression())
    instructions = ["", "Represent the sentence for classification: "]
    search = GridSearchCV(pipeline, {"instructorvectorizer__instruction": instructions}, cv=2)
    search.fit(texts, [0] * 6 + [1] * 6)
    assert search.best_score_ == 1.0
    assert len(search.cv_results_["params"]) == 2


def test_quickstart(capsys: pytest.CaptureFixture[str]) -> None:
    lines = output_of("sklearn", capsys).splitlines()
    assert [line.split()[-1] for line in lines[:2]] == ["code", "cooking"]
    assert sorted(len(line.split(" | ")) for line in lines[2:]) == [3, 3]


def test_a_width_of_ones_own() -> None:
    cut = InstructorVectorizer(truncate_dim=16)
    found = cut.fit_transform(["a text", "another"])
    np.testing.assert_array_equal(found, INSTRUCTOR("instructor-mini").encode(["a text", "another"], truncate_dim=16))
    assert len(cut.get_feature_names_out()) == 16
