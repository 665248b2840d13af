"""Names of images, passwords, proxies, and the manifests of what was unpacked."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from binfmt_setup.emulators.store import (
    Stored,
    directory_name,
    manifest_text,
    parse_manifest,
    version_of,
)
from binfmt_setup.model.errors import OtherProgramFailed, UsageProblem
from binfmt_setup.sources.image_logins import Login, challenge, find_login, proxy_for
from binfmt_setup.sources.image_names import parse_reference

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "base", "wanted"),
    [
        ("busybox", "https://registry-1.docker.io/v2/library/busybox", "latest"),
        ("tonistiigi/binfmt", "https://registry-1.docker.io/v2/tonistiigi/binfmt", "latest"),
        ("docker.io/a/b:1", "https://registry-1.docker.io/v2/a/b", "1"),
        ("localhost/a", "http://localhost/v2/a", "latest"),
        ("localhost:5000/a/b:c", "http://localhost:5000/v2/a/b", "c"),
        ("127.0.0.1:5000/a@" + DIGEST, "http://127.0.0.1:5000/v2/a", DIGEST),
        ("[::1]:5000/a:b@" + DIGEST, "http://[::1]:5000/v2/a", DIGEST),
        ("https://localhost:5000/a", "https://localhost:5000/v2/a", "latest"),
        ("http://registry.lan/a:x", "http://registry.lan/v2/a", "x"),
        ("quay.io/a/b/c:v1.2_3", "https://quay.io/v2/a/b/c", "v1.2_3"),
        ("localhost.evil.org/a", "https://localhost.evil.org/v2/a", "latest"),
    ],
)
def test_references(text: str, base: str, wanted: str) -> None:
    found = parse_reference(text)
    assert (found.base, found.wanted) == (base, wanted)
    assert found.repository in str(found)


@pytest.mark.parametrize(
    "text",
    ["", "A/B", "a b", "a@", "a@sha256:1", "a:", "a/../b", "a:b:c", "host.x:99999999/a", "-a/b",
     "a?b", "x.y/a@md5:" + "a" * 32, "x.y/a#b", "x.y/a\nb"],
)  # fmt: skip
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(UsageProblem):
        parse_reference(text)


# --- passwords ------------------------------------------------------------------------------------


def auths(**logins: str) -> str:
    entries = {
        key: {"auth": base64.b64encode(value.encode()).decode()} for key, value in logins.items()
    }
    return json.dumps({"auths": entries})


def test_the_first_file_with_a_password_counts(tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text(auths(host="d:1"))
    environment = {"HOME": str(tmp_path)}
    assert find_login("host", environment) == Login("d", "1")
    (tmp_path / "containers").mkdir()
    (tmp_path / "containers/auth.json").write_text(auths(host="p:2", other="x:y"))
    environment["XDG_RUNTIME_DIR"] = str(tmp_path)
    assert find_login("host", environment) == Login("p", "2")
    (tmp_path / "mine").write_text(auths(host="m:3:with colon"))
    environment["REGISTRY_AUTH_FILE"] = str(tmp_path / "mine")
    assert find_login("host", environment) == Login("m", "3:with colon")
    assert find_login("elsewhere", environment) is None
    assert "with colon" not in repr(find_login("host", environment))


def test_docker_hub_under_its_old_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(auths(**{"https://index.docker.io/v1/": "u:p"}))
    assert find_login("docker.io", {"DOCKER_CONFIG": str(tmp_path)}) == Login("u", "p")


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"auths": 3}', '{"auths": {"host": 4}}',
             '{"auths": {"host": {"auth": "%%%"}}}', '{"auths": {"host": {"auth": "eA=="}}}'],
)  # fmt: skip
def test_files_that_make_no_sense_hold_no_password(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    assert find_login("host", {"DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path)}) is None


@pytest.mark.parametrize(
    "data", [{"credHelpers": {"host": "pass"}}, {"credsStore": "x", "auths": {"host": {}}}]
)
def test_a_helper_program_is_not_asked_but_named(tmp_path: Path, data: object) -> None:
    (tmp_path / "config.json").write_text(json.dumps(data))
    with pytest.raises(OtherProgramFailed, match="helper program"):
        find_login("host", {"DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path)})


def test_challenges() -> None:
    asked = challenge('Bearer realm="https://a.b/t?x=1",service="s, with comma",scope="r:p:pull"')
    assert asked.scheme == "bearer"
    assert asked.url("p") == "https://a.b/t?x=1&service=s%2C+with+comma&scope=r%3Ap%3Apull"
    assert challenge('BASIC realm="x"').scheme == "basic"
    assert challenge("").scheme == ""
    assert challenge("Bearer nonsense").scheme == ""
    for header in ("Bearer service=x", 'Bearer realm="file:///etc/passwd"'):
        with pytest.raises(OtherProgramFailed):
            challenge(header).url("p")


# --- proxies --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "environment", "expected"),
    [
        ("https://a.b/v2", {}, None),
        ("https://a.b/v2", {"https_proxy": "http://p:1"}, "http://p:1"),
        ("https://a.b/v2", {"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        (
            "https://a.b/v2",
            {"HTTPS_PROXY": "http://q:1", "https_proxy": "http://p:1"},
            "http://p:1",
        ),
        ("https://a.b/v2", {"http_proxy": "http://p:1"}, None),
        ("http://a.b/v2", {"http_proxy": "p:1"}, "http://p:1"),
        ("https://a.b/v2", {"all_proxy": "https://p"}, "https://p"),
        ("https://a.b/v2", {"https_proxy": "http://p:1", "no_proxy": "x,.b"}, None),
        ("https://a.b/v2", {"https_proxy": "http://p:1", "NO_PROXY": "*"}, None),
        ("https://a.b:5000/v2", {"https_proxy": "http://p:1", "no_proxy": "a.b:5000"}, None),
        ("https://a.b/v2", {"https_proxy": "http://p:1", "no_proxy": "c.d"}, "http://p:1"),
    ],
)
def test_proxies(url: str, environment: dict[str, str], expected: str | None) -> None:
    found = proxy_for(url, environment)
    assert (found.url if found else None) == expected


def test_a_proxys_password_is_no_part_of_its_address() -> None:
    found = proxy_for("https://a.b", {"https_proxy": "http://me:s%40cret@p:1"})
    assert found is not None
    assert (found.url, found.password) == ("http://p:1", "me:s@cret")
    assert "cret" not in repr(found)
    with pytest.raises(OtherProgramFailed):
        proxy_for("https://a.b", {"https_proxy": "socks5://p:1"})


# --- what is written down -------------------------------------------------------------------------

STORED = Stored("/s/1-a", "image:x:1", DIGEST, "1.0", {"qemu-arm": "b" * 64}, ("/s",))


def test_manifests_read_back() -> None:
    assert parse_manifest("/s/1-a", manifest_text(STORED)) == STORED


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("files", {"../../etc/passwd": "b" * 64}), ("files", {"qemu-arm": "x"}), ("files", []),
        ("files", {"qemu-arm/../x": "b" * 64}), ("made", ["/etc"]), ("made", ["/"]),
        ("made", ["/s/1-a/../.."]), ("schema_version", 2), ("digest", None),
    ],
)  # fmt: skip
def test_manifests_that_would_remove_something_else_are_not_believed(
    key: str, value: object
) -> None:
    data = {**json.loads(manifest_text(STORED)), key: value}
    if key == "digest":
        del data[key]
    assert parse_manifest("/s/1-a", json.dumps(data)) is None
    assert parse_manifest("/s/1-a", "[]") is None
    assert parse_manifest("/s/1-a", "{") is None


def test_names_of_directories_and_versions() -> None:
    assert directory_name("10.0.13 (Debian 1:10)", DIGEST) == "10.0.13-aaaaaaaaaaaa"
    assert directory_name("", DIGEST) == "unknown-aaaaaaaaaaaa"
    assert directory_name("../x", DIGEST) == "unknown-aaaaaaaaaaaa"
    assert version_of(["7.2", "10.0.1", "9.9"]) == "10.0.1"
    assert version_of([]) == ""
