"""No measurement: the weighted mean of two models of one shape, which may be better than both.

    python benchmarks/mean_of_weights.py FIRST SECOND SHARE OUTPUT

SHARE is the second's, 0 to 1.
"""

from __future__ import annotations

import sys

from safetensors import safe_open
from safetensors.torch import load_file, save_file


def main() -> None:
    first, second, share, output = sys.argv[1:]
    one, other = load_file(first), load_file(second)
    with safe_open(first, "pt") as file:
        about = file.metadata()
    mean = {
        name: one[name].float().lerp(other[name].float(), float(share)).to(one[name].dtype)
        for name in one
    }
    save_file(mean, output, metadata=about)


if __name__ == "__main__":
    main()
