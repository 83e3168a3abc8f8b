// What a service behind the gateway gets to see: of its own pages everything but our cookie, of other sites' pages nothing.
import { createHash } from "node:crypto";
import http from "node:http";
import { api, check, chromium, createToken, equal, eventually, given, holds, open, options, pasteToken, setUp, site } from "./lib.mjs";

// A service that remembers every request, and speaks WebSocket as far as one message.
const seen = [];
const server = http.createServer((request, response) => {
  seen.push(request);
  response.writeHead(200, { "content-type": "text/html" });
  response.end("<!doctype html><title>The service</title><p>from the service</p>");
});
server.on("upgrade", (request, socket) => {
  seen.push(request);
  const accept = createHash("sha1").update(`${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`);
  socket.write(
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
    `Sec-WebSocket-Accept: ${accept.digest("base64")}\r\n\r\n`,
  );
  socket.write(Buffer.concat([Buffer.from([0x81, 5]), Buffer.from("hello")]));
  socket.on("error", () => {});
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
// The gateway itself asks whether the service is ready and what its routes are, and the browser for the icon of whatever it shows, also of a refusal.
const ofNobody = ["/readyz", "/docs.json", "/favicon.ico"];
const asked = () => seen.filter((request) => !ofNobody.includes(request.url)).map((request) => `${request.method} ${request.url}`);

const browser = await chromium.launch(options());
const context = await browser.newContext();
const page = await open(context);
const deployment = `http://${given.listen}`;
const socket = (page, url) => page.evaluate((url) => new Promise((resolve) => {
  const socket = new WebSocket(url);
  socket.onmessage = (event) => { resolve(event.data); socket.close(); };
  socket.onerror = () => resolve("refused");
}), url);

await check("a service of the test's own is added", async () => {
  await setUp(page);
  await page.goto(`${given.console}/deployments/new`);
  await page.getByLabel("Name", { exact: true }).fill("watched");
  await page.getByLabel("Upstreams").fill(`http://127.0.0.1:${server.address().port}`);
  await page.getByLabel("Dedicated listener").fill(given.listen);
  await page.getByRole("button", { name: "Add" }).click();
  await page.getByRole("heading", { name: "watched" }).waitFor();
});
await check("tokens that are no good for it are told apart, and none of them gets through", async () => {
  const elsewhere = await createToken(page, "elsewhere", (page) => page.getByLabel("summarization").check());
  const deleted = await createToken(page, "deleted", (page) => page.getByLabel("All Deployments").check());
  const { items: [{ uid }] } = await api("GET", "/api/v1/api_tokens?search=deleted");
  await api("DELETE", `/api/v1/api_tokens/${uid}`);
  await context.clearCookies();
  for (const [token, status] of [["bgw_nonsense", 400], [elsewhere, 403], [given.adminToken, 403], [deleted, 401]]) {
    await page.goto(`${deployment}/wanted`);
    const [answer] = await Promise.all([page.waitForResponse(`${given.console}/open/token`), pasteToken(page, token)]);
    equal(answer.status(), status, "status");
    holds((await page.getByRole("alert").innerText()).length > 20, "it says why");
    holds(!(await page.content()).includes(token), "what was pasted is not shown");
    holds(!(await context.cookies(deployment)).some(({ name }) => name.includes("session")), "sessions");
  }
  equal(asked(), [], "what the service was asked");
});
await check("a good token leads to the page first asked for", async () => {
  await page.goto(`${deployment}/wanted?x=1`);
  await pasteToken(page, given.endpointToken);
  await page.waitForURL(`${deployment}/wanted?x=1`);
  holds((await page.content()).includes("from the service"), "the service's page");
  holds(asked().includes("GET /wanted?x=1"), JSON.stringify(asked()));
});
await check("its own pages may do everything", async () => {
  const status = await page.evaluate(async () => (await fetch("/own", { method: "POST", body: "x" })).status);
  equal(status, 200, "a call");
  equal(await socket(page, `ws://${given.listen}/own-socket`), "hello", "a WebSocket");
  for (const request of ["POST /own", "GET /own-socket"]) holds(asked().includes(request), `${request} in ${asked()}`);
});
await check("neither cookie nor token reaches the service", async () => {
  for (const { url, headers } of seen) {
    holds(!(headers.cookie ?? "").includes("bgw-"), `${url}: ${headers.cookie}`);
    equal(headers.authorization, undefined, `${url}: authorization`);
    holds(!JSON.stringify(headers).includes("bgw_"), `${url}: a token`);
  }
});

const other = await site({ "/": "<!doctype html><title>Another site</title><form id=f method=post><input name=x value=1></form>" });
// Another port is the same site: the cookie is sent, and only the gateway stands in the way. Another name: it is not sent.
for (const [origin, refusal] of [[other.origin, 403], [other.origin.replace("127.0.0.1", "localhost"), 401]]) {
  const host = new URL(origin).hostname;
  await check(`nothing that a page of another port of ${host} asks reaches the service`, async () => {
    const before = asked();
    const evil = await open(context);
    const answers = new Map();
    evil.on("response", (response) => answers.set(new URL(response.url()).pathname, response.status()));
    await evil.goto(`${origin}/`);
    const embedded = await evil.evaluate(async (target) => {
      const settled = (element, name) => new Promise((resolve) => {
        element.onload = element.onerror = (event) => resolve(event.type);
        element.src = `${target}/${name}`;
        document.body.append(element);
      });
      const all = { credentials: "include" };
      await fetch(`${target}/read`, all).catch(() => {});
      await fetch(`${target}/preflighted`, { ...all, method: "PUT", headers: { "x-other": "1" } }).catch(() => {});
      await fetch(`${target}/blind-read`, { ...all, mode: "no-cors" }).catch(() => {});
      await fetch(`${target}/blind-write`, { ...all, method: "POST", mode: "no-cors", body: "x" }).catch(() => {});
      navigator.sendBeacon(`${target}/beacon`, "x");
      const outcomes = [];
      for (const [tag, name] of [["img", "image"], ["script", "script"], ["iframe", "frame"]]) {
        outcomes.push(await settled(document.createElement(tag), name));
      }
      return outcomes;
    }, deployment);
    // A frame shows the refusal.
    equal(embedded, ["error", "error", "load"], "an image, a script and a frame");
    equal(await socket(evil, `ws://${given.listen}/socket`), "refused", "a WebSocket");
    for (const path of ["/blind-read", "/blind-write", "/beacon"]) {
      await eventually(`${path} is refused`, () => answers.get(path) === refusal);
    }
    const [form] = await Promise.all([
      evil.waitForResponse(`${deployment}/form`),
      evil.evaluate((target) => { const form = document.getElementById("f"); form.action = target; form.submit(); }, `${deployment}/form`),
    ]);
    equal(form.status(), refusal, "a form");
    equal(asked(), before, "what the service was asked");
    equal((await page.goto(`${deployment}/still`)).status(), 200, "the session lives");
    await evil.close();
  });
}
await check("another site's form signs nobody in or out", async () => {
  for (const path of ["/-/sign-out", "/-/sign-in"]) {
    const evil = await open(context);
    await evil.goto(`${other.origin}/`);
    const [refused] = await Promise.all([
      evil.waitForResponse(deployment + path),
      evil.evaluate((target) => { const form = document.getElementById("f"); form.action = target; form.submit(); }, deployment + path),
    ]);
    equal(refused.status(), 403, path);
    await evil.close();
  }
  equal((await page.goto(`${deployment}/still`)).status(), 200, "the session lives");
});
await check("a link of another site opens it, since a person follows it", async () => {
  const friend = await open(context);
  await friend.goto(`${other.origin}/`);
  await friend.evaluate((target) => { const link = document.createElement("a"); link.href = target; link.text = "there"; document.body.append(link); }, `${deployment}/linked`);
  await friend.getByRole("link", { name: "there" }).click();
  await friend.waitForURL(`${deployment}/linked`);
  holds((await friend.content()).includes("from the service"), "the service's page");
  await friend.close();
});
other.close();
server.closeAllConnections?.();
server.close();
await browser.close();
