"""CloudFormation's logs, alarms, dashboards and budgets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from local_aws.cloudformation_providers import (
    Call,
    Provider,
    ResourceError,
    text,
)


class _LogGroup(Provider):
    """``AWS::Logs::LogGroup``."""

    def create(self, call: Call) -> None:
        name = call.name("LogGroupName", 512)
        parts = call.pick("KmsKeyId", "LogGroupClass")
        if call.all_tags():
            parts["tags"] = call.all_tags()
        call.send("logs", "create_log_group", parts, logGroupName=name)
        call.made(name)
        self._settings(call)

    def update(self, call: Call) -> None:
        if left := [
            one for one in self.changes(call) if one not in ("RetentionInDays", "Tags", "DeletionProtectionEnabled")
        ]:
            raise ResourceError(f"{call.type} cannot be changed on the local AWS: {', '.join(left)}")
        self._settings(call)

    def delete(self, call: Call) -> None:
        call.delete("logs", "delete_log_group", logGroupName=call.physical_id)

    @staticmethod
    def _settings(call: Call) -> None:
        name = call.physical_id
        if call.changed("RetentionInDays"):
            if "RetentionInDays" in call.properties:
                call.send("logs", "put_retention_policy", call.pick("RetentionInDays"), logGroupName=name)
            else:
                call.send("logs", "delete_retention_policy", logGroupName=name)
        call.attributes = {"Arn": call.arn("logs", f"log-group:{name}:*")}


class _MetricFilter(Provider):
    """``AWS::Logs::MetricFilter``."""

    def create(self, call: Call) -> None:
        call.made(call.name("FilterName", 512))
        self.update(call)

    def update(self, call: Call) -> None:
        parts = call.rest("FilterName", "MetricTransformations", "FieldSelectionCriteria", "EmitSystemFieldDimensions")
        transformations = [
            {
                **one,
                **({"Dimensions": {d["Key"]: d["Value"] for d in one["Dimensions"]}} if one.get("Dimensions") else {}),
            }
            for one in call.properties["MetricTransformations"]
        ]
        call.send(
            "logs", "put_metric_filter", parts, filterName=call.physical_id, metricTransformations=transformations
        )

    def delete(self, call: Call) -> None:
        group = call.properties["LogGroupName"]
        call.delete("logs", "delete_metric_filter", logGroupName=group, filterName=call.physical_id)


class _LogPolicy(Provider):
    """``AWS::Logs::ResourcePolicy``."""

    def create(self, call: Call) -> None:
        name = text(call.properties["PolicyName"])
        policies = call.send("logs", "describe_resource_policies")["resourcePolicies"]
        call.refuse_if([one for one in policies if one["policyName"] == name], name)
        call.made(name)
        self.update(call)

    def update(self, call: Call) -> None:
        call.send("logs", "put_resource_policy", call.properties)

    def delete(self, call: Call) -> None:
        call.delete("logs", "delete_resource_policy", policyName=call.physical_id)


class _Alarm(Provider):
    """``AWS::CloudWatch::Alarm``."""

    def create(self, call: Call) -> None:
        name = call.name("AlarmName", 255)
        there = call.send(
            "cloudwatch", "describe_alarms", AlarmNames=[name], AlarmTypes=["MetricAlarm", "CompositeAlarm"]
        )
        call.refuse_if(there.get("MetricAlarms") or there.get("CompositeAlarms"), name)
        self._put(call, name)
        call.made(name)
        self._tell(call)

    def update(self, call: Call) -> None:
        self._put(call, call.physical_id)
        self._tell(call)

    def delete(self, call: Call) -> None:
        call.delete("cloudwatch", "delete_alarms", AlarmNames=[call.physical_id])

    def _put(self, call: Call, name: str) -> None:
        tags = {"Tags": call.tag_list()} if call.all_tags() and not call.before else {}
        call.send("cloudwatch", "put_metric_alarm", {**call.rest("AlarmName", "Tags"), **tags}, AlarmName=name)

    @staticmethod
    def _tell(call: Call) -> None:
        call.attributes = {"Arn": call.arn("cloudwatch", f"alarm:{call.physical_id}")}


class _Dashboard(Provider):
    """``AWS::CloudWatch::Dashboard``."""

    def create(self, call: Call) -> None:
        name = call.name("DashboardName", 255)
        call.refuse_if(call.there("cloudwatch", "get_dashboard", DashboardName=name), name)
        self._put(call, name)
        call.made(name)

    def update(self, call: Call) -> None:
        self._put(call, call.physical_id)

    def delete(self, call: Call) -> None:
        call.delete("cloudwatch", "delete_dashboards", "ResourceNotFound", DashboardNames=[call.physical_id])

    @staticmethod
    def _put(call: Call, name: str) -> None:
        body = text(call.properties["DashboardBody"])
        try:
            json.loads(body)
        except ValueError as error:
            raise ResourceError(f"The Dashboard Body is no JSON: {error}") from error
        call.send("cloudwatch", "put_dashboard", DashboardName=name, DashboardBody=body)


class _Budget(Provider):
    """``AWS::Budgets::Budget``."""

    def create(self, call: Call) -> None:
        budget: dict[str, Any] = dict(call.properties["Budget"])
        name = text(budget.get("BudgetName") or call.name("-", 100))
        parts = {"Budget": {**budget, "BudgetName": name}}
        if told := call.properties.get("NotificationsWithSubscribers"):
            parts["NotificationsWithSubscribers"] = told
        call.send("budgets", "create_budget", parts, AccountId=call.config.account)
        call.made(name)
        call.attributes = {"Id": name}

    def delete(self, call: Call) -> None:
        call.delete("budgets", "delete_budget", AccountId=call.config.account, BudgetName=call.physical_id)


PROVIDERS: Mapping[str, Provider] = {
    "AWS::Budgets::Budget": _Budget(),
    "AWS::CloudWatch::Alarm": _Alarm(),
    "AWS::CloudWatch::Dashboard": _Dashboard(),
    "AWS::Logs::LogGroup": _LogGroup(),
    "AWS::Logs::MetricFilter": _MetricFilter(),
    "AWS::Logs::ResourcePolicy": _LogPolicy(),
}
