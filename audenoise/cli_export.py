"""The command that writes models for other runtimes."""

from pathlib import Path

import click

from audenoise.cli_options import report
from audenoise.keras_loading import load_keras

_FORMATS = ("onnx", "litert", "saved-model")


@click.command()
@click.argument("model", metavar="NAME|FOLDER")
@click.option(
    "--format",
    "format_",
    required=True,
    type=click.Choice(_FORMATS),
    help="onnx: ONNX Runtime, browsers too. litert: phones and small boards. saved-model: TensorFlow.",
)
@click.option(
    "--out",
    "target",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder to make: the graph, settings.json, and an example that runs.",
)
@click.option(
    "--frames",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="litert only: frames in each call, 16 ms each in the standard model. More is faster and later.",
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier export.")
def export(model: str, format_: str, target: Path, frames: int, overwrite: bool) -> None:
    """Write a published model as a graph for another runtime, with an example.

    The graph takes audio at the model's rate and gives denoised audio; state goes in and out, so blocks of a
    live signal continue where the last one ended. It must agree with `audenoise predict` (1e-4 of the peak,
    litert 1e-3), or nothing is written.

    \b
    Examples:
      audenoise export standard --format onnx --out exported/onnx
      python exported/onnx/denoise_onnx.py noisy.wav clean.wav
    """
    from audenoise.exporting import export_model, load_exportable

    load_exportable(model)  # before the seconds that a framework takes
    if format_ != "onnx":
        load_keras()
    result = export_model(model, target, format=format_, frames=frames, overwrite=overwrite, report=report)
    report(
        f"{target}: {', '.join(result.files)}; differs from predict by {result.difference:.1e} of the peak"
    )
