// One side of a copy: which storage, its parameters, the path, a check and a picker.
import { create, formatted, icon } from "./dom.js";
import { field, mainParameters, parameters, resolved } from "./form.js";
import { OTHER, PRESETS, SITE, efssAddress, fieldTexts, sftpAddress } from "./presets.js";
import { StorageCheckView } from "./check.js";
import { say } from "./texts.js";
import { escaped } from "./validation.js";

const TOKENS = ["bearer_token", "token_source", "token_endpoint"];
const ADDRESSES = ["url", "endpoint", "host", "domain", "storage"];
const BLAMED = {
  authentication_failed: "secret", storage_unreachable: "address", forbidden: "address",
  source_not_found: "path", destination_not_found: "path", not_a_directory: "path", permission_denied: "path",
};

/** `context` has the `schema`, `storages()` of the site, `changed(field)`, `look(path, body)` and
 * `browse(side)`. */
export class Side {
  constructor(name, preset, context) {
    Object.assign(this, { name, context, fields: [], whole: false, preset });
    this.described = resolved(context.schema, context.schema.properties[name]);
    this.tiles = create("div", { className: "tiles" }, ...Object.keys(PRESETS).map((it) => this.tile(it)));
    this.within = create("div", { className: "within" });
    this.error = create("p", { className: "error", id: `${name}-error` });
    this.path = this.field("path", this.described.properties.path, { pointer: `/${name}/path`, required: true });
    const browse = create("button", { type: "button", className: "quiet" }, icon("folder"), say("sides.browse"));
    browse.addEventListener("click", () => context.browse(this));
    this.path.row.append(browse);
    this.path.input.addEventListener("input", () => this.setWhole(false));
    this.check = new StorageCheckView(this, (body) => context.look("check", body));
    this.element = create(
      "div",
      { className: "card side", id: name, role: "group", "aria-labelledby": `${name}-title` },
      create("div", { className: "head" }, create("h2", { id: `${name}-title` }, say(`sides.${name}`)), create("span", { className: "help" }, say(`sides.${name}_help`))),
      create("fieldset", { className: "kinds" }, create("legend", { className: "unseen" }, say("sides.kind")), this.tiles),
      this.within,
      this.error,
      this.check.element,
    );
    this.show(preset);
  }

  tile(preset) {
    const radio = create("input", { type: "radio", name: `${this.name}-kind`, value: preset, checked: preset === this.preset });
    radio.addEventListener("change", () => this.show(preset));
    return create("label", { className: "tile" }, radio, icon(PRESETS[preset].icon), create("span", {}, say(`presets.${preset}`)));
  }

  /** Show the fields of a preset; `type` chooses among all types. */
  show(preset, type = this.types()[0]) {
    this.preset = preset;
    this.setWhole(false);
    this.type = preset === OTHER ? type : PRESETS[preset].type;
    this.help = create("p", { className: "help" });
    const [title, help, example] = fieldTexts(preset, "path");
    this.path.element.querySelector("label").firstChild.data = this.path.title = title;
    this.path.help.replaceChildren(help);
    this.path.input.placeholder = example;
    const shown = preset === SITE ? this.siteFields() : this.typeFields();
    this.within.replaceChildren(
      ...(preset === OTHER ? [this.typeChoice(), this.help] : []),
      ...(preset === SITE ? [this.help] : []),
      create("div", { className: "grid" }, [...shown.main, this.path].map((it) => it.element)),
      ...this.more(shown.more),
    );
    this.fields = [...shown.main, this.path, ...shown.more];
    this.check.clear();
    this.context.changed();
  }

  more(fields) {
    if (!fields.length) return [];
    const grid = create("div", { className: "grid" }, fields.map((it) => it.element));
    return [create("details", { className: "inner" }, create("summary", {}, say("sides.more")), grid)];
  }

  types() {
    const limited = this.described.then?.properties?.type?.enum;
    return limited ?? this.described.properties.type.enum;
  }

  typeChoice() {
    const { schema } = this.context;
    const options = this.types().map((value) => create("option", { value }, parameters(schema, value).title));
    const choice = create("select", { id: `${this.name}-type` }, ...options);
    choice.value = this.type;
    choice.addEventListener("change", () => {
      this.show(OTHER, choice.value);
      document.getElementById(choice.id).focus();
    });
    this.help.replaceChildren(...formatted(parameters(schema, this.type).description));
    return create("div", { className: "field" }, create("label", { htmlFor: choice.id }, say("sides.type")), choice);
  }

  field(name, described, { pointer = `/${this.name}/parameters/${escaped(name)}`, required = false } = {}) {
    const texts = this.preset && this.preset !== OTHER ? fieldTexts(this.preset, name) : undefined;
    const changed = (it) => {
      for (const other of this.fields) other.told = "";
      this.check?.stale();
      this.adapt(it);
      this.context.changed(it);
    };
    const it = field(this.context.schema, described, pointer, { required: required && !texts, changed, texts });
    // Nearly all that a preset asks for is required: only what is not says so.
    if (required && texts) it.input.setAttribute("aria-required", "true");
    return Object.assign(it, { name });
  }

  typeFields() {
    const described = parameters(this.context.schema, this.type);
    const { main = mainParameters(described), fixed } = PRESETS[this.preset];
    const make = (name) => this.field(name, described.properties[name], { required: described.required?.includes(name) ?? false });
    const hidden = Object.keys(described.properties).filter((name) => !main.includes(name) && !(name in fixed));
    const fields = { main: main.map(make), more: hidden.map(make) };
    const secret = fields.main.find((it) => it.name === "pass");
    if (PRESETS[this.preset].passwords) secret.element.append((this.passwords = create("a", { target: "_blank", rel: "noopener noreferrer", className: "help", hidden: true })));
    return fields;
  }

  siteFields() {
    const { storage, parameters: added } = this.described.properties;
    const known = this.context.storages()?.filter((it) => it.use.includes(this.name));
    if (known === undefined) {
      this.help.textContent = say("sides.site_token");
      const described = { ...added, description: say("fields.site_parameters"), writeOnly: true };
      return { main: [this.field("storage", storage, { pointer: `/${this.name}/storage`, required: true })], more: [this.field("", described, { pointer: `/${this.name}/parameters` })] };
    }
    this.help.textContent = known.length ? say("sides.site_help") : say("sides.site_none", { side: say(`sides.${this.name}`).toLowerCase() });
    const one = { title: say("sides.site_storage"), description: "", enum: known.map((it) => it.name) };
    const choice = this.field("storage", one, { pointer: `/${this.name}/storage`, required: true });
    choice.input.options[0].textContent = say("sides.choose");
    const place = create("div", { className: "grid wide" });
    choice.element.append(place);
    choice.input.addEventListener("change", () => this.askForParameters(known, choice, place));
    if (known.length === 1) choice.input.value = known[0].name;
    queueMicrotask(() => this.askForParameters(known, choice, place));
    return { main: [choice], more: [] };
  }

  askForParameters(known, choice, place) {
    const chosen = known.find((it) => it.name === choice.input.value);
    this.fields = [choice, this.path];
    const described = chosen && parameters(this.context.schema, chosen.type).properties;
    const added = (chosen?.caller_parameters ?? []).map((name) => this.field(name, described[name]));
    this.fields.push(...added);
    place.replaceChildren(...added.map((it) => it.element));
    this.context.changed();
  }

  value(name) {
    return this.fields.find((it) => it.name === name)?.read();
  }

  get address() {
    return PRESETS[this.preset].fields === "efss" ? efssAddress(this.value("url") ?? "", this.value("user")) : null;
  }

  /** Adapt what depends on the address: how it is used, the link to app passwords, the folder. */
  adapt(changed) {
    if (PRESETS[this.preset].fields !== "efss" || !["url", "user"].includes(changed?.name)) return;
    const { address } = this;
    const url = this.fields.find((it) => it.name === "url");
    const used = address?.url && address.url !== url.input.value.trim() ? say("sides.used_as", { url: address.url }) : fieldTexts(this.preset, "url")[1];
    url.help.replaceChildren(used);
    this.passwords.hidden = !address;
    if (!address) return;
    this.passwords.href = address.site + PRESETS[this.preset].passwords;
    this.passwords.textContent = say("sides.app_password", { host: new URL(address.site).host });
    if (changed.name === "url" && address.folder && this.path.input.value === "" && changed.touched) {
      this.path.input.value = address.folder;
      this.path.help.replaceChildren(say("sides.folder_taken"));
    }
  }

  setWhole(whole) {
    this.whole = whole;
    this.path.input.placeholder = whole ? say("sides.whole") : fieldTexts(this.preset, "path")[2];
  }

  /** Take a path that was picked; "" is the whole storage. */
  pick(path) {
    this.path.input.value = path;
    this.path.touched = true;
    this.setWhole(path === "");
    this.check.stale();
    this.context.changed(this.path);
  }

  /** Complete this side of a request, in which each field has put its value. */
  complete(end) {
    if (this.preset !== SITE) {
      end.type = this.type;
      end.parameters = { ...PRESETS[this.preset].fixed, ...end.parameters };
    }
    if (this.whole) end.path = "";
    const { address } = this;
    if (address) end.parameters.url = address.url ?? `${address.site}/remote.php/dav/files/USER`;
    if (PRESETS[this.preset].fields === "sftp" && end.parameters.host) {
      const given = Object.fromEntries(Object.entries(end.parameters).filter(([name]) => name !== "host"));
      end.parameters = { ...end.parameters, ...sftpAddress(end.parameters.host), ...given };
    }
    return end;
  }

  /** Fields that a person must fill in, beyond what the schema can say: `Map(field → message)`. */
  missing() {
    const missing = new Map();
    const given = (...names) => names.some((name) => this.value(name) !== undefined);
    const need = (...names) => {
      for (const it of this.fields) if (names.includes(it.name) && it.read() === undefined) missing.set(it, say("sides.missing"));
    };
    const kind = PRESETS[this.preset].fields;
    need("url", "storage");
    if (kind === "efss" && !given(...TOKENS) && (this.address?.needsUser ?? true)) need("user", "pass");
    if (kind === "s3" && !given("anonymous")) need("access_key_id", "secret_access_key");
    if (kind === "sftp") {
      need("host");
      if (!sftpAddress(this.value("host") ?? "")?.user) need("user");
      if (!given("key_pem")) need("pass");
    }
    if (this.path.read() === undefined && !this.whole) missing.set(this.path, say("sides.missing_path"));
    return missing;
  }

  /** The field that an error of the storage is about, if a person can mend it there. */
  blame(code) {
    const named = (names) => names.map((name) => this.fields.find((it) => it.name === name)).find(Boolean);
    switch (BLAMED[code]) {
      case "secret": {
        const secrets = this.fields.filter((it) => it.secret);
        return named(["pass", "secret_access_key"].filter((name) => this.value(name) !== undefined)) ?? secrets.find((it) => it.read() !== undefined) ?? secrets[0] ?? named(ADDRESSES);
      }
      case "address": return named(ADDRESSES);
      case "path": return this.path;
      default: return undefined;
    }
  }

  /** In a few words, for a line that names both sides. */
  get summary() {
    const where = this.whole ? say("sides.whole") : this.path.read();
    if (where === undefined) return null;
    const what = this.preset === SITE ? this.value("storage") : this.preset === OTHER ? parameters(this.context.schema, this.type).title : say(`presets.${this.preset}`);
    return `${what ?? ""} · ${where}`;
  }
}
