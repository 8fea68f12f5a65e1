"""What every `python -m benchmarks.NAME` has alike."""

from __future__ import annotations

import argparse


def parser(name: str, text: str | None) -> argparse.ArgumentParser:
    """Its arguments begin here: the command is called by its name, and its help is the module's text as it stands."""
    return argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}", description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
