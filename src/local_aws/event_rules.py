"""EventBridge delivers: what becomes of executions and jobs is an event, and rules tell their targets of it.

moto keeps rules and sends them nothing of what happens here. Topics, queues and functions are told as EventBridge
itself, whom their own policies must let in, state machines under the target's role. What cannot be told goes to the
target's dead-letter queue.

EventBridge's guide ("Using resource-based policies") says what targets are to have: a topic, queue or function no role,
since under one delivery may fail; here it does. A topic's policy is to have no condition on EventBridge, and SNS' guide
("Key management") says the same of a topic's key: there neither rule nor account is told.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import queue
import threading
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from moto.events.models import events_backends

from local_aws.config import LocalAwsError, LocalConfig
from local_aws.event_patterns import matches, message
from local_aws.iam_enforcement import acting_as, service_may
from local_aws.saved_state import now

logger = logging.getLogger(__name__)

PRINCIPAL = "events.amazonaws.com"
_WAITING = 1_000  # events that are not delivered yet; more are dropped
_Send = Callable[[LocalConfig, str, str], object]


def _publish(config: LocalConfig, arn: str, text: str) -> object:
    return config.client("sns").publish(TopicArn=arn, Message=text)


def _send(config: LocalConfig, arn: str, text: str) -> object:
    sqs = config.client("sqs")
    return sqs.send_message(
        QueueUrl=f"{config.endpoint_url}/{config.account}/{arn.rpartition(':')[2]}", MessageBody=text
    )


def _start(config: LocalConfig, arn: str, text: str) -> object:
    return config.client("stepfunctions").start_execution(stateMachineArn=arn, input=text)


def _invoke(config: LocalConfig, arn: str, text: str) -> object:
    return config.client("lambda").invoke(FunctionName=arn, InvocationType="Event", Payload=text.encode())


_TARGETS: Mapping[str, tuple[str, _Send]] = {
    "sns": ("sns:Publish", _publish),
    "sqs": ("sqs:SendMessage", _send),
    "states": ("states:StartExecution", _start),
    "lambda": ("lambda:InvokeFunction", _invoke),
}
_UNDER_A_ROLE = {"states"}  # the others are told by their own policies


class _Deliveries:
    """Delivers events in a thread of its own: what happens never waits for who hears of it."""

    def __init__(self, config: LocalConfig) -> None:
        self.config = config
        self._events: queue.Queue[dict[str, Any] | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name="event-rules", daemon=True)
        self._thread.start()

    def put(self, event: dict[str, Any]) -> None:
        try:
            self._events.put_nowait(event)
        except queue.Full:
            logger.warning("an event is dropped, since %d wait already: %s", _WAITING, event["detail-type"])

    def close(self) -> None:
        self.put({})
        self._thread.join(5)

    def _run(self) -> None:
        while event := self._events.get():
            for rule in _rules(self.config):
                try:
                    if matches(json.loads(rule.event_pattern.dump() or "{}"), event):
                        self._tell(rule, event)
                except Exception:
                    logger.exception("rule %s", rule.name)  # one that cannot be read must not silence the others

    def _tell(self, rule: Any, event: Mapping[str, Any]) -> None:
        for target in list(rule.targets):
            text = message(target, event)
            if self._told(rule, str(target["Arn"]), target.get("RoleArn"), text):
                continue
            letters = (target.get("DeadLetterConfig") or {}).get("Arn")
            if letters and not self._told(rule, str(letters), None, text):
                logger.warning("rule %s could not even leave a message in %s", rule.name, letters)

    def _told(self, rule: Any, arn: str, role: str | None, text: str) -> bool:
        kind = arn.split(":")[2]
        if kind not in _TARGETS:
            logger.warning("rule %s: the local AWS delivers no events to %s", rule.name, arn)
            return False
        action, send = _TARGETS[kind]
        try:
            if kind in _UNDER_A_ROLE:
                caller = acting_as(self.config, role, PRINCIPAL, "EventBridge") if role else self.config
            elif role:
                logger.warning(
                    "rule %s: AWS may not deliver to %s under a role: give the target no RoleArn", rule.name, arn
                )
                return False
            elif service_may(PRINCIPAL, action, arn, _context(kind, rule)) is False:
                return False
            else:
                caller = self.config
            send(caller, arn, text)
        except (ClientError, BotoCoreError, LocalAwsError) as error:
            logger.warning("rule %s could not tell %s: %s", rule.name, arn, error)
            return False
        return True


def _context(kind: str, rule: Any) -> dict[str, tuple[str, ...]]:
    """On whose behalf EventBridge asks; topics, and the keys of topics, are not told."""
    return {"aws:sourceaccount": ()} if kind == "sns" else {"aws:sourcearn": (rule.arn,)}


_deliveries: list[_Deliveries] = []  # at most one


def install(config: LocalConfig) -> None:
    """Deliver from now on."""
    _deliveries[:] = [_Deliveries(config)]


def shutdown() -> None:
    """Deliver what waits, and end; idempotent."""
    while _deliveries:
        _deliveries.pop().close()


def emit(source: str, kind: str, resource: str, detail: Mapping[str, Any]) -> None:
    """Tell of something; ``kind`` is the event's ``detail-type``. Nothing where no rule listens."""
    if not _deliveries or not _rules(_deliveries[0].config):
        return
    config = _deliveries[0].config
    _deliveries[0].put(
        {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": kind,
            "source": source,
            "account": config.account,
            "time": now().isoformat(timespec="seconds").replace("+00:00", "Z"),
            "region": config.region,
            "resources": [resource],
            "detail": json.loads(json.dumps(detail, default=_plain)),
        }
    )


def _rules(config: LocalConfig) -> list[Any]:
    bus = events_backends[config.account][config.region].event_buses.get("default")
    rules = list(bus.rules.values()) if bus is not None else []
    return [rule for rule in rules if rule.state == "ENABLED" and rule.targets and rule.event_pattern.dump()]


def _plain(value: Any) -> Any:
    """Times as these events have them: milliseconds since the epoch."""
    return int(value.timestamp() * 1000) if isinstance(value, dt.datetime) else str(value)
