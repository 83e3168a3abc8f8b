// Pages of other origins that call a Deployment with a token of their own.
import { check, chromium, equal, given, holds, open, options, site } from "./lib.mjs";

const browser = await chromium.launch(options());
const page = await open(await browser.newContext());
const pages = { "/": "<!doctype html><title>An application</title>" };
const app = await site(pages);
// Another port is another origin; the gateway knows of the one that the test has reserved.
const other = app;
const ask = (page, url, token) => page.evaluate(async ([url, token]) => {
  try {
    const answer = await fetch(url, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify({ text: "One. Two. Three." }),
    });
    return { status: answer.status, text: await answer.text(), challenge: answer.headers.get("www-authenticate") };
  } catch (error) {
    return { failed: String(error) };
  }
}, [url, token]);

const http = await import("node:http");
const server = http.createServer((request, response) => {
  response.writeHead(200, { "content-type": "text/html" });
  response.end(pages["/"]);
});
await new Promise((resolve) => server.listen(Number(new URL(given.app).port), "127.0.0.1", resolve));

await check("a page of a configured origin calls the Deployment, after a preflight that the gateway answers", async () => {
  await page.goto(`${given.app}/`);
  const answer = await ask(page, `${given.proxy}/summarize`, given.endpointToken);
  equal(answer.status, 200, JSON.stringify(answer));
});
await check("it can read why it is refused", async () => {
  const refused = await ask(page, `${given.proxy}/summarize`, "bgw_wrong");
  equal(refused.status, 401, JSON.stringify(refused));
  equal(JSON.parse(refused.text).code, "token_malformed", "the code");
  holds(refused.challenge.includes("invalid_token"), "the challenge");
});
await check("a page of another origin cannot", async () => {
  await page.goto(`${other.origin}/`);
  const refused = await ask(page, `${given.proxy}/summarize`, given.endpointToken);
  holds(refused.failed, JSON.stringify(refused));
});
app.close();
server.close();
await browser.close();
