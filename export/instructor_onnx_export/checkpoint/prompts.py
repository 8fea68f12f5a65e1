"""`config_sentence_transformers.json` -> the prompts that a checkpoint comes with, and how its vectors are compared."""

from __future__ import annotations

from dataclasses import dataclass, field

from instructor_onnx.bundle import SIMILARITIES
from instructor_onnx.fields import MOST_TEXT, UNFIT_PROMPT, UNPRINTABLE

from instructor_onnx_export.checkpoint.folder import CheckpointError, CheckpointFolder, shown

FILE = "config_sentence_transformers.json"


@dataclass(frozen=True)
class Prompts:
    """What a checkpoint says of its use."""

    by_name: dict[str, str] = field(default_factory=dict)  # name -> instruction; "": none
    default_name: str | None = None  # the one for texts without an instruction
    similarity: str = "cosine"


def read_prompts(folder: CheckpointFolder) -> Prompts:
    """Read the file, where there is one.

    Raises:
        CheckpointError: prompts that are no strings, too long or unprintable, an unknown default or similarity.
    """
    if folder.find(FILE) is None:
        return Prompts()
    path, data = folder.root / FILE, folder.object(FILE)
    prompts = data.get("prompts") or {}
    if not isinstance(prompts, dict):
        raise CheckpointError(f"{path}: prompts is {shown(prompts)}, expected an object of strings.")
    by_name = {name: "" if prompt is None else prompt for name, prompt in prompts.items()}
    for name, prompt in by_name.items():
        unfit = not isinstance(prompt, str) or len(prompt) > MOST_TEXT or UNFIT_PROMPT.search(prompt)
        if unfit or len(name) > MOST_TEXT or UNPRINTABLE.search(name):
            raise CheckpointError(
                f"{path}: the prompt {shown(name)} is {shown(prompt)}, expected at most {MOST_TEXT:,} printable "
                "characters. Mend it there, or remove it."
            )
    default = data.get("default_prompt_name")
    if default is not None and (not isinstance(default, str) or default not in by_name):
        raise CheckpointError(f"{path}: default_prompt_name is {shown(default)}, which is none of its prompts.")
    similarity = data.get("similarity_fn_name") or "cosine"
    if not isinstance(similarity, str) or similarity not in SIMILARITIES:
        raise CheckpointError(
            f"{path}: similarity_fn_name is {shown(similarity)}, expected one of {', '.join(SIMILARITIES)}."
        )
    return Prompts(by_name, default, similarity)
