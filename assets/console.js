// Conveniences. Every page works without scripts, too.
"use strict";

// Copy buttons, which without a script would do nothing.
for (const button of document.querySelectorAll("button[data-copy]")) {
  const source = document.getElementById(button.dataset.copy);
  button.hidden = false;
  button.setAttribute("aria-live", "polite");
  button.addEventListener("click", async () => {
    const copied = await copy(source);
    button.textContent = copied ? "Copied" : "Press Ctrl+C";
    setTimeout(() => { button.textContent = "Copy"; }, 2500);
  });
}

async function copy(source) {
  try {
    await navigator.clipboard.writeText(source.innerText);
    return true;
  } catch {
    // Without TLS browsers have no clipboard for us; what is selected can still be copied.
    getSelection().selectAllChildren(source);
    return document.execCommand("copy");
  }
}

// A token needs at least one type of access.
for (const form of document.querySelectorAll("form[data-needs-access]")) {
  const submit = form.querySelector("[data-submit]");
  const adjust = () => {
    const endpoint = form.elements.endpoint.checked;
    const reach = form.elements.reach.value;
    const some = reach === "all" || form.querySelector("[name=deployment]:checked") !== null ||
      form.elements.routes.value.trim() !== "";
    const developer = form.elements.developer.checked;
    submit.disabled = !(developer || endpoint) || (endpoint && !some);
  };
  form.addEventListener("input", (event) => {
    // Choosing what is reached, or only a part, chooses the access itself.
    const { name, checked, value } = event.target;
    if ((name === "deployment" && checked) || (name === "routes" && value.trim() !== "")) {
      form.elements.endpoint.checked = true;
      form.querySelector("[name=reach][value=some]").checked = true;
    }
    if (name === "reach" && value === "all") form.elements.endpoint.checked = true;
    if (name === "narrow" && checked) form.elements.developer.checked = true;
    adjust();
  });
  adjust();
}

// The sentence that says when a token will expire.
for (const select of document.querySelectorAll("select[data-expiry]")) {
  const date = document.getElementById("date");
  const sentence = document.getElementById("expiry-sentence");
  const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  const two = (number) => String(number).padStart(2, "0");
  const say = (at) => `This token will expire on ${at.getUTCDate()} ${months[at.getUTCMonth()]} ${at.getUTCFullYear()}, ` +
    `${two(at.getUTCHours())}:${two(at.getUTCMinutes())} UTC.`;
  const adjust = () => {
    const value = select.value;
    date.disabled = value !== "date";
    if (value === "keep") sentence.textContent = sentence.dataset.keep;
    else if (value === "never") sentence.textContent = "This token does not expire.";
    else if (value !== "date") sentence.textContent = say(new Date(Date.now() + Number(value) * 86400000));
    else if (date.value) sentence.textContent = say(new Date(`${date.value}T23:59:59Z`));
    else sentence.textContent = "Choose a date.";
  };
  select.addEventListener("change", adjust);
  date.addEventListener("input", adjust);
  adjust();
}

// Confirms what ends something at once and has no confirmation page.
for (const form of document.querySelectorAll("form[data-confirm]")) {
  form.addEventListener("submit", (event) => {
    if (!confirm(form.dataset.confirm)) event.preventDefault();
  });
}
