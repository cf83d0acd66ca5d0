"""Each defect of moto that local_aws puts right is still there; when a test here fails, the named patch may go."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

Seen = dict[str, Any]


@pytest.fixture(scope="module")
def seen() -> Seen:
    """What plain moto does, from a process without local_aws in it."""
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "stock", "AWS_SECRET_ACCESS_KEY": "stock"}
    script = Path(__file__).with_name("stock_moto.py")
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=True, env=environment, timeout=120
    )
    found: Seen = json.loads(done.stdout)
    return found


def test_an_execution_without_a_name_is_called_none(seen: Seen) -> None:
    """Patch: ``stepfunctions_api.name_executions``."""
    assert seen["no_name"] == "None"


def test_errors_have_no_names(seen: Seen) -> None:
    """Patch: ``stepfunctions_api.name_errors``."""
    assert seen["error_code"].startswith("ClientError::")


def test_an_output_with_times_cannot_be_described(seen: Seen) -> None:
    """Patch: ``stepfunctions_api.describe_all_outputs``."""
    assert "datetime is not JSON serializable" in seen["times_in_output"]


def test_the_history_has_no_pages(seen: Seen) -> None:
    """Patch: ``stepfunctions_api.page_the_history``; one event was asked for, from the end."""
    assert seen["history_paging"] == [1, 2, 3, 4]


def test_a_failed_tasks_cause_is_dropped(seen: Seen) -> None:
    """Patch: ``stepfunctions_api.pass_on_the_cause_of_a_failed_task``."""
    assert (seen["failed_task_cause"]["error"], seen["failed_task_cause"]["cause"]) == ("E", None)


def test_stop_drops_error_and_cause(seen: Seen) -> None:
    """Patch: ``stepfunctions_api.stop_with_error_and_cause``."""
    assert (seen["stop_fields"]["error"], seen["stop_fields"]["cause"]) == (None, None)


def test_a_branchs_states_error_cannot_be_caught(seen: Seen) -> None:
    """Patch: ``stepfunctions_interpreter.let_branches_fail_with_states_errors``."""
    assert seen["branch_states_error"] is None


def test_sdk_parameters_keep_their_case(seen: Seen) -> None:
    """Patch: ``stepfunctions_interpreter.give_aws_sdk_calls_their_own_case``."""
    assert seen["sdk_case"] == "FAILED"


def test_sagemaker_jobs_do_not_run(seen: Seen) -> None:
    """Patch: ``stepfunctions_sagemaker``."""
    assert "Unsupported sync callback procedure" in seen["sagemaker_sync"]["cause"]


def test_a_stop_waits_for_a_retrys_delay(seen: Seen) -> None:
    """Patch: ``stepfunctions_interpreter.stop_promptly``; a second after the stop it still runs."""
    assert seen["stop_in_retry"] == "RUNNING"


def test_a_stopped_parallel_state_is_said_to_succeed(seen: Seen) -> None:
    """Patch: ``stepfunctions_interpreter.stop_promptly``."""
    assert "ParallelStateSucceeded" in seen["stopped_parallel"]


def test_a_stopped_map_state_fails_the_execution(seen: Seen) -> None:
    """Patch: ``stepfunctions_interpreter.keep_why_an_execution_ended``; AWS says ABORTED."""
    assert seen["stopped_map_that_catches"] == "FAILED"


def test_the_start_time_is_no_text(seen: Seen) -> None:
    """Patch: ``stepfunctions_interpreter.give_times_as_text``."""
    assert "datetime is not JSON serializable" in seen["start_time"]


def test_every_task_makes_a_client(seen: Seen) -> None:
    """Patch: ``stepfunctions_interpreter.reuse_clients``."""
    assert seen["clients"] is True


def test_a_ranged_get_reads_the_whole_object(seen: Seen) -> None:
    """Patch: ``s3_requests``; ten bytes were asked for."""
    assert seen["ranged_get"] == 1 << 20


def test_a_child_is_looked_at_every_half_second(seen: Seen) -> None:
    """Patch: ``stepfunctions_nested``, which also stops it with its parent."""
    assert seen["nested"] == 0.5


def test_alarms_are_never_evaluated(seen: Seen) -> None:
    """Patch: ``cloudwatch_alarms``; the alarm begins as OK, stays so, and has no history."""
    assert seen["alarms"][:2] == ["OK", "OK"] and seen["alarms"][2] != "answered"


def test_percentiles_and_metric_math_are_ignored(seen: Seen) -> None:
    """Patch: ``cloudwatch``; the median is 2 and the sum's double 24."""
    assert seen["statistics"] == [None, []]


def test_a_functions_logging_config_is_dropped(seen: Seen) -> None:
    """Patch: ``lambda_logging``."""
    assert seen["logging_config"] is None
