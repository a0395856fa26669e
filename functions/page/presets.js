// The storages that people know by name: what to ask for, and what the service needs of it.
import { part } from "./texts.js";

export const SITE = "site";
export const OTHER = "other";

const efss = (vendor) => ({ type: "webdav", icon: "cloud", fields: "efss", fixed: { vendor }, main: ["url", "user", "pass"] });

export const PRESETS = {
  nextcloud: { ...efss("nextcloud"), passwords: "/settings/user/security" },
  owncloud: { ...efss("owncloud"), passwords: "/index.php/settings/personal?sectionid=security" },
  ocis: { ...efss("infinitescale"), passwords: "/account" },
  s3: { type: "s3", icon: "bucket", fields: "s3", fixed: {}, main: ["endpoint", "access_key_id", "secret_access_key"] },
  sftp: { type: "sftp", icon: "terminal", fields: "sftp", fixed: {}, main: ["host", "user", "pass"] },
  [SITE]: { icon: "site", fields: "site" },
  [OTHER]: { icon: "other", fixed: {} },
};

/** The texts of a preset's field: title, help, placeholder. */
export const fieldTexts = (preset, name) => part(`fields.${PRESETS[preset].fields ?? "any"}`)[name];

function parsed(text) {
  const address = text.trim();
  if (!address) return null;
  try {
    const url = new URL(/^[a-z][a-z0-9+.-]*:\/\//i.test(address) ? address : `https://${address}`);
    return /^https?:$/.test(url.protocol) && !url.username && !url.password ? url : null;
  } catch {
    return null;
  }
}

const unescaped = (text) => {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
};

// The page of a folder, of a link, of the sign-in or of the settings; the service knows the same.
const PAGE = /^(.*?)(?:\/index\.php)?\/(?:apps|login|settings|files|f|account)(?:\/.*)?$|^(.*)\/index\.php(?:\/.*)?$/;
const LINK = /^(.*?)(?:\/index\.php)?\/s\/([^/]+)(?:\/.*)?$/;
const ACCOUNT_LESS = /^(.*?)\/(?:remote\.php\/)?dav(?:\/files|\/spaces)?$/;
const WEBDAV = /\/(?:remote|public)\.php\/|\/dav\/|\/webdav(?:\/|$)/;
const SPACE = /^(.*?)\/files\/spaces\/(?:project|share)\/[^/]+(?:\/(.*))?$/;
const PERSONAL = /^.*?\/files\/spaces\/personal\/[^/]+\/(.+)$/;

/** What an address of a Nextcloud, ownCloud or oCIS, as a browser shows it, means:
 * `{site, url, needsUser, folder}`, or null if it is no address. `url` is null as long as it
 * needs a user. */
export function efssAddress(text, user) {
  const address = parsed(text);
  if (!address) return null;
  const path = address.pathname.replace(/\/+$/, "");
  const folder = (address.searchParams.get("dir") ?? "").replace(/^\/+|\/+$/g, "");
  const link = LINK.exec(path);
  if (link && !WEBDAV.test(path)) {
    const site = address.origin + link[1];
    return { site, url: `${site}/public.php/dav/files/${link[2]}`, needsUser: false, folder };
  }
  const space = SPACE.exec(path);
  const [id] = (address.searchParams.get("fileId") ?? "").split("!");
  if (space && id) {
    const site = address.origin + space[1];
    return { site, url: `${site}/dav/spaces/${encodeURIComponent(id)}`, needsUser: true, folder: unescaped(space[2] ?? "") };
  }
  const accountLess = ACCOUNT_LESS.exec(path);
  if (!accountLess && WEBDAV.test(path)) {
    const [before] = path.split(/\/(?:remote|public)\.php\/|\/dav\/|\/webdav/);
    return { site: address.origin + before, url: address.origin + path, needsUser: false, folder };
  }
  const page = PAGE.exec(path);
  const site = address.origin + (accountLess?.[1] ?? page?.[1] ?? page?.[2] ?? path);
  const personal = PERSONAL.exec(path);
  return {
    site,
    url: user ? `${site}/remote.php/dav/files/${encodeURIComponent(user).replace(/%40/g, "@")}` : null,
    needsUser: true,
    folder: personal ? unescaped(personal[1]) : folder,
  };
}

/** The host, the port and the user of `sftp://user@host:port`, or of a part of it. */
export function sftpAddress(text) {
  const [, user, host, port] = /^(?:(?:sftp|ssh):\/\/)?(?:([^@/]+)@)?([^/:\s]+|\[[0-9a-f:]+\])(?::(\d+))?\/*$/i.exec(text.trim()) ?? [];
  return host && { host: host.replace(/^\[|\]$/g, ""), ...(port && { port: Number(port) }), ...(user && { user }) };
}
