  // Charts: JSON in the page, drawn by Plot when they come into sight, and again when their width changes.
  const widths = new WeakMap();
  const draw = (figure) => {
    const holder = figure.querySelector(".drawn");
    const width = Math.round(holder.clientWidth);
    if (!width || widths.get(figure) === width) return;
    widths.set(figure, width);
    const { marks, options } = JSON.parse(figure.querySelector("script").textContent);
    const most = Math.round(width * 0.42);
    if (options.marginLeft > most) {
      const letters = Math.floor((most - 14) / 7);
      options.marginLeft = most;
      options.y.tickFormat = (name) => (name.length > letters ? `…${name.slice(1 - letters)}` : name);
    }
    const drawn = marks.map(([mark, rows, how]) => Plot[mark](rows, how));
    holder.replaceChildren(Plot.plot({ ...options, width, marks: drawn, style: { fontSize: "12px" } }));
  };
  const charts = all("[data-chart]");
  const sight = new IntersectionObserver((entries) => { for (const entry of entries) if (entry.isIntersecting) draw(entry.target); }, { rootMargin: "50% 0px" });
  const size = new ResizeObserver((entries) => { for (const { target } of entries) if (widths.has(target)) draw(target); });
  for (const figure of charts) { sight.observe(figure); size.observe(figure); }
  // The others when there is time: a page that is captured whole has them too.
  const idle = window.requestIdleCallback ?? ((run) => setTimeout(run, 50));
  const rest = [...charts];
  const next = () => {
    const figure = rest.shift();
    if (!figure) return;
    if (figure.clientWidth && !widths.has(figure)) draw(figure);
    idle(next);
  };
  window.addEventListener("load", () => idle(next));

  // The map: its points stand in columns; -1 is none.
  for (const place of all("[data-map]")) {
    place.hidden = false;
    const data = JSON.parse(place.querySelector("script").textContent);
    const plane = place.querySelector(".plane"), tip = place.querySelector(".tip"), form = place.querySelector("form"), output = form.querySelector("output");
    const words = { drop: "dropped", relabel: "relabelled", review: "for review", keep: "kept" };
    const points = data.id.map((id, i) => ({
      i, id, x: data.x[i], y: data.y[i], text: id.toLowerCase(), decision: data.decision[i], label: data.label[i], code: data.code[i], every: data.every[i], picture: data.pictures[i],
      names: { label: data.labels[data.label[i]] ?? "no label", code: data.codes[data.code[i]] ?? "nothing found", decision: words[data.decision[i]] },
    }));
    const shades = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"].map((n) => `var(--c${n})`);
    const own = { kept: "var(--keep)", dropped: "var(--drop)", relabelled: "var(--relabel)", "for review": "var(--review)", "nothing found": "var(--keep)", "no label": "var(--keep)" };
    let shown = points, at = null, chart = null, reach = null, sorted = [];

    const colours = (by) => {
      const counts = d3.rollups(points, (group) => group.length, (p) => p.names[by]).sort((a, b) => b[1] - a[1] || d3.ascending(a[0], b[0]));
      const named = counts.map(([name]) => name);
      const plain = named.filter((name) => !own[name]).slice(0, shades.length);
      const kept = named.filter((name) => own[name] || plain.includes(name));
      const rest = named.length > kept.length ? "others" : null;
      const domain = rest ? [...kept, rest] : kept;
      const range = domain.map((name) => own[name] || (name === rest ? "var(--keep)" : shades[plain.indexOf(name)]));
      const known = new Set(kept);
      return { domain, range, of: (p) => (known.has(p.names[by]) ? p.names[by] : rest) };
    };

    const paint = () => {
      const width = Math.round(plane.clientWidth);
      if (!width) return;
      const field = (name) => form.elements[name]?.value ?? "";
      const q = field("q").toLowerCase();
      const fits = (p) => (!q || p.text.includes(q)) && ["label", "decision"].every((name) => field(name) === "" || String(p[name]) === field(name))
        && (field("code") === "" || (field("code") === "-1" ? !p.every.length : p.every.includes(Number(field("code")))));
      shown = points.filter(fits);
      const others = points.filter((p) => !fits(p));
      const { domain, range, of } = colours(field("by"));
      chart = Plot.plot({
        style: { fontSize: "12px" }, width, height: Math.round(Math.min(Math.max(width * 0.62, 320), 620)), margin: 12, axis: null,
        x: { domain: d3.extent(points, (p) => p.x) }, y: { domain: d3.extent(points, (p) => p.y) }, color: { domain, range, legend: true },
        marks: [
          Plot.dot(others, { x: "x", y: "y", r: 2, fill: "var(--line)" }),
          Plot.dot(shown, { x: "x", y: "y", r: points.length > 1500 ? 2.6 : 3.4, fill: of, fillOpacity: 0.85, sort: (p) => (p.code < 0 ? 0 : 1) }),
        ],
      });
      plane.replaceChildren(chart);
      const x = chart.scale("x"), y = chart.scale("y");
      for (const p of shown) { p.px = x.apply(p.x); p.py = y.apply(p.y); }
      sorted = [...shown].sort((a, b) => a.px - b.px || a.py - b.py);
      reach = shown.length ? d3.Delaunay.from(shown, (p) => p.px, (p) => p.py) : null;
      output.textContent = shown.length === points.length ? `${points.length.toLocaleString("en")} points` : `${shown.length.toLocaleString("en")} of ${points.length.toLocaleString("en")} points`;
      leave();
    };

    const svg = () => [...plane.querySelectorAll("svg")].pop();
    const leave = () => { at = null; tip.hidden = true; plane.querySelector(".ring")?.remove(); };
    const rest = (p) => {
      at = p;
      plane.querySelector(".ring")?.remove();
      d3.select(svg()).append("circle").attr("class", "ring").attr("cx", p.px).attr("cy", p.py).attr("r", 7);
      tip.querySelector("img")?.remove();
      if (p.picture) tip.prepend(Object.assign(new Image(), { src: p.picture, alt: `Sample ${p.id}` }));
      tip.querySelector("p").textContent = `${p.id}\n${p.names.label}\n${p.every.map((code) => data.codes[code]).join(", ") || "nothing found"}\n${p.names.decision}`;
      tip.hidden = false;
      const inside = svg().getBoundingClientRect(), outside = place.getBoundingClientRect();
      const left = inside.left - outside.left + p.px;
      tip.style.left = `${Math.max(0, Math.min(left + 14, outside.width - tip.offsetWidth))}px`;
      tip.style.top = `${inside.top - outside.top + p.py + (p.py > inside.height / 2 ? -tip.offsetHeight - 12 : 12)}px`;
    };
    plane.addEventListener("pointermove", (event) => {
      if (!reach) return;
      const [x, y] = d3.pointer(event, svg());
      const p = shown[reach.find(x, y)];
      if (p && Math.hypot(p.px - x, p.py - y) < 28) rest(p); else leave();
    });
    plane.addEventListener("pointerleave", leave);
    plane.addEventListener("blur", leave);
    plane.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") leave();
      if (!step || !sorted.length) return;
      event.preventDefault();
      const here = at ? sorted.indexOf(at) : step > 0 ? -1 : sorted.length;
      rest(sorted[(here + step + sorted.length) % sorted.length]);
    });
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", paint);
    let wide = 0;
    new ResizeObserver(() => { if (plane.clientWidth !== wide) { wide = plane.clientWidth; paint(); } }).observe(plane);
  }
