// Single sign-on against a real OpenID provider.
import { pathToFileURL } from "node:url";
import { check, chromium, equal, given, holds, open, options, packages } from "./lib.mjs";

const { Provider } = await import(pathToFileURL(packages.resolve("oidc-provider")));
const PEOPLE = {
  ada: { email: "ada@example.com", email_verified: true, name: "Ada of the provider", groups: ["ops", "ml"] },
  bob: { email: "bob@example.com", email_verified: true, name: "Bob", groups: ["ml"] },
  eve: { email: "eve@example.com", email_verified: true, name: "Eve", groups: ["sales"] },
  mallory: { email: "admin@localhost", email_verified: false, name: "Mallory", groups: ["ml"] },
};
const provider = new Provider(given.issuer, {
  clients: [{
    client_id: "bento-gateway",
    client_secret: "a secret of the provider and the gateway",
    redirect_uris: [`${given.console}/sign-in/oidc/callback`],
    response_types: ["code"],
    grant_types: ["authorization_code"],
  }],
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name", "groups"] },
  findAccount: (context, id) => ({ accountId: id, claims: () => ({ sub: id, ...PEOPLE[id] }) }),
  pkce: { required: () => true, methods: ["S256"] },
  features: { devInteractions: { enabled: true } },
  cookies: { keys: ["of the test"] },
});
const seen = [];
provider.use(async (context, next) => {
  if (context.path === "/auth") seen.push(context.query);
  await next();
});
const server = provider.listen(Number(new URL(given.issuer).port), "127.0.0.1");
const browser = await chromium.launch(options());

/** Goes to the provider and says who one is there. */
async function signOn(who) {
  const page = await open(await browser.newContext());
  await page.goto(`${given.console}/sign-in?next=/account`);
  await page.getByRole("link", { name: "Company account" }).click();
  await page.locator("input[name=login]").fill(who);
  await page.locator("input[name=password]").fill("any");
  await page.getByRole("button", { name: "Sign-in" }).click();
  const consent = page.getByRole("button", { name: "Continue" });
  await Promise.race([consent.waitFor(), page.waitForURL(`${given.console}/**`)]);
  if (!page.url().startsWith(given.console)) await consent.click();
  await page.waitForURL(`${given.console}/**`);
  return page;
}

let ada;
await check("somebody of an admins' group signs in as an admin, where they wanted to go", async () => {
  ada = await signOn("ada");
  await ada.getByRole("heading", { name: "Your account" }).waitFor();
  const text = await ada.locator("main").innerText();
  holds(text.includes("ada@example.com") && text.includes("Ada of the provider") && text.includes("admin"), text);
});
await check("the flow is of a code with PKCE, a state and a nonce", async () => {
  const [query] = seen;
  equal([query.response_type, query.code_challenge_method], ["code", "S256"], "the flow");
  for (const field of ["state", "nonce", "code_challenge"]) holds(query[field].length >= 16, field);
  holds(query.scope.split(" ").includes("openid"), query.scope);
});
await check("somebody else of the provider is a member", async () => {
  const bob = await signOn("bob");
  holds((await bob.locator("main").innerText()).includes("member"), "the role");
  equal((await bob.goto(`${given.console}/users`)).status(), 403, "users");
});
await check("who has none of the allowed values is turned away", async () => {
  const eve = await signOn("eve");
  await eve.getByRole("heading", { name: "Access denied" }).waitFor();
  equal((await eve.context().cookies(given.console)).filter((cookie) => cookie.name === "bgw-console"), [], "cookies");
});
await check("an address that nobody has verified takes over no account", async () => {
  const mallory = await signOn("mallory");
  holds((await mallory.locator("main").innerText()).includes("not verified"), "said");
});
await check("the same person comes back to the same account, and the role follows the provider", async () => {
  PEOPLE.bob.groups = ["ops"];
  const bob = await signOn("bob");
  equal((await bob.goto(`${given.console}/users`)).status(), 200, "users");
  const rows = await bob.locator("tbody tr").allInnerTexts();
  equal(rows.filter((row) => row.includes("bob@example.com")).length, 1, "accounts");
});
await check("an answer that was not asked for in this browser is refused", async () => {
  const page = await open(await browser.newContext());
  const answer = await page.goto(`${given.console}/sign-in/oidc/callback?code=x&state=y`);
  equal(answer.status(), 400, "status");
});
await check("a provider that is away is no reason to show its errors", async () => {
  const context = await browser.newContext();
  const begun = await context.request.get(`${given.console}/sign-in/oidc`, { maxRedirects: 0 });
  const state = new URL(begun.headers().location).searchParams.get("state");
  server.closeAllConnections?.();
  await new Promise((resolve) => server.close(resolve));
  const page = await open(context);
  const answer = await page.goto(`${given.console}/sign-in/oidc/callback?code=x&state=${state}`);
  equal(answer.status(), 502, "status");
  holds(!(await page.content()).includes(new URL(given.issuer).port), "no address of it");
});
await browser.close();
