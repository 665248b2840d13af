"""What options with a fixed choice of values can be."""

from __future__ import annotations

from enum import Enum


class Format(str, Enum):
    """What every command can print."""

    text = "text"
    json = "json"


class StatusFormat(str, Enum):
    """What `status` can print."""

    text = "text"
    json = "json"
    prometheus = "prometheus"


class CheckFormat(str, Enum):
    """What `check` can print."""

    text = "text"
    json = "json"
    nagios = "nagios"
    journal = "journal"
    github = "github"
    junit = "junit"
