"""The scanner of model files: an allow-list by content. It opens what it judges, and runs nothing of it."""

from guideway.sealing.scanner.archive import Limits, Member, check_archive, unpack
from guideway.sealing.scanner.findings import Finding, Scan
from guideway.sealing.scanner.formats import FORMATS
from guideway.sealing.scanner.scan import scan_files, scan_folder
from guideway.sealing.scanner.secrets import Secret, find_secrets

__all__ = [
    "FORMATS",
    "Finding",
    "Limits",
    "Member",
    "Scan",
    "Secret",
    "check_archive",
    "find_secrets",
    "scan_files",
    "scan_folder",
    "unpack",
]
