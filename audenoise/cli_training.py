"""Commands that train a model and publish it."""

from pathlib import Path
from typing import Any

import click

from audenoise.cli_options import (
    FOLDERS,
    FROM_ENCODER,
    LEARNING_RATE,
    feeding_options,
    recipe_options,
    report,
    run_options,
)
from audenoise.errors import AudenoiseError, DataError, SpecError
from audenoise.keras_loading import load_keras


class DeviceCount(click.ParamType):
    """A number, or all."""

    name = "N|all"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if value == "all":
            return None
        try:
            count = int(value)
        except ValueError:
            count = 0
        if count < 1:
            self.fail(f"must be a number above 0, or all. Received: {value}", param, ctx)
        return count


@click.command()
@click.argument("dataset", required=False, type=click.Path(path_type=Path), metavar="[DATASET]")
@click.option("--clean", help="Clean speech, searched recursively; may be given again.", **FOLDERS)
@click.option("--noise", help="Noise, searched recursively; may be given again.", **FOLDERS)
@click.option("--rir", help="Room impulse responses; simulated rooms are used besides.", **FOLDERS)
@click.option(
    "--valid-clean",
    help="Clean speech to validate on, of other speakers.  [default: one recording in 20 is held out]",
    **FOLDERS,
)
@click.option("--valid-noise", help="Noise to validate on.  [default: one in 20 is held out]", **FOLDERS)
@click.option(
    "--spec",
    "spec_path",
    metavar="FILE|NAME",
    help="Spec in YAML or JSON, or the name of a shipped recipe.  [default: standard; with --resume RUN's "
    "own, with --from-preset the preset's]",
)
@run_options(holds="weights, logs and spec")
@click.option(
    "--from-preset", metavar="NAME|FOLDER", help="Start from a published model's weights (fine-tuning)."
)
@FROM_ENCODER
@recipe_options()
@LEARNING_RATE
@feeding_options(work="mix or read", rate_hz=16000, mb_per_hour=115)
@click.option(
    "--precision",
    type=click.Choice(["float32", "mixed_float16", "mixed_bfloat16"]),
    help="Overrides training.precision: what the network computes in.",
)
@click.option(
    "--devices",
    type=DeviceCount(),
    default=1,
    show_default=True,
    help="GPUs of this machine that share each batch (CPUs where there are none), or all.",
)
@click.option(
    "--hosts",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    envvar="KERAS_DISTRIBUTION_NUM_PROCESSES",
    help="Machines, or processes, that train together; KERAS_BACKEND=jax only. Each has this command run "
    "with its own --host.",
)
@click.option(
    "--host",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="NUMBER",
    envvar="KERAS_DISTRIBUTION_PROCESS_ID",
    help="Number of this one, from 0; host 0 alone reads and writes RUN.",
)
@click.option(
    "--coordinator",
    default="127.0.0.1:9911",
    show_default=True,
    metavar="HOST:PORT",
    envvar="KERAS_DISTRIBUTION_JOB_ADDRESSES",
    help="Where host 0 listens and the others find it.",
)
def train(
    dataset: Path | None,
    clean: tuple[Path, ...],
    noise: tuple[Path, ...],
    rir: tuple[Path, ...],
    valid_clean: tuple[Path, ...],
    valid_noise: tuple[Path, ...],
    spec_path: str | None,
    run: Path,
    resume: bool,
    from_preset: str | None,
    from_encoder: Path | None,
    workers: int,
    cache: Path | None,
    devices: int | None,
    hosts: int,
    host: int,
    coordinator: str,
    **overrides: Any,
) -> None:
    """Train a denoiser on a saved dataset, or on endless mixtures of your recordings.

    DATASET comes from `audenoise build-dataset`. Its crops are read from disk in random order, so it may be
    larger than the memory; its held-out side is what the network is validated on.

    With --clean and --noise nothing is mixed in advance: parallel processes draw speech, noise, rooms, levels
    and filters for every example.

    After each epoch the log has the loss, and SI-SDR, ESTOI and PESQ of held-out examples (those of them that
    are installed: pip install audenoise[metrics]); RUN holds the last state (for --resume) and the best
    weights (for `publish`). KERAS_BACKEND=jax trains on JAX.

    \b
    Examples:
      audenoise train dataset/ --spec standard --out runs/mine
      audenoise train --clean speech/ --noise noises/ --spec standard --out runs/mine
      audenoise train --clean speech/ --noise noises/ --out runs/mine --resume
      audenoise train --clean my_voice/ --noise my_office/ --from-preset standard --out runs/tuned
      audenoise train dataset/ --out runs/mine --devices all --precision mixed_bfloat16
    """
    if dataset is not None:
        options = {
            "--clean": clean,
            "--noise": noise,
            "--rir": rir,
            "--valid-clean": valid_clean,
            "--valid-noise": valid_noise,
            "--cache": cache,
        }
        given = ", ".join(name for name, value in options.items() if value)
        if given:
            raise click.UsageError(f"{given}: not with a DATASET, which has its mixtures already.")
        if not dataset.is_dir():
            raise DataError(f"{dataset}: no such folder; make a dataset with `audenoise build-dataset`")
    elif not (clean and noise):
        raise click.UsageError("Name a DATASET, or folders with --clean and --noise.")

    if from_preset and from_encoder:
        raise click.UsageError("--from-preset and --from-encoder: take one of them.")
    from functools import partial

    from audenoise.specs import (
        ModelSpec,
        grows_from,
        load_recipe,
        load_spec,
        override_training,
        same_network,
    )

    if resume and spec_path is None and (run / "spec.yaml").is_file():
        spec_path = str(run / "spec.yaml")
    weights: Any = None
    preset = None
    if from_preset:
        from audenoise.presets import load_preset

        preset = load_preset(from_preset)
        preset.verify()
        weights = preset.folder / "model.weights.h5"
        spec_path = spec_path or str(preset.folder / "spec.yaml")
    spec = override_training(load_recipe(spec_path or "standard"), overrides)
    grows = False
    if preset is not None:
        published = load_spec(preset.folder / "spec.yaml")
        spec = spec.with_scaling_of(published)
        grows = grows_from(spec, published)
        if not (grows or same_network(spec, published)):
            raise SpecError(
                f"{spec_path}: its network differs from that of {from_preset}; leave --spec out, or change "
                "training, mixing and loss only, or ask for more bottleneck.blocks, for "
                "bottleneck.bidirectional or for kernels over more frames"
            )

    if hosts > 1:
        from audenoise.hosts import Hosts, join

        join(Hosts(coordinator, hosts, host))
    load_keras()
    if grows:
        from audenoise.growing import start_grown

        weights = partial(start_grown, spec=spec, source=weights, report=None if host else report)
    if from_encoder is not None:
        from audenoise.encoder_weights import start_from_encoder, stored_spec

        source = stored_spec(from_encoder)
        if isinstance(source, ModelSpec):  # its input in dB was scaled so
            spec = spec.with_scaling(source.input.scaling, None)
        weights = partial(start_from_encoder, source=from_encoder, report=None if host else report)
    from audenoise.corpus import TrainingFolders
    from audenoise.devices import find_devices
    from audenoise.training import train_from_dataset, train_from_folders

    common: dict[str, Any] = {
        "run": run,
        "workers": workers,
        "resume": resume,
        "initial_weights": weights,
        "devices": find_devices(devices),
        "report": report,
    }
    if dataset is not None:
        state = train_from_dataset(spec, dataset, **common)
    else:
        state = train_from_folders(
            spec, TrainingFolders(clean, noise, rir, valid_clean, valid_noise), cache=cache, **common
        )
    if host or state.best_loss is None:
        return
    how = ""
    if state.best_score is not None and spec.training.best_by != "loss":
        from audenoise.validation import MEASURES, score_in_words

        how = f", {score_in_words(MEASURES[spec.training.best_by], state.best_score)}"
    best = run / "best.weights.h5"
    report(f"best validation loss {state.best_loss:.5f}{how} after epoch {state.best_epoch}: {best}")


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("target", metavar="models/NAME", type=click.Path(path_type=Path))
@click.option(
    "--description",
    default="A denoiser trained with audenoise.",
    show_default=True,
    metavar="TEXT",
    help="One line about the model, for `audenoise models list`.",
)
@click.option("--licence", default="unstated", show_default=True, help="Licence of the weights.")
@click.option("--data", multiple=True, metavar="TEXT", help="What it was trained on; may be given again.")
@click.option(
    "--data-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The same from a text file, one line each.",
)
@click.option(
    "--scores",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="JSON",
    help="Measured scores to keep in the metadata, such as those of benchmarks/quality.py --json.",
)
@click.option(
    "--weights",
    type=click.Choice(["float16", "float32"]),
    default="float16",
    show_default=True,
    help="Precision in which kernels are kept; float16 is half the size. They are computed with as float32.",
)
@click.option("--overwrite", is_flag=True, help="Replace the model folder.")
def publish(
    run: Path,
    target: Path,
    description: str,
    licence: str,
    data: tuple[str, ...],
    data_file: Path | None,
    scores: Path | None,
    weights: str,
    overwrite: bool,
) -> None:
    """Make a model folder from a run's best weights: spec, weights, ONNX graph, metadata.

    The graph must agree with the Keras network to 1e-4 of its peak, or nothing is written.

    \b
    Example: audenoise publish runs/mine models/mine --licence MIT --data "My own recordings"
    """
    import json

    load_keras()
    from audenoise.publishing import doubts
    from audenoise.publishing import publish as write_model
    from audenoise.specs.enhancer import is_enhancer_run

    if is_enhancer_run(run):
        from audenoise.enhancing.publishing import publish_enhancer as write_model

    try:
        measured = json.loads(scores.read_text(encoding="utf-8")) if scores else None
        lines = data_file.read_text(encoding="utf-8").splitlines() if data_file else []
    except ValueError as error:
        raise AudenoiseError(f"{scores or data_file}: cannot be read ({error})") from None
    difference = write_model(
        run,
        target,
        description=description,
        licence=licence,
        data=[*data, *filter(None, lines)],
        scores=measured,
        overwrite=overwrite,
        half=weights == "float16",
    )
    for line in doubts(run):
        report(f"warning: {line}")
    report(f"{target}: published; Keras and ONNX differ by {difference:.1e} of the peak")
