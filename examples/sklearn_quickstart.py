"""scikit-learn: a text classifier and a clustering, on the embedded model.

pip install 'instructor-onnx[sklearn]'
"""

import sys

from instructor_onnx.integrations.sklearn import InstructorVectorizer
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

QUESTIONS = {
    "How do I sort a list in Python?": "code",
    "What does a Python decorator do?": "code",
    "Which Python loop is faster?": "code",
    "How do I bake bread at home?": "cooking",
    "What is sourdough?": "cooking",
    "Which flour is best for pizza?": "cooking",
}


def main() -> None:
    texts, labels = list(QUESTIONS), list(QUESTIONS.values())
    classifier = make_pipeline(
        InstructorVectorizer("instructor-mini", instruction="Represent the question for classifying its subject: "),
        LogisticRegression(),
    )
    classifier.fit(texts, labels)
    for question in ("How do I call a Python function?", "Which bread is easy to bake?"):
        sys.stdout.write(f"{question:<34} {classifier.predict([question])[0]}\n")

    clustering = make_pipeline(
        InstructorVectorizer(
            "instructor-mini", instruction="Represent the StackOverflow title for clustering by topic: "
        ),
        KMeans(n_clusters=2, n_init=10, random_state=0),
    )
    groups = clustering.fit_predict(texts).tolist()
    for group in dict.fromkeys(groups):
        sys.stdout.write(" | ".join(text for text, own in zip(texts, groups, strict=True) if own == group) + "\n")


if __name__ == "__main__":
    main()
