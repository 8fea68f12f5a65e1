"""`python -m tests.fuzz`: damaged and hostile input of every kind, as long as one likes.

python -m tests.fuzz                                  every kind, 60 seconds in all
python -m tests.fuzz --kind model-native --seconds 600 --jobs 2
python -m tests.fuzz --kind manifest --seed 123       this one case, with all that is known about it
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.kinds import KINDS, missing
from tests.fuzz.runner import fuzz, repeat
from tests.fuzz.worker import Limits


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 1 where there is a finding."""
    options = _parser().parse_args(arguments)
    limits = Limits(options.limit_seconds, options.limit_megabytes)
    chosen = options.kind or [name for name in KINDS if not missing(name)]
    if options.seed is not None and options.seconds is None:
        folder = options.keep or Path(tempfile.mkdtemp(prefix="fuzz-"))
        verdicts = [repeat(kind, options.seed, limits, folder / kind) for kind in chosen]
        for kind, verdict in zip(chosen, verdicts, strict=True):
            sys.stdout.write(f"{kind}: {verdict.outcome} {verdict.place} {verdict.message}\n{verdict.details}")
        sys.stdout.write(f"files: {folder}\n")
        return int(any(verdict.is_finding for verdict in verdicts))
    report = fuzz(chosen, options.seconds or 60, first_seed=options.seed or 0, jobs=options.jobs, limits=limits)
    for name in KINDS.keys() - chosen if options.kind is None else ():
        sys.stdout.write(f"{name}: left out, needs {', '.join(missing(name))}\n")
    sys.stdout.write(f"{report.table()}\n\n{report.causes()}\n")
    return int(bool(report.findings))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kind", action="append", choices=KINDS, help="may be given again; default: all")
    parser.add_argument("--seconds", type=float, help="in all; default: 60, or one case where a seed is given")
    parser.add_argument("--seed", type=int, help="of the first case; default: 0")
    parser.add_argument("--jobs", type=int, default=1, help="workers at a time")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where the files of a repeated case go")
    parser.add_argument("--limit-seconds", type=float, default=Limits.seconds, help="of a case")
    parser.add_argument("--limit-megabytes", type=int, default=Limits.megabytes, help="of a case")
    return parser


if __name__ == "__main__":
    sys.exit(main())
