"""The verbs end to end on a tiny checkpoint, and what they say when something is wrong."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import instructor_onnx_training.train as training
import pytest
from instructor_onnx_training.cli import main
from instructor_onnx_training.files import alone, folder_written_beside, write_atomically

from tests.fake_hub import FakeHub

TRAIN = ["--steps", "3", "--batch-size", "2", "--max-length", "32"]


@pytest.fixture
def medi(tmp_path: Path) -> Path:
    row = {"query": ["a: ", "cat"], "pos": ["a: ", "dog"], "neg": ["a: ", "river"], "task_id": 0}
    (tmp_path / "rows.json").write_text(json.dumps([row] * 6))
    return tmp_path / "rows.json"


def test_prepare_then_train(data: Path, checkpoint: Path, tmp_path: Path) -> None:
    rows, out = tmp_path / "medi.json", tmp_path / "trained"
    assert main(["prepare", "--data", str(data), "--miner", str(checkpoint), "--out", str(rows)]) == 0
    assert main(["train", "--start", str(checkpoint), "--medi", str(rows), "--out", str(out), *TRAIN]) == 0
    assert (out / "2_Dense/model.safetensors").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["medi.json", "trained"]  # the state is gone


def test_the_card_is_of_this_run(checkpoint: Path, medi: Path, tmp_path: Path) -> None:
    start = Path(shutil.copytree(checkpoint, tmp_path / "start"))
    (start / "README.md").write_text("# instructor-mini\nSTS-B 0.761, seed 17\n")
    cards = []
    for out in (tmp_path / "a" / "mine", tmp_path / "b" / "mine"):
        assert main(["train", "--start", str(start), "--medi", str(medi), "--out", str(out), "--fp16", *TRAIN]) == 0
        cards.append((out / "README.md").read_text())
    card = cards[0]
    assert card == cards[1]
    for said in ("# mine\n", "from `start`", "6 MEDI rows", "| steps | 3 |", "| max_length | 32 |", "float16"):
        assert said in card
    for unsaid in ("instructor-mini", "0.761", "base_model", "teacher's vectors", str(tmp_path)):
        assert unsaid not in card


def test_a_start_from_the_hub(fake_hub: FakeHub, checkpoint: Path, medi: Path, tmp_path: Path) -> None:
    fake_hub.publish("someone/instructor-base", checkpoint)
    from_id, from_folder = tmp_path / "from-id", tmp_path / "from-folder"
    for start, out in (("someone/instructor-base", from_id), (str(checkpoint), from_folder)):
        assert main(["train", "--start", start, "--medi", str(medi), "--out", str(out), *TRAIN]) == 0
    for name in ("model.safetensors", "2_Dense/model.safetensors", "tokenizer.json"):
        assert (from_id / name).read_bytes() == (from_folder / name).read_bytes()
    assert "\nbase_model: someone/instructor-base\n" in (from_id / "README.md").read_text()


def test_ctrl_c_says_how_to_go_on(
    checkpoint: Path, medi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def until(stop: int) -> None:
        def schedule(step: int, options: training.TrainOptions) -> float:
            if step == stop:
                raise KeyboardInterrupt
            return 1.0

        monkeypatch.setattr(training, "schedule", schedule)

    def command(out: str, *save: str) -> int:
        return main(
            ["train", "--start", str(checkpoint), "--medi", str(medi), "--out", str(tmp_path / out), *TRAIN, *save]
        )

    until(2)
    assert command("cut") == 130
    assert "nothing was saved yet (--save-every 200)" in caplog.text
    assert command("cut", "--save-every", "1") == 130
    assert f"stopped: the same command continues from {tmp_path / 'cut.state'}" in caplog.text
    until(-1)
    assert command("cut", "--save-every", "1") == 0
    assert command("whole") == 0
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("cut", "whole")]
    assert weights[0] == weights[1]


def test_a_checkpoint_of_another_kind_is_one_line(
    checkpoint: Path, medi: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    start = Path(shutil.copytree(checkpoint, tmp_path / "bert"))
    config = json.loads((start / "config.json").read_text())
    (start / "config.json").write_text(json.dumps(config | {"model_type": "bert", "architectures": ["BertModel"]}))
    assert main(["train", "--start", str(start), "--medi", str(medi), "--out", str(tmp_path / "out"), *TRAIN]) == 1
    assert caplog.messages[-1].startswith(f"error: {start / 'config.json'}: model_type is 'bert'")
    assert "\n" not in caplog.messages[-1]


def test_an_existing_folder_is_kept_unless_told(
    checkpoint: Path, medi: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "there"
    out.mkdir()
    command = ["train", "--start", str(checkpoint), "--medi", str(medi), "--out", str(out), *TRAIN]
    assert main(command) == 1
    assert "--overwrite" in caplog.text
    assert not any(out.iterdir())
    assert main([*command, "--overwrite"]) == 0
    assert (out / "config.json").is_file()
    assert main([*command, "--overwrite"]) == 0  # a checkpoint
    (out / "modules.json").unlink()
    assert main([*command, "--overwrite"]) == 1
    assert f"{out} is not a checkpoint, so nothing replaces it" in caplog.text
    assert (out / "config.json").is_file()


def test_two_trainers_do_not_share_an_output(
    checkpoint: Path, medi: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    command = ["train", "--start", str(checkpoint), "--medi", str(medi), "--out", str(tmp_path / "out"), *TRAIN]
    with alone(tmp_path / "out"):
        assert main(command) == 1
    assert "another instructor-onnx works on this output" in caplog.messages[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["rows.json"]
    assert main(command) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--medi", "absent.json"], "no MEDI file at absent.json"),
        ([], "nothing to train on"),
        (["--taught", "absent"], "holds no teacher vectors"),
        (
            ["--medi", "absent.json", "--device", "cuda:99"],
            "found --device cuda:99, expected cpu, or cuda where PyTorch",
        ),
        (["--medi", "absent.json", "--start", "./absent"], "./absent: no such folder"),
    ],
)
def test_mistakes_are_one_line(
    checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, arguments: list[str], message: str
) -> None:
    assert main(["train", "--start", str(checkpoint), "--out", str(tmp_path / "out"), *arguments]) == 1
    assert message in caplog.text
    assert not (tmp_path / "out").exists()


def test_without_torch_the_door_names_the_extra() -> None:
    code = (
        "import importlib.util as util; found = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'torch' else found(name, *rest)\n"
        "try:\n    import instructor_onnx_training\n"
        "except ImportError as error:\n    assert '[train]' in str(error) and 'torch' in str(error)\n"
        "else:\n    raise SystemExit('no error')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old").touch()
    writing = folder_written_beside(target)
    (writing.__enter__() / "new").touch()
    assert writing.__exit__(RuntimeError, RuntimeError(), None) is False
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "old"]
    write_atomically(tmp_path / "file", b"content")
    assert (tmp_path / "file").read_bytes() == b"content"


def test_a_killed_write_blocks_nothing(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    killed = folder_written_beside(target)
    (killed.__enter__() / "half").touch()  # never left: as a kill leaves it
    with folder_written_beside(target) as folder:
        (folder / "new").touch()
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == ["folder", "folder/new"]
    target.rename(tmp_path / ".folder.retired")  # as a kill between the two renames does
    with pytest.raises(KeyboardInterrupt), folder_written_beside(target):
        raise KeyboardInterrupt
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == ["folder", "folder/new"]
