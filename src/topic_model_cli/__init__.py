"""The ``topic-model`` command: run the workflow, ask what it made, and look after the local AWS it runs on."""
