"""Commands that tell what models are here: list, show, check."""

from pathlib import Path

import click

from audenoise.cli_options import OrderedCommands, report
from audenoise.errors import AudenoiseError, ModelError
from audenoise.keras_loading import load_keras


@click.group(cls=OrderedCommands)
def models() -> None:
    """List the models that are here, show what they are, and check them."""


@models.command("list")
def list_models() -> None:
    """List the bundled models, with rate in Hz, parameters and multiply-accumulates per second of audio.

    \b
    Example: audenoise models list
    """
    from audenoise.presets import (
        DEFAULT_PRESET,
        FILE_PRESET,
        bundled_denoisers,
        list_presets,
        load_preset,
        models_folder,
    )

    names = list_presets()
    if not names:
        raise AudenoiseError(
            f"no models in {models_folder()}; train and publish one, or install audenoise again"
        )
    marks = {FILE_PRESET: " (default for files)", DEFAULT_PRESET: " (default for live and Python)"}
    denoisers = bundled_denoisers()
    for name in [*denoisers, *(name for name in names if name not in denoisers)]:
        preset = load_preset(models_folder() / name)
        mark = " (for enhance)" if preset.is_enhancer else marks.get(name, "")
        parameters, macs = preset.metadata.get("parameters"), preset.metadata.get("macs_per_second")
        click.echo(
            f"{name}{mark}: {preset.sample_rate} Hz, {parameters} parameters, {macs} MAC/s, {preset.licence}"
        )
        click.echo(f"    {preset.description}")


@models.command("show")
@click.argument("model", metavar="NAME|FOLDER|SPEC.yaml")
def show_model(model: str) -> None:
    """Show a published model's metadata, or the layers, parameters and MAC/s that a spec leads to.

    A spec is that of a denoiser or of an enhancer: a file, or a shipped recipe by its name where no model has
    it.

    A published model's files are checked against their checksums first.

    \b
    Examples:
      audenoise models show standard
      audenoise models show mine.yaml
      audenoise models show dropout-unet
    """
    from audenoise.presets import METADATA_FILE, list_presets, load_preset
    from audenoise.specs import RECIPES
    from audenoise.specs.enhancer import ENHANCER_RECIPES

    is_published = model in list_presets() or Path(model).is_dir()
    recipes = sorted(path.stem for folder in (RECIPES, ENHANCER_RECIPES) for path in folder.glob("*.yaml"))
    is_recipe = model in recipes and not is_published
    if is_recipe or Path(model).suffix.lower() in {".yaml", ".yml", ".json"}:
        load_keras()
        from audenoise.architectures.summary import describe
        from audenoise.encoder_weights import load_either_spec

        click.echo(describe(load_either_spec(model), source=model))
        return
    import json

    try:
        preset = load_preset(model)
    except ModelError as error:
        if is_published or Path(model).name != model:
            raise
        raise ModelError(f"{error} or a spec file, or name a recipe: {', '.join(recipes)}") from None
    preset.verify()
    metadata = dict(preset.metadata)
    if isinstance(sources := metadata.get("data"), list):
        metadata["data"] = f"{len(sources)} sources, listed in {preset.folder / METADATA_FILE}"
    click.echo(json.dumps(metadata, indent=2))


@models.command("check")
@click.argument("names", metavar="[NAME|FOLDER]...", nargs=-1)
def check_models(names: tuple[str, ...]) -> int:
    """Check that models are whole and work: every file against its checksum, and a second of noise through.

    Without names, all that are bundled. The exit code is 1 if one fails.

    \b
    Examples:
      audenoise models check
      audenoise models check models/mine
    """
    from audenoise.model_check import check_model
    from audenoise.presets import list_presets

    failed = 0
    for name in names or list_presets():
        try:
            click.echo(check_model(name))
        except AudenoiseError as error:
            failed += 1
            report(f"error: {error}")
    return 1 if failed else 0
