// A client in TypeScript, with types that were made from the schemas as they are.
import type { TransferEvent } from "./event.js";
import type { Problem } from "./problem.js";
import type { TransferRequest } from "./request.js";
import type { TransferResult } from "./result.js";

const request: TransferRequest = {
  id: "run-42",
  source: { storage: "measurements", path: "2026" },
  destination: {
    type: "s3",
    parameters: { provider: "Ceph", access_key_id: "AKIAEXAMPLE", secret_access_key: "example" },
    path: "bucket/2026",
  },
  selection: { include: ["*.h5"] },
  options: { verify: "checksum", overwrite: "newer", deadline_seconds: 840 },
};

// @ts-expect-error: a request without a destination is none
export const half: TransferRequest = { source: { storage: "measurements" } };
// @ts-expect-error: no such word
export const odd: TransferRequest = { ...request, options: { verify: "perhaps" } };
// @ts-expect-error: no such member
export const more: TransferRequest = { ...request, priority: 1 };

export function line(event: TransferEvent): string {
  switch (event.event) {
    case "started":
      return `began at ${event.started}`;
    case "progress":
      return `${event.bytes.transferred} of ${event.bytes.expected} bytes`;
    case "file":
      return `${event.path}: ${event.error?.message ?? event.state}`;
    case "result":
      return ended(event);
  }
}

function ended(result: Omit<TransferResult, "files">): string {
  return `${result.state}: ${result.totals.files.transferred} files`;
}

export function why(problem: Problem): string {
  const fields = (problem.errors ?? []).map((wrong) => `${wrong.pointer}: ${wrong.message}`);
  return [problem.detail, ...fields].join("\n");
}

export const body: string = JSON.stringify(request);
