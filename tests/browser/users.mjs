// Users, activity, overview, and one's own account.
import { ADA, call, check, chromium, createToken, equal, eventually, given, holds, introduce, open, options, setUp, signIn } from "./lib.mjs";

const browser = await chromium.launch(options());
const page = await open(await browser.newContext());
await setUp(page);
const BOB = { name: "Bob", email: "bob@example.com", password: "a password of Bob's own" };
let bob;

await check("somebody is invited by a link that works once", async () => {
  await page.goto(`${given.console}/users`);
  await page.getByLabel("Email").fill(BOB.email);
  await page.getByRole("button", { name: "Create invitation" }).click();
  const link = (await page.locator("#invitation-link").innerText()).trim();
  bob = await open(await browser.newContext());
  await bob.goto(link);
  equal(await bob.getByLabel("Email").inputValue(), BOB.email, "the address");
  await introduce(bob, BOB);
  equal((await bob.goto(link)).status(), 410, "the link again");
});
let token;
await check("a member manages their own tokens, and nothing else", async () => {
  equal((await bob.goto(`${given.console}/users`)).status(), 403, "users");
  equal((await bob.goto(`${given.console}/deployments/new`)).status(), 403, "adding a Deployment");
  token = await createToken(bob, "bobs", (page) => page.getByLabel("All Deployments").check());
  equal(await call(`${given.proxy}/readyz`, token), 200, "a call");
  await createToken(page, "adas", (page) => page.getByLabel("All Deployments").check());
  await bob.goto(`${given.console}/api_tokens?owner=everybody`);
  equal(await bob.locator("tbody th a").allInnerTexts(), ["bobs"], "what Bob sees");
  await page.goto(`${given.console}/api_tokens?owner=everybody`);
  holds((await page.locator("tbody th a").allInnerTexts()).includes("bobs"), "what an admin sees");
  const uid = await page.getByRole("link", { name: "adas" }).getAttribute("href");
  equal((await bob.goto(given.console + uid)).status(), 404, "another one's token");
});
await check("a role is given and taken", async () => {
  await page.goto(`${given.console}/users`);
  await page.getByRole("button", { name: `Make admin: ${BOB.email}` }).click();
  holds((await page.getByRole("status").innerText()).includes("admin"), "said");
  equal((await bob.goto(`${given.console}/users`)).status(), 200, "users");
  await page.getByRole("button", { name: `Make member: ${BOB.email}` }).click();
  await page.getByRole("status").waitFor();
  equal((await bob.goto(`${given.console}/users`)).status(), 403, "users");
});
await check("the last admin stays one", async () => {
  await page.getByRole("button", { name: `Make member: ${ADA.email}` }).click();
  holds((await page.getByRole("alert").innerText()).includes("last admin"), "said");
});
await check("who is disabled loses tokens and sessions at once", async () => {
  page.once("dialog", (dialog) => dialog.accept());
  await page.getByRole("button", { name: `Disable: ${BOB.email}` }).click();
  holds((await page.getByRole("status").innerText()).includes("disabled"), "said");
  equal(await call(`${given.proxy}/readyz`, token), 401, "the token");
  await bob.goto(`${given.console}/api_tokens`);
  await bob.getByRole("heading", { name: "Sign in" }).waitFor();
});
await check("who is enabled again has their tokens, and no session", async () => {
  await page.getByRole("button", { name: `Enable: ${BOB.email}` }).click();
  holds((await page.getByRole("status").innerText()).includes("enabled"), "said");
  equal(await call(`${given.proxy}/readyz`, token), 200, "the token");
  await bob.goto(`${given.console}/api_tokens`);
  await bob.getByRole("heading", { name: "Sign in" }).waitFor();
});
await check("activity tells in sentences, and is filtered", async () => {
  await page.goto(`${given.console}/activity`);
  const text = (await page.locator(".events").innerText()).replace(/\s+/g, " ");
  for (const sentence of [
    `${ADA.email} disabled the user ${BOB.email}`, `${BOB.email} created the token bobs`, `${ADA.email} accepted an invitation`,
  ]) holds(text.includes(sentence), `${sentence} in ${text}`);
  await page.getByLabel("Type").selectOption("token.");
  await page.getByLabel("User").selectOption({ label: BOB.email });
  await page.getByRole("button", { name: "Apply" }).click();
  const only = await page.locator(".events li").allInnerTexts();
  holds(only.length === 1 && only[0].includes("bobs"), JSON.stringify(only));
});
await check("the overview shows what went through and what was refused", async () => {
  for (let count = 0; count < 3; count++) await call(`${given.proxy}/readyz`, "bgw_wrong");
  await eventually("figures", async () => {
    await page.goto(`${given.console}/`);
    const text = await page.locator("main").innerText();
    return /token malformed\s+\d/.test(text) && /bobs\s+\d/.test(text) && /summarization\s+\d/.test(text);
  });
  equal(await page.locator("svg[role=img]").count(), 2, "charts");
  await page.getByRole("link", { name: "Last 24 hours" }).click();
  holds(/token malformed/.test(await page.locator("main").innerText()), "over a day");
});
await check("a new password signs other browsers out, and not this one", async () => {
  const other = await open(await browser.newContext());
  await signIn(other);
  await page.goto(`${given.console}/account`);
  await page.getByLabel("Current password").fill("wrong");
  const fill = async () => {
    await page.getByLabel("New password").fill("another long password");
    await page.getByLabel("Confirm password").fill("another long password");
    await page.getByRole("button", { name: "Change password" }).click();
  };
  await fill();
  holds((await page.getByRole("alert").innerText()).includes("current password"), "a wrong one is refused");
  await page.getByLabel("Current password").fill(ADA.password);
  await fill();
  holds((await page.getByRole("status").innerText()).includes("changed"), "said");
  await other.goto(`${given.console}/`);
  await other.getByRole("heading", { name: "Sign in" }).waitFor();
  await page.goto(`${given.console}/account`);
  await page.getByRole("heading", { name: "Your account" }).waitFor();
});
await check("signing out everywhere ends every session", async () => {
  const other = await open(await browser.newContext());
  await signIn(other, { ...ADA, password: "another long password" });
  await page.goto(`${given.console}/account`);
  equal(await page.locator(".lines li").count(), 2, "sessions");
  await page.getByRole("button", { name: "Sign out everywhere" }).click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  await other.goto(`${given.console}/`);
  await other.getByRole("heading", { name: "Sign in" }).waitFor();
});
await browser.close();
