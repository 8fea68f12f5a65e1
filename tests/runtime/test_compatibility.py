"""Names and parameters of sentence-transformers: those that work as they did there, and what the others say."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from instructor_onnx import INSTRUCTOR
from instructor_onnx.compatibility import INSTEAD, NO_PARAMETERS, Familiar
from instructor_onnx.pool import DevicePool

QUERY, DOCUMENT = (
    "Represent the question for retrieving supporting documents: ",
    "Represent the document for retrieval: ",
)
TEXTS = ["a cat sat", "the river rises", "rates rose"]


@pytest.fixture(scope="module")
def model() -> INSTRUCTOR:
    return INSTRUCTOR("instructor-mini", device="cpu")


def under(model: INSTRUCTOR, instruction: str) -> Any:
    return model.encode([[instruction, text] for text in TEXTS])


class TestPrompts:
    def test_the_bundles_prompts(self, model: INSTRUCTOR) -> None:
        assert model.prompts == {"query": QUERY, "document": DOCUMENT}
        np.testing.assert_array_equal(model.encode_query(TEXTS), under(model, QUERY))
        np.testing.assert_array_equal(model.encode_document(TEXTS), under(model, DOCUMENT))
        np.testing.assert_array_equal(model.encode(TEXTS, prompt_name="query"), under(model, QUERY))
        np.testing.assert_array_equal(model.encode(TEXTS), under(model, ""))

    def test_a_prompt_of_ones_own(self, model: INSTRUCTOR) -> None:
        own = "Represent the animal: "
        np.testing.assert_array_equal(model.encode(TEXTS, prompt=own), under(model, own))
        np.testing.assert_array_equal(model.encode_query(TEXTS, prompt=own), under(model, own))
        np.testing.assert_array_equal(model.encode_query(TEXTS, prompt_name="document"), under(model, DOCUMENT))
        np.testing.assert_array_equal(model.encode(TEXTS[0], prompt=own), under(model, own)[0])

    @pytest.mark.parametrize("row", [["Represent it: ", "a cat"], {"instruction": "Represent it: ", "text": "a cat"}])
    def test_a_rows_own_instruction_wins(self, model: INSTRUCTOR, row: Any) -> None:
        found = model.encode([row, "the river", ["", "a sea"], {"text": "a lake"}], prompt="Represent the water: ")
        rows = [["Represent it: ", "a cat"], ["Represent the water: ", "the river"]]
        rows += [["", "a sea"], ["Represent the water: ", "a lake"]]
        np.testing.assert_array_equal(found, model.encode(rows))

    def test_a_default(self) -> None:
        model = INSTRUCTOR("instructor-mini", prompts={"sts": "Represent the sentence: "}, default_prompt_name="sts")
        np.testing.assert_array_equal(model.encode(TEXTS), under(model, "Represent the sentence: "))
        np.testing.assert_array_equal(model.encode_query(TEXTS), under(model, QUERY))
        assert set(model.prompts) == {"query", "document", "sts"}

    @pytest.mark.parametrize("name", ["passage", "corpus"])
    def test_other_names_of_documents(self, bundle: Path, name: str) -> None:
        model = INSTRUCTOR(bundle, device="cpu", prompts={name: "Represent the page: "})
        np.testing.assert_array_equal(model.encode_document(TEXTS), under(model, "Represent the page: "))
        np.testing.assert_array_equal(model.encode_query(TEXTS), under(model, ""))  # no such prompt: as they are

    def test_both_is_an_error(self, model: INSTRUCTOR) -> None:
        with pytest.raises(ValueError, match="give one of them"):
            model.encode(TEXTS, prompt="a: ", prompt_name="query")

    def test_an_unknown_name_names_the_known(self, model: INSTRUCTOR) -> None:
        with pytest.raises(ValueError, match="found 'sts'; this model has 'query', 'document'"):
            model.encode(TEXTS, prompt_name="sts")
        with pytest.raises(ValueError, match="found 'nothing'"):
            INSTRUCTOR("instructor-mini", default_prompt_name="nothing")


class TestSimilarity:
    def test_pairwise_and_by_name(self, model: INSTRUCTOR) -> None:
        a, b = under(model, QUERY), under(model, DOCUMENT)
        names: list[Any] = ["cosine", "dot", "euclidean", "manhattan"]
        for name in names:
            other = INSTRUCTOR("instructor-mini", similarity_fn_name=name)
            assert other.similarity_fn_name == name
            np.testing.assert_allclose(other.similarity_pairwise(a, b), np.diag(other.similarity(a, b)), atol=1e-6)
        assert model.similarity_fn_name == "cosine"

    def test_an_unknown_function(self, model: INSTRUCTOR) -> None:
        with pytest.raises(ValueError, match="found 'maxsim', expected one of 'cosine'"):
            model.similarity_fn_name = "maxsim"  # type: ignore[assignment]

    def test_sentence_transformers_enumeration(self) -> None:
        functions = pytest.importorskip("sentence_transformers").SimilarityFunction
        assert INSTRUCTOR("instructor-mini", similarity_fn_name=functions.DOT_PRODUCT).similarity_fn_name == "dot"

    def test_tensors_give_tensors(self, model: INSTRUCTOR) -> None:
        torch = pytest.importorskip("torch")
        tensors = model.encode(TEXTS, convert_to_tensor=True)
        arrays = model.encode(TEXTS)
        for a, b in ((tensors, tensors), (tensors, arrays), (arrays, list(tensors))):
            found = model.similarity(a, b)
            assert isinstance(found, torch.Tensor) == isinstance(a, torch.Tensor)
            np.testing.assert_allclose(found, model.similarity(arrays, arrays), atol=1e-6)


class TestPools:
    def test_several_models_share_the_rows(self, model: INSTRUCTOR) -> None:
        pool = DevicePool((model, INSTRUCTOR("instructor-mini", device="cpu", num_threads=1)))
        texts = [f"text {i} " * (i % 7) for i in range(50)]
        expected = model.encode(texts, prompt_name="query")
        np.testing.assert_array_equal(model.encode(texts, prompt_name="query", pool=pool, chunk_size=7), expected)
        np.testing.assert_array_equal(model.encode_multi_process(texts, pool, prompt_name="query"), expected)
        np.testing.assert_array_equal(model.encode(texts[1], prompt_name="query", pool=pool), expected[1])
        codes = model.encode(texts, pool=pool, precision="int8", truncate_dim=8)
        np.testing.assert_array_equal(codes, model.encode(texts, precision="int8", truncate_dim=8))
        assert model.encode([], pool=pool).shape == (0, 384)
        lengths = [len(row) for row in model.encode(texts, pool=pool, output_value="token_embeddings")]
        assert lengths == [len(row) for row in model.encode(texts, output_value="token_embeddings")]

    def test_a_cpu_is_one_device(self, model: INSTRUCTOR) -> None:
        for devices in (None, ["cpu"] * 4):
            assert model.start_multi_process_pool(devices).models == (model,)
        with pytest.raises(ValueError, match="target_devices: found none"):
            model.start_multi_process_pool([])


class TestCopies:
    def test_pickled_and_copied(self, model: INSTRUCTOR) -> None:
        own = INSTRUCTOR("instructor-mini", device="cpu", truncate_dim=64, prompts={"a": "b: "}, num_threads=1)
        own.max_seq_length = 100
        for other in (pickle.loads(pickle.dumps(own)), copy.deepcopy(own)):  # noqa: S301 (our own)
            assert repr(other) == repr(own)
            assert other.prompts == own.prompts
            np.testing.assert_array_equal(other.encode(TEXTS), own.encode(TEXTS))

    def test_a_pickle_holds_no_token(self, model: INSTRUCTOR) -> None:
        own = INSTRUCTOR("instructor-mini", token="hf_secret")
        assert b"hf_secret" not in pickle.dumps(own)
        assert copy.deepcopy(own)._opening["token"] == "hf_secret"

    def test_saved_with_what_was_set(self, tmp_path: Path) -> None:
        model = INSTRUCTOR("instructor-mini", prompts={"sts": "Represent it: "}, similarity_fn_name="dot")
        for name in ("save", "save_pretrained"):
            getattr(model, name)(tmp_path / name)
            saved = INSTRUCTOR(tmp_path / name)
            assert (saved.prompts, saved.similarity_fn_name) == (model.prompts, "dot")
            assert saved.fingerprint == model.fingerprint
            np.testing.assert_array_equal(saved.encode(TEXTS), model.encode(TEXTS))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["save", "save_pretrained"]

    def test_nothing_is_overwritten(self, model: INSTRUCTOR, tmp_path: Path) -> None:
        (tmp_path / "mine").write_text("kept")
        with pytest.raises(FileExistsError, match="exists"):
            model.save(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["mine"]

    def test_only_the_bundles_own_files_are_copied(self, bundle: Path, tmp_path: Path) -> None:
        source = shutil.copytree(bundle, tmp_path / "source")
        (source / "secret").write_text("x")
        shutil.rmtree(source / "int4")  # as where only a variant was downloaded
        INSTRUCTOR(source, device="cpu").save(tmp_path / "saved")
        assert not (tmp_path / "saved" / "secret").exists()
        assert set(INSTRUCTOR(tmp_path / "saved", device="cpu").manifest.variants) == {"fp32", "int8"}

    def test_pushed_to_the_hub(self, model: INSTRUCTOR, monkeypatch: pytest.MonkeyPatch) -> None:
        huggingface_hub = pytest.importorskip("huggingface_hub")
        sent: dict[str, Any] = {}

        class Api:
            def __init__(self, token: Any) -> None:
                sent["token"] = token

            def create_repo(self, repo_id: str, **options: Any) -> Any:
                sent["repo"] = (repo_id, options)
                return type("Url", (), {"repo_id": f"someone/{repo_id}"})

            def upload_folder(self, *, repo_id: str, folder_path: str, **options: Any) -> Any:
                sent["files"] = sorted(
                    str(p.relative_to(folder_path)) for p in Path(folder_path).rglob("*") if p.is_file()
                )
                sent["to"] = repo_id
                return type("Commit", (), {"commit_url": "https://hub/commit/1", "pr_url": "https://hub/pr/1"})

        monkeypatch.setattr(huggingface_hub, "HfApi", Api)
        assert model.push_to_hub("mini", token="t", private=True) == "https://hub/commit/1"
        assert sent["repo"] == ("mini", {"private": True, "exist_ok": False})
        assert (sent["to"], sent["token"]) == ("someone/mini", "t")
        assert sent["files"] == [
            *("README.md", "int8/config.json", "int8/model.onnx", "int8/model.onnx.data"),
            *("manifest.json", "tokenizer.json"),
        ]
        assert model.push_to_hub("mini", create_pr=True) == "https://hub/pr/1"


class TestTheRest:
    def test_the_same_device_and_mode(self, model: INSTRUCTOR) -> None:
        torch = pytest.importorskip("torch")
        for same in (model.to("cpu"), model.to(torch.device("cpu")), model.cpu(), model.eval(), model.train(False)):
            assert same is model
        assert bool(model)

    def test_the_variant_of_that_type(self, bundle: Path) -> None:
        model = INSTRUCTOR(bundle, variant="fp32", device="cpu")
        assert model.float() is model
        with pytest.raises(ValueError, match="fp16: this model is fp32. Open another"):
            model.half()

    @pytest.mark.parametrize(
        ("call", "sentence"),
        [
            (lambda m: m.half(), "fp16: this model is int8. Open another: "),
            (lambda m: m.float(), "fp32: this model is int8"),
            (lambda m: m.bfloat16(), "bf16: this model is int8"),
            (lambda m: m.to(dtype="float16"), "expected a device"),
            (lambda m: m.train(), "finished export"),
            (lambda m: m[0], "finished export"),
            (list, "finished export"),
            (len, "finished export"),
            (lambda m: m.encode(["a"], device="banana"), "expected 'cpu', 'cuda'"),
            (lambda m: INSTRUCTOR("instructor-mini", backend="openvino"), "a bundle is ONNX"),
            (lambda m: INSTRUCTOR("instructor-mini", banana=1), "has no parameter 'banana'"),
            (lambda m: INSTRUCTOR("instructor-mini", truncate_dim=-1), "truncate_dim: found -1"),
            *((lambda m, name=name: getattr(m, name), f"INSTRUCTOR has no '{name}': ") for name in INSTEAD),
            (lambda m: INSTRUCTOR("instructor-mini", prompts={"query": 7}), "'query' is int"),  # type: ignore[dict-item]
            (lambda m: m.banana, r"help\(INSTRUCTOR\) lists"),
            *(
                (lambda m, name=name: INSTRUCTOR("instructor-mini", **cast(Any, {name: {}})), f"{name}: has no effect")
                for name in NO_PARAMETERS
            ),
        ],
    )
    def test_a_sentence_says_what_to_do_instead(self, model: INSTRUCTOR, call: Any, sentence: str) -> None:
        with pytest.raises((AttributeError, TypeError, ValueError), match=sentence):
            call(model)

    @pytest.mark.parametrize("name", [*INSTEAD, "banana"])
    def test_what_is_not_there_can_be_asked_for(self, model: INSTRUCTOR, name: str) -> None:
        assert not hasattr(model, name)

    def test_sentence_transformers_evaluators_judge_it(self, model: INSTRUCTOR) -> None:
        evaluation = pytest.importorskip("sentence_transformers.sentence_transformer.evaluation")
        pairs = evaluation.EmbeddingSimilarityEvaluator(
            ["a cat sat", "a cat sat", "a cat sat"], ["a cat sat down", "a dog", "rates rose"], [1.0, 0.5, 0.0]
        )
        assert pairs(model)["spearman_cosine"] == pytest.approx(1)
        search = evaluation.InformationRetrievalEvaluator(
            {"q": "Who sat?"}, {"d": "a cat sat", "e": "rates rose"}, {"q": {"d"}}, precision_recall_at_k=[1]
        )
        assert search(model)["cosine_precision@1"] == 1

    def test_parameters_that_change_nothing_are_taken(self) -> None:
        model = INSTRUCTOR("instructor-mini", backend="onnx", trust_remote_code=True, model_kwargs=None)
        assert model.variant == "int8"
        with pytest.warns(FutureWarning, match="use token"):
            INSTRUCTOR("instructor-mini", use_auth_token=True)

    def test_every_public_name_of_sentence_transformers_is_here_or_explained(self, model: INSTRUCTOR) -> None:
        theirs = pytest.importorskip("sentence_transformers").SentenceTransformer
        own = {name for base in theirs.__mro__ if "sentence_transformers" in base.__module__ for name in vars(base)}
        assert {name for name in own if name[0] != "_" and not hasattr(model, name) and name not in INSTEAD} == set()

    def test_the_page_has_every_name(self) -> None:
        page = (Path(__file__).parents[2] / "docs" / "sentence-transformers.md").read_text(encoding="utf-8")
        ours = {name for name in (*vars(INSTRUCTOR), *vars(Familiar), *INSTEAD) if name[0] != "_"}
        assert {name for name in ours if f"`{name}" not in page} == set()


class TestExportedPrompts:
    def write(self, checkpoint: Path, **config: Any) -> None:
        (checkpoint / "config_sentence_transformers.json").write_text(json.dumps(config))

    def test_they_are_in_the_bundle(self, editable: Path, tmp_path: Path) -> None:
        from instructor_onnx_export import export

        self.write(
            editable,
            prompts={"query": "Ask:\n", "document": None},
            default_prompt_name="query",
            similarity_fn_name="dot",
        )
        export(editable, tmp_path / "bundle", variants=["int8"], show_progress=False)
        model = INSTRUCTOR(tmp_path / "bundle", device="cpu")
        assert model.prompts == {"query": "Ask:\n", "document": ""}
        assert (model.default_prompt_name, model.similarity_fn_name) == ("query", "dot")

    @pytest.mark.parametrize(
        ("config", "sentence"),
        [
            ({"prompts": ["a"]}, "prompts is .*, expected an object"),
            ({"prompts": {"query": 7}}, "the prompt 'query' is 7"),
            ({"prompts": {"query": "x" * 1001}}, "at most 1,000 printable"),
            ({"prompts": {"a\x07": "x"}}, "at most 1,000 printable"),
            ({"default_prompt_name": "query"}, "which is none of its prompts"),
            ({"default_prompt_name": ["query"]}, "which is none of its prompts"),
            ({"similarity_fn_name": "maxsim"}, "similarity_fn_name is 'maxsim'"),
        ],
    )
    def test_bad_ones_are_refused(self, editable: Path, config: Any, sentence: str) -> None:
        from instructor_onnx_export.checkpoint.read import CheckpointError, read_checkpoint

        self.write(editable, **config)
        with pytest.raises(CheckpointError, match=sentence):
            read_checkpoint(editable)


class TestFingerprint:
    def test_what_decides_the_vectors(self, bundle: Path) -> None:
        prints = {
            (variant, engine): INSTRUCTOR(bundle, variant=variant, engine=engine, device="cpu").fingerprint
            for variant in ("fp32", "int8")
            for engine in ("native", "onnxruntime")
        }
        assert len(set(prints.values())) == 4
        other = INSTRUCTOR(bundle, variant="int8", engine="native", num_threads=1, truncate_dim=3)
        assert other.fingerprint == prints["int8", "native"]

    @pytest.mark.parametrize("isa", ["scalar", "avx2"])
    def test_an_instruction_set_changes_nothing(self, isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
        kernels = pytest.importorskip("instructor_onnx.engines.kernels", exc_type=ImportError)
        if isa not in kernels.instruction_sets():
            pytest.skip(f"this machine has no {isa}")
        expected = INSTRUCTOR("instructor-mini", engine="native").fingerprint
        monkeypatch.setenv("INSTRUCTOR_ONNX_ISA", isa)
        assert INSTRUCTOR("instructor-mini", engine="native").fingerprint == expected
