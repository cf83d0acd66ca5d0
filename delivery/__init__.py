"""What brings a commit to production: the pipeline's stack, its functions and its images (docs/delivery.md)."""
