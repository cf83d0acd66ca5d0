"""``make sbom``: a CycloneDX bill of materials of what a built image really holds, read inside of it.

Run by the interpreter of requirements/supply-chain.txt, which has CycloneDX's library; standard library otherwise.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Prints, in the image's own Python: its version, the packages of its environment, and Debian's.
_INVENTORY = """
import importlib.metadata, json, pathlib, platform, sysconfig
python = [
    {"name": d.name, "version": d.version, "license": d.metadata.get("License-Expression")}
    for d in importlib.metadata.distributions(path=[sysconfig.get_path("purelib")])
]
status = pathlib.Path("/var/lib/dpkg/status")
blocks = status.read_text(encoding="utf-8", errors="replace").split("\\n\\n") if status.exists() else []
fields = [
    dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and line[0] != " ") for block in blocks
]
debian = [
    {"name": f["Package"], "version": f["Version"], "architecture": f["Architecture"]}
    for f in fields if f.get("Status", "").endswith(" installed")
]
release = dict(
    line.split("=", 1) for line in pathlib.Path("/etc/os-release").read_text().splitlines() if "=" in line
)
codename = release.get("VERSION_CODENAME", "").strip('"')
print(json.dumps({"version": platform.python_version(), "python": python, "debian": debian, "release": codename}))
"""


class ImageSbomError(Exception):
    """The bill cannot be made; the message names the remedy."""


def main(arguments: Sequence[str]) -> int:
    """``image_sbom.py IMAGE FILE``; returns the exit code."""
    if len(arguments) != 2:
        print("usage: image_sbom.py IMAGE FILE", file=sys.stderr)  # noqa: T201 - a command's message
        return 2
    image, target = arguments[0], Path(arguments[1])
    try:
        found = inventory(image)
    except ImageSbomError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - a command's message
        return 1
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(render(image, found), encoding="utf-8")
    counts = f"{len(found['python'])} Python packages, {len(found['debian'])} of Debian"
    print(f"{target}  {counts} ({image})")  # noqa: T201 - a command's output
    return 0


def inventory(image: str) -> dict[str, Any]:
    """What the image holds.

    Raises:
        ImageSbomError: there is no Docker or no such image, or its Python does not run.
    """
    command = ["docker", "run", "--rm", "--network=none", "--entrypoint=python", image, "-c", _INVENTORY]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - docker
    except FileNotFoundError as error:
        raise ImageSbomError("there is no program 'docker', so no image can be read; install Docker") from error
    if told.returncode:
        said = told.stderr.strip().splitlines()[-1:] or ["nothing"]
        raise ImageSbomError(f"{image} cannot be read (docker said: {said[0][:300]}); build it with 'make images'")
    read: dict[str, Any] = json.loads(told.stdout)
    return read


def render(image: str, found: Mapping[str, Any]) -> str:
    """The bill as CycloneDX 1.6 JSON, the same for the same inventory, and valid by CycloneDX's schema.

    Raises:
        ImageSbomError: the schema refuses it.
    """
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator
    from packageurl import PackageURL

    licenses = LicenseFactory()
    name, _, version = image.partition(":")
    bom = Bom()
    bom.metadata.component = Component(type=ComponentType.CONTAINER, name=name, version=version or None, bom_ref=image)
    interpreter = f"python@{found['version']}"
    bom.components.add(
        Component(type=ComponentType.PLATFORM, name="python", version=found["version"], bom_ref=interpreter)
    )
    for package in found["python"]:
        url = PackageURL("pypi", name=package["name"].lower().replace("_", "-"), version=package["version"])
        stated = package.get("license")
        bom.components.add(
            Component(
                name=package["name"],
                version=package["version"],
                purl=url,
                bom_ref=url.to_string(),
                licenses=[licenses.make_from_string(stated)] if stated else (),
            )
        )
    for package in found["debian"]:
        about = {"arch": package["architecture"], "distro": found["release"]}
        url = PackageURL("deb", "debian", package["name"], package["version"], about)
        bom.components.add(
            Component(name=package["name"], version=package["version"], purl=url, bom_ref=url.to_string())
        )
    bom.register_dependency(bom.metadata.component, bom.components)
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    # By chance and by the clock otherwise; the bill says what is in the image, not when somebody looked.
    document.pop("serialNumber", None)
    document["metadata"].pop("timestamp", None)
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    if wrong := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise ImageSbomError(f"the bill is not valid CycloneDX: {wrong}")
    return text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
