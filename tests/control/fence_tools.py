"""Real tools that fence: shell scripts of every temper, Debian's IPMI simulator, a small Redfish controller on TLS."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

CANARY = "c4nary-Zq7!vX"


@dataclass
class Tool:
    """A script beside a file `power` that is the machine, and a line in `calls` for each time it ran."""

    path: Path
    machine: Path

    @property
    def calls(self) -> list[str]:
        log = self.machine.parent / "calls"
        return log.read_text().split() if log.exists() else []


def tool(directory: Path, body: str, name: str = "fence-tool") -> Tool:
    """Write a program whose `$action` is what it is asked, `$machine` the machine's state, on at first."""
    machine, path = directory / "power", directory / name
    machine.write_text("on\n")
    head = f"#!/bin/sh\naction=${{HOLDFAST_FENCE_ACTION:-}}\nmachine={machine}\n"
    path.write_text(f'{head}echo "$action" >> {directory}/calls\n{body}\n')
    path.chmod(0o755)
    return Tool(path, machine)


@contextmanager
def ipmi_simulator(directory: Path, port: int) -> Iterator[Path]:
    """Debian's ipmi_sim with one machine on loopback; yields the file that exists while the machine is on."""
    power = directory / "is-on"
    power.touch()
    chassis = directory / "chassis"
    chassis.write_text(
        '#!/bin/sh\nshift\ncase "$1 $2" in\n'
        f'"get power") [ -e {power} ] && echo power:1 || echo power:0;;\n'
        f'"set power") [ "$3" = 0 ] && rm -f {power} || touch {power};;\nesac\nexit 0\n'
    )
    chassis.chmod(0o755)
    (directory / "emu").write_text(
        "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02\nmc_enable 0x20\n"
    )
    ways = "none md2 md5 straight"
    auths = "".join(f"    allowed_auths_{who} {ways}\n" for who in ("callback", "user", "operator", "admin"))
    (directory / "lan.conf").write_text(
        f'name "bmc"\nset_working_mc 0x20\n  startlan 1\n    addr 127.0.0.1 {port}\n    priv_limit admin\n{auths}'
        "    guid a123456789abcdefa123456789abcdef\n  endlan\n"
        f'  chassis_control "{chassis} 0x20"\n  user 2 true "fence" "{CANARY}" operator 10 {ways}\n'
    )
    argv = ["ipmi_sim", "-n", "-c", str(directory / "lan.conf"), "-f", str(directory / "emu"), "-s", str(directory)]
    with (directory / "sim.log").open("wb") as log:
        simulator = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=directory)
    try:
        yield power
    finally:
        simulator.kill()
        simulator.wait()


@dataclass
class Controller:
    """A Redfish controller of one machine."""

    power: str = "On"
    obeys: bool = True
    calls: list[str] = field(default_factory=list)
    command_lines: list[str] = field(default_factory=list)  # of every process on this machine, while it answered
    url: str = ""
    certificate: Path = Path()

    def answer(self, path: str) -> dict[str, object] | None:
        root = "/redfish/v1"
        system = {
            "@odata.id": f"{root}/Systems/1",
            "Id": "1",
            "Name": "machine",
            "PowerState": self.power,
            "Actions": {
                "#ComputerSystem.Reset": {
                    "target": f"{root}/Systems/1/Actions/ComputerSystem.Reset",
                    "ResetType@Redfish.AllowableValues": ["On", "ForceOff"],
                }
            },
        }
        known: dict[str, dict[str, object]] = {
            root: {
                "@odata.id": root,
                "Id": "RootService",
                "Name": "Root",
                "RedfishVersion": "1.6.0",
                "UUID": "92384634-2938-2342-8820-489239905423",
                "Systems": {"@odata.id": f"{root}/Systems"},
                "Links": {"Sessions": {"@odata.id": f"{root}/SessionService/Sessions"}},
            },
            f"{root}/Systems": {
                "@odata.id": f"{root}/Systems",
                "Name": "Systems",
                "Members@odata.count": 1,
                "Members": [{"@odata.id": f"{root}/Systems/1"}],
            },
            f"{root}/Systems/1": system,
        }
        return known.get(path.rstrip("/"))


@contextmanager
def redfish_controller(directory: Path) -> Iterator[Controller]:
    """Serve a controller on loopback with a certificate of its own."""
    controller = Controller(certificate=directory / "bmc.pem")
    expected = "Basic " + base64.b64encode(f"fence:{CANARY}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *words: object) -> None:
            """Nothing: pytest's output is for tests."""

        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            controller.calls.append(f"{self.command} {self.path}")
            controller.command_lines += command_lines()
            if self.path.rstrip("/") != "/redfish/v1" and self.headers.get("authorization") != expected:
                return self._say(401, {"error": {"code": "x", "message": f"not {self.headers.get('authorization')}"}})
            if self.command == "POST":
                assert json.loads(body) == {"ResetType": "ForceOff"}
                controller.power = "Off" if controller.obeys else controller.power
                return self._say(204, None)
            found = controller.answer(self.path)
            return self._say(404, {"error": {"message": "none"}}) if found is None else self._say(200, found)

        def _say(self, status: int, document: dict[str, object] | None) -> None:
            data = b"" if document is None else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a refused handshake is a test, not news
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(controller.certificate))
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    controller.url = f"https://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield controller
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def command_lines() -> list[str]:
    """Of every process on this machine now."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().decode("utf-8", "replace"))
        except OSError:
            continue
    return found


def _certificate(path: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bmc")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
    return path
