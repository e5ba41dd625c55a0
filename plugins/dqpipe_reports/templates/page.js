"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Tables that unfold: everything is there without scripts, so it is folded here.
  for (const button of all("[data-unfold]")) {
    const rows = document.getElementById(button.dataset.unfold);
    rows.hidden = true;
    button.hidden = false;
    button.addEventListener("click", () => { rows.hidden = false; button.hidden = true; });
  }

  // Galleries show the first examples; a filter that is set shows every one that fits.
  const folds = all("[data-more]").map((button) => ({ button, kind: button.closest("[data-kind]"), open: false }));
  const fold = (all_shown) => {
    for (const { button, kind, open } of folds) {
      kind.classList.toggle("folded", !open && !all_shown);
      button.hidden = open || all_shown;
    }
  };
  for (const item of folds) item.button.addEventListener("click", () => { item.open = true; fold(false); });
  fold(false);

  // Filters over the examples; their state stands in the address, so that a view can be kept.
  const form = document.querySelector("[data-filters]");
  if (form) {
    const examples = all("[data-example]").map((element) => ({ element, text: [element.textContent, element.dataset.code, ...all("[title]", element).map((e) => e.title)].join(" ").toLowerCase() }));
    const output = form.querySelector("output");
    const empty = document.querySelector(".empty");
    const fields = ["q", "code", "decision", "label"].map((name) => form.elements[name]).filter(Boolean);

    const apply = () => {
      const [q, code, decision, label] = ["q", "code", "decision", "label"].map((name) => form.elements[name]?.value ?? "");
      const words = q.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const { element, text } of examples) {
        const fits = (!code || element.dataset.code === code) && (!decision || element.dataset.decision === decision) && (!label || element.dataset.label === label) && words.every((word) => text.includes(word));
        element.hidden = !fits;
        shown += fits ? 1 : 0;
      }
      const filtered = fields.some((field) => field.value);
      for (const kind of all("[data-kind]")) {
        kind.hidden = !kind.querySelector("[data-example]:not([hidden])");
        if (filtered && !kind.hidden) kind.open = true;
      }
      output.textContent = shown === examples.length ? `${shown} examples` : `${shown} of ${examples.length} examples`;
      empty.hidden = shown > 0;
      fold(filtered);
    };

    const remember = () => {
      const state = new URLSearchParams();
      for (const field of fields) if (field.value) state.set(field.name, field.value);
      const text = state.toString();
      history.replaceState(null, "", text ? "#" + text : "#examples");
    };

    const recall = () => {
      const hash = location.hash.slice(1);
      if (!hash.includes("=")) {
        // A link to a claim that the filter hides shows it again.
        const target = hash && document.getElementById(hash);
        if (!target) return;
        if (target.closest("[hidden]")) { form.reset(); apply(); }
        const folded = target.closest("details");
        if (folded) folded.open = true;
        target.scrollIntoView();
        return;
      }
      const state = new URLSearchParams(hash);
      for (const field of fields) field.value = state.get(field.name) || "";
      apply();
      document.getElementById("examples")?.scrollIntoView();
    };

    form.hidden = false;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => { apply(); remember(); });
    window.addEventListener("hashchange", recall);
    document.addEventListener("keydown", (event) => {
      const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName || "");
      if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) { event.preventDefault(); fields[0].focus(); }
      if (event.key === "Escape" && document.activeElement === fields[0]) { form.reset(); apply(); remember(); }
    });
    apply();
    recall();
  }

{% include "draw.js" %}

  // The files that lie beside this page: seen through the link in the output folder, they lie in the version's folder.
  const version = document.body.dataset.version;
  if (version && !location.pathname.includes(`/versions/${encodeURIComponent(version)}/`)) {
    for (const link of all("a[data-file]")) link.href = `versions/${encodeURIComponent(version)}/${link.dataset.file}`;
  }

  // On paper everything is unfolded, and folded again afterwards.
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = all("details:not([open])");
    for (const details of opened) details.open = true;
    for (const body of all("tbody.more")) body.hidden = false;
    fold(true);
    for (const figure of charts) draw(figure);
  });
  window.addEventListener("afterprint", () => {
    for (const details of opened) details.open = false;
    fold(false);
  });
})();
