// Renews the part of a page that changes, as its data-live and data-every say, while a job has not ended: at once when
// the stream at data-events tells of something, and now and then besides, for what it does not tell of.
// What has focus, is scrolled, selected or unfolded stays as it is: only nodes that differ are touched.
"use strict";

(() => {
  const OWN = { DETAILS: ["open"], INPUT: ["value"] }; // attributes that belong to the reader, not to the server
  const SLOWEST_MS = 30000;
  const STREAMED = 2.5; // so much rarer are looks while a stream tells of what happens
  const SHORTEST_MS = 500; // between two looks, however much happens
  const TIMEOUT_MS = 15000; // a service that takes a request and says nothing is one that does not answer

  function renewAttributes(now, then) {
    const own = OWN[now.nodeName] || [];
    for (const { name } of [...now.attributes]) {
      if (!then.hasAttribute(name) && !own.includes(name)) now.removeAttribute(name);
    }
    for (const { name, value } of [...then.attributes]) {
      if (now.getAttribute(name) !== value && !own.includes(name)) now.setAttribute(name, value);
    }
  }

  function alike(now, then) {
    return now.nodeType === then.nodeType && now.nodeName === then.nodeName && (now.id || "") === (then.id || "");
  }

  function renewChildren(now, then) {
    const coming = [...then.childNodes];
    let place = now.firstChild;
    for (const next of coming) {
      // A row that was there before, at another place, is moved and not made anew.
      if (next.id && (!place || place.id !== next.id)) {
        const known = [...now.children].find((child) => child.id === next.id);
        if (known) place = now.insertBefore(known, place);
      }
      if (!place) {
        now.append(next);
      } else if (alike(place, next)) {
        const after = place.nextSibling;
        renew(place, next);
        place = after;
      } else {
        const later = next.nodeType === Node.ELEMENT_NODE && nearest(place, next);
        if (later) {
          while (place !== later) place = dropped(place);
          const after = place.nextSibling;
          renew(place, next);
          place = after;
        } else {
          now.insertBefore(next, place);
        }
      }
    }
    while (place) place = dropped(place);
  }

  function nearest(place, next) {
    for (let node = place; node; node = node.nextSibling) if (alike(node, next)) return node;
    return null;
  }

  function dropped(node) {
    const after = node.nextSibling;
    node.remove();
    return after;
  }

  function renew(now, then) {
    if (now.nodeType !== Node.ELEMENT_NODE) {
      if (now.nodeValue !== then.nodeValue) now.nodeValue = then.nodeValue;
      return;
    }
    renewAttributes(now, then);
    renewChildren(now, then);
  }

  async function look(part) {
    const answer = await fetch(part.dataset.live, {
      headers: { Accept: "text/html" },
      cache: "no-store",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (answer.status === 401) location.reload(); // the session is over: the page to sign in is there instead
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const then = page.getElementById(part.id);
    if (!then) throw new Error("no such part");
    renew(part, document.adoptNode(then));
    if (part.dataset.title) document.title = part.dataset.title;
  }

  function lost(part, isLost) {
    const shown = document.getElementById("connection");
    if (isLost && !shown) {
      const line = document.createElement("p");
      line.id = "connection";
      line.className = "callout warn";
      line.setAttribute("role", "status");
      line.textContent = "The service does not answer. This page shows what was known last, and goes on trying.";
      part.before(line);
    } else if (!isLost && shown) {
      shown.remove();
    }
  }

  function seen() {
    if (!document.hidden) return Promise.resolve();
    return new Promise((resolve) => {
      document.addEventListener("visibilitychange", resolve, { once: true });
    });
  }

  // Open only while the page is seen: a browser has few connections to one server, and a stream keeps one.
  function listen(part) {
    const state = { source: null, after: 0, news: false, tell: () => {} };
    const notice = (event) => {
      if (event.lastEventId) state.after = event.lastEventId;
      state.news = true;
      state.tell();
    };
    const stop = () => {
      if (state.source) state.source.close();
      state.source = null;
    };
    const begin = () => {
      if (state.source || document.hidden || !part.dataset.events || !window.EventSource) return;
      state.source = new EventSource(`${part.dataset.events}?after=${state.after}`);
      state.source.addEventListener("open", notice); // a service that is back is looked at soon
      state.source.addEventListener("state", notice);
      state.source.addEventListener("progress", notice);
      state.source.addEventListener("end", (event) => {
        notice(event);
        stop();
        delete part.dataset.events;
      });
    };
    document.addEventListener("visibilitychange", () => (document.hidden ? stop() : begin()));
    window.addEventListener("pagehide", stop);
    window.addEventListener("pageshow", begin);
    begin();
    return {
      get open() {
        return state.source !== null && state.source.readyState === EventSource.OPEN;
      },
      // Resolves after so many milliseconds, or as soon as something has happened.
      wait: (pause) =>
        new Promise((resolve) => {
          const go = () => {
            state.tell = () => {}; // what happens from here on is for the next wait
            resolve();
          };
          const timer = setTimeout(go, pause);
          state.tell = () => {
            clearTimeout(timer);
            state.tell = () => {};
            state.news = false;
            setTimeout(go, SHORTEST_MS);
          };
          if (state.news) state.tell();
        }),
    };
  }

  async function keep(part) {
    let failures = 0;
    const stream = listen(part);
    while (part.dataset.live) {
      const every = (Number(part.dataset.every) || 2000) * (stream.open && !failures ? STREAMED : 1);
      const pause = Math.min(every * 2 ** failures, Math.max(every, SLOWEST_MS));
      await stream.wait(pause);
      await seen();
      try {
        await look(part);
        failures = 0;
      } catch (error) {
        failures = Math.min(failures + (error.name === "TimeoutError" ? 2 : 1), 6); // one silence is long enough
      }
      lost(part, failures > 1);
    }
  }

  const part = document.getElementById("live");
  if (part) keep(part);
})();
