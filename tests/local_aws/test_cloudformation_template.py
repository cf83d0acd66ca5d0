"""The template language: functions, parameters, what is refused and in which words. No server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from local_aws import cloudformation_schema as schema
from local_aws.cloudformation_changes import changes
from local_aws.cloudformation_parameters import parameters_of
from local_aws.cloudformation_plan import Plan, planned, pseudo_parameters
from local_aws.cloudformation_providers import providers
from local_aws.cloudformation_stacks import Goal, Resource, Stack
from local_aws.cloudformation_template import TemplateError, in_order, parsed, required_capabilities
from local_aws.config import LocalConfig

CONFIG = LocalConfig(Path("unused"), 1)
PSEUDO = pseudo_parameters(CONFIG, "arn:aws:cloudformation:us-east-1:123456789012:stack/s/1", "s", [])
TOPIC = {"Type": "AWS::SNS::Topic"}


def plan_of(template: dict[str, Any] | str, **given: str) -> Plan:
    """A plan of a template with these parameters; resources' ids and attributes are their names in brackets."""
    text = template if isinstance(template, str) else json.dumps(template)
    pairs = [{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()]
    goal = Goal(text, parameters_of(parsed(text), pairs, {}, lambda name: f"value of {name}"))
    plan = planned(goal, PSEUDO, lambda name: f"import of {name}")
    plan.bind(lambda name: f"<{name}>", lambda name, attribute: f"<{name}.{attribute}>")
    return plan


def value_of(expression: str, **given: str) -> Any:
    """What a YAML expression is, as a property of a topic beside others."""
    text = f"""
Parameters:
  Text: {{ Type: String, Default: some }}
  Numbers: {{ Type: CommaDelimitedList, Default: "1, 2,3" }}
  FromStore: {{ Type: "AWS::SSM::Parameter::Value<String>", Default: /a/b }}
Mappings: {{ Sizes: {{ test: {{ Large: 1, 5: five }} }} }}
Conditions:
  Is: !Equals [!Ref Text, some]
  IsNot: !Not [Condition: Is]
  Both: !And [!Condition Is, !Condition IsNot]
  Either: !Or [!Condition Is, !Condition IsNot]
Resources:
  Other: {{ Type: AWS::SNS::Topic }}
  Topic:
    Type: AWS::SNS::Topic
    Properties:
      DisplayName: {expression}
"""
    return plan_of(text, **given).properties("Topic").get("DisplayName")


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("!Ref Text", "some"),
        ("!Ref Numbers", ["1", "2", "3"]),
        ("!Ref FromStore", "value of /a/b"),
        ("!Ref AWS::Region", "us-east-1"),
        ("!Ref Other", "<Other>"),
        ("!Ref AWS::NoValue", None),
        ("!GetAtt Other.TopicName", "<Other.TopicName>"),
        ("!GetAtt [Other, TopicName]", "<Other.TopicName>"),
        ('!Sub "${Text}-${Other}-${Other.TopicName}-${!Literal}"', "some-<Other>-<Other.TopicName>-${Literal}"),
        ('!Sub ["${A}/${Text}", { A: !Select [1, !Ref Numbers] }]', "2/some"),
        ('!Join ["-", [a, !Ref Text, !Ref AWS::NoValue, true, 5]]', "a-some-true-5"),
        ('!Select ["0", [a, b]]', "a"),
        ('!Split [",", "a,b"]', ["a", "b"]),
        ("!FindInMap [Sizes, test, Large]", 1),
        ('!FindInMap [Sizes, test, "5"]', "five"),
        ("!Base64 abc", "YWJj"),
        ('!Select [2, !GetAZs ""]', "us-east-1c"),
        ("!Cidr [10.0.0.0/16, 2, 8]", ["10.0.0.0/24", "10.0.1.0/24"]),
        ("!ImportValue name", "import of name"),
        ("!If [Is, yes-it-is, no]", "yes-it-is"),
        ("!If [IsNot, 1, !Ref AWS::NoValue]", None),
        ("!If [Both, 1, !If [Either, 2, 3]]", 2),
        ("{ a: !If [IsNot, 1, !Ref AWS::NoValue], b: [!Ref AWS::NoValue, 2] }", {"b": [2]}),
        ("{ Fn::Sub: '${Text}' }", "some"),
        ("2012-10-17", "2012-10-17"),
    ],
)
def test_functions(expression: str, value: Any) -> None:
    """Each function, in its short form, is what AWS documents."""
    assert value_of(expression) == value


def test_reference_makes_order() -> None:
    """A resource stands behind those that it refers to, depends on, or names in a text; a branch not taken is none."""
    plan = plan_of(
        {
            "Conditions": {"Never": {"Fn::Equals": ["a", "b"]}},
            "Resources": {
                "A": {**TOPIC, "Properties": {"DisplayName": {"Fn::Sub": "${B}"}}},
                "B": {
                    **TOPIC,
                    "DependsOn": "C",
                    "Properties": {"DisplayName": {"Fn::If": ["Never", {"Ref": "A"}, "x"]}},
                },
                "C": {**TOPIC, "Properties": {"DisplayName": {"Fn::GetAtt": ["D", "TopicName"]}}},
                "D": TOPIC,
                "E": {**TOPIC, "Condition": "Never"},
            },
        }
    )
    assert plan.order == ["D", "C", "B", "A"]


BAD_TEMPLATES: list[tuple[Any, str]] = [
    ("[1, 2", "YAML not well-formed"),
    ({}, "At least one Resources member must be defined"),
    ({"Resources": {"A": TOPIC}, "Colour": 1}, r"Invalid template property or properties \[Colour\]"),
    ({"Resources": {"A": {}}}, "Every Resources object must contain a Type member"),
    ({"Resources": {"A-b": TOPIC}}, "Resource name A-b is non alphanumeric"),
    ({"Resources": {"A": {"Type": "AWS::Moon::Base"}}}, r"Unrecognized resource types: \[AWS::Moon::Base\]"),
    ({"Resources": {"A": {**TOPIC, "Colour": 1}}}, "Invalid template resource property 'Colour'"),
    ({"Resources": {"A": {**TOPIC, "DeletionPolicy": "Keep"}}}, "Unrecognized DeletionPolicy 'Keep'"),
    (
        {"Resources": {"A": {**TOPIC, "Properties": {"DisplayName": {"Ref": "B"}}}}},
        r"Unresolved resource dependencies \[B\] in the Resources block of the template",
    ),
    (
        {"Resources": {"A": {**TOPIC, "Properties": {"DisplayName": {"Fn::Sub": "${B}"}}}}},
        r"Unresolved resource dependencies \[B\] in the Resources block of the template",
    ),
    ({"Resources": {"A": {**TOPIC, "DependsOn": ["B"]}}}, r"Unresolved resource dependencies \[B\]"),
    (
        {"Resources": {"A": {**TOPIC, "Properties": {"DisplayName": {"Fn::GetAtt": "B.Arn"}}}}},
        "instance of Fn::GetAtt references undefined resource B",
    ),
    (
        {"Resources": {"B": TOPIC, "A": {**TOPIC, "Properties": {"DisplayName": {"Fn::GetAtt": "B.Colour"}}}}},
        "resource B does not support attribute type Colour in Fn::GetAtt",
    ),
    (
        {
            "Resources": {
                "A": {**TOPIC, "DependsOn": "B"},
                "B": {**TOPIC, "DependsOn": "A"},
                "C": {**TOPIC, "DependsOn": "A"},
            }
        },
        r"Circular dependency between resources: \[A, B\]",
    ),
    ({"Resources": {"A": {**TOPIC, "Condition": "Is"}}}, "Unresolved condition dependency Is in the Resources block"),
    (
        {"Resources": {"A": {**TOPIC, "Properties": {"DisplayName": {"Fn::If": ["Is", 1, 2]}}}}},
        "Unresolved condition dependency Is in the Resources block",
    ),
    ({"Resources": {"A": TOPIC}, "Outputs": {"O": {"Value": {"Ref": "B"}}}}, r"\[B\] in the Outputs block"),
    ({"Resources": {"A": TOPIC}, "Transform": "AWS::Serverless-2016-10-31"}, "the local AWS runs no transforms"),
    (
        {"Resources": {"A": {**TOPIC, "Properties": {"DisplayName": {"Fn::Moon": 1}}}}},
        "Fn::Moon is none of the functions",
    ),
]


@pytest.mark.parametrize(("template", "words"), BAD_TEMPLATES, ids=[words for _, words in BAD_TEMPLATES])
def test_templates_refused(template: Any, words: str) -> None:
    """A template that breaks the language is refused in AWS's words, with the name of what is wrong."""
    with pytest.raises(TemplateError, match=words) as refused:
        plan_of(template)
    assert refused.value.code == "ValidationError"


def test_yaml_bomb_is_refused() -> None:
    """Aliases that multiply are not written out without end."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(TemplateError, match="more than 200000 parts"):
        parsed("\n".join(lines))


PARAMETERS = {
    "Size": {"Type": "Number", "MinValue": 1, "MaxValue": 5, "Default": 3},
    "Name": {"Type": "String", "AllowedPattern": "[a-z]+", "ConstraintDescription": "small letters", "Default": "a"},
    "Kind": {"Type": "String", "AllowedValues": ["test", "production"]},
    "Short": {"Type": "String", "MinLength": 2, "MaxLength": 3, "Default": "ab"},
    "Nets": {"Type": "List<AWS::EC2::Subnet::Id>", "Default": ""},
}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, r"Parameters: \[Kind\] must have values"),
        ({"Kind": "test", "Colour": "red"}, r"Parameters: \[Colour\] do not exist in the template"),
        ({"Kind": "moon"}, "Parameter 'Kind' must be one of AllowedValues"),
        ({"Kind": "test", "Name": "A"}, "Parameter Name failed to satisfy constraint: small letters"),
        ({"Kind": "test", "Size": "many"}, "Parameter 'Size' must be a number"),
        ({"Kind": "test", "Size": "0"}, "Parameter 'Size' must be a number not less than 1"),
        ({"Kind": "test", "Size": "6"}, "Parameter 'Size' must be a number not greater than 5"),
        ({"Kind": "test", "Short": "a"}, "Parameter 'Short' must contain at least 2 characters"),
        ({"Kind": "test", "Short": "abcd"}, "Parameter 'Short' must contain at most 3 characters"),
    ],
)
def test_parameters_refused(given: dict[str, str], words: str) -> None:
    """A parameter out of range is refused, and the message names it and what was expected."""
    with pytest.raises(TemplateError, match=words):
        plan_of({"Parameters": PARAMETERS, "Resources": {"A": TOPIC}}, **given)


def test_rule_is_told() -> None:
    """A rule whose assertion fails says its description."""
    template = {
        "Parameters": {"Canary": {"Type": "Number"}, "Stable": {"Type": "String", "Default": ""}},
        "Rules": {
            "Beside": {
                "RuleCondition": {"Fn::Not": [{"Fn::Equals": [{"Ref": "Canary"}, "0"]}]},
                "Assertions": [
                    {
                        "Assert": {"Fn::Not": [{"Fn::Equals": [{"Ref": "Stable"}, ""]}]},
                        "AssertDescription": "needs Stable",
                    }
                ],
            }
        },
        "Resources": {"A": TOPIC},
    }
    assert plan_of(template, Canary="0").order == ["A"]
    assert plan_of(template, Canary="5", Stable="1").order == ["A"]
    with pytest.raises(TemplateError, match="rule Beside: needs Stable"):
        plan_of(template, Canary="5")


def test_capabilities() -> None:
    """IAM's resources need CAPABILITY_IAM, and named ones CAPABILITY_NAMED_IAM."""
    role: dict[str, Any] = {"Type": "AWS::IAM::Role", "Properties": {}}
    named = {"Type": "AWS::IAM::Role", "Properties": {"RoleName": "r"}}
    assert required_capabilities(parsed(json.dumps({"Resources": {"A": TOPIC}}))) == []
    assert required_capabilities(parsed(json.dumps({"Resources": {"A": role}}))) == ["CAPABILITY_IAM"]
    assert required_capabilities(parsed(json.dumps({"Resources": {"A": role, "B": named}}))) == ["CAPABILITY_NAMED_IAM"]


def test_properties_of_a_type() -> None:
    """A property that the type does not have, at any depth, and a required one that lacks are told."""
    found = schema.faults("AWS::S3::BucketPolicy", {"Bucket": "b", "Colour": 1}) + schema.faults(
        "AWS::S3::Bucket", {"LifecycleConfiguration": {"Rules": [{"Status": "Enabled", "Days": 1}]}}
    )
    assert found == [
        "#: required key [PolicyDocument] not found",
        "#: extraneous key [Colour] is not permitted",
        "#/LifecycleConfiguration/Rules/0: extraneous key [Days] is not permitted",
    ]


def test_order_of_many() -> None:
    """Names that nothing ties together stay in their order."""
    assert in_order({"B": set(), "A": set(), "C": {"A"}}) == ["B", "A", "C"]


def test_changes_say_what_is_replaced_and_why() -> None:
    """A change set tells additions, removals, changes in place, replacements, and what may follow from them."""
    template = {
        "Parameters": {"Name": {"Type": "String"}},
        "Resources": {
            "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": {"Ref": "Name"}}},
            "Rule": {
                "Type": "AWS::Events::Rule",
                "Properties": {
                    "ScheduleExpression": "rate(1 day)",
                    "Targets": [{"Id": "q", "Arn": {"Fn::GetAtt": ["Queue", "Arn"]}}],
                },
            },
            "Topic": {**TOPIC, "Properties": {"DisplayName": "new"}},
            "Same": {**TOPIC, "Properties": {"FifoTopic": "true"}},
            "Added": TOPIC,
        },
    }
    before = {
        "Queue": ("AWS::SQS::Queue", {"QueueName": "old"}),
        "Rule": (
            "AWS::Events::Rule",
            {"ScheduleExpression": "rate(1 day)", "Targets": [{"Id": "q", "Arn": "arn:old"}]},
        ),
        "Topic": ("AWS::SNS::Topic", {"DisplayName": "old"}),
        "Same": ("AWS::SNS::Topic", {"FifoTopic": True}),
        "Removed": ("AWS::SNS::Topic", {}),
    }
    stack = Stack("id", "s", Goal("{}"), Path("unused"))
    for name, (kind, properties) in before.items():
        stack.resources[name] = Resource(name, kind, f"<{name}>", properties=properties, attributes={"Arn": "arn:old"})
    found = {one["ResourceChange"]["LogicalResourceId"]: one["ResourceChange"] for one in
             changes(stack, plan_of(template, Name="new"))}  # fmt: skip
    assert {name: (one["Action"], one.get("Replacement")) for name, one in found.items()} == {
        "Added": ("Add", None),
        "Queue": ("Modify", "True"),
        "Rule": ("Modify", "False"),
        "Topic": ("Modify", "False"),
        "Removed": ("Remove", None),
    }
    assert found["Queue"]["Details"][0]["CausingEntity"] == "Name"
    assert found["Queue"]["Details"][0]["Target"]["RequiresRecreation"] == "Always"
    assert found["Rule"]["Details"] == [
        {
            "Target": {"Attribute": "Properties", "RequiresRecreation": "Never", "Name": "Targets"},
            "Evaluation": "Dynamic",
            "ChangeSource": "ResourceAttribute",
            "CausingEntity": "Queue.Arn",
        }
    ]
    assert found["Removed"]["PolicyAction"] == "Delete"


def test_every_type_has_schema_and_provider() -> None:
    """No type is known without somebody to make it, and none made without its schema."""
    listed = json.loads(Path(schema.__file__).with_name("cloudformation_types.json").read_text())
    assert set(listed) == set(providers())


@pytest.mark.slow
def test_schemas_are_cfn_lints() -> None:
    """The schemas are the installed cfn-lint's: ``python -m local_aws.cloudformation_schema_made`` writes them."""
    from local_aws.cloudformation_schema_made import TYPES_FILE, text

    assert TYPES_FILE.read_text() == text()
