"""Certificates: how a node shows that it is the one that was called, and whom those who call believe."""

from __future__ import annotations

import os
import ssl

import msgspec
from msgspec.structs import force_setattr

from mpreg_lab.errors import ClusterSpecError

__all__ = ["Tls", "TlsLike", "client_context", "mistrust", "server_context"]


class Tls(msgspec.Struct, frozen=True):
    """Files with certificates, in PEM.

    Attributes:
        cert: The certificate that this end shows, followed by those that vouch for it. None: it only calls others.
        key: Its private key. None: it is in `cert`.
        ca: The authorities that are believed. None: those of the system.
    """

    cert: str | None = None
    key: str | None = None
    ca: str | None = None

    def __post_init__(self) -> None:
        for field in self.__struct_fields__:
            path = getattr(self, field)
            if path is not None and type(path) is not str:
                force_setattr(self, field, os.fspath(path))


TlsLike = Tls | ssl.SSLContext
"""Files, or a context that was made of them elsewhere."""


def server_context(tls: TlsLike) -> ssl.SSLContext:
    """What a listener encrypts with.

    Raises:
        ClusterSpecError: If there is no certificate, or it cannot be read.
    """
    if isinstance(tls, ssl.SSLContext):
        if tls.protocol == ssl.PROTOCOL_TLS_CLIENT:
            raise ClusterSpecError("this ssl.SSLContext is for clients: a node needs ssl.PROTOCOL_TLS_SERVER")
        return tls
    if tls.cert is None:
        raise ClusterSpecError("a node that others call needs a certificate: Tls(cert='node.pem', key='node.key')")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(tls.cert, tls.key)
    except (OSError, ValueError) as exc:
        raise ClusterSpecError(f"cannot use the certificate {tls.cert!r} with the key {tls.key!r}: {exc}") from exc
    return context


def client_context(tls: TlsLike | None) -> ssl.SSLContext:
    """What a client checks certificates with. A context for servers says nothing of that: the system's authorities.

    Raises:
        ClusterSpecError: If the certificates of the authorities cannot be read.
    """
    if isinstance(tls, ssl.SSLContext) and tls.protocol != ssl.PROTOCOL_TLS_SERVER:
        return tls
    ca = tls.ca if isinstance(tls, Tls) else None
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ValueError) as exc:
        raise ClusterSpecError(f"cannot use the certificates of authorities in {ca!r}: {exc}") from exc


_EXPIRED, _NOT_YET_VALID = 10, 9
_OTHER_HOST = frozenset((62, 64))
"""Numbers that OpenSSL gives to what is wrong with a certificate: X509_V_ERR_... in x509_vfy.h."""


def mistrust(error: ssl.SSLError, host: str) -> str:
    """Why there is no encrypted connection to that host, in words that lead on."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return f"no encrypted connection ({error.reason or error}). If nothing is encrypted there, use ws://"
    code = error.verify_code
    if code in _OTHER_HOST:
        return f"its certificate is for another host than {host!r}. Use a name that the certificate has"
    if code == _EXPIRED:
        return "its certificate has expired. Have a new one made"
    if code == _NOT_YET_VALID:
        return "its certificate is not valid yet. Look at the clocks of both machines"
    return (
        f"its certificate is of no authority that is believed here ({error.verify_message}). "
        "Name the authority: tls=Tls(ca='ca.pem')"
    )
