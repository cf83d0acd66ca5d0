"""``topic-model package``: what CloudFormation deploys, made of this checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def package(
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("dist"),
) -> None:
    """Write what CloudFormation deploys: the functions' zips, the API's document, and the template with it in.

    The same sources make the same bytes. `aws cloudformation package --template-file dist/template.json` uploads what
    the template names.
    """
    from lookup_api.app import bare_app
    from lookup_api.gateway import gateway_document
    from lookup_api.openapi import rendered as rendered_document
    from topic_model_cli.lookup_api_zip import package_lookup_api
    from topic_model_cli.packaged_template import TEMPLATE, packaged_template, read_template, rendered
    from workflow_functions.package import package_functions

    template = read_template(TEMPLATE)
    out.mkdir(parents=True, exist_ok=True)
    functions = package_functions(out / "functions.zip")
    lookup_api = package_lookup_api(out / "lookup-api.zip")
    document = gateway_document(bare_app().openapi())
    (out / "lookup-api.json").write_bytes(rendered_document(document))
    made = packaged_template(template, document, lookup_api.read_bytes(), root=Path(), folder=out)
    target = out / "template.json"
    target.write_bytes(rendered(made))
    for path in (functions, lookup_api, target):
        typer.echo(f"{path}  {path.stat().st_size:,} bytes")
