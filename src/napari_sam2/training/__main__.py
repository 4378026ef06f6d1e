"""``python -m napari_sam2.training FOLDER`` trains ``nano``, or goes on where it stopped."""

import sys
from pathlib import Path

from napari_sam2.training.config import NANO_RUN
from napari_sam2.training.trainer import Trainer

if __name__ == "__main__":
    Trainer(NANO_RUN, Path(sys.argv[1] if len(sys.argv) > 1 else "runs/nano")).run()
