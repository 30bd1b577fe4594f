"""docs/magics.md is made from the magics themselves: `--write` makes it, `--check` compares."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mpreg_lab.notebook.reference import reference

PAGE = Path(__file__).parents[1] / "docs" / "magics.md"


def main() -> int:
    """Write or check the page; 1 if it has to be written anew."""
    parser = argparse.ArgumentParser(description=__doc__)
    act = parser.add_mutually_exclusive_group(required=True)
    act.add_argument("--write", action="store_true")
    act.add_argument("--check", action="store_true")
    if parser.parse_args().write:
        PAGE.write_text(reference(), encoding="utf-8")
        return 0
    if PAGE.read_text(encoding="utf-8") == reference():
        return 0
    print("docs/magics.md is not what the code says: python scripts/magics.py --write")
    return 1


if __name__ == "__main__":
    sys.exit(main())
