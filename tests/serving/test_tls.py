"""`millrace serve` under TLS: REST and gRPC with the real clients, and what is wrong with certificates."""

import datetime
import ipaddress
import ssl

import harness
import numpy as np
import pytest
import requests
import tritonclient.grpc as triton
import tritonclient.http as triton_http
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from . import support
from .isvc import v2_request

pytestmark = pytest.mark.binary


def write_pair(folder, name):
    """A certificate for 127.0.0.1 that is its own authority, and its key: two files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), False)
        .add_extension(x509.BasicConstraints(True, None), True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / f"{name}.crt", folder / f"{name}.key"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file


def test_rest_and_grpc_under_tls(tmp_path):
    cert, key = write_pair(tmp_path, "server")
    port, grpc_port, metrics = harness.free_port(), harness.free_port(), harness.free_port()
    args = ["serve", "--model", support.churn_model(), "--name", "churn", "--port", port, "--grpc-port", grpc_port,
            "--metrics-port", metrics, "--tls-cert", cert, "--tls-key", key]  # fmt: skip
    with harness.launch(args, f"http://127.0.0.1:{metrics}/readyz"):
        url = f"https://127.0.0.1:{port}/v2/models/churn/infer"
        answer = requests.post(url, json=v2_request(), verify=str(cert), timeout=20)
        assert (answer.status_code, answer.json()["outputs"][0]["data"]) == (200, [1])
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(url, timeout=20)
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.get(url.replace("https", "http"), timeout=20)
        context = ssl.create_default_context(cafile=str(cert))
        with triton_http.InferenceServerClient(
            f"127.0.0.1:{port}", ssl=True, ssl_context_factory=lambda: context
        ) as client:
            assert client.is_model_ready("churn")
        inputs = []
        for name, value in support.CHURN.items():
            inputs.append(triton.InferInput(name, [5000, 1], "FP64"))
            inputs[-1].set_data_from_numpy(np.full([5000, 1], value, dtype=np.float64))
        with triton.InferenceServerClient(f"127.0.0.1:{grpc_port}", ssl=True, root_certificates=str(cert)) as client:
            assert client.is_server_ready()
            for _ in range(3):  # more than one record, both ways
                got = client.infer("churn", inputs).as_numpy("output-1")
                assert got.shape[0] == 5000 and (got == 1).all()
        with triton.InferenceServerClient(f"127.0.0.1:{grpc_port}") as client, pytest.raises(Exception):  # noqa: B017
            client.is_server_live(client_timeout=20)


def test_certificates_that_cannot_be_used(tmp_path):
    cert, key = write_pair(tmp_path, "one")
    _, other = write_pair(tmp_path, "two")
    model = ("--model", support.churn_model(), "--name", "churn")

    def refused(*args):
        ended = support.run_to_end("serve", *model, *args)
        assert ended.code not in (0, None), ended
        return ended.text

    assert "--tls-key" in refused("--tls-cert", cert)
    assert "does not belong" in refused("--tls-cert", cert, "--tls-key", other)
    assert "cannot be read" in refused("--tls-cert", tmp_path / "none", "--tls-key", key)
    assert "not PEM" in refused("--tls-cert", key, "--tls-key", key)
