"""Step Functions: moto's interpreter with what it lacks and what is wrong in it put right.

* :mod:`local_aws.stepfunctions_sagemaker`: the optimised SageMaker integration with ``.sync``;
* :mod:`local_aws.stepfunctions_nested`: executions that start executions and wait for them;
* :mod:`local_aws.stepfunctions_interpreter`: defects in how states are evaluated;
* :mod:`local_aws.stepfunctions_api`: defects in the API's actions;
* :mod:`local_aws.executions`: executions that outlive the server.
"""

from __future__ import annotations

from local_aws import (
    executions,
    stepfunctions_api,
    stepfunctions_interpreter,
    stepfunctions_nested,
    stepfunctions_sagemaker,
)
from local_aws.config import LocalConfig


def install(config: LocalConfig) -> None:
    """Patch moto; call it once, before the server listens."""
    stepfunctions_interpreter.install(config)
    stepfunctions_sagemaker.install()
    stepfunctions_nested.install()
    stepfunctions_api.install()
    executions.install(config)


def restore(config: LocalConfig) -> None:
    """Bring back the executions of former servers; the state machines must be there already."""
    executions.restore(config)


def shutdown() -> None:
    """Stop the executions that run, and with them their jobs."""
    executions.stop_all()
