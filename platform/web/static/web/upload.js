// Sends chosen files in pieces by tus 1.0.0, https://tus.io/protocols: what breaks off goes on where
// it stopped, after a lost connection as after a reload, once the same file is chosen again.
const VERSION = "1.0.0";
const PIECE = 4 * 2 ** 20; // bytes of one request
const WAITS = [1, 2, 4, 8, 15]; // seconds before another try, the last one again and again
const AGAIN = new Set([0, 408, 409, 423, 425, 429, 460, 500, 502, 503, 504]); // 0: no answer

class Refused extends Error {}

class Sending {
  constructor(file, address, token, list) {
    Object.assign(this, { file, address, token, paused: false, tries: 0 });
    this.show(list);
    this.finished = this.send().then(() => this.end(), (error) => this.say(error.message, true));
  }

  get fingerprint() {
    return `${this.file.name} ${this.file.size} ${this.file.lastModified}`.slice(-200);
  }

  async send() {
    for (;;) {
      try {
        this.id ??= await this.find() ?? await this.begin();
        await this.goOn();
        return;
      } catch (error) {
        if (error instanceof Refused) throw error;
        await this.wait();
      }
    }
  }

  // Pieces from where the server is; it says so after each.
  async goOn() {
    const answer = await this.ask("HEAD", this.place, {}, null, [404]);
    if (answer.status === 404) { this.id = null; throw new Error("it was deleted"); }
    let at = Number(answer.headers.get("Upload-Offset"));
    this.step(at);
    while (at < this.file.size) {
      await this.whilePaused();
      const piece = await this.file.slice(at, at + PIECE).arrayBuffer();
      const headers = { "Content-Type": "application/offset+octet-stream", "Upload-Offset": at };
      const taken = await this.ask("PATCH", this.place, { ...headers, ...await sum(piece) }, piece);
      at = Number(taken.headers.get("Upload-Offset"));
      this.tries = 0;
      this.step(at);
    }
  }

  // What is here of this very file, from before a reload.
  async find() {
    const answer = await this.ask("GET", this.address);
    const same = (each) => each.fingerprint === this.fingerprint && each.length === this.file.size;
    return (await answer.json()).results.find(same)?.id ?? null;
  }

  async begin() {
    const said = { filename: this.file.name, fingerprint: this.fingerprint };
    const pairs = Object.entries(said).map(([name, text]) => `${name} ${base64(text)}`);
    const headers = { "Upload-Length": this.file.size, "Upload-Metadata": pairs.join(",") };
    return (await (await this.ask("POST", this.address, headers)).json()).id;
  }

  get place() { return `${this.address}${this.id}/`; }

  async ask(method, address, headers = {}, body = null, expected = []) {
    const all = { "Tus-Resumable": VERSION, "X-CSRFToken": this.token, ...headers };
    const answer = await fetch(address, { method, headers: all, body });
    if (answer.ok || expected.includes(answer.status)) return answer;
    if (AGAIN.has(answer.status)) throw new Error(`the server answered ${answer.status}`);
    const told = await answer.json().catch(() => ({}));
    throw new Refused(told.detail ?? `the server answered ${answer.status}`);
  }

  async wait() {
    const seconds = WAITS[Math.min(this.tries++, WAITS.length - 1)];
    this.say(`the connection broke off; goes on in ${seconds} s`);
    await new Promise((done) => { setTimeout(done, seconds * 1000); });
  }

  async whilePaused() {
    if (!this.paused) return;
    this.say(`paused at ${this.percent} %`);
    await new Promise((done) => { this.wake = done; });
  }

  // --- What is shown ---
  show(list) {
    for (const old of list.querySelectorAll("[data-upload-name]")) {
      if (old.dataset.uploadName === this.file.name) old.remove();
    }
    this.row = element("li", "upload");
    this.bar = element("progress", "progress");
    this.bar.max = this.file.size;
    this.bar.setAttribute("aria-label", `How much of ${this.file.name} is here`);
    this.text = element("span", "muted");
    this.button = element("button", "tool-link", "Pause");
    this.button.type = "button";
    this.button.addEventListener("click", () => this.turn());
    this.row.append(element("span", "upload-name", this.file.name), this.bar, this.text, this.button);
    list.append(this.row);
  }

  turn() {
    this.paused = !this.paused;
    this.button.textContent = this.paused ? "Go on" : "Pause";
    if (!this.paused) this.wake?.();
  }

  get percent() { return Math.floor((100 * this.bar.value) / this.file.size); }

  step(at) {
    this.bar.value = at;
    this.say(`${this.percent} %`);
  }

  end() {
    const kept = element("input");
    Object.assign(kept, { type: "hidden", name: "uploads", value: this.id });
    this.row.append(kept);
    this.row.dataset.uploaded = this.id;
    this.button.remove();
    this.say("here");
  }

  say(text, isWrong = false) {
    this.text.textContent = text;
    this.failed = isWrong;
    this.text.className = isWrong ? "ask-error" : "muted";
    if (isWrong) { this.button.remove(); this.bar.remove(); }
  }
}

function element(name, className = "", text = "") {
  return Object.assign(document.createElement(name), { className, textContent: text });
}

function base64(text) {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}

// Browsers add up only on https:// and localhost; elsewhere TCP's own sum must do.
async function sum(piece) {
  if (!globalThis.crypto?.subtle) return {};
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", piece));
  return { "Upload-Checksum": `sha256 ${btoa(String.fromCharCode(...digest))}` };
}

function prepare(form) {
  const input = form.querySelector("[data-upload]");
  if (!input) return;
  const [list, note] = ["list", "note"].map((name) => form.querySelector(`[data-upload-${name}]`));
  const token = form.querySelector("[name=csrfmiddlewaretoken]").value;
  const sendings = [];
  const take = () => {
    const files = [...input.files];
    input.value = ""; // the form itself carries none
    for (const file of files) sendings.push(new Sending(file, form.dataset.uploads, token, list));
  };
  input.addEventListener("change", take);
  take(); // what was chosen before this script was here
  form.addEventListener("submit", async (event) => {
    const isHere = (sending) => sending.failed || sending.row.dataset.uploaded;
    if (sendings.every(isHere)) return;
    event.preventDefault();
    note.textContent = "Sent as soon as the files are here.";
    await Promise.all(sendings.map((sending) => sending.finished));
    note.textContent = "";
    if (!sendings.some((sending) => sending.failed)) form.requestSubmit();
  });
}

document.querySelectorAll("form[data-uploads]").forEach(prepare);
