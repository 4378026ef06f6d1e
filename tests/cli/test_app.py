import subprocess
import sys
from importlib.metadata import version

from typer.testing import CliRunner

from napari_sam2.cli import app


def test_the_version_is_the_package_s():
    result = CliRunner().invoke(app, ["--version"])
    assert result.output == f"napari-sam2 {version('napari-sam2')}\n"


def test_help_names_both_commands():
    output = CliRunner().invoke(app, ["--help"]).output
    assert "segment" in output
    assert "demo" in output


def test_importing_the_commands_brings_no_torch_numpy_or_napari():
    code = (
        "import sys, napari_sam2.cli;"
        "print([m for m in ('torch', 'numpy', 'napari', 'skimage') if m in sys.modules])"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout == "[]\n"


def test_help_says_what_happens_without_an_option():
    output = CliRunner().invoke(app, ["segment", "--help"], env={"COLUMNS": "200"}).output
    for default in ("(the model's own)", "(never)", "(32)"):
        assert f"[default: {default}]" in output
