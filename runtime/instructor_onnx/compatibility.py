"""What people call who come from sentence-transformers: names that do the same here, and a sentence for the rest."""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from instructor_onnx import vectors
from instructor_onnx.bundle import MODEL_CARD, OPTIMUM_CONFIG, SIMILARITIES
from instructor_onnx.engines.devices import choose_device, visible_gpus
from instructor_onnx.extras import pip_install
from instructor_onnx.pool import DevicePool
from instructor_onnx.vectors import Float32, SimilarityName

if TYPE_CHECKING:
    from typing_extensions import Self

    from instructor_onnx.bundle import Manifest
    from instructor_onnx.model import INSTRUCTOR

DOCUMENT_PROMPTS = ("document", "passage", "corpus")  # sentence-transformers', the first there is

_EXPORTED = "a bundle is a finished export: it has no PyTorch modules. Take the checkpoint for that"
_TRAINED = f"{_EXPORTED} (docs/training.md), then export it again"
_ADAPTED = "merge the adapter into the checkpoint and export that"
# What cannot be had here, and what to do instead.
INSTEAD = {
    **dict.fromkeys(("parameters", "named_parameters", "state_dict", "load_state_dict", "modules"), _EXPORTED),
    **dict.fromkeys(("transformers_model", "clear_placement_cache", "model_type"), _EXPORTED),
    **dict.fromkeys(("forward", "compile", "append"), f"{_EXPORTED}, or call encode()"),
    **dict.fromkeys(("fit", "old_fit", "smart_batching_collate", "merge", "zero_grad"), _TRAINED),
    "gradient_checkpointing_enable": _TRAINED,
    **dict.fromkeys(
        ("add_adapter", "load_adapter", "set_adapter", "delete_adapter", "get_adapter_state_dict"), _ADAPTED
    ),
    **dict.fromkeys(("active_adapter", "active_adapters", "enable_adapters", "disable_adapters"), _ADAPTED),
    **dict.fromkeys(("has_peft_compatible_model", "check_peft_compatible_model"), _ADAPTED),
    **dict.fromkeys(("preprocess", "get_sentence_features"), "tokenize() gives what the model is fed"),
    "processor": "tokenizer makes the tokens",
    "set_pooling_include_prompt": "the instruction is never pooled, as INSTRUCTOR wants it",
    "evaluate": "sentence-transformers' evaluators are functions of a model: evaluator(model)",
    "load": "INSTRUCTOR(folder) opens a bundle",
    "dtype": "variant says what the weights are; vectors are float32",
    "config": "manifest.model has the model's numbers",
    "get_backend": "engine_name says what runs",
    "get_model_kwargs": "help(INSTRUCTOR.encode) lists the parameters",
    "is_singular_input": "encode() gives one vector for one plain string",
    **dict.fromkeys(("modalities", "supports"), "texts are all that it embeds"),
    "SUPPORTED_SIMILARITY_FN_NAMES": "an unknown similarity_fn_name names the known",
    "model_card_data_class": "the bundle's README.md is its card",
    "default_huggingface_organization": "name the whole id",
}
# Parameters of sentence-transformers' constructor that can have no effect on an export.
NO_PARAMETERS = {
    "modules": "open a bundle by its folder; a model of other modules is exported first",
    "model_kwargs": "use variant= for the weights' type, engine= and num_threads= for how they are run",
    "processor_kwargs": "set model.max_seq_length",
    "tokenizer_kwargs": "set model.max_seq_length",
    "config_kwargs": "a bundle's configuration is fixed by its export",
    "model_card_data": "the bundle's README.md is its card",
}


def check_constructor(others: dict[str, Any], token: str | bool | None) -> str | bool | None:
    """Take sentence-transformers' remaining parameters; the hub's token, which an older name may give.

    Raises:
        ValueError: one that can have no effect here; says what to do instead.
        TypeError: one that is not known there either.
    """
    old = others.pop("use_auth_token", None)
    if old is not None:
        warnings.warn("use_auth_token is an old name: use token.", FutureWarning, stacklevel=3)
    others.pop("trust_remote_code", None)  # a bundle has no code that could be run
    backend = others.pop("backend", None)
    if backend not in (None, "onnx"):
        raise ValueError(f"backend={backend!r}: a bundle is ONNX. Leave it out; engine= chooses what runs it.")
    for name, value in others.items():
        if name not in NO_PARAMETERS:
            raise TypeError(f"INSTRUCTOR() has no parameter {name!r}. help(INSTRUCTOR) lists them.")
        if value is not None:
            raise ValueError(f"{name}: has no effect on a bundle; {NO_PARAMETERS[name]}.")
    return old if token is None else token


def is_tensor(x: Any) -> bool:
    """Whether it is a torch tensor; torch need not be there."""
    return type(x).__module__.partition(".")[0] == "torch" and hasattr(x, "detach")


def as_array(x: Any) -> Any:
    """A torch tensor, or a list of them, as numpy's; anything else as it is."""
    if is_tensor(x):
        return x.detach().cpu().numpy()
    if isinstance(x, list | tuple) and x and is_tensor(x[0]):
        return np.stack([as_array(each) for each in x])
    return x


def import_torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            "torch tensors were asked for (convert_to_tensor=True or convert_to_numpy=False) and torch is not "
            "installed: pip install torch, or use the default, numpy arrays."
        ) from error
    return torch


class ModelCardData:
    """Takes what sentence-transformers' evaluators say of a model; a bundle's card is written at export."""

    def set_evaluation_metrics(self, *results: Any) -> None:
        """Nothing is done with them: the evaluator returns them, too."""


class Familiar:
    """Base of INSTRUCTOR: sentence-transformers' methods, on top of its own `encode`."""

    if TYPE_CHECKING:
        variant: str
        folder: Path
        prompts: dict[str, str]
        default_prompt_name: str | None
        max_seq_length: int
        truncate_dim: int | None
        manifest: Manifest
        encode: Any
        _opening: dict[str, Any]

        @property
        def device(self) -> str: ...

        def get_embedding_dimension(self) -> int: ...

    def encode_query(
        self, sentences: Any, *, prompt_name: str | None = None, prompt: str | None = None, **options: Any
    ) -> Any:
        """`encode` under the prompt "query", where there is one and no other is asked for.

        >>> model = INSTRUCTOR("instructor-mini", prompts={"query": "Represent the question: "})
        >>> same = model.encode([["Represent the question: ", "Who?"]])
        >>> model.similarity(model.encode_query("Who?"), same).round(3).tolist()
        [[1.0]]
        """
        return self._encode_as(("query",), sentences, prompt_name, prompt, options)

    def encode_document(
        self, sentences: Any, *, prompt_name: str | None = None, prompt: str | None = None, **options: Any
    ) -> Any:
        """`encode` under the prompt "document", "passage" or "corpus", the first there is; see `encode_query`.

        >>> INSTRUCTOR("instructor-mini").encode_document(["a text", "another"]).shape
        (2, 384)
        """
        return self._encode_as(DOCUMENT_PROMPTS, sentences, prompt_name, prompt, options)

    def _encode_as(
        self, names: Sequence[str], sentences: Any, prompt_name: str | None, prompt: str | None, options: dict[str, Any]
    ) -> Any:
        options.pop("task", None)  # of models that have a module for each; INSTRUCTOR's tasks are in the instruction
        if prompt_name is None and prompt is None:
            prompt_name = next((name for name in names if name in self.prompts), None)
        return self.encode(sentences, prompt_name=prompt_name, prompt=prompt, **options)

    def similarity(self, a: Any, b: Any) -> Any:
        """Similarity of every vector of `a` with every one of `b`, by `similarity_fn_name`: float32 [len(a), len(b)].

        `a` and `b` are arrays [n, dim] or single vectors [dim], as `encode` returns them, of any precision, also two
        (a float query, binary documents). Cosine: a zero vector has similarity 0 to everything. Distances are
        negative, so that the nearest is the largest. A torch tensor, where one of them is.

        >>> model = INSTRUCTOR("instructor-mini")
        >>> question = model.encode("How do plants make sugar?")
        >>> texts = model.encode(["Banks set the interest rate.", "In a leaf, light makes glucose of air and water."])
        >>> int(model.similarity(question, texts).argmax())
        1
        """
        return self._compared(vectors.similarities, a, b)

    def similarity_pairwise(self, a: Any, b: Any) -> Any:
        """Similarity of each vector of `a` with that of `b` in the same place: float32 [n]; see `similarity`.

        >>> model = INSTRUCTOR("instructor-mini")
        >>> texts = model.encode(["a text", "another"])
        >>> model.similarity_pairwise(texts, texts).round(3).tolist()
        [1.0, 1.0]
        """
        return self._compared(vectors.pairwise_similarities, a, b)

    def _compared(self, function: Callable[[SimilarityName, Float32, Float32], Float32], a: Any, b: Any) -> Any:
        tensors = [x for x in (a, b) if is_tensor(x)]
        left, right = vectors.comparable(as_array(a), as_array(b), self.manifest.model.embedding_dim)
        if left.shape[-1] != right.shape[-1]:
            raise ValueError(
                f"vectors of {left.shape[-1]} and of {right.shape[-1]} numbers: compare those of one model and one "
                "truncate_dim."
            )
        found = function(self.similarity_fn_name, left, right)
        return import_torch().from_numpy(found).to(tensors[0].device) if tensors else found

    @property
    def similarity_fn_name(self) -> SimilarityName:
        """What `similarity` computes: "cosine", "dot", "euclidean" or "manhattan". May be set.

        >>> INSTRUCTOR("instructor-mini").similarity_fn_name
        'cosine'
        """
        return self._similarity_fn_name

    @similarity_fn_name.setter
    def similarity_fn_name(self, value: SimilarityName) -> None:
        name = getattr(value, "value", value)  # of sentence-transformers' enumeration
        if name not in SIMILARITIES:
            raise ValueError(
                f"similarity_fn_name: found {value!r}, expected one of {', '.join(map(repr, SIMILARITIES))}."
            )
        self._similarity_fn_name: SimilarityName = name

    def get_sentence_embedding_dimension(self) -> int:
        """The same as `get_embedding_dimension` (its older name).

        >>> INSTRUCTOR("instructor-mini").get_sentence_embedding_dimension()
        384
        """
        return self.get_embedding_dimension()

    def get_max_seq_length(self) -> int:
        """The same as `max_seq_length` (sentence-transformers' name for it).

        >>> INSTRUCTOR("instructor-mini").get_max_seq_length()
        512
        """
        return self.max_seq_length

    @contextmanager
    def truncate_embeddings(self, truncate_dim: int | None) -> Iterator[None]:
        """Within it, `encode` keeps so many numbers of a vector.

        >>> model = INSTRUCTOR("instructor-mini")
        >>> with model.truncate_embeddings(64):
        ...     model.encode("a text").shape
        (64,)
        """
        before, self.truncate_dim = self.truncate_dim, truncate_dim
        try:
            yield
        finally:
            self.truncate_dim = before

    truncate_sentence_embeddings = truncate_embeddings  # its older name

    def start_multi_process_pool(self, target_devices: Sequence[Any] | None = None) -> DevicePool:
        """The model on each of several devices, for `encode(..., pool=)`.

        A CPU is one device, however often it is named: one model uses all of its cores.

        Args:
            target_devices: such as ["cuda:0", "cuda:1"]; None: every GPU, where the model is on one, else its CPU.

        >>> model = INSTRUCTOR("instructor-mini", device="cpu")
        >>> model.encode(["a text"], pool=model.start_multi_process_pool(["cpu"] * 4)).shape
        (1, 384)
        """
        if target_devices is None:
            here = self.device.startswith("cuda")
            target_devices = [f"cuda:{index}" for index in range(visible_gpus())] if here else [self.device]
        devices = dict.fromkeys(str(choose_device(str(device))) for device in target_devices)
        if not devices:
            raise ValueError("target_devices: found none, expected such as ['cuda:0', 'cuda:1'].")
        return DevicePool(tuple(self._on(device) for device in devices))

    @staticmethod
    def stop_multi_process_pool(pool: DevicePool) -> None:
        """Nothing to do: its models go when `pool` does.

        >>> model = INSTRUCTOR("instructor-mini")
        >>> model.stop_multi_process_pool(model.start_multi_process_pool())
        """

    def encode_multi_process(self, sentences: Any, pool: DevicePool | None = None, **options: Any) -> Any:
        """`encode(sentences, pool=pool)`, its older name.

        >>> model = INSTRUCTOR("instructor-mini")
        >>> model.encode_multi_process(["a text"], model.start_multi_process_pool()).shape
        (1, 384)
        """
        return self.encode(sentences, pool=pool, **options)

    @property
    def model_card_data(self) -> ModelCardData:
        """Where sentence-transformers' evaluators leave their results for a model card.

        >>> INSTRUCTOR("instructor-mini").model_card_data.set_evaluation_metrics(None, {"cosine": 0.8})
        """
        return ModelCardData()

    def _on(self, device: str) -> INSTRUCTOR:
        """This model, or the same opened on another device."""
        if device == self.device:
            return self  # type: ignore[return-value]
        return type(self)(**self._opening | {"device": device})  # type: ignore[return-value]

    def to(self, device: Any = None, **others: Any) -> Self:
        """The model itself, where it is there already.

        Raises:
            ValueError: another device, or a dtype; says what to do instead.

        >>> INSTRUCTOR("instructor-mini", device="cpu").to("cpu").device
        'cpu'
        """
        if others or not (isinstance(device, str) or type(device).__name__ == "device"):
            raise ValueError(f"to({device!r:.60}): expected a device. {self._other_weights()}")
        if str(choose_device(str(device))) != self.device:
            raise ValueError(
                f"device={device!r}: this model runs on {self.device}. "
                f"Load one there: INSTRUCTOR(..., device={str(device)!r})."
            )
        return self

    def cpu(self) -> Self:
        """`to("cpu")`.

        >>> INSTRUCTOR("instructor-mini", device="cpu").cpu().device
        'cpu'
        """
        return self.to("cpu")

    def cuda(self, device: Any = None) -> Self:
        """`to("cuda")`, or to the GPU of that number."""
        return self.to("cuda" if device is None else f"cuda:{device}" if isinstance(device, int) else device)

    def eval(self) -> Self:
        """The model itself, which is never in training.

        >>> INSTRUCTOR("instructor-mini").eval().variant
        'int8'
        """
        return self

    def train(self, mode: bool = True) -> Self:
        """`eval()` for False.

        Raises:
            ValueError: for True; says what to do instead.
        """
        if mode:
            raise ValueError(f"train(): {_TRAINED}.")
        return self

    def half(self) -> Self:
        """The model itself, where its variant is fp16.

        Raises:
            ValueError: it is another; says how to open that.
        """
        return self._of_variant("fp16")

    def bfloat16(self) -> Self:
        """As `half`, for bf16."""
        return self._of_variant("bf16")

    def float(self) -> Self:
        """As `half`, for fp32."""
        return self._of_variant("fp32")

    def _of_variant(self, variant: str) -> Self:
        if self.variant != variant:
            raise ValueError(f"{variant}: this model is {self.variant}. {self._other_weights(variant)}")
        return self

    def _other_weights(self, variant: str = "fp32") -> str:
        wanted = variant if variant in self.manifest.variants else next(iter(self.manifest.variants))
        there = f"Open another: INSTRUCTOR(..., variant={wanted!r})"
        return f"{there}; this bundle has {', '.join(self.manifest.variants)}, `instructor-onnx export` makes others."

    def save_pretrained(self, path: str | os.PathLike[str]) -> None:
        """Copy the bundle, with the prompts and the similarity that the model has now, to a folder.

        Raises:
            FileExistsError: there is something in it.

        >>> INSTRUCTOR("instructor-mini").save_pretrained("copied-bundle")
        >>> INSTRUCTOR("copied-bundle").get_embedding_dimension()
        384
        """
        target = Path(path).expanduser()
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise FileExistsError(f"{target}: exists. Name a folder that does not, or that is empty.")
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as beside:
            folder = Path(beside) / target.name
            folder.mkdir()  # with the modes that folders have here; the one around it is private
            self._copy(folder)
            folder.replace(target)  # an empty folder may be there

    save = save_pretrained  # an older name

    def push_to_hub(
        self,
        repo_id: str,
        *,
        token: str | bool | None = None,
        private: bool | None = None,
        commit_message: str | None = None,
        exist_ok: bool = False,
        revision: str | None = None,
        create_pr: bool = False,
    ) -> str:
        """Upload the bundle, as `save_pretrained` writes it, to a repository of the Hugging Face hub.

        Args:
            token, private, exist_ok, revision, create_pr: as in huggingface_hub.
            commit_message: None: says what is uploaded.

        Returns:
            The address of the commit, or of the pull request.

        Raises:
            ImportError: huggingface_hub is not installed.
        """
        try:
            import huggingface_hub
        except ImportError as error:
            raise ImportError(f"push_to_hub: {pip_install('hub')}") from error
        api = huggingface_hub.HfApi(token=token)
        repo = api.create_repo(repo_id, private=private, exist_ok=exist_ok or create_pr).repo_id
        message = commit_message or f"{self.manifest.model.name} as an instructor-onnx bundle"
        with tempfile.TemporaryDirectory() as folder:
            self._copy(Path(folder))
            commit = api.upload_folder(
                repo_id=repo, folder_path=folder, commit_message=message, revision=revision, create_pr=create_pr
            )
        return str(commit.pr_url if create_pr else commit.commit_url)

    save_to_hub = push_to_hub  # its older name

    def _copy(self, folder: Path) -> None:
        """The bundle's files, and nothing else that lies there; the variants that a hub download left out are not."""
        present = {
            name: variant
            for name, variant in self.manifest.variants.items()
            if all((self.folder / file.path).is_file() for file in variant.files)
        }
        manifest = dataclasses.replace(
            self.manifest,
            variants=present,
            prompts=dict(self.prompts),
            default_prompt_name=self.default_prompt_name,
            similarity_fn_name=self.similarity_fn_name,
        )
        for file in manifest.files():
            (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.folder / file.path, folder / file.path)
        # What no vector depends on, and the manifest therefore leaves out
        for path in (MODEL_CARD, *(f"{variant}/{OPTIMUM_CONFIG}" for variant in present)):
            if (self.folder / path).is_file():
                shutil.copyfile(self.folder / path, folder / path)
        manifest.write(folder)

    # A sentence-transformers model is a list of modules. Special methods are not looked up by __getattr__.

    def __getitem__(self, index: Any) -> NoReturn:
        raise TypeError(f"model[{index!r:.20}]: {_EXPORTED}.")

    def __iter__(self) -> NoReturn:
        raise TypeError(f"iter(model): {_EXPORTED}.")

    def __len__(self) -> int:
        raise TypeError(f"len(model): {_EXPORTED}.")

    def __bool__(self) -> bool:
        return True

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        instead = INSTEAD.get(name, "help(INSTRUCTOR) lists what there is, docs/sentence-transformers.md what it was")
        raise AttributeError(f"INSTRUCTOR has no {name!r}: {instead}.", name=name, obj=self)
