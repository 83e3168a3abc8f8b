// A header-injecting extension, as BentoCloud's users know it.
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { check, chromium, equal, given, holds, open, options } from "./lib.mjs";

const directory = mkdtempSync(`${tmpdir()}/extension-`);
writeFileSync(`${directory}/manifest.json`, JSON.stringify({
  manifest_version: 3,
  name: "Sets a header",
  version: "1.0",
  permissions: ["declarativeNetRequestWithHostAccess"],
  host_permissions: ["http://127.0.0.1/*"],
  declarative_net_request: { rule_resources: [{ id: "rules", enabled: true, path: "rules.json" }] },
}));
writeFileSync(`${directory}/rules.json`, JSON.stringify([{
  id: 1,
  action: {
    type: "modifyHeaders",
    requestHeaders: [{ header: "authorization", operation: "set", value: `Bearer ${given.endpointToken}` }],
  },
  condition: { urlFilter: `|${given.proxy}/`, resourceTypes: ["main_frame", "sub_frame", "xmlhttprequest", "script", "stylesheet", "image", "websocket", "other"] },
}]));
const { args, executablePath } = options([`--disable-extensions-except=${directory}`, `--load-extension=${directory}`]);
// The headless shell has no extensions: the browser itself, without a window.
const context = await chromium.launchPersistentContext(mkdtempSync(`${tmpdir()}/profile-`), {
  executablePath,
  headless: false,
  args: [...args, "--headless=new"],
});
const page = await open(context);

await check("with an extension that sets the header, the Deployment opens without signing in", async () => {
  const answer = await page.goto(`${given.proxy}/`);
  equal(answer.status(), 200, "status");
  equal(await context.cookies(given.proxy), [], "cookies");
});
await check("its pages' own calls work, too", async () => {
  const seen = await page.evaluate(async () => (await fetch("/live/request")).json());
  const headers = Object.fromEntries(seen.headers);
  equal(headers.authorization, undefined, "the token stops at the gateway");
  holds(headers["x-bento-gateway-token-uid"], "which token it was");
});
await context.close();
