"""The exports of a run: which files they are, a channel each, and their way into the bucket."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from topic_model.exports.layouts import is_export_name
from topic_model_cli.errors import InputPathError

if TYPE_CHECKING:
    from local_aws.config import LocalConfig

DEFAULT_CHANNEL = "default"
GROUND_TRUTH_FILE = "ground_truth.jsonl"
_CHANNEL_NAME = re.compile(r"\w[\w .@+=-]{0,62}")  # what ValidateRequest takes


@dataclass(frozen=True)
class Exports:
    """The files of each channel; a file's key is its path below the channel."""

    channels: Mapping[str, Mapping[str, Path]]

    @property
    def files(self) -> list[Path]:
        """All files, channels in order."""
        return [path for files in self.channels.values() for path in files.values()]


def find_exports(path: Path) -> Exports:
    """The exports that ``--input`` names: a file, a folder of files, or a folder with a subfolder a channel.

    A file, and files beside the subfolders, are of channel ``default``. Hidden files are left out, and so is the
    ground truth, which is never an input.

    Raises:
        InputPathError: nothing is there, or a channel's name cannot be part of a job's name.
    """
    if not path.exists():
        raise InputPathError(f"there is no {path}; expected a file of exports, or a folder of them")
    if path.is_file():
        return Exports({DEFAULT_CHANNEL: {path.name: path}})
    if (path / "exports").is_dir() and (path / GROUND_TRUTH_FILE).is_file():  # the sample's own folder
        path = path / "exports"
    channels: dict[str, dict[str, Path]] = {}
    for file in sorted(_export_files(path)):
        parts = file.relative_to(path).parts
        channel, key = (DEFAULT_CHANNEL, parts[0]) if len(parts) == 1 else (parts[0], "/".join(parts[1:]))
        channels.setdefault(channel, {})[key] = file
    if not channels:
        raise InputPathError(
            f"{path} holds no files; expected exports (CSV, JSON Lines or Parquet), or a subfolder of them a channel"
        )
    for channel in channels:
        if not _CHANNEL_NAME.fullmatch(channel):
            raise InputPathError(
                f"the folder {channel!r} cannot be a channel; rename it to letters, digits and ' . _ @ + = -', at most "
                "63, a letter or digit first"
            )
    return Exports(channels)


def upload_exports(config: LocalConfig, bucket: str, prefix: str, exports: Exports) -> str:
    """Put every file under ``<prefix>/<channel>/``, compressed ones as they are; the folder's URI."""
    s3 = config.client("s3")
    for channel, files in exports.channels.items():
        for key, file in files.items():
            s3.upload_file(str(file), bucket, f"{prefix}/{channel}/{key}")
    return f"s3://{bucket}/{prefix}/"


def find_ground_truth(path: Path) -> Path | None:
    """The ground truth that lies in the input's folder or beside it, as the sample's does."""
    folder = path if path.is_dir() else path.parent
    candidates = [folder / GROUND_TRUTH_FILE, folder.parent / GROUND_TRUTH_FILE]
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _export_files(folder: Path) -> Iterator[Path]:
    for file in folder.rglob("*"):
        shown = all(is_export_name(part) for part in file.relative_to(folder).parts)
        if file.is_file() and shown and file.name != GROUND_TRUTH_FILE:
            yield file
