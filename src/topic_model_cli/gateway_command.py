"""``topic-model local gateway``: the lookup API behind the local API Gateway, over what the last run left."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from local_aws.config import DEFAULT_ROOT, root_option
from topic_model_cli.local import RootOption

_SHOWN_CLIENTS = 3


def gateway(
    root: RootOption = DEFAULT_ROOT,
    client: Annotated[
        list[str] | None,
        typer.Option(
            help="Make a key that sees this client's campaigns alone; may be repeated. [default: the first 3]"
        ),
    ] = None,
    rate: Annotated[float, typer.Option(min=0, help="Requests a second that a key may make.")] = 20.0,
    burst: Annotated[int, typer.Option(min=0, help="Requests that a key may make at once.")] = 40,
    quota: Annotated[int, typer.Option(min=1, help="Requests a day that a key may make.")] = 100_000,
    cache_seconds: Annotated[
        int, typer.Option(min=0, max=3_600, help="How long known campaigns are cached; 0 caches nothing.")
    ] = 60,
) -> None:
    """Put the lookup API behind the local API Gateway: function, stage, usage plans and keys, which stay."""
    from local_aws import lifecycle
    from topic_model_cli.gateway_plans import Limits
    from topic_model_cli.gateway_stack import ANALYSTS, ensure_gateway, published_clients

    config = lifecycle.connect(root)
    published = published_clients(config)
    clients = list(dict.fromkeys(client or (published or [])[:_SHOWN_CLIENTS]))
    made = ensure_gateway(config, clients, Limits(rate, burst, quota, cache_seconds))
    typer.echo(f"the lookup API answers at {made.url}")
    for whose, key in made.keys.items():
        typer.echo(f"  key of the {whose}: {key}" if whose == ANALYSTS else f"  key of client {whose}: {key}")
    key = made.keys[clients[0] if clients else ANALYSTS]
    typer.echo(f"  curl -i -H 'x-api-key: {key}' '{made.url}/v1/campaigns?query='")
    typer.echo(
        f"  curl -i -H 'x-api-key: {key}' -H 'content-type: application/json' "
        f'-d \'{{"keywords": ["running shoes"]}}\' {made.url}/v1/similar'
    )
    typer.echo(f"  the analysts' page: {made.url}/page")
    unknown = [name for name in clients if name not in (published or [])]
    if published is None:
        typer.echo(f"nothing is published yet; `topic-model run{root_option(root)} --input PATH` does")
    elif unknown:
        typer.echo(f"no campaigns are published for {', '.join(quote(name, safe=' ') for name in unknown)}")
