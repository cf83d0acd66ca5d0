"""CloudFormation: stacks whose resources really are made, changed and deleted, through the local AWS's own services.

moto's says CREATE_COMPLETE of types that it ignores, so this is one of our own:

* :mod:`local_aws.cloudformation_template`, ``_functions``, ``_parameters``: the template language;
* :mod:`local_aws.cloudformation_plan`, ``_changes``: what a template asks for, and what it would change;
* :mod:`local_aws.cloudformation_stacks`: stacks, and how they outlive the server;
* :mod:`local_aws.cloudformation_engine`: creation, update, deletion, and rollback of what fails;
* :mod:`local_aws.cloudformation_operations`: what a kill cuts off in the middle of a resource;
* :mod:`local_aws.cloudformation_providers` and the modules that it lists: the types of resources;
* :mod:`local_aws.cloudformation_schema`: what AWS's schemas say of them;
* :mod:`local_aws.cloudformation_api`, ``_change_sets``: the API.
"""

from __future__ import annotations

from typing import Any

from moto.cloudformation import urls

from local_aws.cloudformation_api import SERVICE, CloudFormation, Service
from local_aws.cloudformation_operations import marked
from local_aws.cloudformation_providers import ResourceError
from local_aws.config import LocalConfig
from local_aws.iam_enforcement import acting_as
from local_aws.iam_identities import AssumeRoleRefusedError

_PRINCIPAL = "cloudformation.amazonaws.com"


def install(config: LocalConfig) -> None:
    """Put this CloudFormation in the place of moto's; call it once, before the server listens."""

    def client_for(service: str, role: str | None) -> Any:
        return _client(config, service, role)

    SERVICE[:] = [Service(config, client_for)]
    urls.url_paths = {"{0}/$": CloudFormation.dispatch}


def restore(config: LocalConfig) -> None:
    """Bring back the stacks of former servers, and go on with what was cut off."""
    del config
    for service in SERVICE:
        service.stacks.load()
        service.engine.resume()


def shutdown() -> None:
    """Have operations wait for the next start; idempotent."""
    while SERVICE:
        SERVICE.pop().engine.stop()


def _client(config: LocalConfig, service: str, role: str | None) -> Any:
    """A boto3 client: of a stack's role, which matters where IAM is enforced, or the account's own."""
    if role is None:
        return marked(config.client(service))
    try:
        return marked(acting_as(config, role, _PRINCIPAL, "AWSCloudFormation").client(service))
    except AssumeRoleRefusedError as error:
        raise ResourceError(f"Role {role} is invalid or cannot be assumed: {error}") from error
