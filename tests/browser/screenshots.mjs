// Pictures of every page, of an installation that is invented. Started by scripts/screenshots.
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import http from "node:http";
import { ADA, call, chromium, createToken, eventually, given, open, options, setUp } from "./lib.mjs";

const { binary, work, out } = given;
mkdirSync(out, { recursive: true });

// As a Bento describes itself.
const takes = (properties) => ({ content: { "application/json": { schema: { type: "object", properties } } } });
const text = { type: "string", default: "Cats sleep. Cats eat fish. Dogs bark." };
const stream = { 200: { content: { "text/event-stream": { schema: { type: "string" } } } } };
const routes = { paths: {
  "/summarize": { post: { "x-bentoml-name": "summarize", requestBody: takes({ text }) } },
  "/summarize_stream": { post: { "x-bentoml-name": "summarize_stream", requestBody: takes({ text }), responses: stream } },
} };

/** Services that answer anything, some of them badly. */
async function service(status) {
  const server = http.createServer((request, response) => {
    if (request.url === "/docs.json") {
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify(routes));
      return;
    }
    setTimeout(() => {
      response.writeHead(request.url === "/readyz" ? 200 : status(), { "content-type": "text/plain" });
      response.end("an answer");
    }, 2 + Math.random() * Math.random() * 60);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}

async function freePort() {
  const server = http.createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const services = await Promise.all([service(() => 200), service(() => (Math.random() < 0.1 ? 503 : 200))]);
const [proxy, management] = [await freePort(), await freePort()];
given.proxy = `http://127.0.0.1:${proxy}`;
given.console = `http://127.0.0.1:${management}`;
const gateway = spawn(binary, [
  "serve", "--listen", `127.0.0.1:${proxy}`, "--management-listen", `127.0.0.1:${management}`,
  "--deployment", `summarization=${services[0].url}`,
], {
  cwd: work,
  env: {
    PATH: process.env.PATH,
    HOME: work,
    BENTO_GATEWAY__STORE__URL: `sqlite:${work}/gateway.db`,
    BENTO_GATEWAY__TOKENS__FIRST_TOKEN: "false",
    BENTO_GATEWAY__TOKENS__USAGE_INTERVAL: "200ms",
    BENTO_GATEWAY__ORGANIZATION: "Aldersund Research",
    BENTO_GATEWAY__LOG__ACCESS: "false",
  },
  stdio: ["ignore", "pipe", "inherit"],
});
let said = "";
gateway.stdout.on("data", (data) => { said += data; });
process.on("exit", () => gateway.kill());
await eventually("the gateway is ready", () => said.includes("/welcome?code="));
given.welcome = said.match(/http\S+\/welcome\?code=\S+/)[0];

const browser = await chromium.launch(options());
const page = await open(await browser.newContext({ viewport: { width: 1200, height: 760 } }));

async function picture(name) {
  for (const [suffix, colorScheme, width, height] of [["light", "light", 1200, 760], ["dark", "dark", 1200, 760], ["phone", "light", 390, 844]]) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height });
    await page.screenshot({ path: `${out}/${name}-${suffix}.png`, fullPage: true });
  }
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize({ width: 1200, height: 760 });
}
const visit = async (path, name) => {
  await page.goto(given.console + path);
  await picture(name);
};

await visit("/sign-in", "sign-in");
await page.goto(given.welcome);
await picture("welcome");
await setUp(page, { ...ADA, name: "Ada Lovelace" });

await page.goto(`${given.console}/deployments/new`);
await picture("deployment-form");
await page.getByLabel("Name", { exact: true }).fill("embeddings");
await page.getByLabel("Upstreams").fill(services[1].url);
await page.getByLabel("Dedicated listener").fill(`127.0.0.1:${await freePort()}`);
await page.getByRole("button", { name: "Add" }).click();
await page.getByRole("heading", { name: "embeddings" }).waitFor();
const embeddings = (await page.locator("dd code").first().innerText()).trim();
await page.goto(`${given.console}/deployments/new`);
await page.getByLabel("Name", { exact: true }).fill("whisper");
await page.getByLabel("Upstreams").fill("http://127.0.0.1:9");
await page.getByLabel("Hostnames").fill("whisper.aldersund.example");
await page.getByRole("button", { name: "Add" }).click();
await page.getByRole("heading", { name: "whisper" }).waitFor();

const tokens = {};
for (const [name, description, days, choose] of [
  ["Grafana dashboard", "Reads what is going on", "365", (page) => page.getByLabel("Developer Operations Access").check()],
  ["Nightly batch", "Summaries of the harbour's log, every night at two", "90", (page) => page.getByLabel("summarization").check()],
  ["Search application", "Production", "365", (page) => page.getByLabel("All Deployments").check()],
  ["Notebook of Grace", "For the workshop", "7", (page) => page.getByLabel("embeddings").check()],
  ["CI", "Deploys and tests", "30", async (page) => {
    await page.getByLabel("Developer Operations Access").check();
    await page.getByLabel("summarization").check();
  }],
]) {
  tokens[name] = await createToken(page, name, async (page) => {
    await page.getByLabel("Description").fill(description);
    await page.getByLabel("Lifetime").selectOption(days);
    await choose(page);
    if (name === "CI") await picture("token-form");
  });
}
await picture("token-created");

await page.goto(`${given.console}/api_tokens?sort=name`);
const links = await page.locator("tbody th a").evaluateAll((all) => all.map((link) => [link.innerText, link.href.split("/").pop()]));
const uids = ["Search application", "Nightly batch", "CI"].map((name) => Object.fromEntries(links)[name]);

const calls = async (count, url, token) => {
  for (let at = 0; at < count; at++) await call(url, token);
};
await Promise.all([
  calls(160, `${given.proxy}/summarize`, tokens["Search application"]),
  calls(70, `${embeddings}/embed`, tokens["Search application"]),
  calls(90, `${given.proxy}/summarize`, tokens["Nightly batch"]),
  calls(30, `${given.proxy}/summarize`, tokens.CI),
  calls(9, `${given.proxy}/summarize`, "bgw_unset"),
  calls(5, `${given.proxy}/summarize`, tokens["Notebook of Grace"]),
  calls(4, `${given.proxy}/summarize`),
]);
// What went through before this began is invented, too.
execFileSync("python3", ["-c", `
import math, random, sqlite3, sys, time
store, tokens = sqlite3.connect(sys.argv[1], timeout=10), sys.argv[2:]
random.seed(7)
now = int(time.time() // 60)
rows = []
for minute in range(now - 24 * 60, now):
    busy = 420 + 240 * math.sin(minute / 140) + random.uniform(-90, 90)
    for name, share in (("summarization", 0.7), ("embeddings", 0.3)):
        requests = max(1, int(busy * share))
        slow = 1 if random.random() < 0.15 else 0
        rows += [(minute, "requests", name, requests), (minute, "latency.03", name, requests // 2),
                 (minute, "latency.04", name, requests - requests // 2 - slow), (minute, "latency.06", name, slow)]
    for reason, chance in (("token_expired", 0.2), ("token_malformed", 0.3), ("insufficient_scope", 0.1)):
        if random.random() < chance:
            rows.append((minute, "refused." + reason, "", random.randint(1, 4)))
    rows += [(minute, "token", token, max(1, int(busy / (2 + at)))) for at, token in enumerate(tokens)]
store.executemany("INSERT OR IGNORE INTO traffic VALUES (?, ?, ?, ?)", rows)
store.commit()
`, `${work}/gateway.db`, ...uids]);
await eventually("the last figures are written", async () => {
  await page.goto(`${given.console}/`);
  return (await page.locator("main").innerText()).includes("credential missing");
});

await picture("overview");
await visit("/api_tokens", "tokens");
await page.getByRole("link", { name: "Search application" }).click();
const token = page.url().replace(given.console, "");
await picture("token");
await visit(`${token}/edit`, "token-update");
await visit(`${token}/rotate`, "token-rotate");
await visit(`${token}/delete`, "token-delete");
await visit("/deployments", "deployments");
await visit("/deployments/summarization", "deployment");
await visit("/deployments/embeddings/edit", "deployment-edit");
await visit("/deployments/whisper/remove", "deployment-remove");
await page.goto(`${given.console}/users`);
await page.getByLabel("Email").fill("grace@example.com");
await page.getByLabel("Name").fill("Grace Hopper");
await page.getByRole("button", { name: "Create invitation" }).click();
await page.locator("#invitation-link").waitFor();
await picture("users");
await visit("/activity", "activity");
await visit("/account", "account");
const { code } = await (await fetch(`${given.console}/api/v1/auth/code`, { headers: { "user-agent": "python-requests/2.32" } })).json();
await visit(`/api_tokens?code=${code}`, "approve");
await page.goto(`${given.proxy}/`);
await picture("sign-in-at-a-deployment");
await page.getByRole("link", { name: "Continue with the console" }).click();
await page.waitForURL(`${given.proxy}/`);
await page.goto(`${given.proxy}/-/`);
await picture("signed-in-at-a-deployment");

await browser.close();
services.forEach((service) => service.close());
gateway.kill();
process.exit(0);
