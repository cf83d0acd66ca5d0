"""The lookup API: similar campaigns and recommended keywords for analysts, over HTTP.

One ASGI application: behind Mangum in a Lambda, under uvicorn on a laptop. It reads the lookup table, asks the endpoint
about fresh campaigns, and keeps feedback; it holds no model.
"""
