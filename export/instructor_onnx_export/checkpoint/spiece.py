"""`spiece.model` -> the text of a `tokenizer.json`: T5's own conversion, for a checkpoint that has only the former."""

from __future__ import annotations

from tokenizers import AddedToken, Tokenizer, decoders
from tokenizers.models import Unigram
from tokenizers.normalizers import Precompiled
from tokenizers.pre_tokenizers import Metaspace, Sequence, WhitespaceSplit
from tokenizers.processors import TemplateProcessing

NORMAL, UNKNOWN, CONTROL = 1, 2, 3  # ModelProto.SentencePiece.Type; a T5 vocabulary has no others
UNIGRAM = 1  # TrainerSpec.ModelType


def tokenizer_json(spiece: bytes, *, eos_token_id: int, extra_ids: int) -> str:
    """Convert a sentencepiece model.

    Args:
        spiece: the contents of `spiece.model`.
        eos_token_id: the piece that ends every text, `</s>`.
        extra_ids: how many `<extra_id_N>` follow the pieces, the highest N first.

    Raises:
        ValueError: not a sentencepiece model, or not one of T5's kind.
    """
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto()
    try:
        model.ParseFromString(spiece)
    except Exception as error:  # protobuf's DecodeError, from whichever protobuf sentencepiece has found
        raise ValueError(f"not a sentencepiece model ({error})") from None
    if not all(isinstance(piece.piece, str) for piece in model.pieces):  # bytes, where protobuf finds no UTF-8
        raise ValueError("has a piece that is not UTF-8")
    pieces = [(piece.piece, piece.score) for piece in model.pieces]
    types = [piece.type for piece in model.pieces]
    if model.trainer_spec.model_type != UNIGRAM or types.count(UNKNOWN) != 1:
        raise ValueError("not a unigram model with one unknown piece, as T5's are")
    if not set(types) <= {NORMAL, UNKNOWN, CONTROL}:
        raise ValueError("has byte, unused or user-defined pieces, as T5's have not")
    if eos_token_id >= len(pieces) or types[eos_token_id] != CONTROL:
        raise ValueError(f"has no control piece with id {eos_token_id} to end a text")
    extra = [f"<extra_id_{i}>" for i in reversed(range(extra_ids))]
    special = [piece for (piece, _), kind in zip(pieces, types, strict=True) if kind != NORMAL] + extra

    try:
        tokenizer = Tokenizer(Unigram([*pieces, *((token, 0.0) for token in extra)], unk_id=types.index(UNKNOWN)))
        if model.normalizer_spec.precompiled_charsmap:
            tokenizer.normalizer = Precompiled(model.normalizer_spec.precompiled_charsmap)
        tokenizer.pre_tokenizer = Sequence([WhitespaceSplit(), Metaspace(replacement="▁", prepend_scheme="always")])
        tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
        tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
        eos = pieces[eos_token_id][0]
        tokenizer.post_processor = TemplateProcessing(single=f"$A {eos}", special_tokens=[(eos, eos_token_id)])
        return str(tokenizer.to_str())
    except Exception as error:  # tokenizers raises bare Exception
        raise ValueError(f"not a vocabulary that can be used ({error})") from None
