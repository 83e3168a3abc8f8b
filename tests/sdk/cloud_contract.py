"""What the unmodified `bentoml` CLI and SDK must be able to do with a gateway's management listener.

The CLI runs on a pseudo-terminal, as a person would run it: this process has imported it once and forks for each
command. Prints `ok NAME` for each promise that holds and ends with 1 at the first one that does not.
"""

import argparse
import datetime
import fcntl
import functools
import html.parser
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
import traceback

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")

import bentoml  # noqa: E402
import httpx  # noqa: E402
import pexpect.fdpexpect  # noqa: E402
import yaml  # noqa: E402
from bentoml.exceptions import BentoMLException  # noqa: E402
from bentoml_cli.cli import cli  # noqa: E402

PARSER = argparse.ArgumentParser()
PARSER.add_argument("--endpoint", required=True, help="the management listener")
PARSER.add_argument("--proxy", required=True, help="where services are called")
PARSER.add_argument("--admin-token", required=True)
PARSER.add_argument("--endpoint-only-token", required=True)
PARSER.add_argument("--expired-token", required=True)
PARSER.add_argument("--revoked-token", required=True)
PARSER.add_argument("--email", required=True)
PARSER.add_argument("--password", required=True)
PARSER.add_argument("--deployment", required=True, help="a stored Deployment whose Bento is ready")
PARSER.add_argument("--down", required=True, help="a stored Deployment whose Bento is not there")
PARSER.add_argument("--code-lifetime", type=float, required=True, help="seconds")
ARGUMENTS = PARSER.parse_args()
ENDPOINT = ARGUMENTS.endpoint

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\r")
TOKEN = re.compile(r"bgw_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}")
UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Broken(Exception):
    pass


def check(condition, *what):
    if not condition:
        raise Broken(*what)


class Cli:
    """One command on a terminal of 200 columns."""

    def __init__(self, *arguments, environment=None):
        sys.stdout.flush()
        self.arguments = arguments
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
            os.environ.update(environment or {})
            time.tzset()
            sys.argv = ["bentoml", *arguments]
            status = 1
            try:
                cli(prog_name="bentoml")
                status = 0
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else 1
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        self.terminal = pexpect.fdpexpect.fdspawn(self.fd, timeout=60, encoding="utf-8")
        self.text = ""

    def expect(self, pattern):
        try:
            self.terminal.expect(pattern)
        except (pexpect.EOF, OSError):
            raise Broken(pattern, self.text, self.terminal.before) from None
        self.text += self.terminal.before + self.terminal.after

    def send(self, text, without):
        """Types as soon as the terminal is `without` that flag: what comes earlier is thrown away."""
        deadline = time.monotonic() + 30
        while termios.tcgetattr(self.fd)[3] & without:
            check(time.monotonic() < deadline, "the command never asked", self.text)
            time.sleep(0.02)
        os.write(self.fd, text.encode())

    def end(self):
        """The exit status and everything that was printed."""
        try:
            self.terminal.expect(pexpect.EOF)
        except OSError:
            pass  # How Linux says that nobody is left on the other side.
        self.text += self.terminal.before or ""
        _, status = os.waitpid(self.pid, 0)
        self.terminal.close()
        text = ANSI.sub("", self.text)
        check("Traceback" not in text, self.arguments, text)
        return os.waitstatus_to_exitcode(status), text


def run(*arguments, environment=None):
    return Cli(*arguments, environment=environment).end()


def good(*arguments, environment=None):
    status, text = run(*arguments, environment=environment)
    check(status == 0, arguments, status, text)
    return text


def refused(*arguments, environment=None):
    status, text = run(*arguments, environment=environment)
    check(status == 1, arguments, status, text)
    return text


def document(text):
    """The JSON that follows whatever was printed before it."""
    return json.loads(text[re.search(r"^[\[{]", text, re.M).start():])


def call(method, path, token=None, **more):
    headers = {"X-YATAI-API-TOKEN": token} if token else {}
    return httpx.request(method, ENDPOINT + path, headers=headers, timeout=30, **more)


class Form(html.parser.HTMLParser):
    """The page's form, as a browser would send it."""

    def __init__(self, page):
        super().__init__()
        self.action, self.fields = None, {}
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "form":
            self.action = attributes["action"]
        elif tag == "input" and attributes.get("type") != "checkbox":
            self.fields[attributes["name"]] = attributes.get("value", "")


class Person:
    """Somebody at the console's pages, as a browser without scripts would send their forms."""

    def __init__(self):
        self.browser = httpx.Client(base_url=ENDPOINT, timeout=30, headers={"Origin": ENDPOINT}, follow_redirects=True)

    def sign_in(self, password):
        form = forms(self.browser.get("/sign-in").text)[0]
        fields = {**form.fields, "email": ARGUMENTS.email, "password": password}
        return self.browser.post(form.action, data=fields)

    def look(self, code):
        page = self.browser.get("/api_tokens", params={"code": code})
        check(page.status_code == 200, page.text)
        check(code in page.text, "the page shows the code")
        check("Developer Operations Access" in page.text, "the page says what is granted")
        check("default-src 'none'" in page.headers["content-security-policy"])
        return page

    def decide(self, code, decision):
        page = self.look(code)
        form = next(form for form in forms(page.text) if form.fields.get("code") == code)
        return self.browser.post(form.action, data={**form.fields, "decision": decision})


def forms(page):
    """Each form of a page by itself."""
    return [Form("<form" + part) for part in page.split("<form")[1:]]


@functools.cache
def ada():
    person = Person()
    wrong = person.sign_in("not the password")
    check(wrong.status_code == 401 and "Incorrect email or password" in wrong.text, wrong.text)
    check(person.sign_in(ARGUMENTS.password).status_code == 200)
    return person


def browser_login(endpoint=ENDPOINT):
    """Chooses the browser, declines to have it opened, and takes the code from the printed link."""
    login = Cli("cloud", "login", "--endpoint", endpoint + "/")
    login.expect("Paste an existing API token")
    login.send("\r", without=termios.ICANON)
    login.expect(r"code=([0-9a-z_]+)")
    code = login.terminal.match.group(1)
    login.expect(r"\[y/n\]")
    login.send("n\n", without=0)
    login.expect("Waiting for authentication")
    return login, code


# --- Logging in -----------------------------------------------------------------------------------------------------


def login_with_a_token():
    text = good("cloud", "login", "--endpoint", ENDPOINT, "--api-token", ARGUMENTS.admin_token)
    check("Logged in as" in text and "organization" in text, text)


def login_with_a_bad_token():
    unknown = "bgw_0123456789ab_" + "0" * 49
    bad = [unknown, "nonsense", ARGUMENTS.endpoint_only_token, ARGUMENTS.expired_token, ARGUMENTS.revoked_token]
    for token in bad:
        text = refused("cloud", "login", "--endpoint", ENDPOINT, "--api-token", token)
        check("HTTP 401: Bad credentials" in text, token[:8], text)
    page = httpx.get(ENDPOINT + "/api-token", follow_redirects=True)
    check(page.status_code == 200, "the address that the message names")


def paste(*arguments, environment=None):
    """Logs in by pasting a token; what the terminal shows of that."""
    login = Cli("cloud", "login", *arguments, environment=environment)
    login.expect("Paste an existing API token")
    login.send("\x1b[B", without=termios.ICANON)
    login.expect("Paste an existing API token")
    login.send("\r", without=termios.ICANON)
    login.expect("Paste your API token")
    login.send(ARGUMENTS.admin_token + "\n", without=termios.ECHO)
    status, text = login.end()
    check(status == 0 and "Logged in as" in text, text)
    return text


def login_by_pasting():
    text = paste("--endpoint", ENDPOINT)
    check(ARGUMENTS.admin_token not in text, "the token is not echoed")


def login_by_browser():
    login, code = browser_login()
    check(call("GET", f"/api/v1/auth/token?code={code}").status_code == 404, "nobody has decided")
    asked = httpx.get(ENDPOINT + "/api_tokens", params={"code": code}, follow_redirects=True)
    check("Sign in" in asked.text and "Approve" not in asked.text, "nobody decides without signing in")
    ada().look(code)
    check(call("GET", f"/api/v1/auth/token?code={code}").status_code == 404, "looking decides nothing")
    forged = ada().browser.post("/api_tokens/approve", data={"code": code, "decision": "approve"})
    check(forged.status_code == 403, forged.status_code)
    check(call("GET", f"/api/v1/auth/token?code={code}").status_code == 404, "nobody has decided")
    approved = ada().decide(code, "approve")
    check(approved.status_code == 200 and "Login approved" in approved.text, approved.text)
    status, text = login.end()
    check(status == 0 and f"Logged in as {ARGUMENTS.email}" in text, text)
    check(call("GET", f"/api/v1/auth/token?code={code}").json() == {"token": ""}, "it is paid out once")
    again = ada().browser.get("/api_tokens", params={"code": code})
    check(again.status_code == 409, again.status_code)
    scopes = [token.scopes for token in bentoml.api_token.list(search="bentoml cloud login")]
    check(["api"] in [list(some) for some in scopes], scopes)


def login_that_is_refused():
    login, code = browser_login()
    check(ada().decide(code, "refuse").status_code == 200)
    status, text = login.end()
    check(status == 1 and "Bad credentials" in text, text)


def login_that_runs_out():
    login, code = browser_login()
    page = ada().look(code)
    begun = time.monotonic()
    status, text = login.end()
    check(status == 1 and "Bad credentials" in text, text)
    check(time.monotonic() - begun < ARGUMENTS.code_lifetime + 10)
    form = next(form for form in forms(page.text) if form.fields.get("code") == code)
    late = ada().browser.post(form.action, data={**form.fields, "decision": "approve"})
    check(late.status_code == 409, late.status_code)
    check(call("GET", "/api/v1/auth/token?code=" + "0" * 40).json() == {"token": ""}, "it never existed")


def login_at_the_address_of_the_services():
    for endpoint, begun_with, said in [
        (ARGUMENTS.proxy, "login_elsewhere", "Bad credentials"),
        (ARGUMENTS.proxy + "/v1", "login_elsewhere", "Bad credentials"),
        (ENDPOINT + "/api_tokens", "not_found", "The current user is not found"),
    ]:
        login, code = browser_login(endpoint)
        check(code == begun_with, endpoint, code)
        status, text = login.end()
        check(status == 1 and said in text, endpoint, text)
    page = httpx.get(ARGUMENTS.proxy + "/api_tokens", params={"code": "login_elsewhere"})
    check(page.status_code == 401 and f"bentoml cloud login --endpoint {ENDPOINT}<" in page.text, page.text)
    text = refused("cloud", "login", "--endpoint", ARGUMENTS.proxy, "--api-token", ARGUMENTS.admin_token)
    check("HTTP 401: Bad credentials" in text, text)


def login_that_is_one_too_many():
    # From an address of its own: nobody can begin a login there afterwards.
    address = f"127.0.0.{2 + os.getpid() % 250}"
    elsewhere = httpx.Client(transport=httpx.HTTPTransport(local_address=address))

    def get(url, **more):
        while (response := elsewhere.get(url, **more)).is_success and url.endswith("/auth/code"):
            pass
        return response

    original, httpx.get = httpx.get, get
    try:
        login, code = browser_login()
    finally:
        httpx.get = original
    check(code == "too_many_requests", code)
    status, text = login.end()
    check(status == 1 and "Bad credentials" in text, text)


# --- Contexts -------------------------------------------------------------------------------------------------------


def contexts():
    login_with_a_token()
    current = document(good("cloud", "current-context"))
    check(current["endpoint"] == ENDPOINT and current["api_token"] == ARGUMENTS.admin_token, current)
    good("cloud", "login", "--endpoint", ENDPOINT, "--api-token", ARGUMENTS.admin_token, "--context", "other")
    names = document(good("cloud", "list-context"))
    check(names == ["default", "other"], names)
    check("other" in good("cloud", "update-current-context", "other"))
    check(document(good("cloud", "current-context"))["name"] == "other")
    check("default" in good("cloud", "update-current-context", "default"))


def environment_variables():
    def executable(token):
        environment = {**os.environ, "BENTO_CLOUD_API_KEY": token, "BENTO_CLOUD_API_ENDPOINT": ENDPOINT, "COLUMNS": "200"}
        command = [sys.executable, "-B", "-m", "bentoml", "api-token", "list"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    status, text = executable(ARGUMENTS.admin_token)
    check(status == 0 and "Name" in text, text)
    status, text = executable("bgw_wrong")
    check(status == 1 and "401" in text and "malformed" in text and "Traceback" not in text, text)


# --- API tokens -----------------------------------------------------------------------------------------------------


def create(*arguments, environment=None):
    text = good("api-token", "create", *arguments, environment=environment)
    return TOKEN.search(text).group(), UID.search(text).group(), text


def as_the_documentation_of_bentocloud_writes_it():
    """With the endpoint in the environment, and no word of it in the command."""
    environment = {"BENTO_CLOUD_API_ENDPOINT": ENDPOINT}
    text = good("cloud", "login", "--api-token", ARGUMENTS.admin_token, environment=environment)
    check("Logged in as" in text, text)
    paste(environment=environment)
    # What the warning in the documents is about.
    check(bentoml._internal.cloud.config.DEFAULT_ENDPOINT == "https://cloud.bentoml.com", "where it goes otherwise")


def api_tokens():
    token, uid, text = create("contract-ci", "-d", "from the contract", "-s", "api", "-s", "deployment:*")
    check("created successfully" in text, text)
    check("contract-ci" in good("api-token", "list"))
    found = document(good("api-token", "list", "--search", "the contract", "-o", "json"))
    check([item["name"] for item in found] == ["contract-ci"], found)
    check(found[0]["scopes"] == ["api", "deployment:*"], found)
    check(yaml.safe_load(good("api-token", "list", "--search", "contract-ci", "-o", "yaml"))[0]["uid"] == uid)
    check(document(good("api-token", "get", uid, "-o", "json"))["uid"] == uid)
    check("contract-ci" in good("api-token", "get", uid))
    check(yaml.safe_load(good("api-token", "get", uid, "-o", "yaml"))["description"] == "from the contract")
    check(call("GET", "/api/v1/auth/current", token).status_code == 200, "it works at once")
    text = refused("api-token", "create", "contract-ci")
    check("409" in text and "already exists" in text, text)
    for name in ["contract-ci", uid[24:], token[4:16]]:
        check(document(good("api-token", "get", name, "-o", "json"))["uid"] == uid, name)
    check("deleted" in good("api-token", "delete", "contract-ci").lower())
    check(call("GET", "/api/v1/auth/current", token).status_code == 401, "it is over at once")
    check("contract-ci" not in good("api-token", "list"))
    check("not found" in refused("api-token", "delete", uid).lower())
    check("not found" in run("api-token", "get", uid)[1].lower())


def expiries():
    now = datetime.datetime.now(datetime.timezone.utc)
    soon = (now + datetime.timedelta(days=10)).strftime("%Y-%m-%d")
    for number, (text, days) in enumerate([("30d", 30), ("1w", 7), ("24h", 1), (soon, 9.5)]):
        name = f"contract-expiry-{number}"
        _, uid, _ = create(name, "--expires", text, environment={"TZ": "UTC"})
        at = datetime.datetime.fromisoformat(call("GET", f"/api/v1/api_tokens/{uid}", ARGUMENTS.admin_token).json()["expired_at"].replace("Z", "+00:00"))
        check(abs((at - now).total_seconds() / 86400 - days) < 1, text, at)
    # Local time arrives without its zone and is read as UTC.
    for zone, hours in [("America/New_York", 48), ("Asia/Tokyo", 48)]:
        _, uid, _ = create(f"contract-{zone}", "--expires", f"{hours}h", environment={"TZ": zone})
        at = datetime.datetime.fromisoformat(call("GET", f"/api/v1/api_tokens/{uid}", ARGUMENTS.admin_token).json()["expired_at"].replace("Z", "+00:00"))
        off = (at - now).total_seconds() / 3600 - hours
        check(-5.1 < off < -3.9 if zone.startswith("America") else 8.9 < off < 9.1, zone, off)
    text = refused("api-token", "create", "contract-past", "--expires", "1h", environment={"TZ": "America/New_York"})
    check("400" in text and "TZ=UTC" in text, text)
    # As far as any zone is ahead of UTC, and no further; exact with TZ=UTC.
    for zone, hours in [("Asia/Tokyo", 10), ("Pacific/Kiritimati", 15), ("UTC", 1)]:
        _, uid, _ = create(f"contract-hour-{zone}", "--expires", "1h", environment={"TZ": zone})
        token = call("GET", f"/api/v1/api_tokens/{uid}", ARGUMENTS.admin_token).json()
        at = datetime.datetime.fromisoformat(token["expired_at"].replace("Z", "+00:00"))
        lives = (at - datetime.datetime.now(datetime.timezone.utc)).total_seconds() / 3600
        check(hours - 0.1 < lives <= hours, zone, lives)


def scopes():
    _, uid, _ = create("contract-default")
    check(call("GET", f"/api/v1/api_tokens/{uid}", ARGUMENTS.admin_token).json()["scopes"] == ["api"])
    create("contract-one", "--scope", f"deployment:{ARGUMENTS.deployment}")
    for scope in ["everything", "", "deployment:a,deployment:b"]:
        text = refused("api-token", "create", "contract-bad", "-s", scope)
        check("is not a scope" in text, text)
    text = refused("api-token", "create", "contract-bad", "-s", "deployment:nowhere")
    check("there is no Deployment nowhere" in text, text)


def more_tokens_than_a_page():
    known = {token.name for token in bentoml.api_token.list()}
    for number in range(120):
        made = call("POST", "/api/v1/api_tokens", ARGUMENTS.admin_token, json={"name": f"many-{number}", "scopes": ["api"]})
        check(made.status_code == 200 or f"many-{number}" in known, made.text)
    text = good("api-token", "list")
    check(all(f"many-{number} " in text for number in range(120)), "all of them are shown")
    page = call("GET", "/api/v1/api_tokens?start=100&count=100", ARGUMENTS.admin_token).json()
    check(len(page["items"]) == page["total"] - 100, len(page["items"]), page["total"])


def api_tokens_from_python():
    made = bentoml.api_token.create("contract-sdk", description="SDK", scopes=["deployment:*"])
    check(TOKEN.fullmatch(made.token) and list(made.scopes) == ["deployment:*"], made.scopes)
    check(bentoml.api_token.get(made.uid).name == "contract-sdk")
    check(made.uid in [token.uid for token in bentoml.api_token.list(search="contract-sdk")])
    bentoml.api_token.delete(made.uid)
    check(bentoml.api_token.get(made.uid) is None)


# --- Deployments ----------------------------------------------------------------------------------------------------


def deployments():
    name, down = ARGUMENTS.deployment, ARGUMENTS.down
    text = good("deployment", "list")
    check(name in text and "running" in text and down in text and "unhealthy" in text, text)
    check(name in good("deployment", "list", "--search", name[:4]))
    check(down not in good("deployment", "list", "--search", name))
    check(name not in good("deployment", "list", "--label", "a=b"))
    check({item["name"] for item in document(good("deployment", "list", "-o", "json"))} == {name, down})
    got = document(good("deployment", "get", name, "-o", "json"))
    check(got["config"]["access_authorization"] is True and got["status"]["status"] == "running", got)
    check("access_authorization: true" in good("deployment", "get", name, "-o", "yaml"))
    check("not found" in refused("deployment", "get", "nowhere").lower())
    page = ada().browser.get(f"/deployments/{name}")
    check(page.status_code == 200 and "Call this Deployment" in page.text, "the console's address")


def clients_of_deployments():
    token = bentoml.api_token.create("contract-client", scopes=[f"deployment:{ARGUMENTS.deployment}"]).token
    deployment = bentoml.deployment.get(ARGUMENTS.deployment)
    check(len(deployment.get_endpoint_urls()) == 1, deployment.get_endpoint_urls())
    with deployment.get_client(token=token) as client:
        check(client.summarize(text="One sentence. Another one."), "an answer")
    check(token not in repr(deployment))


def terminating_and_starting():
    name = ARGUMENTS.deployment
    url = bentoml.deployment.get(name).get_endpoint_urls()[0]
    token = bentoml.api_token.create("contract-terminate", scopes=[f"deployment:{name}"]).token
    ask = lambda: httpx.get(url + "/readyz", headers={"Authorization": f"Bearer {token}"})  # noqa: E731
    check(ask().status_code == 200, ask().text)
    check("terminated successfully" in good("deployment", "terminate", name, "--wait"))
    check(ask().status_code == 503 and "terminated" in ask().text, ask().text)
    stranger = httpx.get(url + "/x")
    check(stranger.status_code == 401, "who may not is told nothing")
    check(document(good("deployment", "get", name, "-o", "json"))["status"]["status"] == "terminated")
    # Up to 1.4.40 the client itself fails here, before it asks the gateway for anything.
    status, text = run("deployment", "start", name)
    check(status == 0 or "verify() must be called first" in text, text)
    check(call("PUT", f"/api/v2/deployments/{name}?cluster=default", ARGUMENTS.admin_token, json={}).status_code == 200)
    check(ask().status_code == 200, ask().text)
    check("not terminated" in refused("deployment", "start", name))
    check("not found" in refused("deployment", "terminate", "nowhere").lower())


def deleting_a_deployment():
    made = call("POST", "/api/v2/deployments", ARGUMENTS.admin_token,
                json={"name": "contract-gone", "upstreams": ["http://127.0.0.1:9"]})
    check(made.status_code == 200, made.text)
    create("contract-scoped", "-s", "deployment:contract-gone")
    check("deleted" in good("deployment", "delete", "contract-gone").lower())
    check("contract-gone" not in good("deployment", "list"))
    check("not found" in refused("deployment", "delete", "contract-gone").lower())


# --- What a gateway cannot do ---------------------------------------------------------------------------------------


def impossible():
    bento, name = "summarization:abc", ARGUMENTS.deployment
    for command in [
        ("deployment", "create", bento, "-n", "contract-new"),
        ("deploy", bento, "-n", "contract-new"),
        ("deployment", "update", name, "--bento", bento),
        ("deployment", "apply", bento, "-n", "contract-new"),
        ("pull", bento),
    ]:
        text = refused(*command)
        check("runs no Bento" in text and "/api/v2/deployments" in text, command, text)
    for command in [("create", "password", "key=value"), ("apply", "password", "key=value"), ("delete", "password")]:
        text = refused("secret", *command)
        check("keeps no secrets" in text, command, text)


def truthfully_empty():
    check("Secret" in good("secret", "list"))
    check("Name" in good("deployment", "list-instance-types"))
    check(call("GET", "/api/v1/org_secrets?count=10&q=&search=&start=0&all=true", ARGUMENTS.admin_token).json()["items"] == [])


def clean_up():
    """What an earlier version of the client has left on this gateway."""
    for token in bentoml.api_token.list():
        if token.name.startswith(("contract-", "many-")):
            bentoml.api_token.delete(token.uid)


PROMISES = [
    login_with_a_token,
    login_with_a_bad_token,
    login_by_pasting,
    login_by_browser,
    login_that_is_refused,
    login_that_runs_out,
    login_at_the_address_of_the_services,
    login_that_is_one_too_many,
    contexts,
    environment_variables,
    as_the_documentation_of_bentocloud_writes_it,
    api_tokens,
    expiries,
    scopes,
    more_tokens_than_a_page,
    api_tokens_from_python,
    deployments,
    clients_of_deployments,
    terminating_and_starting,
    deleting_a_deployment,
    impossible,
    truthfully_empty,
]


def main():
    print("bentoml", bentoml.__version__, flush=True)
    login_with_a_token()
    clean_up()
    for promise in PROMISES:
        try:
            promise()
        except (Broken, BentoMLException, pexpect.ExceptionPexpect, httpx.HTTPError, ValueError, KeyError, AttributeError, TypeError):
            print("BROKEN", promise.__name__)
            traceback.print_exc(file=sys.stdout)
            sys.exit(1)
        print("ok", promise.__name__, flush=True)


if __name__ == "__main__":
    main()
