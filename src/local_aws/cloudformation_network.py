"""CloudFormation's virtual networks (EC2)."""

from __future__ import annotations

from collections.abc import Mapping

from local_aws.cloudformation_providers import Provider

PROVIDERS: Mapping[str, Provider] = {}
