// What the scenarios share. Each is started as `node SCENARIO JSON` by tests/it/browser.rs, with the addresses of what was
// started for it, and prints `ok NAME` for each promise that holds.
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import http from "node:http";

// Made by scripts/node-env.
const packages = createRequire(`${process.env.NODE_PACKAGES}/`);
export const { chromium } = packages("playwright-core");
export { packages };

/** What the Rust side has started. */
export const given = JSON.parse(process.argv[2] ?? "{}");
export const ADA = { name: "Ada", email: "ada@example.com", password: "correct horse battery staple" };

let current = null;

/** One promise. The first that does not hold ends the scenario: what follows builds on it. */
export async function check(name, promise) {
  try {
    await promise();
    console.log(`ok ${name}`);
  } catch (error) {
    console.log(`FAILED ${name}\n${error.stack ?? error}`);
    if (current && !current.isClosed()) {
      console.log(`at ${current.url()}\n${await current.locator("body").innerText().catch(() => "")}`);
    }
    process.exit(1);
  }
}

export function equal(found, expected, what = "") {
  if (JSON.stringify(found) !== JSON.stringify(expected)) {
    throw new Error(`${what} is ${JSON.stringify(found)}, expected ${JSON.stringify(expected)}`);
  }
}

export function holds(condition, what) {
  if (!condition) throw new Error(`does not hold: ${what}`);
}

/** Waits for something that comes about by itself. */
export async function eventually(what, look, limit = 15000) {
  const end = Date.now() + limit;
  for (;;) {
    if (await look()) return;
    if (Date.now() > end) throw new Error(`not within ${limit} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function executable() {
  const known = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
  const found = known.find((path) => path && existsSync(path));
  if (!found) throw new Error("Chromium is missing: apt-get install chromium, or set CHROMIUM to its path");
  return found;
}

/** How Chromium is started; as root it has no sandbox. */
export function options(more = []) {
  const args = process.getuid() === 0 ? ["--no-sandbox"] : [];
  return { executablePath: executable(), args: [...args, "--disable-dev-shm-usage", ...more] };
}

export async function open(context) {
  const page = await context.newPage();
  page.setDefaultTimeout(20000);
  current = page;
  return page;
}

/** The first admin, by the link that the terminal showed. */
export async function setUp(page, person = ADA) {
  await page.goto(given.welcome);
  await introduce(page, person);
}

export async function introduce(page, person) {
  await page.getByLabel("Name").fill(person.name);
  if (await page.getByLabel("Email").isEditable()) await page.getByLabel("Email").fill(person.email);
  await page.getByLabel("Password", { exact: true }).fill(person.password);
  await page.getByLabel("Confirm password").fill(person.password);
  await page.getByRole("button", { name: "Continue" }).click();
  await page.getByRole("heading", { name: "Overview" }).waitFor();
}

export async function fillSignIn(page, email, password) {
  await page.getByLabel("Email").fill(email);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
}

export async function signIn(page, person = ADA) {
  await page.goto(`${given.console}/sign-in`);
  await fillSignIn(page, person.email, person.password);
  await page.getByRole("heading", { name: "Overview" }).waitFor();
}

/** Through the form; the text of the token. */
export async function createToken(page, name, choose) {
  await page.goto(`${given.console}/api_tokens/new`);
  await page.getByLabel("Name").fill(name);
  await choose(page);
  await page.getByRole("button", { name: "Submit" }).click();
  await page.getByRole("heading", { name: `${name} has been created` }).waitFor();
  return (await page.locator("#token-text").innerText()).trim();
}

/** From a Deployment's page to sign in to the console's, where a token is pasted. */
export async function pasteToken(page, token) {
  await page.getByRole("link", { name: "Continue with the console" }).click();
  await page.getByLabel("API token").fill(token);
  await page.getByRole("button", { name: "Sign in with token" }).click();
}

/** The status of a call with that token. */
export async function call(url, token, init = {}) {
  const headers = { ...(token ? { authorization: `Bearer ${token}` } : {}), ...init.headers };
  const answer = await fetch(url, { ...init, headers, redirect: "manual" });
  await answer.arrayBuffer();
  return answer.status;
}

/** The management API, as an admin. */
export async function api(method, path, body) {
  const answer = await fetch(given.console + path, {
    method,
    headers: { authorization: `Bearer ${given.adminToken}`, "content-type": "application/json" },
    body: body && JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

/** Another site: the given pages by path, on a port of its own. */
export async function site(pages) {
  const server = http.createServer((request, response) => {
    const page = pages[request.url.split("?")[0]];
    response.writeHead(page ? 200 : 404, { "content-type": "text/html; charset=utf-8" });
    response.end(page ?? "");
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const port = server.address().port;
  return { port, origin: `http://127.0.0.1:${port}`, close: () => server.close() };
}
