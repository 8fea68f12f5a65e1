"""Hard negatives: documents that a model finds near a query and that are not its answer. Knows no sources."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from instructor_onnx.inputs import Row
from instructor_onnx.tokens import Tokenizer

from instructor_onnx_training.model import Embedder

Encode = Callable[[Sequence[str]], np.ndarray]  # texts → unit vectors, float32 [n, dim]
NEAR = 20  # the candidates among which a negative is drawn: hard, but not always the hardest (often a right answer)
SAME = 0.92  # cosine to the positive from which a candidate counts as one more right answer
_CHUNK = 1_024  # queries compared at once: [1024, documents] similarities


def bag_of_pieces(model: Embedder, tokenizer: Tokenizer, *, max_length: int = 64) -> Encode:
    """`model` without its layers: each piece's row through the last norm and Dense, summed over a text.

    Of a student fresh from `start` this is very nearly the model itself, thousands of times faster; of any other
    checkpoint it is a miner by shared and similar words. No instruction.
    """
    with torch.inference_mode():
        rows = model.encoder.encoder.final_layer_norm(model.encoder.shared.weight)  # [vocab, d_model]
        table = model.dense(rows).cpu()  # [vocab, dim]

    @torch.inference_mode()
    def encode(texts: Sequence[str]) -> np.ndarray:
        tokens = tokenizer([Row("", text) for text in texts], max_length)
        ids, first = torch.from_numpy(tokens.ids).long(), torch.from_numpy(tokens.offsets[:-1])
        bags = torch.nn.functional.embedding_bag(ids, table, first, mode="sum")  # [texts, dim]
        vectors: np.ndarray = torch.nn.functional.normalize(bags, dim=1).numpy()
        return vectors

    return encode


def mine_negatives(
    queries: Sequence[str],
    positives: Sequence[str],
    encode: Encode,
    rng: np.random.Generator,
    *,
    groups: Sequence[str] | None = None,
) -> list[int]:
    """For each query, the index of a positive of another query that is near it and not right for it.

    Wrong candidates, left out: every positive of an equal query, texts equal to the positive or nearer to it than
    `SAME`, and with `groups` (a class for each pair) members of the query's own class. -1 where nothing is left.
    """
    documents = list(dict.fromkeys(positives))
    place = {text: i for i, text in enumerate(documents)}
    own = np.array([place[text] for text in positives])
    first = {text: i for i, text in reversed(list(enumerate(positives)))}  # document → a pair that has it
    query_vectors, document_vectors = encode(queries), encode(documents)
    of_query: dict[str, list[int]] = {}
    for query, document in zip(queries, own.tolist(), strict=True):
        of_query.setdefault(query, []).append(document)
    group_of = np.array([groups[first[text]] for text in documents]) if groups is not None else None
    chosen: list[int] = []
    for start in range(0, len(queries), _CHUNK):
        stop = min(start + _CHUNK, len(queries))
        scores = query_vectors[start:stop] @ document_vectors.T  # [chunk, documents]
        scores[document_vectors[own[start:stop]] @ document_vectors.T > SAME] = -np.inf
        for row in range(start, stop):
            scores[row - start, of_query[queries[row]]] = -np.inf
            if groups is not None and group_of is not None:
                scores[row - start, group_of == groups[row]] = -np.inf
        near = min(NEAR, len(documents))
        candidates = np.argpartition(-scores, near - 1, axis=1)[:, :near]
        for row in range(stop - start):
            left = candidates[row][np.isfinite(scores[row, candidates[row]])]
            chosen.append(first[documents[int(rng.choice(left))]] if len(left) else -1)
    return chosen
