"""The Lambda function: API Gateway's proxy events to the application and back."""

from __future__ import annotations

import os

from mangum import Mangum

from lookup_api.app import create_app
from lookup_api.settings import ApiSettings

# Made when the function starts, so that the first request finds clients and routes ready.
handler = Mangum(create_app(ApiSettings.from_environment(os.environ)), lifespan="off")
