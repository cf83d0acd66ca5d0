"""CloudFormation's repositories, builds, pipelines and nested stacks; and the types that are recorded, not emulated."""

from __future__ import annotations

from collections.abc import Mapping

from local_aws.cloudformation_providers import Call, Provider, Recorded, text


def _associated(call: Call) -> str:
    return f"{text(call.properties['WebACLArn'])}|{text(call.properties['ResourceArn'])}"


PROVIDERS: Mapping[str, Provider] = {
    "AWS::WAFv2::WebACLAssociation": Recorded(_associated),
}
