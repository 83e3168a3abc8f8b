// `bentoml cloud login` waits while a person approves or refuses it in the browser.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { ADA, check, chromium, equal, eventually, fillSignIn, given, holds, open, options, setUp } from "./lib.mjs";

const browser = await chromium.launch(options());
const first = await open(await browser.newContext());
await setUp(first);

/** The real client on a terminal of its own: it asks questions. */
function login() {
  const home = mkdtempSync(`${tmpdir()}/bentoml-`);
  const script = `import pty, sys; sys.exit(__import__("os").waitstatus_to_exitcode(pty.spawn(${JSON.stringify([
    given.python, "-m", "bentoml", "cloud", "login", "--endpoint", given.console,
  ])})))`;
  const child = spawn(given.python, ["-c", script], {
    env: { ...process.env, BENTOML_HOME: home, BENTOML_DO_NOT_TRACK: "True", BROWSER: "true", TERM: "dumb", COLUMNS: "400" },
  });
  const run = { text: "", code: null, home, child };
  child.stdout.on("data", (data) => { run.text += data; });
  child.stderr.on("data", (data) => { run.text += data; });
  child.on("exit", (code) => { run.code = code; });
  return run;
}

/** Answers the client's questions: with a browser, and not by itself. The link that it shows. */
async function link(run) {
  const settle = () => new Promise((resolve) => setTimeout(resolve, 300));
  await eventually("the client asks how", () => run.text.includes("Paste an existing API token"), 60000);
  // It reads keys only once its menu stands.
  await settle();
  run.child.stdin.write("\r");
  await eventually("the client asks whether to open a browser", () => run.text.includes("[y/n]"), 30000);
  await settle();
  run.child.stdin.write("n\n");
  await eventually("the client waits", () => run.text.includes("Waiting for authentication"), 30000);
  return run.text.match(/https?:\/\/\S+api_tokens\?code=[0-9a-f]+/)[0];
}

await check("a login is approved after signing in, with what is asked and granted in sight", async () => {
  const run = login();
  const address = await link(run);
  const page = await open(await browser.newContext());
  await page.goto(address);
  await fillSignIn(page, ADA.email, ADA.password);
  await page.getByRole("heading", { name: "Approve this login?" }).waitFor();
  const text = await page.locator("main").innerText();
  holds(text.includes(address.split("code=")[1]), "the code");
  holds(text.includes("127.0.0.1"), "who asks");
  holds(text.includes("Developer Operations Access"), "what is granted");
  equal(run.code, null, "the client still waits");
  await page.getByRole("button", { name: "Approve" }).click();
  await page.getByRole("heading", { name: "Login approved" }).waitFor();
  await eventually("the client is logged in", () => run.code !== null, 30000);
  equal(run.code, 0, `its exit\n${run.text}`);
  holds(readFileSync(`${run.home}/.yatai.yaml`, "utf8").includes(given.console), "its context");
});
await check("a refused login ends the client with bad credentials", async () => {
  const run = login();
  await first.goto(await link(run));
  await first.getByRole("button", { name: "Deny" }).click();
  await first.getByRole("heading", { name: "Login denied" }).waitFor();
  await eventually("the client gives up", () => run.code !== null, 30000);
  holds(run.code !== 0, run.text);
});
await check("a code that is over says so", async () => {
  const answer = await first.goto(`${given.console}/api_tokens?code=${"0".repeat(40)}`);
  equal(answer.status(), 409, "status");
  holds((await first.locator("main").innerText()).includes("bentoml cloud login"), "what to do");
});
await browser.close();
