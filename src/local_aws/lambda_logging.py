"""A function's ``LoggingConfig``: the log group that it writes to. moto 5.2.5 drops it and gives each its own."""

from __future__ import annotations

from typing import Any

from moto.awslambda.models import LambdaFunction


def install() -> None:
    """Put it right; call it once."""
    make, update, shown = LambdaFunction.__init__, LambdaFunction.update_configuration, LambdaFunction.get_configuration

    def init(self: Any, account_id: str, spec: dict[str, Any], *rest: Any, **more: Any) -> None:
        make(self, account_id, spec, *rest, **more)
        _configure(self, spec)

    def update_configuration(self: Any, config_updates: dict[str, Any]) -> Any:
        _configure(self, config_updates)
        return update(self, config_updates)

    def get_configuration(self: Any, *rest: Any, **more: Any) -> dict[str, Any]:
        config: dict[str, Any] = shown(self, *rest, **more)
        given = getattr(self, "logging_config", {})
        config["LoggingConfig"] = {"LogFormat": "Text", **given, "LogGroup": self.logs_group_name}
        return config

    LambdaFunction.__init__ = init
    LambdaFunction.update_configuration = update_configuration
    LambdaFunction.get_configuration = get_configuration


def _configure(function: Any, given: dict[str, Any]) -> None:
    if (config := given.get("LoggingConfig")) is not None:
        function.logging_config = dict(config)
        function.logs_group_name = config.get("LogGroup") or f"/aws/lambda/{function.function_name}"
