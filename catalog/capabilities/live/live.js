// Follow the server: ask for news, draw the runs and the best variants, answer SQL, and replace the report. All text is
// set as text, never as markup; the report is a document of this server in which names are escaped.
(() => {
  const WAIT_S = 20, RETRY_MS = 2000, DENIED_MS = 30000, SLEEP_MS = 15000;
  const find = (name) => document.getElementById(`live-${name}`);
  const state = { version: "", news: null, clock: 0, report: "", asking: null, endFilters: () => {} };

  function element(tag, properties = {}, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children.filter((child) => child !== null));
    return made;
  }


  /** The time of day on this machine of a moment in milliseconds of the server's clock, with the day unless it is today. */
  function clock(moment) {
    const date = new Date(moment + state.clock);
    const isToday = date.toDateString() === new Date().toDateString();
    return date.toLocaleString([], { ...(isToday ? {} : { dateStyle: "medium" }), timeStyle: "short" });
  }

  function duration(seconds) {
    if (seconds < 120) return `${Math.round(seconds)} s`;
    return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
  }


  const cards = new Map();

  /** The elements of a run, which stay the same, so that an update does not close what the reader opened. */
  function newCard(id) {
    const parts = {
      title: element("h3"), state: element("span"), bar: element("progress", { max: 1, value: 0 }), counts: element("p"), advice: element("p"),
      steps: element("tbody"), notes: element("ul"), failures: element("ul"), failed: element("summary"),
    };
    const head = element("tr", {}, ...["step", "jobs", "done", "left", "failed"].map((name) => element("th", { scope: "col", textContent: name })));
    const steps = element("details", { open: true }, element("summary", { textContent: "Steps" }), element("table", {}, element("thead", {}, head), parts.steps));
    parts.failureList = element("details", { open: true }, parts.failed, parts.failures);
    parts.box = element("div", { className: "run" }, parts.title, parts.counts, parts.bar, parts.advice, parts.notes, parts.failureList, steps);
    parts.box.dataset.run = id;
    cards.set(id, parts);
    return parts;
  }

  /** Return the finished share of a run: by time, or by jobs as long as the time cannot be estimated. */
  function shareOf(run, estimate) {
    if (estimate && (estimate.remaining_s !== null || estimate.share > 0)) return estimate.share;
    const [jobs, done] = ["n_jobs", "n_done"].map((name) => run.steps.reduce((total, step) => total + step[name], 0));
    return done / Math.max(1, jobs);
  }

  function drawRun(run, estimate) {
    const card = cards.get(run.id) ?? newCard(run.id);
    const sum = (name) => run.steps.reduce((total, step) => total + step[name], 0);
    const [jobs, done, failed] = ["n_jobs", "n_done", "n_failed"].map(sum);
    card.state.className = `state ${run.state}`;
    card.state.textContent = run.state;
    card.title.replaceChildren(run.name || run.id, card.state);
    card.bar.max = Math.max(1, jobs);
    card.bar.value = shareOf(run, estimate) * card.bar.max;
    card.bar.setAttribute("aria-label", `Jobs of ${run.name || run.id}`);
    const parts = [`${done.toLocaleString("en")} of ${jobs.toLocaleString("en")} jobs done`];
    if (failed > 0) parts.push(`${failed.toLocaleString("en")} failed`);
    const remaining = estimate?.remaining_s ?? null;
    if (estimate) parts.push(`${Math.round(100 * shareOf(run, estimate))} %`);
    if (remaining !== null) parts.push(`about ${duration(remaining)} left, until ${clock(Date.parse(state.news.now) + remaining * 1000)}`);
    parts.push(`started ${clock(Date.parse(run.started_at))} on ${run.host || "an unknown host"}`);
    if (run.last_seen_at !== null) parts.push(`${run.state === "done" || run.state === "failed" ? "ended" : "last sign of life"} ${clock(Date.parse(run.last_seen_at))}`);
    card.counts.textContent = parts.join(" · ");
    card.advice.textContent = run.advice;
    const notes = [...run.searches];
    if (run.n_retried > 0) notes.push(`${run.n_retried} attempts were repeated`);
    if (run.working_on.length > 0) notes.push(`working on ${run.working_on.slice(0, 4).join(", ")}${run.working_on.length > 4 ? ` and ${run.working_on.length - 4} more` : ""}`);
    card.notes.replaceChildren(...notes.map((text) => element("li", { textContent: text })));
    card.failureList.hidden = run.n_failures === 0;
    card.failed.textContent = `Failures: ${run.n_failures}${run.n_failures > run.failures.length ? `, the first ${run.failures.length} are listed` : ""}`;
    card.failures.replaceChildren(...run.failures.map((text) => element("li", { textContent: text })));
    card.steps.replaceChildren(...run.steps.map((step) => {
      const cells = [step.n_jobs, step.n_done, Math.max(0, step.n_jobs - step.n_done - step.n_failed), step.n_failed].map((n) => element("td", { className: "n", textContent: n.toLocaleString("en") }));
      return element("tr", {}, element("td", { textContent: step.name }), ...cells);
    }));
    return card.box;
  }

  function drawRuns(runs, estimates) {
    const shown = new Set(runs.map((run) => run.id));
    for (const id of cards.keys()) if (!shown.has(id)) cards.delete(id);
    const boxes = runs.map((run) => drawRun(run, estimates[run.id]));
    const list = find("run-list");
    if (boxes.length === 0) boxes.push(element("p", { className: "empty", textContent: "No run has written to this store yet. Start one in another terminal: mlprune run RECIPE.yaml with this store under store in the recipe. This page shows it as soon as it starts." }));
    if (boxes.length !== list.children.length || boxes.some((box, place) => list.children[place] !== box)) list.replaceChildren(...boxes);
  }


  function table(columns, rows, name) {
    const numeric = columns.map((_, place) => rows.length > 0 && rows.every((row) => row[place] === null || /^[×+−-]?\d+(\.\d+)?([eE][+-]?\d+)?$|^–$/.test(row[place])));
    const cell = (value, place) => element("td", value === null ? { className: "null", textContent: "NULL" } : { className: numeric[place] ? "n" : "", textContent: value });
    const head = element("tr", {}, ...columns.map((column, place) => element("th", { scope: "col", className: numeric[place] ? "n" : "", textContent: column })));
    const body = rows.map((row) => element("tr", {}, ...row.map(cell)));
    const box = element("div", { className: "scroll", tabIndex: 0 }, element("table", {}, element("thead", {}, head), element("tbody", {}, ...body)));
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", name);
    return box;
  }

  function drawBest(tables) {
    if (tables.length === 0) {
      const text = "No pruned variant has a result on dev yet. An entry under evaluations with split: dev fills this table.";
      find("best-list").replaceChildren(element("p", { className: "empty", textContent: text }));
      return;
    }
    const known = new Map([...find("best-list").querySelectorAll("details")].map((part) => [part.dataset.title, part.open]));
    find("best-list").replaceChildren(...tables.map((best, place) => {
      const title = `Best so far on dev: ${best.title}`;
      const part = element("details", { className: "fold", open: known.get(title) ?? place === 0 },
        element("summary", {}, element("h3", { textContent: title })),
        element("p", { className: "reading", textContent: `${best.note}; dense ${best.dense}` }),
        table(["variant", "dev", "change from dense"], best.rows.map((row) => [row.label, row.value, row.change]), best.title));
      part.dataset.title = title;
      return part;
    }));
  }

  /** A number at an axis: whole from 100 on, otherwise with three digits. */
  function tick(value) {
    return Math.abs(value) >= 100 ? Math.round(value).toLocaleString("en") : `${Number(value.toPrecision(3))}`;
  }

  function shape(tag, attributes, text = "") {
    const made = document.createElementNS(find("shape").namespaceURI, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.textContent = text;
    return made;
  }

  /** Draw the results so far: one line per method, from the dense model on the left. */
  function drawCurve(curve) {
    const box = find("curve");
    if (!curve) return box.replaceChildren();
    const text = JSON.stringify(curve);
    if (box.dataset.drawn === text) return;
    box.dataset.drawn = text;
    const points = curve.lines.flatMap((line) => line.points);
    const values = [...points.map((point) => point[1]), ...(curve.dense === null ? [] : [curve.dense])];
    const right = Math.max(0.1, ...points.map((point) => point[0])), low = Math.min(...values), high = Math.max(...values), room = (high - low || 0.1) * 0.08;
    const x = (value) => 54 + (570 * value) / right, y = (value) => 14 + (220 * (high + room - value)) / (high - low + 2 * room || 0.1);
    const svg = shape("svg", { viewBox: "0 0 640 270", role: "img", "aria-label": `${curve.title}: ${points.length} points of ${curve.lines.length} methods` });
    for (const value of [low, (low + high) / 2, high]) {
      svg.append(shape("path", { d: `M54 ${y(value)}H624`, class: "rule" }), shape("text", { x: 48, y: y(value) + 4, "text-anchor": "end" }, tick(value)));
    }
    for (const share of [0, 0.5, 1]) svg.append(shape("text", { x: x(share * right), y: 254, "text-anchor": "middle" }, (share * right).toFixed(2)));
    svg.append(shape("text", { x: 339, y: 268, "text-anchor": "middle" }, "sparsity"));
    const legend = element("ul", { className: "legend" });
    curve.lines.forEach((line) => {
      const { colour } = line, mark = { d: line.shape, style: `fill: ${line.is_hollow ? "var(--card)" : colour}; stroke: ${colour}; stroke-width: 1.5` };
      const all = curve.dense === null ? line.points : [[0, curve.dense], ...line.points];
      svg.append(shape("polyline", { points: all.map((point) => `${x(point[0])},${y(point[1])}`).join(" "), style: `fill: none; stroke: ${colour}; stroke-width: 2` }));
      svg.append(...line.points.map((point) => shape("path", { ...mark, transform: `translate(${x(point[0])} ${y(point[1])})` })));
      const swatch = shape("svg", { viewBox: "-8 -8 16 16", width: 16, height: 16, "aria-hidden": "true" });
      swatch.append(shape("path", mark));
      legend.append(element("li", {}, swatch, line.label));
    });
    const dense = curve.dense === null ? "" : `; dense ${tick(curve.dense)}`;
    box.replaceChildren(element("h3", { textContent: `So far on ${curve.split}: ${curve.title}` }), element("p", { className: "reading", textContent: `${curve.note}, so far${dense}` }), svg, legend);
  }

  function drawCounts(catalog) {
    if (!catalog?.is_ready) return;
    const names = { n_variants: "variants", n_evaluations: "evaluations", n_failures: "failed jobs" };
    find("counts").replaceChildren(...Object.entries(names).map(([name, text]) => element("div", {},
      element("dt", { textContent: text }), element("dd", { textContent: catalog.overview[name].toLocaleString("en") }))));
  }


  /** What the reader opened and chose in the report, to open and choose it again in the next one. */
  function readingState(report) {
    const opened = [...report.querySelectorAll("details")].map((one, place) => [one.open, `${one.closest("section")?.id}/${one.className}/${one.dataset.query ?? place}`]);
    const top = [...report.querySelectorAll("section")].find((section) => section.getBoundingClientRect().bottom > 0);
    return {
      opened: new Set(opened.filter(([isOpen]) => isOpen).map(([, name]) => name)),
      chosen: new Set([...report.querySelectorAll("#filters input:checked")].map((box) => `${box.name}/${box.value}`)),
      top: top === undefined || report.getBoundingClientRect().top > 0 ? null : [top.id, top.getBoundingClientRect().top],
    };
  }

  function restoreReading(report, reading) {
    [...report.querySelectorAll("details")].forEach((one, place) => {
      const name = `${one.closest("section")?.id}/${one.className}/${one.dataset.query ?? place}`;
      if (reading.opened.has(name) && one.closest("#filters") === null) one.open = true;
    });
    const boxes = [...report.querySelectorAll("#filters input")].filter((box) => reading.chosen.has(`${box.name}/${box.value}`));
    for (const box of boxes) box.checked = true;
    if (boxes.length > 0) boxes[0].dispatchEvent(new Event("change", { bubbles: true }));
    const section = reading.top && document.getElementById(reading.top[0]);
    if (section) scrollBy({ top: section.getBoundingClientRect().top - reading.top[1], behavior: "instant" });
  }

  async function showReport() {
    const wanted = state.news?.report?.version;
    if (wanted === undefined || wanted === state.report) return;
    const answer = await fetch("report", { cache: "no-store" });
    if (answer.status !== 200) return;
    const text = (await answer.text()).replace(/<style>[^]*?<\/style>/, "");  // this page has its rules in live.css
    const made = new DOMParser().parseFromString(text, "text/html");
    const report = document.getElementById("report"), reading = readingState(report);
    made.querySelectorAll("noscript, script").forEach((one) => one.remove());
    made.querySelector("nav")?.setAttribute("aria-label", "Contents of the report");
    state.endFilters();
    report.replaceChildren(...made.querySelectorAll("header .failed"), ...made.querySelector("main").children);
    state.endFilters = startFilters(report);
    state.report = answer.headers.get("ETag").replaceAll('"', "");
    restoreReading(report, reading);
    find("download-report").hidden = false;
    drawReportState();
  }

  function drawReportState() {
    const news = state.news, known = news?.report, hasNew = known !== undefined && known.version !== state.report;
    const rendering = news?.report_is_rendering ? " A new one is being rendered." : "";
    if (known) find("report-state").textContent = `${hasNew ? "New results of" : "Results of"} ${clock(Date.parse(known.made_at))}.${rendering}`;
    else if (news?.report_is_rendering) find("report-state").textContent = "The report is being rendered.";
    find("show-report").hidden = !hasNew || find("follow-report").checked;
  }


  function draw(news) {
    state.news = news;
    state.clock = Date.now() - Date.parse(news.now);
    find("store").textContent = news.store;
    if (news.runs) drawRuns(news.runs, news.estimates.runs ?? {});
    if (news.best) drawBest(news.best);
    drawCurve(news.curve);
    drawCounts(news.catalog);
    for (const part of ["runs", "catalog", "report"]) find(`${part}-error`).textContent = news[`${part}_error`] ?? "";
    const active = (news.runs ?? []).filter((run) => run.state === "running");
    const shares = active.map((run) => shareOf(run, news.estimates.runs?.[run.id]));
    const name = `${news.store.split(/[\\/]/).filter(Boolean).pop() ?? ""} · mlprune`;
    document.title = shares.length > 0 ? `${Math.round(100 * Math.min(...shares))} % · ${name}` : name;
    drawReportState();
    if (find("follow-report").checked) showReport().catch(() => {});
  }

  function showConnection(text, isLost = false) {
    const line = find("connection");
    if (line.textContent !== text) line.textContent = text;
    line.classList.toggle("lost", isLost);
  }

  const pause = (milliseconds) => new Promise((done) => { setTimeout(done, milliseconds); });
  const visible = () => document.hidden ? new Promise((done) => document.addEventListener("visibilitychange", done, { once: true })) : null;

  /** Ask for news for ever: the server answers as soon as there are some. A hidden tab does not ask. */
  async function follow() {
    for (;;) {
      await visible();
      const asking = state.asking = new AbortController();
      const limit = setTimeout(() => asking.abort(), (WAIT_S + 15) * 1000);
      try {
        const headers = state.version ? { "If-None-Match": `"${state.version}"` } : {};
        const answer = await fetch(`news?wait=${WAIT_S}`, { headers, cache: "no-store", signal: asking.signal });
        if (answer.status === 403) {
          showConnection("The server was started again, with another token. Open the address that it printed.", true);
          await pause(DENIED_MS);
        } else if (answer.status === 200) {
          draw(await answer.json());
          state.version = answer.headers.get("ETag").replaceAll('"', "");
          showConnection("Connected; this page updates by itself.");
        } else if (answer.status === 304) showConnection("Connected; this page updates by itself.");
        else throw new Error(`status ${answer.status}`);
      } catch {
        showConnection("No connection to the server. Trying again; check that mlprune status --web and the tunnel are running.", true);
        await pause(asking.signal.reason === "again" ? 0 : RETRY_MS);
      } finally {
        clearTimeout(limit);
      }
    }
  }

  /** A request that was open while the machine slept never gets an answer: ask again. */
  function askAgain() {
    state.asking?.abort("again");
  }

  let ticked = Date.now();
  setInterval(() => {
    if (Date.now() - ticked > SLEEP_MS) askAgain();
    ticked = Date.now();
  }, 1000);
  addEventListener("online", askAgain);
  addEventListener("pageshow", (event) => { if (event.persisted) askAgain(); });


  const buttons = () => find("query").querySelectorAll("button");

  /** Run the query in the box. Without a format the page shows a table, with one the browser saves a file. */
  async function ask(format) {
    for (const button of buttons()) button.disabled = true;
    find("query-state").textContent = "Running";
    try {
      const answer = await fetch("query", {
        method: "POST", cache: "no-store", headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ sql: find("text").value, format }),
      });
      if (!answer.ok) find("query-state").textContent = await refusal(answer);
      else if (format === "") showAnswer(await answer.json());
      else save(await answer.blob(), `query.${format}`);
    } catch {
      find("query-state").textContent = "No connection to the server.";
    } finally {
      for (const button of buttons()) button.disabled = false;
    }
  }

  async function refusal(answer) {
    if (answer.status === 413) return "The query is too long.";
    try {
      return (await answer.json()).error;
    } catch {
      return `The server refused the query with status ${answer.status}.`;
    }
  }

  function showAnswer(answer) {
    const n = answer.rows.length.toLocaleString("en");
    find("query-state").textContent = `${answer.is_cut ? `The first ${n} rows` : `${n} row${answer.rows.length === 1 ? "" : "s"}`} in ${answer.elapsed_s} s.`;
    find("answer").replaceChildren(table(answer.columns, answer.rows, "Answer"));
  }

  function save(blob, name) {
    const address = URL.createObjectURL(blob);
    element("a", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
    find("query-state").textContent = `Saved as ${name}, ${blob.size.toLocaleString("en")} bytes.`;
  }

  find("query").addEventListener("submit", (event) => { event.preventDefault(); ask(""); });
  for (const button of find("query").querySelectorAll("button[data-format]")) button.addEventListener("click", () => ask(button.dataset.format));
  find("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); ask(""); }
  });
  find("named").addEventListener("change", async (event) => {
    const name = event.target.value;
    if (name === "") return;
    const answer = await fetch(`queries/${encodeURIComponent(name)}`, { cache: "no-store" }).catch(() => null);
    if (answer?.ok) find("text").value = (await answer.json()).sql;
    else find("query-state").textContent = answer === null ? "No connection to the server." : await refusal(answer);
  });
  find("show-report").addEventListener("click", () => showReport().catch(() => {}));
  find("follow-report").addEventListener("change", (event) => {
    drawReportState();
    if (event.target.checked) showReport().catch(() => {});
  });

  async function listQueries() {
    const answer = await fetch("queries", { cache: "no-store" });
    const options = (await answer.json()).map((query) => element("option", { value: query.name, textContent: `${query.name}: ${query.summary}` }));
    find("named").append(...options);
  }

  // the token stays out of the history, of bookmarks and of what a reader copies
  if (location.search) history.replaceState(null, "", location.pathname + location.hash);
  listQueries().catch(() => {});
  follow();
})();
