"""``topic-model package``: what CloudFormation deploys, made of this checkout."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from topic_model_cli.package_upload import Destination

PARAMETERS = Path("delivery/parameters")
ACCEPTANCE = Path("delivery/acceptance.yaml")
RENDERED = Path("pipelines/rendered")


def package(
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("dist"),
    bucket: Annotated[
        str | None,
        typer.Option(
            help="Upload what the template names, by its content's hash, to this bucket or s3://bucket/prefix."
        ),
    ] = None,
    template: Annotated[
        Path | None,
        typer.Option(help="Package this template alone, such as delivery/pipeline.yaml; its paths are beside it."),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="JSON file of image URIs (make push writes it) for the parameter files.")
    ] = None,
    laptop: Annotated[
        bool,
        typer.Option(
            "--laptop", help="For the local AWS: functions for this Python, and deployments that wait seconds."
        ),
    ] = False,
) -> None:
    """Write what CloudFormation deploys: the functions' zips, the API's document, templates and their parameters.

    The same sources make the same bytes. Without --bucket, `aws cloudformation package --template-file
    dist/template.json` uploads what the template names.
    """
    from topic_model_cli.package_upload import Destination

    destination = Destination.parse(bucket) if bucket else None
    out.mkdir(parents=True, exist_ok=True)
    if template is not None:
        _package_one(template, out, destination)
        return
    _package_application(out, destination, laptop=laptop)
    if PARAMETERS.is_dir():
        _package_one(ACCEPTANCE, out, destination)
        _write_parameters(out, images)


def _package_application(out: Path, destination: Destination | None, *, laptop: bool) -> None:
    from lookup_api.app import bare_app
    from lookup_api.gateway import gateway_document
    from lookup_api.openapi import rendered as rendered_document
    from topic_model_cli.lookup_api_zip import RUNTIME_PYTHON, package_lookup_api
    from topic_model_cli.packaged_template import TEMPLATE, packaged_template, read_template
    from workflow_functions.package import package_functions

    read = read_template(TEMPLATE)
    python = f"{sys.version_info.major}.{sys.version_info.minor}" if laptop else RUNTIME_PYTHON
    functions = package_functions(out / "functions.zip")
    lookup_api = package_lookup_api(out / "lookup-api.zip", python=python)
    document = gateway_document(bare_app().openapi())
    (out / "lookup-api.json").write_bytes(rendered_document(document))
    made = packaged_template(read, document, lookup_api.read_bytes(), root=Path(), folder=out)
    if laptop:
        _with_short_waits(made, out)
    for path in (functions, lookup_api, _write(made, out / "template.json", out, destination)):
        typer.echo(f"{path}  {path.stat().st_size:,} bytes")


def _package_one(template: Path, out: Path, destination: Destination | None) -> None:
    from topic_model_cli.packaged_template import read_template

    target = _write(read_template(template), out / f"{template.stem}.json", template.parent, destination)
    typer.echo(f"{target}  {target.stat().st_size:,} bytes")


def _write(template: dict[str, Any], target: Path, folder: Path, destination: Destination | None) -> Path:
    from topic_model_cli.package_upload import uploaded_template
    from topic_model_cli.packaged_template import rendered

    if destination is not None:
        import boto3  # noqa: TID251 - the command calls AWS, or the local one

        uploaded = uploaded_template(boto3.client("s3"), template, folder, destination)
        template = uploaded.template
        place = f"s3://{destination.bucket}/{destination.prefix}"
        typer.echo(f"{target.name}: {uploaded.sent} uploaded to {place}, {uploaded.there} there already")
    target.write_bytes(rendered(template))
    return target


def _with_short_waits(template: dict[str, Any], out: Path) -> None:
    """The workflows as `topic-model run` builds them: a canary bakes seconds."""
    from pipelines.deployment import build_deploy_workflow
    from pipelines.deployment_settings import on_a_laptop
    from pipelines.settings import DEFAULT_SETTINGS_PATH, load_settings
    from pipelines.training import build_training_workflow

    settings = load_settings(DEFAULT_SETTINGS_PATH)
    here = settings.model_copy(update={"deployment": on_a_laptop(settings.deployment)})
    definitions = {"training.asl.json": build_training_workflow(here), "deploy.asl.json": build_deploy_workflow(here)}
    for resource in template["Resources"].values():
        place = resource.get("Properties", {}).get("DefinitionS3Location")
        name = Path(place).name if isinstance(place, str) else None
        if name in definitions:
            (out / name).write_text(json.dumps(definitions[name], indent=1), encoding="utf-8")
            resource["Properties"]["DefinitionS3Location"] = name


def _write_parameters(out: Path, images: Path | None) -> None:
    """The environments' parameter files, with the images that this package goes with."""
    from topic_model_cli.package_upload import UploadError

    uris: dict[str, str] = {}
    if images is not None:
        try:
            uris = json.loads(images.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UploadError(f"{images} cannot be read ({error}); `make push` writes it") from error
    (out / "parameters").mkdir(exist_ok=True)
    for path in sorted(PARAMETERS.glob("*.json")):
        configuration = json.loads(path.read_text(encoding="utf-8"))
        uri = uris.get("acceptance" if path.stem == ACCEPTANCE.stem else "application")
        if uri:
            configuration["Parameters"] = {**configuration.get("Parameters", {}), "ImageUri": uri}
        target = out / "parameters" / path.name
        target.write_text(json.dumps(configuration, indent=2) + "\n", encoding="utf-8")
