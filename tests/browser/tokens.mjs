// First run, sign-in, and the life of API tokens.
import { ADA, api, call, check, chromium, createToken, equal, eventually, fillSignIn, given, holds, open, options, setUp } from "./lib.mjs";

const browser = await chromium.launch(options());
const context = await browser.newContext();
await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: given.console });
const page = await open(context);
const target = `${given.proxy}/readyz`;
const cookie = async () => (await context.cookies(given.console)).find((cookie) => cookie.name === "bgw-console");

await check("the set-up link makes the first admin", async () => {
  await setUp(page);
  holds(await page.getByRole("link", { name: "Users" }).isVisible(), "an admin sees the users");
});
await check("the set-up link works once", async () => {
  const other = await open(await browser.newContext());
  const answer = await other.goto(given.welcome);
  equal(answer.status(), 410, "status");
  await other.close();
});
await check("signing out ends the session", async () => {
  const before = await cookie();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  equal(await cookie(), undefined, "the cookie");
  const answer = await fetch(`${given.console}/`, { headers: { cookie: `bgw-console=${before.value}` }, redirect: "manual" });
  equal(answer.status, 303, "a kept cookie");
});
await check("a wrong password and an unknown address get the same answer", async () => {
  const texts = [];
  for (const email of [ADA.email, "nobody@example.com"]) {
    await page.goto(`${given.console}/sign-in`);
    await fillSignIn(page, email, "not the password");
    texts.push(await page.getByRole("alert").innerText());
  }
  equal(texts[0], texts[1], "the text");
  holds(texts[0].includes("ncorrect"), texts[0]);
});
await check("signing in leads where one wanted to go, with a new session", async () => {
  const planted = "0".repeat(40);
  await context.addCookies([{ name: "bgw-console", value: planted, url: given.console }]);
  await page.goto(`${given.console}/deployments`);
  await fillSignIn(page, ADA.email, ADA.password);
  await page.getByRole("heading", { name: "Deployments" }).waitFor();
  const session = await cookie();
  holds(session.value !== planted, "the id is a new one");
  holds(session.httpOnly && session.sameSite === "Lax" && session.domain === "127.0.0.1", "the cookie is host-only");
});
await check("submit stays off until an access is chosen", async () => {
  await page.goto(`${given.console}/api_tokens/new`);
  const submit = page.getByRole("button", { name: "Submit" });
  await page.getByLabel("Name").fill("x");
  holds(await submit.isDisabled(), "off at first");
  await page.getByLabel("Protected Endpoint Access").check();
  holds(await submit.isDisabled(), "off without a Deployment");
  await page.getByLabel("All Deployments").check();
  holds(await submit.isEnabled(), "on");
  await page.getByLabel("Protected Endpoint Access").uncheck();
  holds(await submit.isDisabled(), "off again");
  await page.getByLabel("Developer Operations Access").check();
  holds(await submit.isEnabled(), "on with the other access");
});
await check("without a script the server refuses a token without access, and keeps what was typed", async () => {
  const plain = await browser.newContext({ javaScriptEnabled: false, storageState: await context.storageState() });
  const other = await open(plain);
  await other.goto(`${given.console}/api_tokens/new`);
  await other.getByLabel("Name").fill("typed");
  await other.getByRole("button", { name: "Submit" }).click();
  holds((await other.getByRole("alert").innerText()).includes("at least one type of access"), "it says why");
  equal(await other.getByLabel("Name").inputValue(), "typed", "the name");
  await plain.close();
});
await check("the lifetime is 90 days unless one says otherwise, and the sentence says when it ends", async () => {
  await page.goto(`${given.console}/api_tokens/new`);
  equal(await page.getByLabel("Lifetime").inputValue(), "90", "the default");
  const end = (days) => new Date(Date.now() + days * 86400000);
  const year = (days) => String(end(days).getUTCFullYear());
  const sentence = page.locator("#expiry-sentence");
  holds((await sentence.innerText()).startsWith(`This token will expire on ${end(90).getUTCDate()} `), "90 days");
  await page.getByLabel("Lifetime").selectOption("365");
  holds((await sentence.innerText()).includes(year(365)), "a year");
  await page.getByLabel("Lifetime").selectOption("date");
  await page.getByLabel(/^Date/).fill("2031-05-06");
  equal(await sentence.innerText(), "This token will expire on 6 May 2031, 23:59 UTC.", "a date");
  await page.getByLabel("Lifetime").selectOption("never");
  equal(await sentence.innerText(), "This token does not expire.", "never");
});

let one;
await check("a token for one Deployment calls that one", async () => {
  one = await createToken(page, "one", (page) => page.getByLabel("summarization").check());
  equal([await call(target, one), await call(`${given.other}/readyz`, one)], [200, 403], "statuses");
});
await check("the copy button copies the token", async () => {
  await page.locator("button[data-copy=token-text]").click();
  await page.getByRole("button", { name: "Copied" }).waitFor();
  equal((await page.evaluate(() => navigator.clipboard.readText())).trim(), one, "the clipboard");
});
await check("what there is to paste holds the token and the address", async () => {
  const text = await page.locator(".tabs").textContent();
  for (const part of [`curl ${given.proxy}`, "SyncHTTPClient", one, "Authorization: Bearer"]) holds(text.includes(part), part);
});
await check("the token is shown once", async () => {
  await page.goto(`${given.console}/api_tokens`);
  for (const path of ["/api_tokens", "/activity", "/"]) {
    await page.goto(given.console + path);
    holds(!(await page.content()).includes(one.slice(0, 16)), path);
  }
});
await check("a developer token manages and calls nothing", async () => {
  const developer = await createToken(page, "developer", (page) => page.getByLabel("Developer Operations Access").check());
  holds((await page.locator(".tabs").textContent()).includes(`bentoml cloud login --api-token '${developer}'`), "the command");
  equal(await call(target, developer), 403, "calling");
  equal(await call(`${given.console}/api/v1/auth/current`, developer), 200, "managing");
});
let all;
await check("a token for All Deployments calls each", async () => {
  all = await createToken(page, "everything", (page) => page.getByLabel("All Deployments").check());
  equal([await call(target, all), await call(`${given.other}/readyz`, all)], [200, 200], "statuses");
});
const show = async (name) => {
  await page.goto(`${given.console}/api_tokens?q=${encodeURIComponent(name)}`);
  await page.getByRole("link", { name, exact: true }).click();
  await page.getByRole("heading", { name }).waitFor();
};
await check("a token is updated, and its new scopes count at once", async () => {
  await show("everything");
  await page.getByRole("link", { name: "Update" }).click();
  await page.getByLabel("Name").fill("less");
  await page.getByLabel("Selected Deployments").check();
  await page.getByLabel("summarization").check();
  await page.getByRole("button", { name: "Save" }).click();
  holds((await page.getByRole("status").innerText()).includes("Applied on 1 gateway"), "the receipt");
  await page.getByRole("heading", { name: "less" }).waitFor();
  equal([await call(target, all), await call(`${given.other}/readyz`, all)], [200, 403], "statuses");
});
let rotated;
await check("after a rotation both secrets work for the overlap", async () => {
  await show("one");
  await page.getByRole("link", { name: "Rotate" }).click();
  await page.getByLabel("Old secret expires after").fill("24h");
  await page.getByRole("button", { name: "Rotate" }).click();
  await page.getByRole("heading", { name: "New secret for one" }).waitFor();
  rotated = (await page.locator("#token-text").innerText()).trim();
  equal([await call(target, one), await call(target, rotated)], [200, 200], "statuses");
});
await check("a rotation without overlap ends the old secret at once", async () => {
  await show("one");
  await page.getByRole("link", { name: "Rotate" }).click();
  await page.getByLabel("Old secret expires after").fill("0s");
  await page.getByRole("button", { name: "Rotate" }).click();
  await page.getByRole("heading", { name: "New secret for one" }).waitFor();
  const newest = (await page.locator("#token-text").innerText()).trim();
  equal([await call(target, one), await call(target, rotated), await call(target, newest)], [401, 401, 200], "statuses");
  one = newest;
});
await check("a deleted token is refused everywhere, and the page says who knows", async () => {
  await show("one");
  await page.getByRole("link", { name: "Delete" }).click();
  await page.getByRole("button", { name: "Delete token" }).click();
  await page.getByRole("heading", { name: "one has been deleted" }).waitFor();
  holds(/Applied on 1 gateway within \d+ ms/.test(await page.getByRole("status").innerText()), "the receipt");
  equal(await call(target, one), 401, "status");
});
await check("the list is searched and sorted, and deleted tokens are shown on request", async () => {
  const names = () => page.locator("tbody th a").allInnerTexts();
  await page.goto(`${given.console}/api_tokens`);
  holds(!(await names()).includes("one"), "deleted ones are left out");
  await page.getByLabel("Include deleted").check();
  await page.getByRole("button", { name: "Apply" }).click();
  holds((await names()).includes("one"), "deleted ones on request");
  await page.getByLabel("Search").fill("DEVELOPER");
  await page.getByRole("button", { name: "Apply" }).click();
  equal(await names(), ["developer"], "found");
  await page.goto(`${given.console}/api_tokens?sort=name`);
  const sorted = await names();
  equal(sorted, [...sorted].sort((a, b) => a.localeCompare(b)), "sorted");
});
await check("names are text, whatever they hold", async () => {
  const name = `<img src=x onerror=alert(1)> "&'`;
  await createToken(page, name, (page) => page.getByLabel("All Deployments").check());
  await page.goto(`${given.console}/api_tokens`);
  equal(await page.locator("img").count(), 0, "images");
  holds((await page.locator("tbody th a").allInnerTexts()).includes(name), "the name as it was typed");
});
await check("usage shows", async () => {
  for (let count = 0; count < 5; count++) await call(target, all);
  await eventually("the token is known to be used", async () => {
    await page.goto(`${given.console}/api_tokens?q=less`);
    return (await page.locator("tbody tr").first().innerText()).includes("Active");
  });
});
await check("what is asked without a session leads to the sign-in page", async () => {
  const other = await open(await browser.newContext());
  await other.goto(`${given.console}/api_tokens/new`);
  await other.getByRole("heading", { name: "Sign in" }).waitFor();
  holds(other.url().includes("next=%2Fapi_tokens%2Fnew"), other.url());
});
await check("guessing passwords is held up", async () => {
  const other = await open(await browser.newContext());
  await eventually("the account is limited", async () => {
    await other.goto(`${given.console}/sign-in`);
    await fillSignIn(other, ADA.email, "guess");
    return (await other.getByRole("alert").innerText()).includes("Too many");
  }, 60000);
});
await api("GET", "/api/v1/auth/current");
await browser.close();
