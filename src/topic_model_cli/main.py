"""The ``topic-model`` command. Subcommands import what is heavy themselves, so that help is instant."""

from __future__ import annotations

import warnings
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from local_aws.config import DEFAULT_ROOT
from topic_model_cli.ab import app as ab_app
from topic_model_cli.api import api
from topic_model_cli.checklist import checklist
from topic_model_cli.costs import costs
from topic_model_cli.deliver import deliver
from topic_model_cli.errors import explain_error
from topic_model_cli.gateway_command import gateway
from topic_model_cli.local import ROOT_GIVEN
from topic_model_cli.local import app as local_app
from topic_model_cli.local_mode import local_mode
from topic_model_cli.package_command import package
from topic_model_cli.pipeline_command import app as pipeline_app
from topic_model_cli.run import run
from topic_model_cli.sample_command import sample
from topic_model_cli.similar import similar
from topic_model_cli.topics import topics


class ErrorsAsMessages(TyperGroup):
    """Prints a user's mistake as one message and exits with 1; a defect, or ``--debug``, keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the subcommand."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            message = explain_error(error, ctx.meta.get(ROOT_GIVEN, DEFAULT_ROOT))
            if message is None or ctx.params.get("debug"):
                raise
            typer.echo(f"error: {message}", err=True)
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=ErrorsAsMessages,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        import topic_model

        typer.echo(f"topic-model {topic_model.__version__}")
        raise typer.Exit


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Find similar advertising campaigns, and keywords that they use, by a workflow that runs on a laptop as on AWS."""


app.command()(run)
app.command()(similar)
app.command()(topics)
app.command()(api)
app.command()(sample)
app.command()(package)
app.command()(deliver)
app.command()(local_mode)
app.command()(costs)
app.command()(checklist)
local_app.command()(gateway)
app.add_typer(ab_app, name="ab")
app.add_typer(local_app, name="local")
app.add_typer(pipeline_app, name="pipeline")


def main() -> None:
    """The console script's entry point."""
    # What the workflow SDK's own imports say of themselves is no news to a user of this command.
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
    app()


if __name__ == "__main__":
    main()
