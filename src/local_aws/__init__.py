"""The local AWS: moto plus jobs that really run, endpoints that really serve, and state that outlives the server."""
