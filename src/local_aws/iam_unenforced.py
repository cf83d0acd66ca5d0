"""What the local AWS does not hold anybody to where it enforces IAM: the one list of it.

``docs/decisions/0021-least-privilege.md`` shows it, and a test says when the two differ.
"""

from __future__ import annotations

from collections.abc import Mapping

NOT_ENFORCED: Mapping[str, str] = {
    "signatures": "a request is its key's owner's; the signature is not computed anew, and times are not compared",
    "session time": "sessions of roles last as long as the server",
    "tags of resources": "aws:ResourceTag is known of keys and secrets; other resources count as having no tags",
    "TLS": "the local AWS listens on loopback without TLS, and every request counts as sent over TLS",
    "other accounts": "there is one account; policies across accounts, service control policies and VPC endpoints' "
    "policies are not evaluated",
    "session policies": "a policy given to AssumeRole does not narrow the session",
    "a machine's processes": "functions and jobs are processes of one user; IAM parts them, the system does not",
    "CloudFormation without a role": "a stack without RoleARN is made as the administrator, whoever asked for it",
    "requests that name no resource": "where AWS checks an action against every resource behind a list or a search, "
    "it is checked against * here",
    "services' own logs": "access logs of buckets, budgets and log groups are not written by the services' principals",
    "network": "there are no subnets: what Lambda and SageMaker do about network interfaces is not asked for",
    "traces": "nothing is sent to X-Ray",
    "Lambda's key": "a function's variables are not encrypted, so its KmsKeyArn is not asked for",
}
"""What, and what is so instead."""
