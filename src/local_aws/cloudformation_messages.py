"""CloudFormation's topics, queues, rules and schedules."""

from __future__ import annotations

import json
from collections.abc import Mapping

from botocore.exceptions import ClientError

from local_aws.cloudformation_providers import (
    Call,
    Properties,
    Provider,
    ResourceError,
    normal,
    tag_changes,
    text,
    without,
)


class _Topic(Provider):
    """``AWS::SNS::Topic``, its attributes and the subscriptions written into it."""

    _APART = ("TopicName", "Subscription", "Tags")

    def create(self, call: Call) -> None:
        name = call.name("TopicName", 256)
        arn = call.arn("sns", name)
        call.refuse_if(call.there("sns", "get_topic_attributes", TopicArn=arn), arn)
        attributes = {key: text(value) for key, value in call.rest(*self._APART).items()}
        tags = {"Tags": call.tag_list()} if call.all_tags() else {}
        made = call.send("sns", "create_topic", tags, Name=name, Attributes=attributes)
        call.made(made["TopicArn"])
        self._subscribe(call)

    def update(self, call: Call) -> None:
        arn = call.physical_id
        for name in self.changes(call):
            if name not in self._APART:
                value = text(call.properties.get(name, ""))
                call.send("sns", "set_topic_attributes", TopicArn=arn, AttributeName=name, AttributeValue=value)
        if call.changed("Tags"):
            after, gone = tag_changes(call)
            if gone:
                call.send("sns", "untag_resource", ResourceArn=arn, TagKeys=gone)
            if after:
                call.send("sns", "tag_resource", ResourceArn=arn, Tags=call.tag_list())
        self._subscribe(call)

    def delete(self, call: Call) -> None:
        call.delete("sns", "delete_topic", TopicArn=call.physical_id)

    @staticmethod
    def _subscribe(call: Call) -> None:
        arn = call.physical_id
        after, before = (
            [(text(one["Protocol"]), text(one["Endpoint"])) for one in given.get("Subscription") or []]
            for given in (call.properties, call.before)
        )
        for protocol, endpoint in after:
            if (protocol, endpoint) not in before:
                call.send("sns", "subscribe", TopicArn=arn, Protocol=protocol, Endpoint=endpoint)
        if any(one not in after for one in before):
            for one in call.send("sns", "list_subscriptions_by_topic", TopicArn=arn)["Subscriptions"]:
                if (one["Protocol"], one["Endpoint"]) not in after:
                    call.delete("sns", "unsubscribe", SubscriptionArn=one["SubscriptionArn"])
        call.attributes = {"TopicArn": arn, "TopicName": arn.rpartition(":")[2]}


class _TopicPolicy(Provider):
    """``AWS::SNS::TopicPolicy``: the policy of some topics."""

    def create(self, call: Call) -> None:
        call.made(call.name("-", 64))
        self.update(call)

    def update(self, call: Call) -> None:
        topics = [text(one) for one in call.properties["Topics"]]
        for topic in topics:
            self._set(call, topic, text(call.properties["PolicyDocument"]))
        for topic in without([text(one) for one in call.before.get("Topics", [])], topics):
            self._set(call, topic, self._default(call, topic))
        call.attributes = {"Id": call.physical_id}

    def delete(self, call: Call) -> None:
        for topic in call.properties["Topics"]:
            if call.there("sns", "get_topic_attributes", TopicArn=topic) is not None:
                self._set(call, text(topic), self._default(call, text(topic)))

    @staticmethod
    def _set(call: Call, topic: str, policy: str) -> None:
        call.send("sns", "set_topic_attributes", TopicArn=topic, AttributeName="Policy", AttributeValue=policy)

    @staticmethod
    def _default(call: Call, topic: str) -> str:
        """The policy that a topic has by itself: its owner may use it."""
        actions = ("GetTopicAttributes", "SetTopicAttributes", "AddPermission", "RemovePermission", "DeleteTopic",
                   "Subscribe", "ListSubscriptionsByTopic", "Publish")  # fmt: skip
        statement = {
            "Sid": "__default_statement_ID",
            "Effect": "Allow",
            "Principal": {"AWS": "*"},
            "Action": [f"SNS:{action}" for action in actions],
            "Resource": topic,
            "Condition": {"StringEquals": {"AWS:SourceOwner": call.config.account}},
        }
        return json.dumps({"Version": "2008-10-17", "Id": "__default_policy_ID", "Statement": [statement]})


class _Subscription(Provider):
    """``AWS::SNS::Subscription``."""

    _APART = ("TopicArn", "Protocol", "Endpoint", "Region")

    def create(self, call: Call) -> None:
        attributes = {key: text(value) for key, value in call.rest(*self._APART).items()}
        parts = call.pick("TopicArn", "Protocol", "Endpoint")
        made = call.send("sns", "subscribe", parts, Attributes=attributes, ReturnSubscriptionArn=True)
        call.made(made["SubscriptionArn"])
        call.attributes = {"Arn": call.physical_id}

    def update(self, call: Call) -> None:
        for name in self.changes(call):
            if name not in self._APART:
                value = text(call.properties.get(name, "{}"))
                call.send("sns", "set_subscription_attributes", SubscriptionArn=call.physical_id, AttributeName=name,
                          AttributeValue=value)  # fmt: skip

    def delete(self, call: Call) -> None:
        call.delete("sns", "unsubscribe", SubscriptionArn=call.physical_id)


class _Queue(Provider):
    """``AWS::SQS::Queue``."""

    def create(self, call: Call) -> None:
        fifo = normal(call.properties.get("FifoQueue")) == "true"
        name = call.name("QueueName", 75) + (".fifo" if fifo and "QueueName" not in call.properties else "")
        call.refuse_if(call.there("sqs", "get_queue_url", QueueName=name), name)
        made = call.send("sqs", "create_queue", QueueName=name, Attributes=self._attributes(call), tags=call.all_tags())
        call.made(made["QueueUrl"])
        self._tell(call)

    def update(self, call: Call) -> None:
        attributes = {key: value for key, value in self._attributes(call).items() if key != "FifoQueue"}
        for name in call.before:
            if name not in call.properties and name not in ("Tags", "QueueName", "FifoQueue"):
                attributes[name] = _QUEUE_DEFAULTS.get(name, "")
        call.send("sqs", "set_queue_attributes", QueueUrl=call.physical_id, Attributes=attributes)
        self._tell(call)

    def delete(self, call: Call) -> None:
        call.delete("sqs", "delete_queue", QueueUrl=call.physical_id)

    @staticmethod
    def _attributes(call: Call) -> dict[str, str]:
        return {key: text(value) for key, value in call.rest("QueueName", "Tags").items()}

    @staticmethod
    def _tell(call: Call) -> None:
        name = call.physical_id.rpartition("/")[2]
        call.attributes = {"Arn": call.arn("sqs", name), "QueueName": name, "QueueUrl": call.physical_id}


_QUEUE_DEFAULTS = {
    "DelaySeconds": "0",
    "MaximumMessageSize": "262144",
    "MessageRetentionPeriod": "345600",
    "ReceiveMessageWaitTimeSeconds": "0",
    "VisibilityTimeout": "30",
}


class _QueuePolicy(Provider):
    """``AWS::SQS::QueuePolicy``: the policy of some queues."""

    def create(self, call: Call) -> None:
        call.made(call.name("-", 64))
        self.update(call)

    def update(self, call: Call) -> None:
        queues = [text(one) for one in call.properties["Queues"]]
        for queue in queues:
            self._set(call, queue, text(call.properties["PolicyDocument"]))
        for queue in without([text(one) for one in call.before.get("Queues", [])], queues):
            self._set(call, queue, "")
        call.attributes = {"Id": call.physical_id}

    def delete(self, call: Call) -> None:
        for queue in call.properties["Queues"]:
            try:
                self._set(call, text(queue), "")
            except ClientError as error:
                if "NonExistent" not in str(error):
                    raise

    @staticmethod
    def _set(call: Call, queue: str, policy: str) -> None:
        call.send("sqs", "set_queue_attributes", QueueUrl=queue, Attributes={"Policy": policy})


class _Rule(Provider):
    """``AWS::Events::Rule``, with its targets."""

    def create(self, call: Call) -> None:
        name = call.name("Name")
        call.refuse_if(call.there("events", "describe_rule", Name=name, **self._bus(call)), name)
        made = call.send("events", "put_rule", self._parts(call), Name=name, **self._bus(call))
        call.made(name)
        call.attributes = {"Arn": made["RuleArn"], "RuleName": name}
        self._targets(call)

    def update(self, call: Call) -> None:
        call.send("events", "put_rule", self._parts(call), Name=call.physical_id, **self._bus(call))
        self._targets(call)

    def delete(self, call: Call) -> None:
        rule, bus = call.physical_id, self._bus(call)
        if call.there("events", "describe_rule", Name=rule, **bus) is None:
            return
        targets = [text(one["Id"]) for one in call.properties.get("Targets") or []]
        if targets:
            call.delete("events", "remove_targets", Rule=rule, Ids=targets, **bus)
        call.delete("events", "delete_rule", Name=rule, **bus)

    @staticmethod
    def _bus(call: Call) -> Properties:
        return call.pick("EventBusName")

    @staticmethod
    def _parts(call: Call) -> Properties:
        return call.pick("Description", "EventPattern", "RoleArn", "ScheduleExpression", "State")

    def _targets(self, call: Call) -> None:
        rule, bus = call.physical_id, self._bus(call)
        after = {text(one["Id"]): one for one in call.properties.get("Targets") or []}
        if after and call.changed("Targets"):
            answer = call.send("events", "put_targets", Rule=rule, Targets=list(after.values()), **bus)
            if answer.get("FailedEntryCount"):
                raise ResourceError(f"the rule's targets are refused: {answer['FailedEntries'][0].get('ErrorMessage')}")
        gone = without([text(one["Id"]) for one in call.before.get("Targets") or []], list(after))
        if gone:
            call.send("events", "remove_targets", Rule=rule, Ids=gone, **bus)


class _Schedule(Provider):
    """``AWS::Scheduler::Schedule``."""

    def create(self, call: Call) -> None:
        name = call.name("Name")
        made = call.send("scheduler", "create_schedule", call.properties, Name=name)
        call.made(name)
        call.attributes = {"Arn": made["ScheduleArn"]}

    def update(self, call: Call) -> None:
        call.send("scheduler", "update_schedule", call.properties, Name=call.physical_id)

    def delete(self, call: Call) -> None:
        call.delete("scheduler", "delete_schedule", Name=call.physical_id, **call.pick("GroupName"))


class _ScheduleGroup(Provider):
    """``AWS::Scheduler::ScheduleGroup``."""

    def create(self, call: Call) -> None:
        name = call.name("Name")
        tags = {"Tags": call.tag_list()} if call.all_tags() else {}
        made = call.send("scheduler", "create_schedule_group", tags, Name=name)
        call.made(name)
        call.attributes = {"Arn": made["ScheduleGroupArn"], "State": "ACTIVE"}

    def delete(self, call: Call) -> None:
        call.delete("scheduler", "delete_schedule_group", Name=call.physical_id)


PROVIDERS: Mapping[str, Provider] = {
    "AWS::Events::Rule": _Rule(),
    "AWS::SNS::Subscription": _Subscription(),
    "AWS::SNS::Topic": _Topic(),
    "AWS::SNS::TopicPolicy": _TopicPolicy(),
    "AWS::SQS::Queue": _Queue(),
    "AWS::SQS::QueuePolicy": _QueuePolicy(),
    "AWS::Scheduler::Schedule": _Schedule(),
    "AWS::Scheduler::ScheduleGroup": _ScheduleGroup(),
}
