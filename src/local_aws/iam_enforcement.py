"""Every request is checked against the policies of who sends it, before anything else sees it.

Installed only where the local AWS enforces IAM (``local up --enforce-iam``); without, not a line of this runs. Each
decision is told to the recorder, so that a test can ask afterwards what a role would have lacked without a statement.
"""

from __future__ import annotations

import json
import logging
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from local_aws.config import LocalConfig
from local_aws.http_server import Environ, Headers, WsgiApp, whole_body
from local_aws.iam_access import Access, UnmappedError
from local_aws.iam_accesses import accesses_of
from local_aws.iam_accesses_keys import key_accesses
from local_aws.iam_calls import Call, UnreadableCallError, call_of, key_of, needs_body
from local_aws.iam_decisions import Recorder
from local_aws.iam_identities import AssumeRoleRefusedError, Identities
from local_aws.iam_policies import Caller, Context, Decision, PolicyError, Request, evaluate
from local_aws.iam_resources import resource_context, resource_policy
from local_aws.request_names import service_of

logger = logging.getLogger(__name__)

_ECR_IMAGE = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com/([^@:]+)(?:[@:].*)?")
_PULL = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
_FREE = frozenset({"sts:GetCallerIdentity", "sts:GetSessionToken"})
"""Operations that AWS asks no permission for."""


@dataclass(frozen=True)
class Refusal(Exception):  # noqa: N818 - an answer, not a defect
    """A request that its caller may not make: AWS's code and message."""

    code: str
    message: str


class Enforcer:
    """The checks of one local AWS."""

    def __init__(self, config: LocalConfig) -> None:
        self.config = config
        self.identities = Identities(config)
        self.recorder = Recorder(config.root)

    def check(self, environ: Environ) -> tuple[Caller, Call | None]:
        """Who sends a request, and what it is, if they may.

        Raises:
            Refusal: they may not.
        """
        caller = self._caller(environ)
        try:
            call = call_of(environ, whole_body(environ) if needs_body(environ) else b"")
            if f"{call.service}:{call.operation}" in _FREE:
                return caller, call
            accesses = accesses_of(call, self.config)
        except (UnreadableCallError, UnmappedError) as error:
            if self.identities.is_unlimited(caller):
                return caller, None
            raise Refusal(
                "AccessDenied",
                f"User: {caller.arn} is not authorized: the local AWS has not mapped {error} to a permission, and "
                "refuses what is not mapped (src/local_aws/iam_accesses.py)",
            ) from error
        for access in accesses:
            self._demand(caller, access)
        return caller, call

    def _caller(self, environ: Environ) -> Caller:
        key, token = key_of(environ)
        if not key:
            raise Refusal("AccessDenied", "Access Denied: the request is not signed")
        caller = self.identities.caller(key, token)
        if caller is None:
            raise Refusal(
                "InvalidClientTokenId",
                f"The security token included in the request is invalid: {key!r} is nobody's key. The administrator's "
                "keys are printed by 'topic-model local up --enforce-iam'",
            )
        return caller

    def _demand(self, caller: Caller, access: Access) -> None:
        asking = caller
        if access.service is not None:
            asking = Caller(access.service, self.config.account, service=access.service)
        elif access.role_arn is not None:
            asking = Caller(access.role_arn, self.config.account, role_arn=access.role_arn)
        decision = self.decide(asking, access)
        if not decision.allowed:
            raise Refusal(*(access.refusal or ("AccessDenied", _refused(asking, access, decision))))

    def decide(self, caller: Caller, access: Access) -> Decision:
        """Whether a caller has a permission; the decision is recorded."""
        context = self._with_globals(caller, access)
        request = Request(access.action, access.resource, context)
        try:
            if access.action == "sts:AssumeRole":
                request, decision = self.identities.may_be_assumed(access.resource, caller, context)
            else:
                own = self.identities.policies(caller)
                policy, decides = resource_policy(access.action, access.resource, self.config)
                decision = evaluate(
                    request, caller, own.statements, policy, resource_decides=decides, boundary=own.boundary
                )
        except PolicyError as error:
            decision = Decision(False, why=f"because a policy cannot be evaluated: {error}")
        if not self.identities.is_unlimited(caller) or not decision.allowed:
            self.recorder.record(caller, request, decision)
        return decision

    def _with_globals(self, caller: Caller, access: Access) -> Context:
        account = self.config.account
        context = {
            # The local AWS listens on loopback, without TLS: it stands for an endpoint that speaks nothing else.
            "aws:securetransport": ("true",),
            "aws:requestedregion": (self.config.region,),
            **resource_context(access.action, access.resource, self.config),
            **access.context,
        }
        if caller.service is not None:
            context.setdefault("aws:sourceaccount", (account,))
            context["aws:sourceowner"] = (account,)  # SNS's older name, in the policy that a topic begins with
        else:
            context["aws:principalaccount"] = (account,)
            context["aws:principalarn"] = (caller.role_arn or caller.arn,)
        return context


def _refused(caller: Caller, access: Access, decision: Decision) -> str:
    """AWS's words."""
    asked = f"{access.action} on resource: {access.resource}"
    return f"User: {caller.arn} is not authorized to perform: {asked} {decision.why}"


# ---------------------------------------------------------------------- the enforcer of this process

_enforcer: list[Enforcer] = []  # at most one, and none where nothing is enforced


def install(config: LocalConfig) -> None:
    """Enforce, if the configuration says so."""
    _enforcer[:] = [Enforcer(config)] if config.enforce_iam else []


def shutdown() -> None:
    """Closes the record of decisions; idempotent."""
    while _enforcer:
        _enforcer.pop().recorder.close()


def acting_as(config: LocalConfig, role_arn: str | None, service: str, name: str) -> LocalConfig:
    """The configuration with which a service acts under a role, in a session of that name.

    Raises:
        AssumeRoleRefusedError: the role's trust policy does not let the service assume it, or there is no role.
    """
    if not _enforcer:
        return config
    if not role_arn:
        raise AssumeRoleRefusedError(f"{service} was given no role to act under")
    may_assume(role_arn, service)
    return _enforcer[0].identities.session(role_arn, service, name)


def may_assume(role_arn: str, service: str) -> None:
    """Asks a role's trust policy.

    Raises:
        AssumeRoleRefusedError: it does not let the service assume it, or there is no role.
    """
    caller = Caller(service, _enforcer[0].identities.account, service=service)
    decision = _enforcer[0].decide(caller, Access("sts:AssumeRole", role_arn))
    if not decision.allowed:
        raise AssumeRoleRefusedError(f"{service} is not authorized to assume {role_arn} {decision.why}")


def role_may(role_arn: str | None, actions: Iterable[str], resource: str) -> bool:
    """Whether a role has permissions that a service uses as the role, unasked; True where nothing is enforced."""
    if not _enforcer:
        return True
    if role_arn is None:
        return False
    caller = Caller(role_arn, _enforcer[0].identities.account, role_arn=role_arn)
    return all(_enforcer[0].decide(caller, Access(action, resource)).allowed for action in actions)


def refused_image(role_arn: str | None, image: str) -> str | None:
    """Why SageMaker may not pull an image as a role; None where it may, or the image is in no ECR."""
    found = _ECR_IMAGE.fullmatch(image)
    if not _enforcer or found is None:
        return None
    repository = f"arn:aws:ecr:{found[2]}:{found[1]}:repository/{found[3]}"
    if role_may(role_arn, ("ecr:GetAuthorizationToken",), "*") and role_may(role_arn, _PULL, repository):
        return None
    needed = ", ".join(("ecr:GetAuthorizationToken", *_PULL))
    return f"ClientError: {role_arn} may not pull the image {image}; it needs {needed}"


def service_may(service: str, action: str, resource: str, context: Mapping[str, tuple[str, ...]]) -> bool | None:
    """Whether AWS itself may do this for the account, by the resource's policy; None where nothing is enforced."""
    if not _enforcer:
        return None
    enforcer = _enforcer[0]
    caller, access = Caller(service, enforcer.identities.account, service=service), Access(action, resource, context)
    for one in (access, *key_accesses(access, enforcer.config)):
        decision = enforcer.decide(caller, one)
        if not decision.allowed:
            logger.warning("%s may not %s on %s %s", service, one.action, one.resource, decision.why)
            return False
    return True


def wrap(app: WsgiApp, *, is_open: Callable[[Environ], bool]) -> WsgiApp:
    """``app`` behind the checks, if there are any; ``is_open`` tells requests that IAM has no part in."""
    if not _enforcer:
        return app
    enforcer = _enforcer[0]

    def wsgi(environ: Environ, start_response: Any) -> Iterable[bytes]:
        if is_open(environ):
            return app(environ, start_response)
        try:
            caller, call = enforcer.check(environ)
        except Refusal as refusal:
            return _answer(environ, start_response, refusal)
        if call is not None and call.service == "sts" and call.operation == "GetCallerIdentity":
            return _identity(start_response, caller)
        if call is None or call.service != "s3" or call.operation not in ("GET", "HEAD") or not call.params["key"]:
            return app(environ, start_response)
        return _hiding_absence(enforcer, caller, call, app, environ, start_response)

    return wsgi


def _hiding_absence(
    enforcer: Enforcer, caller: Caller, call: Call, app: WsgiApp, environ: Environ, start_response: Any
) -> Iterable[bytes]:
    """S3 says that an object is not there only to those who may list the bucket; to others it is a refusal."""
    answer: list[Any] = []

    def hold(status: str, headers: Headers, exc_info: Any = None) -> Any:
        answer[:] = [status, headers]
        if not status.startswith("404"):
            start_response(status, headers, exc_info)

    chunks = app(environ, hold)
    if not answer[0].startswith("404"):
        return chunks
    access = Access("s3:ListBucket", f"arn:aws:s3:::{call.params['bucket']}")
    decision = enforcer.decide(caller, access)
    if decision.allowed:
        start_response(*answer)
        return chunks
    return _answer(environ, start_response, Refusal("AccessDenied", _refused(caller, access, decision)))


# ---------------------------------------------------------------------- answers

_XML = {"iam", "sts", "sns", "cloudformation", "ec2"}
_NAMES = {"sns": "AuthorizationError", "monitoring": "AccessDenied", "cloudformation": "AccessDenied"}


def _answer(environ: Environ, start_response: Any, refusal: Refusal) -> Iterable[bytes]:
    """A refusal as the service writes errors."""
    service = service_of(environ)
    text = escape(refusal.message)
    if service == "s3":
        code = "InvalidAccessKeyId" if refusal.code == "InvalidClientTokenId" else refusal.code
        body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{text}</Message></Error>'
        return _send(start_response, "403 Forbidden", "application/xml", body)
    code = _NAMES.get(service, refusal.code) if refusal.code == "AccessDenied" else refusal.code
    if service in _XML:
        error = f"<Type>Sender</Type><Code>{code}</Code><Message>{text}</Message>"
        body = f"<ErrorResponse><Error>{error}</Error><RequestId>{uuid.uuid4()}</RequestId></ErrorResponse>"
        return _send(start_response, "403 Forbidden", "text/xml", body)
    if code in ("AccessDenied", "InvalidClientTokenId") and service != "monitoring":
        code = {"AccessDenied": "AccessDeniedException"}.get(code, "UnrecognizedClientException")
    body = json.dumps({"__type": code, "message": refusal.message, "Message": refusal.message})
    status = "400 Bad Request" if environ.get("HTTP_X_AMZ_TARGET") else "403 Forbidden"
    return _send(start_response, status, "application/x-amz-json-1.0", body, error=code)


def _identity(start_response: Any, caller: Caller) -> Iterable[bytes]:
    """``GetCallerIdentity``: moto knows nothing of the sessions made here."""
    name = caller.arn.rpartition("/")[2]
    body = (
        '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
        f"<Arn>{escape(caller.arn)}</Arn><UserId>{escape(name)}</UserId><Account>{caller.account}</Account>"
        "</GetCallerIdentityResult></GetCallerIdentityResponse>"
    )
    return _send(start_response, "200 OK", "text/xml", body)


def _send(start_response: Any, status: str, kind: str, body: str, *, error: str = "") -> Iterable[bytes]:
    payload = body.encode()
    headers = [("Content-Type", kind), ("Content-Length", str(len(payload)))]
    if error:
        headers.append(("x-amzn-ErrorType", error))
    start_response(status, headers)
    return [payload]
