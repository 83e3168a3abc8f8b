// Deployments on their pages.
import { call, check, chromium, equal, given, holds, open, options, setUp } from "./lib.mjs";

const browser = await chromium.launch(options());
const context = await browser.newContext();
const page = await open(context);
await setUp(page);
const done = () => page.getByRole("status").innerText();

await check("the list says what each is and where it comes from", async () => {
  await page.goto(`${given.console}/deployments`);
  const row = await page.locator("tbody tr").filter({ hasText: "summarization" }).innerText();
  for (const part of ["running", "Protected", given.proxy, given.upstream, "read-only"]) holds(row.includes(part), `${part} in ${row}`);
});
await check("one of the configuration is read-only and says where it comes from", async () => {
  await page.getByRole("link", { name: "summarization" }).click();
  const text = await page.locator("main").innerText();
  holds(text.includes("[deployments.summarization]"), text);
  equal(await page.getByRole("link", { name: "Edit" }).count(), 0, "edit links");
  holds(text.includes(`curl ${given.proxy}`), "a call to paste");
});
await check("a Deployment is added, and a mistake loses nothing", async () => {
  await page.goto(`${given.console}/deployments/new`);
  await page.getByLabel("Name", { exact: true }).fill("added");
  await page.getByLabel("Upstreams").fill("ftp://nowhere");
  await page.getByLabel("Dedicated listener").fill(given.listen);
  await page.getByRole("button", { name: "Add" }).click();
  holds((await page.getByRole("alert").innerText()).includes("Upstreams"), "it says which field");
  equal(await page.getByLabel("Name", { exact: true }).inputValue(), "added", "the name");
  await page.getByLabel("Upstreams").fill(given.upstream);
  await page.getByRole("button", { name: "Add" }).click();
  await page.getByRole("heading", { name: "added" }).waitFor();
  equal(await call(`http://${given.listen}/readyz`, given.endpointToken), 200, "a call");
});
await check("it is made public", async () => {
  await page.getByRole("link", { name: "Edit" }).click();
  await page.getByRole("radio", { name: "Public" }).check();
  await page.getByRole("button", { name: "Save" }).click();
  holds((await done()).includes("saved"), "said");
  equal(await call(`http://${given.listen}/readyz`), 200, "a call without a token");
  await page.getByRole("link", { name: "Edit" }).click();
  await page.getByLabel("Protected").check();
  await page.getByRole("button", { name: "Save" }).click();
  equal(await call(`http://${given.listen}/readyz`), 401, "a call without a token");
});
await check("how much it takes is limited, and what is wrong is said", async () => {
  await page.getByRole("link", { name: "Edit" }).click();
  await page.getByText("Advanced settings", { exact: true }).click();
  await page.getByLabel("Requests at once").fill("4");
  await page.getByLabel("Requests of each token").fill("often");
  await page.getByRole("button", { name: "Save" }).click();
  holds((await page.getByRole("alert").innerText()).includes("Requests of each token"), "it says which field");
  await page.getByText("Advanced settings", { exact: true }).click();
  equal(await page.getByLabel("Requests at once").inputValue(), "4", "what was typed");
  await page.getByLabel("Requests of each token").fill("1000/1m");
  await page.getByRole("button", { name: "Save" }).click();
  holds((await done()).includes("saved"), "said");
  // It stands in a part that is folded.
  const text = await page.locator("main").textContent();
  for (const part of ["4 of each gateway", "1000/1m"]) holds(text.includes(part), `${part} in ${text}`);
});
await check("it is terminated and started", async () => {
  await page.getByRole("button", { name: "Terminate" }).click();
  holds((await done()).includes("Terminated"), "said");
  equal(await call(`http://${given.listen}/readyz`, given.endpointToken), 503, "terminated");
  await page.getByRole("button", { name: "Start" }).click();
  holds((await done()).includes("Started"), "said");
  equal(await call(`http://${given.listen}/readyz`, given.endpointToken), 200, "started");
});
await check("its page names the tokens that can reach it", async () => {
  holds((await page.locator("main").innerText()).includes("All Deployments"), "a token");
});
await check("one click opens it signed in", async () => {
  const [tab] = await Promise.all([context.waitForEvent("page"), page.getByRole("link", { name: "Open", exact: true }).click()]);
  await tab.waitForURL(`http://${given.listen}/`);
  equal(await tab.evaluate(async () => (await fetch("/readyz")).status), 200, "its own pages' calls");
  await tab.close();
});
await check("it is removed, and with it the way to it", async () => {
  await page.getByRole("link", { name: "Remove" }).click();
  await page.getByRole("button", { name: "Remove Deployment" }).click();
  await page.getByRole("heading", { name: "added has been removed" }).waitFor();
  holds((await page.locator("main").innerText()).includes("Browser: added"), "the browser's token");
  const gone = await call(`http://${given.listen}/readyz`, given.endpointToken).catch(() => "closed");
  holds(gone === "closed" || gone === 404, gone);
});
await browser.close();
