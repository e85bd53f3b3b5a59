// Makes the pages live. Without this file every form and link still works.
//
// A form is sent in the background, and the page that comes back is merged into this one. When
// another window changes something, the server sends an event, and this page is read again.
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("live");

  // Merging

  // The fields with something that was typed and not sent.
  const typed = new WeakSet();

  const keyOf = (node) => (node.nodeType === 1 && node.id) || null;

  const mergeAttributes = (from, to) => {
    for (const { name } of [...from.attributes]) {
      const isState = name === "open" && from.localName === "details";
      if (!to.hasAttribute(name) && !isState) from.removeAttribute(name);
    }
    for (const { name, value } of to.attributes) {
      if (from.getAttribute(name) !== value) from.setAttribute(name, value);
    }
    // What a person has typed stays.
    if (from.localName === "input" && from !== document.activeElement && !typed.has(from)) {
      from.value = to.getAttribute("value") ?? "";
    }
  };

  const merge = (from, to) => {
    if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName || keyOf(from) !== keyOf(to)) {
      from.replaceWith(to.cloneNode(true));
      return;
    }
    if (from.nodeType !== 1) {
      if (from.data !== to.data) from.data = to.data;
      return;
    }
    mergeAttributes(from, to);
    mergeChildren(from, to);
  };

  const mergeChildren = (from, to) => {
    const byKey = new Map([...from.childNodes].filter(keyOf).map((node) => [keyOf(node), node]));
    let place = from.firstChild;
    for (const wanted of to.childNodes) {
      const known = byKey.get(keyOf(wanted));
      if (known) {
        if (known === place) place = place.nextSibling;
        else from.insertBefore(known, place);
        merge(known, wanted);
      } else if (place && !keyOf(place) && !keyOf(wanted)) {
        const current = place;
        place = place.nextSibling;
        merge(current, wanted);
      } else {
        from.insertBefore(wanted.cloneNode(true), place);
      }
    }
    while (place) {
      const next = place.nextSibling;
      place.remove();
      place = next;
    }
  };

  const currentList = () => document.querySelector("#lists [aria-current]");

  const scrollToCurrentList = () => currentList()?.scrollIntoView({ block: "nearest", inline: "nearest" });

  // How many pages were shown.
  let shown = 0;

  // `keepNotice`: the page was read again, and the message of the last action stays.
  const show = (text, { keepNotice = false } = {}) => {
    shown += 1;
    const next = new DOMParser().parseFromString(text, "text/html");
    if (next.body.className !== document.body.className) return false;
    const notices = document.getElementById("notices");
    const others = next.getElementById("notices");
    if (keepNotice && notices && others) others.replaceChildren(...notices.cloneNode(true).childNodes);
    const focused = document.activeElement?.id;
    const list = currentList()?.href;
    document.title = next.title;
    mergeAttributes(document.body, next.body);
    mergeChildren(document.body, next.body);
    const again = document.activeElement === document.body && focused && document.getElementById(focused);
    if (again) again.focus();
    if (currentList()?.href !== list) scrollToCurrentList();
    dates();
    return true;
  };

  // Shows only the message of a page.
  const showMessage = (text) => {
    const others = new DOMParser().parseFromString(text, "text/html").getElementById("notices");
    const notices = document.getElementById("notices");
    if (notices && others) mergeChildren(notices, others);
  };

  // Messages that the server cannot send

  const back = () => document.getElementById("connection")?.remove();

  const connection = (text) => {
    back();
    const message = document.createElement("div");
    message.className = "notice bad";
    message.id = "connection";
    message.append(Object.assign(document.createElement("span"), { textContent: text }));
    document.getElementById("notices")?.append(message);
  };

  const away = () => {
    if (!document.querySelector("#notices .bad")) connection(AWAY);
  };

  // A form that is part of a message, as the one that undoes is, stays there.
  const notSent = (form, text) => {
    const message = form.closest(".notice");
    if (!message) {
      connection(text);
      return;
    }
    back();
    message.classList.add("bad");
    message.querySelector("span").textContent = text;
  };

  const AWAY = "Your lists cannot be reached right now. Nothing is lost; this page tries again.";

  const AGAIN = "Please try again: nothing is done twice.";

  // Forms and links

  const isBoard = () => document.body.dataset.live !== undefined;

  // What is being sent: a second click on the same button sends nothing again.
  const underWay = new Set();

  // The key of each request whose answer is not known, so that a repetition does nothing twice.
  const keys = new Map();

  const send = async (form, submitter) => {
    const body = new URLSearchParams(new FormData(form, submitter));
    const asked = new URLSearchParams(body);
    asked.delete("show");
    const request = `${form.action} ${asked}`;
    if (underWay.has(request)) return;
    underWay.add(request);
    const key = keys.get(request) ?? crypto.getRandomValues(new Uint32Array(4)).join("-");
    keys.set(request, key);
    body.set("key", key);
    try {
      if (await sendOnce(form, body)) keys.delete(request);
    } finally {
      underWay.delete(request);
    }
  };

  // Sends a form once, shows the answer, and returns whether there was one. Without one, it is unknown
  // whether the change was made.
  const sendOnce = async (form, body) => {
    const focus = focusAfter(form);
    const before = visits;
    const sent = [...form.elements].map((field) => [field, field.value]);
    let response, text;
    try {
      response = await fetch(form.action, { method: "POST", body });
      text = await response.text();
    } catch {
      notSent(form, `The page is not connected, so the change may not be saved. ${AGAIN}`);
      return false;
    }
    if (response.status >= 500) {
      notSent(form, `Your lists cannot be reached right now, so the change may not be saved. ${AGAIN}`);
      return false;
    }
    back();
    const isDone = form.classList.contains("new-list") || (form.id === "add" && response.ok);
    for (const [field, value] of sent) {
      // What was typed meanwhile stays.
      if (field.value !== value) continue;
      typed.delete(field);
      if (isDone && field.localName === "input") field.value = field.defaultValue;
    }
    if (visits !== before) {
      // The person has gone on to another page meanwhile, and stays there.
      showMessage(text);
      read();
      return true;
    }
    if (!show(text)) {
      location.href = response.url;
      return true;
    }
    if (response.redirected) address(response.url);
    document.getElementById("list-menu")?.removeAttribute("open");
    focus();
    return true;
  };

  const address = (url) => {
    if (url !== location.href) history.pushState(null, "", url);
  };

  // Where the keyboard continues after the form's button has gone.
  const focusAfter = (form) => {
    const active = document.activeElement;
    const item = form.closest(".item");
    const kind = [...(active?.classList ?? [])].find((name) => ["tick", "up", "down", "edit"].includes(name));
    const beside = item && (item.nextElementSibling ?? item.previousElementSibling)?.id;
    return () => {
      if (document.activeElement && document.activeElement !== document.body && !document.activeElement.disabled) return;
      const same = item && document.getElementById(item.id);
      const other = beside && document.getElementById(beside);
      const target =
        (same && ((kind && same.querySelector(`.${kind}:not(:disabled)`)) || same.querySelector(".tool:not(:disabled)"))) ||
        document.getElementById("undo") ||
        other?.querySelector(".tick") ||
        document.getElementById("new-title");
      target?.focus();
    };
  };

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!isBoard() || form.classList.contains("person")) return;
    event.preventDefault();
    send(form, event.submitter);
  });

  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href]");
    const plain = event.button === 0 && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
    if (link && isBoard() && plain && link.origin === location.origin && !link.hash) {
      event.preventDefault();
      visit(link.href);
      return;
    }
    const menu = document.getElementById("list-menu");
    if (menu && !menu.contains(event.target)) menu.removeAttribute("open");
    const item = event.target.closest?.(".item");
    for (const chosen of document.querySelectorAll(".item.chosen")) {
      if (chosen !== item) chosen.classList.remove("chosen");
    }
    if (item && event.target.closest(".text")) item.classList.toggle("chosen");
  });

  document.addEventListener("input", (event) => {
    if (event.target.localName === "input") typed.add(event.target);
  });

  // How many links the person has followed.
  let visits = 0;

  const visit = async (url, { push = true } = {}) => {
    visits += 1;
    const own = visits;
    try {
      const response = await fetch(url);
      const text = await response.text();
      // A link that was followed later counts.
      if (own !== visits) return;
      if (!response.ok || !show(text)) {
        location.href = url;
        return;
      }
      if (push) address(response.url);
      const field = document.querySelector("[autofocus]");
      field?.focus();
      field?.setSelectionRange(field.value.length, field.value.length);
    } catch {
      if (own === visits) location.href = url;
    }
  };

  addEventListener("popstate", () => visit(location.href, { push: false }));

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      document.getElementById("list-menu")?.removeAttribute("open");
      document.querySelector(".cancel")?.click();
    }
    const item = event.target.closest?.(".item");
    const button = { ArrowUp: ".up", ArrowDown: ".down" }[event.key];
    if (item && button && event.altKey) {
      event.preventDefault();
      item.querySelector(button)?.click();
    }
  });

  // Dragging

  let drag = null;

  const overItem = (y) =>
    [...document.querySelectorAll("#items > .item")].find((item) => {
      const box = item.getBoundingClientRect();
      return y >= box.top && y <= box.bottom;
    });

  const unmark = () => {
    for (const item of document.querySelectorAll(".over-top, .over-bottom")) {
      item.classList.remove("over-top", "over-bottom");
    }
  };

  document.addEventListener("pointerdown", (event) => {
    const grip = event.target.closest?.(".grip");
    if (!grip || event.button !== 0) return;
    event.preventDefault();
    drag = { item: grip.closest(".item"), place: null };
    drag.item.classList.add("dragged");
    grip.setPointerCapture(event.pointerId);
  });

  document.addEventListener("pointermove", (event) => {
    if (!drag) return;
    unmark();
    const over = overItem(event.clientY);
    if (!over || over === drag.item) {
      drag.place = null;
      return;
    }
    const box = over.getBoundingClientRect();
    const isAbove = event.clientY < box.top + box.height / 2;
    over.classList.add(isAbove ? "over-top" : "over-bottom");
    const [from, to] = [Number(drag.item.dataset.place), Number(over.dataset.place)];
    drag.place = to + (isAbove ? 0 : 1) - (from < to ? 1 : 0);
  });

  const drop = (event) => {
    if (!drag) return;
    unmark();
    const { item, place } = drag;
    item.classList.remove("dragged");
    drag = null;
    if (event.type === "pointercancel" || place === null || place === Number(item.dataset.place)) return;
    const form = item.querySelector("form[action$='/move']");
    const field = Object.assign(document.createElement("input"), { type: "hidden", name: "place", value: place });
    form.append(field);
    send(form).finally(() => field.remove());
  };
  document.addEventListener("pointerup", drop);
  document.addEventListener("pointercancel", drop);

  // Days, in the time zone of this window

  const dates = () => {
    const day = (offset) => {
      const date = new Date();
      date.setDate(date.getDate() + offset);
      const two = (number) => String(number).padStart(2, "0");
      return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
    };
    const names = { [day(-1)]: "Yesterday", [day(0)]: "Today", [day(1)]: "Tomorrow" };
    for (const time of document.querySelectorAll("time.due")) {
      const name = names[time.dateTime];
      if (name) time.textContent = name;
      const isOpen = !time.closest(".item.done");
      time.classList.toggle("late", isOpen && time.dateTime < day(0));
    }
  };

  // Other windows

  let reading = null;
  let isStale = false;

  const read = async () => {
    if (reading) {
      isStale = true;
      return;
    }
    if (drag) return;
    reading = (async () => {
      try {
        const before = shown;
        const response = await fetch(location.href);
        const text = await response.text();
        if (shown !== before) {
          // Another page was shown meanwhile, and this answer may be older.
          isStale = true;
        } else if (response.redirected && new URL(response.url).pathname === "/sign-in") {
          location.href = response.url;
        } else if (response.status === 404) {
          location.href = "/";
        } else if (!response.ok) {
          throw new Error(String(response.status));
        } else {
          back();
          show(text, { keepNotice: true });
        }
      } catch {
        away();
        setTimeout(read, 1500);
      }
    })();
    await reading;
    reading = null;
    if (isStale) {
      isStale = false;
      read();
    }
  };

  if (isBoard()) {
    dates();
    scrollToCurrentList();
    const events = new EventSource(document.body.dataset.live);
    const connected = () => (root.dataset.connected = "yes");
    // After an interruption, `change` comes first if something was missed.
    events.addEventListener("hello", connected);
    events.addEventListener("change", () => {
      connected();
      read();
    });
    events.addEventListener("error", () => {
      delete root.dataset.connected;
      // The browser gives up after an answer that is no stream.
      if (events.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 3000);
    });
    addEventListener("pagehide", () => events.close());
    addEventListener("pageshow", (event) => event.persisted && location.reload());
  }
})();
