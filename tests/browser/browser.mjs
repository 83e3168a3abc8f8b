// A protected Deployment in a browser: sign-in without an extension, Swagger UI, WebSockets, and other sites' pages.
import { api, call, check, chromium, equal, eventually, given, holds, open, options, pasteToken, setUp, signIn, site } from "./lib.mjs";

const browser = await chromium.launch(options());
const context = await browser.newContext();
const page = await open(context);
const cookies = async () => (await context.cookies(given.proxy)).map((cookie) => cookie.name);
const echo = (page) => page.evaluate(() => new Promise((resolve) => {
  const socket = new WebSocket(`ws://${location.host}/live/echo`);
  socket.onopen = () => socket.send("hello");
  socket.onmessage = (event) => { resolve(event.data); socket.close(); };
  socket.onerror = () => resolve("refused");
}));

await check("opening a protected Deployment gives a page to sign in, with the status of a refusal", async () => {
  const answer = await page.goto(`${given.proxy}/?from=here`);
  equal(answer.status(), 401, "status");
  holds(answer.headers()["www-authenticate"].startsWith("Bearer"), "the challenge");
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
});
await check("a wrong token is told, and nothing is kept", async () => {
  await pasteToken(page, "bgw_nonsense");
  holds((await page.getByRole("alert").innerText()).includes("not an API token"), "said");
  holds(!(await cookies()).some((name) => name.includes("session")), "sessions");
});
await check("a pasted token leads to the page that was asked for", async () => {
  await page.goto(`${given.proxy}/?from=here`);
  holds(!(await page.content()).includes("<input"), "nothing is typed at the service's own address");
  await pasteToken(page, given.endpointToken);
  await page.waitForURL(`${given.proxy}/?from=here`);
  const cookie = (await context.cookies(given.proxy)).find((cookie) => cookie.name === "bgw-session-summarization");
  holds(cookie.httpOnly && cookie.domain === "127.0.0.1" && cookie.sameSite === "Lax", JSON.stringify(cookie));
  holds(!cookie.value.includes(given.endpointToken), "the token is not kept");
});
await check("Swagger UI calls the service", async () => {
  await page.goto(`${given.proxy}/`);
  const operation = page.locator(".opblock", { hasText: "/summarize" }).first();
  await operation.locator(".opblock-summary").click();
  await operation.getByRole("button", { name: "Try it out" }).click();
  const [answer] = await Promise.all([
    page.waitForResponse((response) => response.url() === `${given.proxy}/summarize`),
    operation.getByRole("button", { name: "Execute" }).click(),
  ]);
  equal(answer.status(), 200, "status");
  holds((await answer.text()).includes("harbour"), "the summary");
});
await check("a page's WebSocket works", async () => equal(await echo(page), "hello", "the echo"));
await check("server-sent events work", async () => {
  const ticks = await page.evaluate(() => new Promise((resolve) => {
    const source = new EventSource("/live/ticks?count=2&interval=0.05");
    source.addEventListener("tick", (event) => { if (JSON.parse(event.data).tick === 1) { source.close(); resolve("two"); } });
    source.onerror = () => resolve("refused");
  }));
  equal(ticks, "two", "ticks");
});
await check("the cookie never reaches the service, and other cookies do", async () => {
  await context.addCookies([{ name: "mine", value: "1", url: given.proxy }]);
  const seen = await page.evaluate(async () => (await fetch("/live/request")).json());
  const headers = Object.fromEntries(seen.headers);
  equal(headers.cookie, "mine=1", "cookies");
  equal(headers.authorization, undefined, "authorization");
});
const other = await site({ "/": "<!doctype html><title>Another site</title><form id=f method=post><input name=x value=1></form>" });
await check("another site's page cannot act through the session", async () => {
  const before = await page.evaluate(async () => (await (await fetch("/live/request?before")).json()).query);
  equal(before, "before", "the service answers");
  for (const origin of [other.origin, other.origin.replace("127.0.0.1", "localhost")]) {
    const evil = await open(context);
    await evil.goto(`${origin}/`);
    const [refused] = await Promise.all([
      evil.waitForResponse((response) => response.url().startsWith(given.proxy)),
      evil.waitForURL(`${given.proxy}/summarize`),
      evil.evaluate((target) => { const form = document.getElementById("f"); form.action = target; form.submit(); }, `${given.proxy}/summarize`),
    ]);
    holds([401, 403].includes(refused.status()), `a form: ${refused.status()}`);
    await evil.goto(`${origin}/`);
    const socket = await evil.evaluate((host) => new Promise((resolve) => {
      const socket = new WebSocket(`ws://${host}/live/echo`);
      socket.onopen = () => resolve("open");
      socket.onerror = () => resolve("refused");
    }), new URL(given.proxy).host);
    equal(socket, "refused", "a WebSocket");
    const read = await evil.evaluate((target) => fetch(target, { credentials: "include" }).then((answer) => answer.text(), () => "unreadable"), `${given.proxy}/live/request`);
    equal(read, "unreadable", "a fetch");
    const framed = await evil.evaluate((target) => new Promise((resolve) => {
      const frame = document.createElement("iframe");
      frame.src = target;
      frame.onload = () => resolve("loaded");
      document.body.append(frame);
    }), `${given.proxy}/live/request`);
    equal(framed, "loaded", "a frame");
    holds(!(await evil.frames()[1].content().catch(() => "")).includes("raw_path"), "the frame shows nothing of the service");
    await evil.close();
  }
});
await check("signing out ends the session", async () => {
  await page.goto(`${given.proxy}/-/`);
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("heading", { name: "Not signed in" }).waitFor();
  equal((await page.goto(`${given.proxy}/`)).status(), 401, "status");
});
await check("the console signs in with one click", async () => {
  const console = await open(context);
  await setUp(console);
  await console.close();
  // The console's own cookie is sent along to another port of this host, and is good for nothing there.
  equal((await page.goto(`${given.proxy}/live/request`)).status(), 401, "with the console's cookie");
  await page.getByRole("link", { name: "Continue with the console" }).click();
  await page.waitForURL(`${given.proxy}/live/request`);
  holds((await page.content()).includes("raw_path"), "the page that was asked for");
  equal(await echo(page), "hello", "its WebSocket");
});
await check("who must sign in to the console first comes back all the same", async () => {
  const fresh = await browser.newContext();
  const page = await open(fresh);
  await page.goto(`${given.proxy}/live/request`);
  await page.getByRole("link", { name: "Continue with the console" }).click();
  await page.getByLabel("Email").fill("ada@example.com");
  await page.getByLabel("Password").fill("correct horse battery staple");
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await page.waitForURL(`${given.proxy}/live/request`);
  await fresh.close();
});
await check("deleting its token ends the session, and its WebSockets", async () => {
  await page.goto(`${given.proxy}/live/request`);
  const closed = page.evaluate(() => new Promise((resolve) => {
    const socket = new WebSocket(`ws://${location.host}/live/echo`);
    socket.onclose = () => resolve("closed");
    socket.onopen = () => { window.opened = true; };
  }));
  await page.waitForFunction(() => window.opened);
  const { items } = await api("GET", "/api/v1/api_tokens?search=Browser");
  equal(items.length, 1, "one token for this browser and the other");
  await api("DELETE", `/api/v1/api_tokens/${items[0].uid}`);
  equal(await closed, "closed", "the WebSocket");
  equal((await page.goto(`${given.proxy}/live/request`)).status(), 401, "status");
  holds((await page.getByRole("alert").innerText()).includes("revoked"), "said");
});
await check("a disabled user's browsers are out at once", async () => {
  await page.getByRole("link", { name: "Continue with the console" }).click();
  await page.waitForURL(`${given.proxy}/live/request`);
  // An admin who cannot sign in would not count as another one.
  const root = { email: "root@example.com", name: "Root", role: "admin", password: "correct horse battery staple" };
  await api("POST", "/api/v1/users", root);
  await api("POST", "/api/v1/users/ada@example.com/disable", {});
  equal((await page.goto(`${given.proxy}/live/request`)).status(), 401, "status");
});
other.close();
await browser.close();
