// Deployments and the console on sibling hosts, one of the Deployments hostile. `SameSite` does not tell them apart.
import http from "node:http";
import { check, chromium, createToken, equal, given, holds, open, options, setUp } from "./lib.mjs";

const port = new URL(given.proxy).port;
const [victim, evil] = [`http://summarization.bento.test:${port}`, `http://evil.bento.test:${port}`];
given.console = given.publicConsole;
given.welcome = given.welcome.replace(/^https?:\/\/[^/]+/, given.console);

// What the hostile Deployment serves: it sets cookies for its parent domain, and remembers what it is sent.
const seen = [];
const server = http.createServer((request, response) => {
  seen.push(request.headers.cookie ?? "");
  response.writeHead(200, {
    "content-type": "text/html",
    "set-cookie": [`bgw-console=${"0".repeat(40)}; Domain=bento.test; Path=/`, "app=1; Domain=bento.test; Path=/"],
  });
  response.end("<!doctype html><title>Hostile</title><form id=f method=post><input name=csrf value=guessed></form>");
});
await new Promise((resolve) => server.listen(Number(new URL(given.app).port), "127.0.0.1", resolve));

const browser = await chromium.launch(options(["--host-resolver-rules=MAP *.bento.test 127.0.0.1"]));
const context = await browser.newContext();
const page = await open(context);

await check("the console and a Deployment sign in, each on a host of its own", async () => {
  await setUp(page);
  await createToken(page, "precious", (page) => page.getByLabel("All Deployments").check());
  await page.goto(`${victim}/live/request`);
  await page.getByRole("link", { name: "Continue with the console" }).click();
  await page.waitForURL(`${victim}/live/request`);
  holds((await page.content()).includes("raw_path"), "the page that was asked for");
  for (const cookie of await context.cookies()) holds(!cookie.domain.startsWith("."), `host-only: ${JSON.stringify(cookie)}`);
});
const hostile = await open(context);
await check("a hostile sibling is sent no cookie of ours", async () => {
  await hostile.goto(`${evil}/`);
  await hostile.goto(`${evil}/`);
  holds(seen.length >= 2 && seen.every((cookies) => !cookies.includes("bgw-")), JSON.stringify(seen));
  holds(seen.at(-1).includes("app=1"), "it gets its own");
  equal((await context.cookies()).filter((cookie) => cookie.value === "0".repeat(40)), [], "cookies that it has set by its answers");
});
await check("it reads neither the console nor the other Deployment", async () => {
  for (const target of [`${given.console}/api_tokens`, `${victim}/live/request`]) {
    const read = await hostile.evaluate((target) => fetch(target, { credentials: "include" }).then((answer) => answer.text(), () => "unreadable"), target);
    equal(read, "unreadable", target);
  }
});
await check("it acts through neither", async () => {
  for (const target of [`${given.console}/sign-out`, `${given.console}/account/sign-out-everywhere`, `${victim}/summarize`, `${victim}/-/sign-out`]) {
    await hostile.goto(`${evil}/`);
    const [refused] = await Promise.all([
      hostile.waitForResponse((response) => response.url() === target),
      hostile.waitForURL(target),
      hostile.evaluate((target) => { const form = document.getElementById("f"); form.action = target; form.submit(); }, target),
    ]);
    equal(refused.status(), 403, target);
  }
  await hostile.goto(`${evil}/`);
  const socket = await hostile.evaluate((target) => new Promise((resolve) => {
    const socket = new WebSocket(target);
    socket.onopen = () => resolve("open");
    socket.onerror = () => resolve("refused");
  }), `${victim.replace("http", "ws")}/live/echo`);
  equal(socket, "refused", "a WebSocket");
  const status = await hostile.evaluate((target) => fetch(target, { method: "POST", mode: "no-cors", credentials: "include", body: "x" }).then((answer) => answer.type), `${victim}/live/request?forged`);
  equal(status, "opaque", "a blind call, whose answer nobody sees");
  const frame = await hostile.evaluate((target) => new Promise((resolve) => {
    const frame = document.createElement("iframe");
    frame.src = target;
    frame.onload = () => resolve("loaded");
    document.body.append(frame);
  }), `${victim}/live/request`);
  equal(frame, "loaded", "a frame");
  holds(!(await hostile.frames()[1].content().catch(() => "")).includes("raw_path"), "the frame shows nothing of the service");
});
await check("a cookie that it plants by script for all siblings is nobody's session", async () => {
  await hostile.goto(`${evil}/`);
  await hostile.evaluate(() => { document.cookie = `bgw-session-summarization=planted; domain=bento.test; path=/`; });
  equal((await page.goto(`${victim}/live/request`)).status(), 401, "two of one name count as none");
  await context.clearCookies({ domain: ".bento.test" });
  equal((await page.goto(`${victim}/live/request`)).status(), 200, "the session itself lives");
  await page.goto(`${given.console}/account`);
  await page.getByRole("heading", { name: "Your account" }).waitFor();
});
server.close();
await browser.close();
