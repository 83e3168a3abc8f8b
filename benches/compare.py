"""Sets the gateway beside other proxies; scripts/compare says how it is called, docs/performance.md what came of it.

Every figure is a ratio to nginx in the same round, where each proxy is started afresh; of several rounds the median counts.
Processor time is what the kernel has counted for all threads of the proxy, so that it does not depend on what else the load's
core does."""

import argparse
import os
import pathlib
import platform
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
GATEWAY = os.environ["BENTO_GATEWAY_BIN"]
PROXY_CORE, LOAD_CORE = "0", "1"
BODY, ANSWER, LARGE = "7" * 200, "8" * 200, 64 * 1024
# So many that what an allocator keeps of the first of them for the next does not count.
IDLE_CONNECTIONS = 8000
BAD_TOKEN = "bgw_000000000000_" + "0" * 49


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def output(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout


class World:
    """What all proxies have before them and behind them."""

    def __init__(self, directory):
        self.directory = directory
        self.upstream = free_port()
        self.token = None
        (directory / "body").write_text(BODY)
        (directory / "www").mkdir()
        (directory / "www" / "64k").write_bytes(b"9" * LARGE)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
            + ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
            + ["-keyout", directory / "key.pem", "-out", directory / "cert.pem"],
            check=True,
            capture_output=True,
        )
        pem = (directory / "cert.pem").read_text() + (directory / "key.pem").read_text()
        (directory / "both.pem").write_text(pem)
        # Run as root, nginx and HAProxy read these as another user.
        for file in [directory, *directory.rglob("*")]:
            file.chmod(0o755)
        server = f"server {{ listen 127.0.0.1:{self.upstream}; location / {{ default_type application/json; return 200 '{ANSWER}'; }} location /64k {{ root {directory}/www; }} }}"
        self.service = self.spawn(self.nginx("service", server), LOAD_CORE)
        self.prepare_gateway()

    def nginx(self, name, http):
        file = self.directory / f"{name}.conf"
        file.write_text(
            f"daemon off; master_process off; error_log {self.directory}/{name}.log crit; pid {self.directory}/{name}.pid;\n"
            f"events {{ worker_connections 20000; }}\n"
            f"http {{ access_log off; keepalive_requests 1000000000; client_body_temp_path {self.directory}/temp; {http} }}\n"
        )
        return ["nginx", "-c", str(file)]

    def prepare_gateway(self):
        self.gateway_config(free_port(), free_port())
        config = ["--config", str(self.directory / "gateway.toml")]
        user = ["user", "create", "--email", "compare@example.com", "--name", "compare", "--admin"]
        subprocess.run([GATEWAY, *user, *config], stdin=subprocess.DEVNULL, capture_output=True, check=True)
        made = subprocess.run(
            [GATEWAY, "token", "create", "compare", "--scope", "deployment:*", "-o", "json", *config],
            capture_output=True,
            text=True,
            check=True,
        )
        self.token = re.search(r"bgw_\w+", made.stdout).group()

    def gateway_config(self, port, management, tls=False):
        text = f"""
[proxy]
listen = "127.0.0.1:{port}"
workers = 1
default_deployment = "compare"
[management]
listen = "127.0.0.1:{management}"
[telemetry]
listen = ""
[store]
url = "sqlite:{self.directory}/gateway.db"
[tokens]
first_token = false
[log]
format = "json"
[deployments.compare]
upstream = "http://127.0.0.1:{self.upstream}"
"""
        if tls:
            text += f'[proxy.tls]\ncertificate = "{self.directory}/cert.pem"\nkey = "{self.directory}/key.pem"\n'
        (self.directory / "gateway.toml").write_text(text)

    def spawn(self, command, core, stderr=subprocess.DEVNULL):
        return subprocess.Popen(
            ["taskset", "-c", core, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env={**os.environ, "GOMAXPROCS": "1"},
        )


def nginx(world, port, tls, checks):
    """As its manual advises for this: keep-alive towards the service, no access log, buffers for whole answers."""
    listen = f"listen 127.0.0.1:{port}"
    if tls:
        listen += f" ssl http2; ssl_certificate {world.directory}/cert.pem; ssl_certificate_key {world.directory}/key.pem"
    tokens = f'map_hash_bucket_size 256; map $http_authorization $known {{ default 0; "Bearer {world.token}" 1; }}'
    known = tokens if checks else ""
    refuse = "if ($known = 0) { return 401; }" if checks else ""
    return world.nginx(
        f"nginx-{port}",
        f"upstream service {{ server 127.0.0.1:{world.upstream}; keepalive 128; }} {known}"
        f" server {{ {listen}; {refuse} location / {{ proxy_pass http://service; proxy_http_version 1.1;"
        f' proxy_set_header Connection ""; proxy_buffers 8 64k; proxy_buffer_size 64k; proxy_busy_buffers_size 128k; }} }}',
    )


def haproxy(world, port, tls):
    file = world.directory / f"haproxy-{port}.cfg"
    known = world.directory / "tokens.lst"
    known.write_text(f"Bearer {world.token}\n")
    ssl = f" ssl crt {world.directory}/both.pem alpn h2,http/1.1" if tls else ""
    file.write_text(
        f"""
global
  nbthread 1
  maxconn 9000
defaults
  mode http
  option http-no-delay
  http-reuse always
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend f
  bind 127.0.0.1:{port}{ssl}
  http-request deny deny_status 401 unless {{ req.hdr(authorization) -f {known} }}
  default_backend b
backend b
  server s 127.0.0.1:{world.upstream}
"""
    )
    return ["haproxy", "-db", "-q", "-f", str(file)]


def caddy(world, port, tls):
    file = world.directory / f"caddy-{port}"
    site = f"https://127.0.0.1:{port}" if tls else f"http://127.0.0.1:{port}"
    certificate = f"tls {world.directory}/cert.pem {world.directory}/key.pem" if tls else ""
    file.write_text(
        f"""
{{
  admin off
  auto_https off
}}
{site} {{
  {certificate}
  @known header Authorization "Bearer {world.token}"
  handle @known {{
    reverse_proxy 127.0.0.1:{world.upstream}
  }}
  handle {{
    respond 401
  }}
}}
"""
    )
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(file)]


def gateway(world, port, tls):
    world.gateway_config(port, free_port(), tls)
    return [GATEWAY, "serve", "--config", str(world.directory / "gateway.toml")]


SUBJECTS = {
    "nginx": ("nginx, which checks nothing", lambda world, port, tls: nginx(world, port, tls, False)),
    "bento-gateway": ("the gateway, with its access log", gateway),
    "nginx-map": ("nginx with the tokens in its configuration", lambda world, port, tls: nginx(world, port, tls, True)),
    "haproxy": ("HAProxy with the tokens in a file", haproxy),
    "caddy": ("Caddy with the token in its configuration", caddy),
}


class Running:
    def __init__(self, world, name, tls):
        self.world, self.tls = world, tls
        self.port = free_port()
        log = open(world.directory / "access.log", "ab")
        self.process = world.spawn(SUBJECTS[name][1](world, self.port, tls), PROXY_CORE, stderr=log)
        until = time.monotonic() + 10
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                # Proxies that listen before they are ready are asked once more.
                time.sleep(0.2)
                return
            except OSError:
                time.sleep(0.02)
        self.stop()
        lines = [line for file in world.directory.glob("*.log") for line in file.read_text().splitlines()]
        said = [line for line in lines if not line.startswith("{")]
        raise SystemExit(f"compare: {name} does not listen; it says: {' '.join(said[-5:])}")

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def threads(self):
        return pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")

    def processor_seconds(self):
        return sum(int(thread.read_text().split()[0]) for thread in self.threads()) / 1e9

    def resident(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) * 1024

    def load(self, seconds, *arguments, path="/small", token=None, expected="2xx"):
        """Processor seconds, requests and seconds."""
        url = f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}{path}"
        token = token or self.world.token
        command = ["taskset", "-c", LOAD_CORE, "h2load", "-t", "1", "-H", f"Authorization: Bearer {token}", *arguments]
        subprocess.run([*command, "-D", "1", url], capture_output=True, check=True)
        before = self.processor_seconds()
        said = subprocess.run([*command, "-D", str(seconds), url], capture_output=True, text=True, check=True).stdout
        used = self.processor_seconds() - before
        answers = dict((kind, int(count)) for count, kind in re.findall(r"(\d+) (\dxx)", said))
        wrong = {kind: count for kind, count in answers.items() if kind != expected and count}
        if wrong or not answers.get(expected):
            raise SystemExit(f"compare: {expected} was expected, and there were {answers}")
        return used, answers[expected], seconds

    def request(self):
        request = f"GET /small HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {self.world.token}\r\n\r\n"
        connection = socket.create_connection(("127.0.0.1", self.port), 5)
        connection.sendall(request.encode())
        connection.recv(4096)
        return connection


def per_request(measured):
    used, requests, _ = measured
    return {"µs": used / requests * 1e6}


def small(running, seconds):
    used, requests, took = running.load(seconds, "--h1", "-c", "64", "-d", str(running.world.directory / "body"))
    return {"µs": used / requests * 1e6, "requests/s": requests / took}


def refused(running, seconds):
    body = str(running.world.directory / "body")
    return per_request(running.load(seconds, "--h1", "-c", "64", "-d", body, token=BAD_TOKEN, expected="4xx"))


def large(running, seconds):
    return per_request(running.load(seconds, "--h1", "-c", "32", path="/64k"))


def tls1(running, seconds):
    return per_request(running.load(seconds, "--h1", "-c", "64", "-d", str(running.world.directory / "body")))


def tls2(running, seconds):
    return per_request(running.load(seconds, "-c", "8", "-m", "8", "-d", str(running.world.directory / "body")))


def idle(running, _seconds):
    warm = [running.request() for _ in range(100)]
    before = running.resident()
    connections = [running.request() for _ in range(IDLE_CONNECTIONS)]
    time.sleep(2)
    used = (running.resident() - before) / IDLE_CONNECTIONS
    for connection in warm + connections:
        connection.close()
    return {"KiB": used / 1024}


# Name, what is done, whether TLS, measure. `refused`: for those that check tokens.
WORKLOADS = [
    ("small", "POST of 200 B, answer of 200 B, 64 connections: processor time a request", False, small),
    ("refused", "the same with a wrong token: processor time a refusal", False, refused),
    ("64k", "answers of 64 KiB, 32 connections: processor time a request", False, large),
    ("tls", "`small` over TLS, HTTP/1.1", True, tls1),
    ("h2", "`small` over TLS, HTTP/2, 8 connections of 8 streams", True, tls2),
    ("idle", f"memory of a connection between requests ({IDLE_CONNECTIONS} of them)", False, idle),
]


def measure(world, names, rounds, seconds):
    """By workload and subject: a list of a measurement for each round."""
    results = {}
    for number in range(rounds):
        for workload, _, tls, work in WORKLOADS:
            order = names[number % len(names) :] + names[: number % len(names)]
            for name in order:
                if workload == "refused" and name == "nginx":
                    continue
                running = Running(world, name, tls)
                try:
                    results.setdefault((workload, name), []).append(work(running, seconds))
                finally:
                    running.stop()
                print(f"round {number + 1}: {workload} {name} {results[workload, name][-1]}", file=sys.stderr, flush=True)
    return results


def table(results, names):
    """Rows of text: workload and unit, then each subject with its ratio to the first that has the workload."""
    rows = []
    for workload, _, _, _ in WORKLOADS:
        present = [name for name in names if (workload, name) in results]
        first = "nginx" if "nginx" in present else "nginx-map"
        if first not in present:
            first = present[0]
        for unit in results[workload, present[0]][0]:
            row = [f"{workload}, {unit}"]
            for name in names:
                if name not in present:
                    row.append("")
                    continue
                own = [each[unit] for each in results[workload, name]]
                base = [each[unit] for each in results[workload, first]]
                ratio = statistics.median(mine / other for mine, other in zip(own, base))
                figure = statistics.median(own)
                text = f"{figure:,.0f}" if figure >= 1000 else f"{figure:.1f}"
                row.append(text if name == first else f"{text} ({ratio:.2f})")
            rows.append(row)
    return rows


def losses(results):
    """Where another proxy that checks tokens costs less than the gateway."""
    for workload, what, _, _ in WORKLOADS:
        for name in ["nginx", "nginx-map", "haproxy", "caddy"]:
            if (workload, name) not in results or (workload, "bento-gateway") not in results:
                continue
            unit = next(iter(results[workload, name][0]))
            pairs = zip(results[workload, "bento-gateway"], results[workload, name])
            ratio = statistics.median(mine[unit] / other[unit] for mine, other in pairs)
            if ratio > 1.05:
                yield f"- `{workload}` ({what}): {ratio:.2f} times {SUBJECTS[name][0]}."


def machine():
    info = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*:\s*(.*)", info)
    return f"{os.cpu_count()} × {model.group(1) if model else platform.machine()}, Linux {platform.release().split('-')[0]}"


def versions():
    said = "\n".join(output(*command) for command in (["nginx", "-v"], ["haproxy", "-v"], ["caddy", "version"], ["h2load", "--version"]))
    numbers = [r"nginx/([\d.]+)", r"HAProxy version ([\d.]+)", r"^v?(\d+\.\d+\.\d+)", r"h2load nghttp2/([\d.]+)"]
    found = (re.search(number, said, re.M) for number in numbers)
    nginx_, haproxy_, caddy_, h2load_ = (match.group(1) if match else "?" for match in found)
    own = output(GATEWAY, "--version").split()[1]
    return f"bento-gateway {own}, nginx {nginx_}, HAProxy {haproxy_}, Caddy {caddy_}, h2load {h2load_}"


def document(results, names, rounds, seconds):
    rows = table(results, names)
    lines = [
        "# Performance",
        "",
        "`scripts/compare --write` has written this page; run it on your own machine. It sets the gateway, which checks a token",
        "of a store against each request and writes an access log, beside proxies that check a token of their configuration, or",
        "none, and write no log.",
        "",
        f"- Machine: {machine()}. One core for the proxy, with one worker; the other for h2load and the service, an nginx.",
        f"- {versions()}.",
        f"- {rounds} rounds of {seconds} s. In each round every proxy is started afresh and does all workloads. The figures are",
        "  medians; in brackets is the ratio to nginx in the same round (`refused`: to nginx with a list of tokens), of which the",
        "  median counts, too.",
        "- Processor time is what the kernel counts for all threads of the proxy, the log's included.",
        "",
        "| | " + " | ".join(names) + " |",
        "| --- " * (len(names) + 1) + "|",
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
        *(f"- `{name}`: {SUBJECTS[name][0]}." for name in names),
        *(f"- `{workload}`: {what}." for workload, what, _, _ in WORKLOADS),
        "",
        "## Where others cost less",
        "",
        *(list(losses(results)) or ["Nowhere in these workloads."]),
    ]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(prog="compare", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--only", default=",".join(SUBJECTS), help="subjects, with commas between them")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    for name in names:
        if name not in SUBJECTS:
            parser.error(f"{name} is not one of {', '.join(SUBJECTS)}")
    if os.cpu_count() < 2:
        parser.error("two cores are needed: one for the proxy, one for the load")
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="bento-gateway-compare."))
    world = None
    try:
        world = World(directory)
        results = measure(world, names, arguments.rounds, arguments.seconds)
    finally:
        if world:
            world.service.kill()
            world.service.wait()
        shutil.rmtree(directory, ignore_errors=True)
    for row in [["", *names], *table(results, names)]:
        print("".join(f"{cell:>20}" for cell in row))
    if arguments.write:
        (ROOT / "docs" / "performance.md").write_text(document(results, names, arguments.rounds, arguments.seconds))


main()
