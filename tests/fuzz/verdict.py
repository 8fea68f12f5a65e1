"""What became of a case, and which exceptions are ours. Knows no kind of case."""

from __future__ import annotations

import opcode
import traceback
from dataclasses import dataclass
from pathlib import Path

from instructor_onnx.bundle import InstructorOnnxError

PACKAGES = ("instructor_onnx", "instructor_onnx_export")
OUTCOMES = ("same", "changed", "refused", "wrong", "foreign", "crashed", "hung", "memory")
FINDINGS = OUTCOMES[3:]
LONGEST_MESSAGE = 2000  # characters besides the path; a stranger's megabyte is not to be echoed


@dataclass(frozen=True)
class Verdict:
    """The outcome of one case."""

    outcome: str  # of OUTCOMES: "same" and "changed" were accepted, with the known answer or with another
    message: str = ""  # the sentence, or what was found
    place: str = ""  # file and line of the last frame: cases of one cause share it
    details: str = ""  # the traceback, or the end of the worker's log

    @property
    def is_finding(self) -> bool:
        return self.outcome in FINDINGS


class Refused(Exception):
    """Raised by a kind that has judged a refusal itself, as that in an answer."""


class Wrong(Exception):
    """Raised by a kind where something was accepted and the answer cannot be right."""


def judge(error: BaseException, documented: tuple[type[BaseException], ...], named: tuple[str, ...]) -> Verdict:
    """Whether an exception is a refusal in a sentence of ours, or a finding.

    Args:
        documented: the types that the call may raise, and those of ours that are kinds of them.
        named: one of these has to be in the message: a path, "row ", "line ", an option.
    """
    message = str(error)
    if isinstance(error, Refused):
        return Verdict("refused", message)
    if isinstance(error, Wrong):
        return _finding("wrong", error, message)
    ours = isinstance(error, InstructorOnnxError) and isinstance(error, documented)
    if not ours and type(error) not in documented:
        return _finding("foreign", error, f"{type(error).__name__}: {message}")
    if not _is_raised_by_us(error):
        return _finding("foreign", error, f"{type(error).__name__} from elsewhere: {message}")
    if fault := message_fault(message, named):
        return _finding("foreign", error, f"{fault}: {message}")
    return Verdict("refused", message, _place(error))


def message_fault(message: str, named: tuple[str, ...]) -> str | None:
    """What is wrong with a message for people; None: nothing."""
    rest = message
    for name in named:
        rest = rest.replace(name, "")
    if rest == message:
        return "names neither file nor row"
    if len(rest) > LONGEST_MESSAGE:
        return f"a message of {len(rest):,} characters"
    if "Traceback" in message or "weights_only=False" in message:
        return "another library's advice"
    try:
        message.encode()
    except UnicodeEncodeError:
        return "cannot be printed"
    return None


def _is_raised_by_us(error: BaseException) -> bool:
    """Whether a `raise` statement of our packages made it: a C function's error has our frame innermost too."""
    innermost = error.__traceback__
    while innermost is not None and innermost.tb_next is not None:
        innermost = innermost.tb_next
    if innermost is None:
        return False
    code = innermost.tb_frame.f_code
    ours = any(package in Path(code.co_filename).parts for package in PACKAGES)
    return ours and opcode.opname[code.co_code[innermost.tb_lasti]] == "RAISE_VARARGS"


def _finding(outcome: str, error: BaseException, message: str) -> Verdict:
    return Verdict(outcome, message[:500], _place(error), "".join(traceback.format_exception(error))[-6000:])


def _place(error: BaseException) -> str:
    """The last frame in our packages, else the last one."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if any(package in Path(frame.filename).parts for package in PACKAGES)]
    last = (ours or frames)[-1:]
    return "".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in last)
