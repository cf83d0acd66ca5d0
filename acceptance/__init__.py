"""The acceptance suite: pytest checks against one deployed environment, which its stack's outputs name.

It runs on Lambda and on Fargate behind a delivery, and on a laptop: ``python -m acceptance --stack NAME``. It knows an
environment only from outside, through the API that customers call and what AWS says of it, and changes nothing but the
API keys that it makes for itself and takes back.
"""
