// Every page, light and dark, wide and on a phone, is free of what axe-core finds.
import { api, check, chromium, createToken, equal, given, open, options, packages, setUp } from "./lib.mjs";

const source = packages("axe-core").source;
const browser = await chromium.launch(options());
// The pages' policy lets no foreign script in.
const context = await browser.newContext({ bypassCSP: true });
const page = await open(context);

async function examine(name) {
  await check(name, async () => {
    for (const colorScheme of ["light", "dark"]) {
      for (const width of [1280, 390]) {
        await page.emulateMedia({ colorScheme });
        await page.setViewportSize({ width, height: 900 });
        await page.evaluate(source);
        const { violations } = await page.evaluate(() => window.axe.run());
        const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" | ")}`);
        equal(found, [], `${colorScheme}, ${width} px: violations`);
        const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        equal(wider, 0, `${colorScheme}, ${width} px: how much wider than the window`);
      }
    }
  });
}

const visit = async (path, name = path) => {
  await page.goto(given.console + path);
  await examine(name);
};
await visit("/sign-in");
await page.goto(given.welcome);
await examine("/welcome");
await setUp(page);
await createToken(page, "one", (page) => page.getByLabel("All Deployments").check());
await examine("a token that was created");
await fetch(`${given.proxy}/readyz`, { headers: { authorization: "Bearer bgw_wrong" } });
const { items: [token] } = await api("GET", "/api/v1/api_tokens?search=one");
const { code } = await (await fetch(`${given.console}/api/v1/auth/code`)).json();
await visit("/", "overview");
for (const path of ["/api_tokens", "/api_tokens?owner=everybody&deleted=1", "/api_tokens?q=nothing", "/api_tokens/new"]) await visit(path);
for (const path of ["", "/edit", "/rotate", "/delete"]) await visit(`/api_tokens/${token.uid}${path}`, `a token${path}`);
await visit(`/api_tokens?code=${code}`, "approving a login");
for (const path of ["/deployments", "/deployments/new", "/deployments/summarization", "/users", "/usage", "/activity", "/activity/verify", "/account", "/nothing-there"]) await visit(path);
await page.goto(`${given.proxy}/`);
await examine("a Deployment's sign-in page");
await page.goto(`${given.proxy}/-/`);
await examine("a Deployment's session page");

await page.setViewportSize({ width: 1280, height: 900 });
await check("the keyboard reaches everything in order", async () => {
  await page.goto(`${given.console}/api_tokens`);
  const reached = [];
  for (let count = 0; count < 12; count++) {
    await page.keyboard.press("Tab");
    reached.push(await page.evaluate(() => document.activeElement.innerText || document.activeElement.id));
  }
  equal(reached.slice(0, 7), ["Skip to content", "bento-gateway", "Overview", "API Tokens", "Deployments", "Usage", "Users"], "the first");
  equal(reached.includes("Create"), true, "Create is reached");
});
await browser.close();
