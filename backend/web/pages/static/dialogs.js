// Small comforts; each page works without them.
// <a data-zoom="GROUP" href="PICTURE">: opens the picture over the page; arrow keys go on in the group.
// <form data-confirm="Question?">: asks before it is sent.
// <form data-auto>: sent when a choice in it changes.

const dialog = document.body.appendChild(document.createElement("dialog"));

function button(text, onClick, name = "") {
  const made = document.createElement("button");
  made.type = "button";
  made.className = `button ${name}`;
  made.textContent = text;
  made.addEventListener("click", onClick);
  return made;
}

function open(name, label, ...parts) {
  dialog.className = name;
  dialog.setAttribute("aria-label", label);
  dialog.replaceChildren(...parts);
  if (!dialog.open) dialog.showModal();
}

// A picture that is not drawn yet is answered with one of 1 px (pictures.js): until then the small one is shown.
function showWhenDrawn(picture, address, tries = 0) {
  const large = new Image();
  large.onload = () => {
    if (large.naturalWidth > 1) picture.src = large.src;
    else if (picture.isConnected && tries < 20) setTimeout(() => showWhenDrawn(picture, address, tries + 1), 800);
  };
  large.src = tries ? `${address}?try=${tries}` : address;
}

function zoom(link) {
  const group = [...document.querySelectorAll("a[data-zoom]")].filter((each) => each.dataset.zoom === link.dataset.zoom);
  const place = group.indexOf(link);
  const go = (step) => group[place + step] && zoom(group[place + step]);
  const picture = document.createElement("img");
  const small = link.querySelector("img");
  picture.src = small?.naturalWidth > 1 ? small.src : link.href;
  picture.alt = small?.alt ?? "";
  showWhenDrawn(picture, link.href);
  const caption = document.createElement("p");
  caption.textContent = link.dataset.caption ?? picture.alt;
  const row = document.createElement("div");
  row.className = "dialog-row";
  const before = button("← Previous", () => go(-1));
  const after = button("Next →", () => go(1));
  before.disabled = place <= 0;
  after.disabled = place >= group.length - 1;
  row.append(before, after, caption, button("Close", () => dialog.close(), "primary"));
  const frame = document.createElement("div");
  frame.className = "zoom-frame";
  frame.append(picture);
  frame.addEventListener("click", () => frame.classList.toggle("close-up"));
  open("zoom", caption.textContent, frame, row);
  dialog.onkeydown = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) go(step);
  };
  dialog.onclose = () => link.isConnected && group[place]?.focus();
}

function confirmThenSend(form, submitter) {
  const question = document.createElement("p");
  question.textContent = form.dataset.confirm;
  const row = document.createElement("div");
  row.className = "dialog-row";
  const send = () => {
    dialog.close();
    form.dataset.confirmed = "yes";
    form.requestSubmit(submitter);
  };
  row.append(button("Cancel", () => dialog.close()), button(submitter?.textContent.trim() || "Go on", send, "primary"));
  dialog.onkeydown = dialog.onclose = null;
  open("confirm", form.dataset.confirm, question, row);
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-zoom]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    zoom(link);
  }
  if (event.target === dialog) dialog.close(); // the backdrop
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.dataset.confirm) return;
  if (form.dataset.confirmed === "yes") {
    delete form.dataset.confirmed; // the next time it asks again
    return;
  }
  event.preventDefault();
  confirmThenSend(form, event.submitter);
});

document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" }); // on a phone

document.addEventListener("change", (event) => {
  const form = event.target.closest?.("form[data-auto]");
  if (form && event.target.matches("select, input[type=checkbox]")) form.requestSubmit();
});
