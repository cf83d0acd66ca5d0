"""The training workflow as a value: settings in, a Step Functions definition out; no client and no clock."""
