"""CloudFormation's virtual networks: VPC, subnets, route tables, security groups, endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local_aws.cloudformation_providers import Call, Properties, Provider, normal, tag_changes, text, without


def _tagged(call: Call, kind: str) -> Properties:
    tags = call.tag_list()
    return {"TagSpecifications": [{"ResourceType": kind, "Tags": tags}]} if tags else {}


def _change_tags(call: Call) -> None:
    if not call.changed("Tags"):
        return
    after, gone = tag_changes(call)
    if gone:
        call.send("ec2", "delete_tags", Resources=[call.physical_id], Tags=[{"Key": key} for key in gone])
    if after:
        call.send("ec2", "create_tags", Resources=[call.physical_id], Tags=call.tag_list())


class _Network(Provider):
    """A type that one operation makes, and another deletes.

    Args:
        noun: the operations' noun: ``vpc`` of ``create_vpc`` and ``delete_vpc``, and of its tags.
        part: of the answer: what was made.
        key: its id there, and as the deletion's parameter.
        settings: properties that are set afterwards, each by an operation, as ``{property: (operation, parameter)}``.
    """

    def __init__(self, noun: str, part: str, key: str, settings: Mapping[str, tuple[str, str]] | None = None) -> None:
        self._noun, self._part, self._key = noun, part, key
        self._settings = settings or {}

    def create(self, call: Call) -> None:
        """Make it, and set what is set afterwards."""
        parts = {**call.rest("Tags", *self._settings), **_tagged(call, self._noun.replace("_", "-"))}
        made = call.send("ec2", f"create_{self._noun}", parts)[self._part]
        call.made(made[self._key])
        self._set(call)
        call.attributes = self._attributes(call, made)

    def update(self, call: Call) -> None:
        """Set what may be set, and tags."""
        if [one for one in self.changes(call) if one not in (*self._settings, "Tags")]:
            super().update(call)
        self._set(call)
        _change_tags(call)

    def delete(self, call: Call) -> None:
        """Delete it."""
        call.delete("ec2", f"delete_{self._noun}", **{self._key: call.physical_id})

    def _set(self, call: Call) -> None:
        for name, (operation, parameter) in self._settings.items():
            if call.changed(name) and (name in call.properties or name in call.before):
                value = {"Value": call.properties.get(name, False)}
                call.send("ec2", operation, {self._key: call.physical_id, parameter: value})

    def _attributes(self, call: Call, made: Mapping[str, Any]) -> dict[str, Any]:
        found = {self._key: call.physical_id}
        for name in ("CidrBlock", "AvailabilityZone", "VpcId"):
            if name in made:
                found[name] = made[name]
        return found


class _Vpc(_Network):
    """``AWS::EC2::VPC``."""

    def _attributes(self, call: Call, made: Mapping[str, Any]) -> dict[str, Any]:
        mine = [{"Name": "vpc-id", "Values": [call.physical_id]}]
        groups = call.send("ec2", "describe_security_groups", Filters=mine)["SecurityGroups"]
        lists = call.send("ec2", "describe_network_acls", Filters=mine)["NetworkAcls"]
        return {
            **super()._attributes(call, made),
            "DefaultSecurityGroup": next(one["GroupId"] for one in groups if one["GroupName"] == "default"),
            "DefaultNetworkAcl": next(one["NetworkAclId"] for one in lists if one["IsDefault"]),
            "CidrBlockAssociations": [one["AssociationId"] for one in made.get("CidrBlockAssociationSet", [])],
        }


class _SecurityGroup(Provider):
    """``AWS::EC2::SecurityGroup``, with the rules written into it."""

    _SIDES = (("SecurityGroupIngress", "ingress"), ("SecurityGroupEgress", "egress"))

    def create(self, call: Call) -> None:
        """Make it; with rules of its own, what it lets out by default is taken away."""
        made = call.send(
            "ec2",
            "create_security_group",
            {**call.pick("VpcId"), **_tagged(call, "security-group")},
            GroupName=call.name("GroupName", 255),
            Description=call.properties["GroupDescription"],
        )
        call.made(made["GroupId"])
        if call.properties.get("SecurityGroupEgress"):
            everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
            call.send("ec2", "revoke_security_group_egress", GroupId=call.physical_id, IpPermissions=everything)
        self._rules(call)

    def update(self, call: Call) -> None:
        """Change its rules and tags."""
        self._rules(call)
        _change_tags(call)

    def delete(self, call: Call) -> None:
        """Delete it."""
        call.delete("ec2", "delete_security_group", GroupId=call.physical_id)

    def _rules(self, call: Call) -> None:
        for name, side in self._SIDES:
            after, before = ([normal(one) for one in given.get(name) or []] for given in (call.properties, call.before))
            for one in before:
                if one not in after:
                    _rule(call, "revoke", side, call.physical_id, one)
            for one in after:
                if one not in before:
                    _rule(call, "authorize", side, call.physical_id, one)
        call.attributes = {"GroupId": call.physical_id, "Id": call.physical_id, **call.pick("VpcId")}


def _rule(call: Call, verb: str, side: str, group: str, rule: Mapping[str, Any]) -> None:
    """Add or take away one rule of a security group."""
    described = {"Description": rule["Description"]} if "Description" in rule else {}
    permission: dict[str, Any] = {name: rule[name] for name in ("IpProtocol", "FromPort", "ToPort") if name in rule}
    if "CidrIp" in rule:
        permission["IpRanges"] = [{"CidrIp": rule["CidrIp"], **described}]
    if "CidrIpv6" in rule:
        permission["Ipv6Ranges"] = [{"CidrIpv6": rule["CidrIpv6"], **described}]
    for name in ("SourceSecurityGroupId", "DestinationSecurityGroupId"):
        if name in rule:
            permission["UserIdGroupPairs"] = [{"GroupId": rule[name], **described}]
    for name in ("SourcePrefixListId", "DestinationPrefixListId"):
        if name in rule:
            permission["PrefixListIds"] = [{"PrefixListId": rule[name], **described}]
    parts = {"GroupId": group, "IpPermissions": [permission]}
    if verb == "revoke":
        call.delete("ec2", f"revoke_security_group_{side}", "InvalidPermission.NotFound", **parts)
    else:
        call.send("ec2", f"authorize_security_group_{side}", parts)


class _SecurityGroupRule(Provider):
    """``AWS::EC2::SecurityGroupIngress`` and ``…Egress``: one rule."""

    def __init__(self, side: str) -> None:
        self._side = side

    def create(self, call: Call) -> None:
        """Add it."""
        _rule(call, "authorize", self._side, text(call.properties["GroupId"]), call.properties)
        call.made(call.name("-", 64))
        call.attributes = {"Id": call.physical_id}

    def delete(self, call: Call) -> None:
        """Take it away."""
        _rule(call, "revoke", self._side, text(call.properties["GroupId"]), call.properties)


class _Endpoint(Provider):
    """``AWS::EC2::VPCEndpoint``."""

    _LISTS = ("RouteTableIds", "SubnetIds", "SecurityGroupIds")

    def create(self, call: Call) -> None:
        """Make it."""
        parts = {**call.rest("Tags"), **_tagged(call, "vpc-endpoint")}
        made = call.send("ec2", "create_vpc_endpoint", parts)["VpcEndpoint"]
        call.made(made["VpcEndpointId"])
        call.attributes = {
            "Id": call.physical_id,
            "CreationTimestamp": made["CreationTimestamp"].isoformat(),
            "DnsEntries": [f"{one.get('HostedZoneId')}:{one.get('DnsName')}" for one in made.get("DnsEntries") or []],
            "NetworkInterfaceIds": made.get("NetworkInterfaceIds") or [],
        }

    def update(self, call: Call) -> None:
        """Change its policy, its name resolution, and where it is."""
        parts: Properties = {}
        for name in ("PolicyDocument", "PrivateDnsEnabled"):
            if call.changed(name) and name in call.properties:
                parts[name] = call.properties[name]
        for name in self._LISTS:
            after, before = (given.get(name) or [] for given in (call.properties, call.before))
            if added := without(after, before):
                parts[f"Add{name}"] = added
            if removed := without(before, after):
                parts[f"Remove{name}"] = removed
        if parts:
            call.send("ec2", "modify_vpc_endpoint", parts, VpcEndpointId=call.physical_id)
        _change_tags(call)

    def delete(self, call: Call) -> None:
        """Delete it."""
        call.delete("ec2", "delete_vpc_endpoints", VpcEndpointIds=[call.physical_id])


class _Route(Provider):
    """``AWS::EC2::Route``."""

    def create(self, call: Call) -> None:
        """Add it."""
        call.send("ec2", "create_route", call.properties)
        target = next(value for name, value in call.properties.items() if name.startswith("Destination"))
        call.made(f"{call.properties['RouteTableId']}|{target}")
        call.attributes = {"CidrBlock": text(target)}

    def update(self, call: Call) -> None:
        """Lead it elsewhere."""
        call.send("ec2", "replace_route", call.properties)

    def delete(self, call: Call) -> None:
        """Take it away."""
        names = ("RouteTableId", "DestinationCidrBlock", "DestinationIpv6CidrBlock", "DestinationPrefixListId")
        call.delete("ec2", "delete_route", "InvalidRoute.NotFound", **call.pick(*names))


class _Association(Provider):
    """``AWS::EC2::SubnetRouteTableAssociation``."""

    def create(self, call: Call) -> None:
        """Associate them."""
        call.made(call.send("ec2", "associate_route_table", call.properties)["AssociationId"])
        call.attributes = {"Id": call.physical_id}

    def delete(self, call: Call) -> None:
        """Undo it."""
        call.delete("ec2", "disassociate_route_table", AssociationId=call.physical_id)


class _Attachment(Provider):
    """``AWS::EC2::VPCGatewayAttachment``."""

    def create(self, call: Call) -> None:
        """Attach it."""
        call.send("ec2", "attach_internet_gateway", call.properties)
        call.made(f"IGW|{call.properties['VpcId']}")
        call.attributes = {"AttachmentType": "IGW"}

    def delete(self, call: Call) -> None:
        """Detach it."""
        call.delete("ec2", "detach_internet_gateway", "Gateway.NotAttached", **call.pick("InternetGatewayId", "VpcId"))


class _FlowLog(Provider):
    """``AWS::EC2::FlowLog``."""

    def create(self, call: Call) -> None:
        """Make it."""
        parts = {**call.rest("ResourceId", "Tags"), **_tagged(call, "vpc-flow-log")}
        made = call.send("ec2", "create_flow_logs", parts, ResourceIds=[call.properties["ResourceId"]])
        call.made(made["FlowLogIds"][0])
        call.attributes = {"Id": call.physical_id}

    def delete(self, call: Call) -> None:
        """Delete it."""
        call.delete("ec2", "delete_flow_logs", FlowLogIds=[call.physical_id])


_DNS = {
    "EnableDnsSupport": ("modify_vpc_attribute", "EnableDnsSupport"),
    "EnableDnsHostnames": ("modify_vpc_attribute", "EnableDnsHostnames"),
}
PROVIDERS: Mapping[str, Provider] = {
    "AWS::EC2::FlowLog": _FlowLog(),
    "AWS::EC2::InternetGateway": _Network("internet_gateway", "InternetGateway", "InternetGatewayId"),
    "AWS::EC2::Route": _Route(),
    "AWS::EC2::RouteTable": _Network("route_table", "RouteTable", "RouteTableId"),
    "AWS::EC2::SecurityGroup": _SecurityGroup(),
    "AWS::EC2::SecurityGroupEgress": _SecurityGroupRule("egress"),
    "AWS::EC2::SecurityGroupIngress": _SecurityGroupRule("ingress"),
    "AWS::EC2::Subnet": _Network(
        "subnet", "Subnet", "SubnetId", {"MapPublicIpOnLaunch": ("modify_subnet_attribute", "MapPublicIpOnLaunch")}
    ),
    "AWS::EC2::SubnetRouteTableAssociation": _Association(),
    "AWS::EC2::VPC": _Vpc("vpc", "Vpc", "VpcId", _DNS),
    "AWS::EC2::VPCEndpoint": _Endpoint(),
    "AWS::EC2::VPCGatewayAttachment": _Attachment(),
}
