// Other sites' pages and the console.
import { api, check, chromium, createToken, equal, given, holds, open, options, setUp, site } from "./lib.mjs";

const browser = await chromium.launch(options());
const context = await browser.newContext();
const page = await open(context);
await setUp(page);
await createToken(page, "precious", (page) => page.getByLabel("All Deployments").check());
const { items: [token] } = await api("GET", "/api/v1/api_tokens?search=precious");
const evil = await site({ "/": "<!doctype html><title>Another site</title><form id=f method=post><input name=csrf value=guessed></form>" });

for (const origin of [evil.origin, evil.origin.replace("127.0.0.1", "localhost")]) {
  await check(`a form of ${new URL(origin).hostname} deletes nothing and signs nobody out`, async () => {
    for (const path of [`/api_tokens/${token.uid}/delete`, "/sign-out", "/account/sign-out-everywhere", "/api_tokens/approve"]) {
      const other = await open(context);
      await other.goto(`${origin}/`);
      const [refused] = await Promise.all([
        other.waitForResponse((response) => response.url() === given.console + path),
        other.waitForURL(given.console + path),
        other.evaluate((target) => { const form = document.getElementById("f"); form.action = target; form.submit(); }, given.console + path),
      ]);
      holds([401, 403].includes(refused.status()), `${path}: ${refused.status()}`);
      await other.close();
    }
    equal((await page.goto(`${given.console}/api_tokens/${token.uid}`)).status(), 200, "still signed in");
    holds((await page.locator("main").innerText()).includes("Delete"), "the token lives");
  });
}
await check("nobody can frame the console", async () => {
  const other = await open(context);
  await other.goto(`${evil.origin}/`);
  await other.evaluate((target) => new Promise((resolve) => {
    const frame = document.createElement("iframe");
    frame.src = target;
    frame.onload = resolve;
    document.body.append(frame);
  }), `${given.console}/`);
  const shown = await other.frames()[1].content().catch(() => "");
  holds(!shown.includes("Overview"), "the frame shows nothing of the console");
  await other.close();
});
await check("nobody reads the console by a script", async () => {
  const other = await open(context);
  await other.goto(`${evil.origin}/`);
  const read = await other.evaluate((target) => fetch(target, { credentials: "include" }).then((answer) => answer.text(), () => "unreadable"), `${given.console}/api_tokens`);
  equal(read, "unreadable", "a fetch");
  const opened = await other.evaluate((target) => { const tab = window.open(target); try { return Boolean(tab?.document?.title); } catch { return false; } }, `${given.console}/`);
  equal(opened, false, "an opened window");
  await other.close();
});
await check("a script in the page would not run", async () => {
  await page.goto(`${given.console}/api_tokens`);
  const ran = await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "window.ran = true";
    document.body.append(script);
    return window.ran === true;
  });
  equal(ran, false, "an inline script");
});
evil.close();
await browser.close();
