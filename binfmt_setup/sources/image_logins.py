"""Proxies, passwords and certificates for registries, from the usual places.

Passwords: $REGISTRY_AUTH_FILE, podman's auth.json, docker's config.json. Proxies: https_proxy,
http_proxy, all_proxy and no_proxy. Certificates: the system's (OpenSSL also hears of
SSL_CERT_FILE), and docker's /etc/docker/certs.d/REGISTRY/ca.crt.
"""

from __future__ import annotations

import base64
import json
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlencode, urlsplit
from urllib.request import (  # type: ignore[attr-defined]  # the last is not in typeshed
    parse_http_list,
    parse_keqv_list,
    proxy_bypass_environment,
)

from binfmt_setup.model.errors import OtherProgramFailed
from binfmt_setup.sources.image_names import DOCKER_HUB
from binfmt_setup.system.tree import Tree

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


LOOPBACK = re.compile(r"https?://(localhost|127(\.\d+){3}|\[::1\])(:\d+)?(/|$)")
_DOCKER_HUB_KEY = "https://index.docker.io/v1/"
_LOGINS_MOST = 1024 * 1024  # bytes of a file of passwords
_CERTIFICATES = "/etc/docker/certs.d/{}/ca.crt"


@dataclass(frozen=True)
class Login:
    """A user's name and password."""

    user: str
    password: str = field(repr=False)

    @property
    def basic(self) -> str:
        """The value of an Authorization header (RFC 7617)."""
        words = f"{self.user}:{self.password}".encode()
        return f"Basic {base64.b64encode(words).decode()}"


@dataclass(frozen=True)
class Proxy:
    """A proxy's address, and `user:password` where it wants one."""

    url: str
    password: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of a Proxy-Authorization header."""
        user, _, password = self.password.partition(":")
        return Login(user, password).basic


@dataclass(frozen=True)
class Challenge:
    """What a registry asks for in WWW-Authenticate (RFC 9110): scheme and parameters."""

    scheme: str
    parameters: Mapping[str, str]

    def url(self, repository: str) -> str:
        """Where a token is to be had; raises OtherProgramFailed when that is not said."""
        realm = self.parameters.get("realm", "")
        if not realm.startswith(("https://", "http://")):
            raise OtherProgramFailed(
                f"the registry names no place to log in: {realm[:200]!r}",
                hint="fetch the image elsewhere and use --qemu FILE",
                code="registry-failed",
            )
        scope = self.parameters.get("scope", f"repository:{repository}:pull")
        query = {"service": self.parameters.get("service", ""), "scope": scope}
        mark = "&" if "?" in realm else "?"
        return realm + mark + urlencode({k: v for k, v in query.items() if v})


def challenge(header: str) -> Challenge:
    """Read a WWW-Authenticate header; an empty scheme when it makes no sense."""
    scheme, _, rest = header.strip().partition(" ")
    try:
        words = parse_keqv_list(parse_http_list(rest))
    except ValueError:
        return Challenge("", {})
    return Challenge(scheme.lower(), words)


def proxy_for(url: str, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy that the environment names for an address; None: go straight."""
    parts = urlsplit(url)
    lower = {key.lower(): value for key, value in sorted(environment.items())}
    lower |= {key: value for key, value in environment.items() if key.islower()}
    proxy = lower.get(f"{parts.scheme}_proxy") or lower.get("all_proxy")
    unwanted = {"no": lower.get("no_proxy", "")}
    if not proxy or proxy_bypass_environment(parts.netloc, unwanted):
        return None
    found = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if found.scheme not in ("http", "https") or not found.hostname:
        raise OtherProgramFailed(
            f"cannot use the proxy {found.scheme}://{found.hostname or ''}",
            hint="http:// and https:// proxies are understood; see https_proxy and all_proxy",
            code="proxy-unusable",
        )
    password = (
        f"{unquote(found.username)}:{unquote(found.password or '')}" if found.username else ""
    )
    return Proxy(f"{found.scheme}://{found.netloc.rpartition('@')[2]}", password)


def tls_context(registry: str) -> ssl.SSLContext:
    """TLS as the system trusts it, and with the certificate that docker uses for a registry."""
    context = ssl.create_default_context()
    own = Path(_CERTIFICATES.format(registry))
    if "/" not in registry and own.is_file():
        try:
            context.load_verify_locations(own)
        except OSError as error:  # an ssl.SSLError, for what is no certificate, is one
            raise OtherProgramFailed(
                f"cannot use the certificate {own}: {error.strerror or error}",
                hint="mend or remove the file: docker reads it, too",
                code="registry-failed",
            ) from error
    return context


def find_login(registry: str, environment: Mapping[str, str]) -> Login | None:
    """The password for a registry; None when no file has one.

    Raises OtherProgramFailed where only a helper program could tell it: those need the
    user's session, which a program running as root does not enter.
    """
    for path in login_files(environment):
        try:
            # A regular file, and not more of it than such a file has: a fifo would never end.
            data = json.loads(Tree().head(str(path), _LOGINS_MOST))
        except (OSError, ValueError, RecursionError):
            continue
        if not isinstance(data, dict):
            continue
        login = _login_in(data.get("auths"), registry)
        if login is not None:
            return login
        helpers = data.get("credHelpers")
        named = isinstance(helpers, dict) and registry in helpers
        listed = isinstance(data.get("auths"), dict) and bool(_keys(registry) & set(data["auths"]))
        if named or (listed and data.get("credsStore")):
            raise OtherProgramFailed(
                f"{path} leaves the password for {registry} to a helper program",
                hint=f"write it to a file: podman login --authfile FILE {registry}, "
                "and set REGISTRY_AUTH_FILE=FILE",
                code="registry-denied",
            )
    return None


def login_files(environment: Mapping[str, str]) -> Iterator[Path]:
    """The files that may hold passwords, in podman's order."""
    if environment.get("REGISTRY_AUTH_FILE"):
        yield Path(environment["REGISTRY_AUTH_FILE"])
    if environment.get("XDG_RUNTIME_DIR"):
        yield Path(environment["XDG_RUNTIME_DIR"]) / "containers/auth.json"
    home = Path(environment.get("HOME") or "/root")
    yield home / ".config/containers/auth.json"
    yield Path(environment.get("DOCKER_CONFIG") or home / ".docker") / "config.json"


def _keys(registry: str) -> set[str]:
    """How a registry may be called in such a file."""
    hub = {_DOCKER_HUB_KEY, "index.docker.io"} if registry == DOCKER_HUB else set()
    return {registry, f"https://{registry}", f"https://{registry}/v1/", *hub}


def _login_in(auths: object, registry: str) -> Login | None:
    if not isinstance(auths, dict):
        return None
    for key in sorted(_keys(registry) & set(auths)):
        entry = auths[key]
        secret = entry.get("auth") if isinstance(entry, dict) else None
        try:
            words = base64.b64decode(str(secret or ""), validate=True).decode()
        except ValueError:
            continue
        user, colon, password = words.partition(":")
        if colon:
            return Login(user, password)
    return None
