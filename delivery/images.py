"""``python -m delivery.images``: a commit's images in ECR, by digest, scanned; what ``make push`` calls.

It writes ``dist/images.json`` (``{"application": URI, "acceptance": URI}``, each by digest), of which ``make package``
makes the environments' parameters. An image of the commit that is there already is taken: tags never move, so a build
that is tried again deploys what the first one pushed.

``--stand-in`` is for the local AWS, whose ECR holds manifests and no layers and whose jobs are processes: it puts a
manifest there that names the hash of what the image would be built from. Nothing is built.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from containers import build as application

ROOT = Path(__file__).resolve().parent.parent
OUT = Path("dist/images.json")
SCAN_SECONDS = 600.0
REFUSED = ("CRITICAL",)
"""Severities of findings that stop a delivery."""
_ACCEPTANCE_SOURCES = ("acceptance/**/*.py", "delivery/acceptance-requirements.txt", "delivery/acceptance.Dockerfile")


class ImageError(Exception):
    """An image cannot be built, pushed or used; the message says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Push both images; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m delivery.images", description=__doc__)
    parser.add_argument("--repository", default=os.environ.get("IMAGE_REPOSITORY"), help="URI of the ECR repository")
    parser.add_argument("--acceptance-repository", default=os.environ.get("ACCEPTANCE_REPOSITORY"))
    parser.add_argument("--commit", default=os.environ.get("COMMIT"), help="what the images are tagged with")
    parser.add_argument("--base-image", default=os.environ.get("BASE_IMAGE") or None)
    parser.add_argument("--stand-in", action="store_true", help="for the local AWS: manifests alone, nothing is built")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    missing = [f"--{name.replace('_', '-')}" for name in ("repository", "acceptance_repository", "commit")
               if not getattr(options, name)]  # fmt: skip
    if missing:
        parser.error(f"{', '.join(missing)} is missing; a build of the pipeline has it in its environment")
    try:
        made = {
            "application": push(
                options.repository,
                options.commit,
                sources=application.sources_hash(ROOT),
                build=lambda tag: application.build(tag, base_image=options.base_image, version=options.commit),
                stand_in=options.stand_in,
            ),
            "acceptance": push(
                options.acceptance_repository,
                options.commit,
                sources=_acceptance_sources(),
                build=lambda tag: build_acceptance(tag, options.base_image),
                stand_in=options.stand_in,
            ),
        }
    except (ImageError, application.BuildError, ClientError, BotoCoreError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write("".join(f"{name}  {uri}\n" for name, uri in made.items()))
    return 0


def push(repository: str, commit: str, *, sources: str, build: Callable[[str], None], stand_in: bool) -> str:
    """The image of a commit in a repository, by digest; built and pushed where it is not there yet.

    Raises:
        ImageError: the repository's URI is none, Docker fails, or the scan found what is refused.
    """
    registry, slash, name = repository.partition("/")
    if not slash:
        raise ImageError(f"the repository is {repository!r}; expected <registry>/<name>")
    ecr = boto3.client("ecr")
    digest = _pushed(ecr, name, commit)
    if digest is None:
        if stand_in:
            _put_stand_in(ecr, name, commit, sources)
        else:
            build(f"{repository}:{commit}")
            _push_by_docker(ecr, registry, f"{repository}:{commit}")
        digest = _pushed(ecr, name, commit)
        if digest is None:
            raise ImageError(f"{repository}:{commit} was pushed, and ECR has no such image")
    if not stand_in:
        _check_scan(ecr, name, digest)
    return f"{repository}@{digest}"


def build_acceptance(tag: str, base_image: str | None = None) -> None:
    """Build the acceptance suite's image.

    Raises:
        ImageError: the build failed.
    """
    command = ["docker", "build", "--file", str(ROOT / "delivery" / "acceptance.Dockerfile"), "--tag", tag]
    if base_image:
        command += ["--build-arg", f"BASE_IMAGE={base_image}"]
    for variable in application.PASSED_ON:
        if os.environ.get(variable):
            command += ["--build-arg", variable]
    with tempfile.TemporaryDirectory(prefix="topic-model-acceptance-") as folder:
        context = Path(folder)
        shutil.copytree(ROOT / "acceptance", context / "acceptance", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "delivery" / "acceptance-requirements.txt", context)
        with application.certificates(ROOT, os.environ) as bundle:
            if bundle is not None:
                shutil.copy(bundle, context / "ca-bundle.pem")
            finished = subprocess.run([*command, str(context)], check=False)  # noqa: S603 - docker, as made here
    if finished.returncode:
        raise ImageError(f"docker build of the acceptance suite failed with exit code {finished.returncode}")


def _acceptance_sources() -> str:
    digest = hashlib.sha256()
    for path in sorted({path for pattern in _ACCEPTANCE_SOURCES for path in ROOT.glob(pattern)}):
        digest.update(f"{path.relative_to(ROOT)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _pushed(ecr: Any, name: str, tag: str) -> str | None:
    try:
        found = ecr.describe_images(repositoryName=name, imageIds=[{"imageTag": tag}])["imageDetails"]
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == "ImageNotFoundException":
            return None
        raise
    return str(found[0]["imageDigest"]) if found else None


def _put_stand_in(ecr: Any, name: str, tag: str, sources: str) -> None:
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "size": 0,
            "digest": f"sha256:{sources}",
        },
        "layers": [],
    }
    text = json.dumps(manifest)
    digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"  # ECR makes it by itself, the local AWS does not
    ecr.put_image(repositoryName=name, imageManifest=text, imageTag=tag, imageDigest=digest)


def _push_by_docker(ecr: Any, registry: str, image: str) -> None:
    token = base64.b64decode(ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]).decode()
    user, _, password = token.partition(":")
    _docker(["login", "--username", user, "--password-stdin", registry], password)
    _docker(["push", "--quiet", image])


def _docker(arguments: list[str], given: str = "") -> None:
    finished = subprocess.run(  # noqa: S603 - docker, with arguments made here
        ["docker", *arguments],  # noqa: S607 - on PATH
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        raise ImageError(
            f"docker {arguments[0]} failed: {finished.stderr.strip().splitlines()[-1:] or 'it said nothing'}"
        )


def _check_scan(ecr: Any, name: str, digest: str) -> None:
    """Wait for the scan that the push began, and refuse what it found.

    Raises:
        ImageError: findings of a refused severity, or no result in time.
    """
    until = time.monotonic() + SCAN_SECONDS
    while True:
        try:
            answer = ecr.describe_image_scan_findings(repositoryName=name, imageId={"imageDigest": digest})
            status = answer["imageScanStatus"]["status"]
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != "ScanNotFoundException":
                raise
            answer, status = {}, "PENDING"
        if status in ("COMPLETE", "ACTIVE"):
            break
        if status in ("FAILED", "UNSUPPORTED_IMAGE", "FINDINGS_UNAVAILABLE") or time.monotonic() > until:
            raise ImageError(f"{name}@{digest} could not be scanned: {status}; see the repository in ECR")
        time.sleep(5)
    counts = answer.get("imageScanFindings", {}).get("findingSeverityCounts", {})
    found = {severity: counts[severity] for severity in REFUSED if counts.get(severity)}
    if found:
        raise ImageError(
            f"{name}@{digest} has findings of severity {found}; renew the base image or the locked versions"
        )


if __name__ == "__main__":
    sys.exit(main())
